//! What may run out, the nearest first: the doctor's walls, as of some seconds ago, and the bounds of the
//! configuration, as of now.
//!
//! The walls are asked for on a thread that may wait: a file system that hangs keeps nobody waiting.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::Dashboard;
use super::snapshot::Limit;
use crate::control::capacity;
use crate::control::config::Config;
use crate::doctor::{self, Running, Setup, Wall};
use crate::host::tree::Tree;

/// What the doctor has to know of this server.
#[derive(Debug)]
pub(super) struct Walls {
    setup: Setup,
    /// Descriptors that each shard's table has from the process's.
    inherited: u64,
    /// The store refuses to fill the disk further.
    disk_free_bytes_min: u64,
}

/// What the machine said when it was asked last.
#[derive(Debug, Default)]
pub(super) struct Seen {
    walls: Vec<Wall>,
    /// Bytes of the disk that are used, and that may be.
    disk: Option<(u64, u64)>,
}

impl Walls {
    /// Those of a server with `config`, whose shards' tables had `inherited` descriptors from the start.
    pub(super) fn new(config: &Config, inherited: u64) -> Self {
        let disk_free_bytes_min = config.store.disk_free_bytes_min;
        Walls { setup: capacity::setup(config), inherited, disk_free_bytes_min }
    }
}

impl Dashboard {
    /// Asks the machine: some twenty small files. May wait for the disk.
    pub(super) fn see_walls(&self) -> Seen {
        let held: Vec<u64> = self.stats.iter().map(|stats| stats.connections.get()).collect();
        let Walls { setup, inherited, disk_free_bytes_min } = &self.walls;
        let running = Running::own(&held, *inherited, setup);
        let verdict = doctor::walls(&Tree::live(), &Setup { running: Some(running), ..setup.clone() });
        let walls = verdict.hard.into_iter().chain(verdict.soft).collect();
        Seen { walls, disk: disk(&self.data, *disk_free_bytes_min) }
    }

    /// Every limit, the nearest first; `seen` are the walls that the machine told last.
    pub(super) fn limits(&self, seen: &Seen, connections: u64, backlog_bytes: u64) -> Vec<Limit> {
        let walls = seen.walls.iter().map(|wall| Limit {
            name: wall.name.to_owned(),
            used: connections,
            max: wall.connections,
            unit: "connections".to_owned(),
            remedy: wall.remedy.clone(),
        });
        let bytes = |name: &str, used, max, remedy: &str| Limit {
            name: name.to_owned(),
            used,
            max,
            unit: "bytes".to_owned(),
            remedy: remedy.to_owned(),
        };
        let waiting = self.committer.waiting_bytes() as u64;
        let own = [
            bytes(
                "backlogs",
                backlog_bytes,
                self.backlog_bytes_max,
                "limits.backlog_total_bytes_max, or readers that keep up",
            ),
            bytes("history queue", waiting, self.queue_bytes_max, "a faster disk; store.queue_bytes_max"),
        ];
        let disk = seen.disk.map(|(used, max)| {
            bytes(
                "disk of the history",
                used,
                max,
                "a larger disk, or less history (history_size, history_ttl)",
            )
        });
        let mut limits: Vec<Limit> = walls.chain(own).chain(disk).collect();
        let part = |limit: &Limit| limit.used as f64 / limit.max.max(1) as f64;
        limits.sort_by(|one, other| part(other).total_cmp(&part(one)));
        limits
    }
}

/// Bytes of the disk of `data` that are used, and that may be if `free_bytes_min` stay free.
fn disk(data: &Path, free_bytes_min: u64) -> Option<(u64, u64)> {
    let disk = statvfs(data).ok()?;
    let blocks_bytes = |blocks: u64| blocks.saturating_mul(disk.fragment_size());
    let free = blocks_bytes(disk.blocks_available());
    // What is kept for root is nobody's to use.
    let used = blocks_bytes(disk.blocks().saturating_sub(disk.blocks_free()));
    Some((used, (used + free).saturating_sub(free_bytes_min)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_when_only_what_must_stay_free_is() {
        let here = std::env::temp_dir();
        let (used, max) = disk(&here, 0).unwrap();
        assert!(used <= max && max > 0);
        let (_, less) = disk(&here, 1 << 20).unwrap();
        assert!(less < max);
        assert_eq!(disk(Path::new("/no/such/place"), 0), None);
    }
}
