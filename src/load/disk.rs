//! The disk under a data directory: which file system it is, and how often it can make 4 KiB durable.
//!
//! A store that promises an fsync cannot acknowledge more commits than the disk has fsyncs, so its
//! figures are worth something only beside the disk's own of the same minutes. One thread appends and
//! calls `fdatasync(2)` in turn, as a committer does.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::percentiles::Percentiles;
use super::report::{Table, number};
use super::watch::histogram_us;

/// Bytes appended before each fsync: one page, the least that a disk writes.
const APPEND_BYTES: usize = 4_096;

/// A mounted file system. Source: `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileSystem {
    /// Its kind, e.g. `ext4`.
    pub kind: String,
    /// What is mounted, e.g. `/dev/vda`.
    pub source: String,
    /// Where it is mounted.
    pub mount_point: String,
}

impl FileSystem {
    /// The file system that holds `path`, which exists.
    ///
    /// # Errors
    ///
    /// The path or the kernel's list of mounts cannot be read.
    pub fn of(path: &Path) -> Result<Self, String> {
        let path = fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")
            .map_err(|error| format!("/proc/self/mountinfo cannot be read: {error}"))?;
        Self::find(&mounts, &path).ok_or_else(|| format!("{} is on no file system", path.display()))
    }

    fn find(mounts: &str, path: &Path) -> Option<Self> {
        let parse = |line: &str| {
            // Fixed fields, any number of optional ones, a dash, and three more: proc(5).
            let (fixed, rest) = line.split_once(" - ")?;
            // The kernel writes a space in a path as \040.
            let mount_point = fixed.split(' ').nth(4)?.replace("\\040", " ");
            let mut rest = rest.split(' ');
            let (kind, source) = (rest.next()?.to_owned(), rest.next()?.to_owned());
            Some(Self { kind, source, mount_point })
        };
        let over = mounts.lines().filter_map(parse).filter(|mount| path.starts_with(&mount.mount_point));
        // Of two mounts on one point the later one covers the other, and so `max_by_key` chooses.
        over.max_by_key(|mount| mount.mount_point.len())
    }

    /// True if it has no disk: an fsync on it does nothing.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.kind.as_str(), "tmpfs" | "ramfs")
    }

    /// Kind, source and place in a few words.
    pub fn words(&self) -> String {
        let memory = if self.is_in_memory() { ", in memory: an fsync on it does nothing" } else { "" };
        format!("{} ({} on {}{memory})", self.kind, self.source, self.mount_point)
    }
}

/// How a disk made 4 KiB durable, again and again.
#[derive(Debug, Clone, Serialize)]
pub struct SyncRate {
    /// Fsyncs per second.
    pub per_second: f64,
    /// Times of an append and its fsync.
    pub times: Option<Percentiles>,
}

/// Appends and syncs for `duration` in a file of its own in `directory`, which it removes.
///
/// # Errors
///
/// The disk does not take it: a sentence with the path.
pub fn sync_rate(directory: &Path, duration: Duration) -> Result<SyncRate, String> {
    let path = directory.join("fsync-rate");
    let measured = append_and_sync(&path, duration);
    // What could not be made need not be removed, and the directory goes with the run.
    let _ = fs::remove_file(&path);
    measured.map_err(|error| format!("the fsyncs of {} cannot be timed: {error}", path.display()))
}

fn append_and_sync(path: &Path, duration: Duration) -> std::io::Result<SyncRate> {
    let (mut file, mut times_us) = (File::create_new(path)?, histogram_us());
    let started = Instant::now();
    while started.elapsed() < duration {
        let begun = Instant::now();
        file.write_all(&[b'x'; APPEND_BYTES])?;
        file.sync_data()?;
        times_us.saturating_record((begun.elapsed().as_micros() as u64).max(1));
    }
    let per_second = times_us.len() as f64 / started.elapsed().as_secs_f64();
    Ok(SyncRate { per_second, times: Percentiles::of(&times_us) })
}

/// The disk of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Disk {
    /// Where the data directory was.
    pub file_system: FileSystem,
    /// Before the load, the server idle.
    pub before: Option<SyncRate>,
    /// After it.
    pub after: Option<SyncRate>,
}

impl Disk {
    /// Adds its rows to `table`.
    pub fn rows(&self, table: &mut Table) {
        table.row("data directory on", self.file_system.words());
        for (when, rate) in [("before", &self.before), ("after", &self.after)] {
            let Some(rate) = rate else { continue };
            table.row(format!("the disk's own fsyncs per second, {when}"), number(rate.per_second, 0));
            if let Some(times) = &rate.times {
                let times = [times.p50_us, times.p99_us].map(|us| number(us as f64, 0));
                table.row("  one of 4 KiB, p50 and p99 (µs)", times.join(", "));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
                          30 22 0:24 / /dev/shm rw - tmpfs shm rw\n\
                          31 22 0:25 / /mnt/a\\040b rw - tmpfs one rw\n\
                          32 31 254:1 / /mnt/a\\040b rw master:1 propagate_from:2 - xfs /dev/vdb rw\n";

    #[test]
    fn a_path_is_on_the_longest_mount_over_it_and_of_two_on_the_later() {
        let find = |path: &str| FileSystem::find(MOUNTS, Path::new(path)).unwrap();
        assert_eq!(find("/home/x").words(), "ext4 (/dev/vda on /)");
        assert!(find("/dev/shm/y").is_in_memory());
        assert_eq!(find("/dev/shmore").source, "/dev/vda");
        assert_eq!(find("/mnt/a b/c").kind, "xfs");
        assert_eq!(FileSystem::find("", Path::new("/")), None);
    }

    #[test]
    fn a_disk_is_asked_at_least_once_and_nothing_is_left_on_it() {
        let directory = std::env::temp_dir().join(format!("throng-disk-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let rate = sync_rate(&directory, Duration::from_micros(1)).unwrap();
        assert!(rate.per_second > 0.0 && rate.times.unwrap().count > 0);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        assert!(!FileSystem::of(&directory).unwrap().mount_point.is_empty());
        fs::remove_dir(&directory).unwrap();
        assert!(sync_rate(&directory, Duration::ZERO).unwrap_err().contains("throng-disk-"));
    }
}
