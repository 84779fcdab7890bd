//! Control groups: what a process's groups, and those around them, leave it of memory and threads.
//!
//! A process is in one group of the unified hierarchy (version 2) and in one of each of version 1,
//! and a box may have both at once. A limit of any group up to the root binds. Where the groups are
//! is told by the mounts: a container sees its own group as the root, or the host's path with the
//! front cut off.
//!
//! Memory that a group has in the page cache is given back when it is needed, so it counts as room.

use crate::host::tree::{Tree, Unreadable};

/// A limit of a control group, with what is used of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The file that holds the limit.
    pub path: String,
    /// The limit, in bytes or threads.
    pub limit: u64,
    /// What is used of it and cannot be given back.
    pub used: u64,
    /// It is of version 2.
    pub is_unified: bool,
}

impl Limit {
    /// What is left.
    pub fn room(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// What is used, as a part of 1. Of a limit of 0, all.
    pub fn used_part(&self) -> f64 {
        if self.limit == 0 { 1.0 } else { self.used as f64 / self.limit as f64 }
    }
}

/// A process's groups: the directories from its own to the outermost that is visible, by controller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Groups {
    /// The path of its own group as `/proc/PID/cgroup` names it.
    pub path: String,
    unified: Chain,
    memory: Chain,
    pids: Chain,
}

/// The directories of a group of one hierarchy and of all around it, from the inside out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Chain {
    directories: Vec<String>,
    /// The process's own group is not among them: no mount shows it.
    is_cut: bool,
}

impl Chain {
    /// Takes `other`, of another mount, unless that one shows less.
    fn take(&mut self, other: Chain) {
        if self.directories.is_empty() || self.is_cut || !other.is_cut {
            *self = other;
        }
    }
}

impl Groups {
    /// The groups of the process of directory `process`, such as `/proc/self`.
    ///
    /// # Errors
    ///
    /// `/proc` does not tell of groups or mounts.
    pub fn of(tree: &Tree, process: &str) -> Result<Self, Unreadable> {
        let membership = tree.text(&format!("{process}/cgroup"))?;
        let mounts = mounts(&tree.text("/proc/self/mountinfo")?);
        let mut groups = Groups::default();
        for line in membership.lines() {
            // `4:memory:/path` for version 1, `0::/path` for version 2.
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            for mount in &mounts {
                match controllers {
                    "" if mount.is_unified => groups.unified.take(chain(mount, path)),
                    _ if mount.is_unified => {}
                    list if list.split(',').any(|name| name == "memory") && mount.has("memory") => {
                        groups.memory.take(chain(mount, path));
                    }
                    list if list.split(',').any(|name| name == "pids") && mount.has("pids") => {
                        groups.pids.take(chain(mount, path));
                    }
                    _ => {}
                }
            }
            if path.len() > groups.path.len() {
                path.clone_into(&mut groups.path);
            }
        }
        Ok(groups)
    }

    /// The memory limit that leaves least, if there is one; `memory_total` is what the box has: a
    /// limit above it is none.
    pub fn memory(&self, tree: &Tree, memory_total: u64) -> Option<Limit> {
        self.memory_limits(tree, memory_total).min_by_key(Limit::room)
    }

    /// The memory limit of which the largest part is used, if there is one; `memory_total` as above.
    pub fn memory_fullest(&self, tree: &Tree, memory_total: u64) -> Option<Limit> {
        self.memory_limits(tree, memory_total)
            .max_by(|one, other| one.used_part().total_cmp(&other.used_part()))
    }

    fn memory_limits(&self, tree: &Tree, memory_total: u64) -> impl Iterator<Item = Limit> {
        let seen = self.memory_of(tree, "memory.max", "memory.limit_in_bytes", memory_total);
        let above = self.memory_above(tree).filter(|limit| limit.limit < memory_total);
        seen.into_iter().chain(above)
    }

    /// Whether the group that memory is counted in is one that no mount shows: it may have a limit.
    pub fn hides_memory(&self) -> bool {
        // Where version 1 counts memory, version 2 does not.
        if self.memory.directories.is_empty() { self.unified.is_cut } else { self.memory.is_cut }
    }

    /// The limit of version 1 of a group around the outermost that is visible, which that one tells. What
    /// its other groups use of it is not known, so that less than its room may be left.
    fn memory_above(&self, tree: &Tree) -> Option<Limit> {
        let outermost = self.memory.directories.last().filter(|_| !self.memory.is_cut)?;
        let path = format!("{outermost}/memory.stat");
        let limit = stat(&tree.text(&path).ok()?, "hierarchical_memory_limit")?;
        let own = tree.number::<u64>(&format!("{outermost}/memory.limit_in_bytes")).ok()?;
        let usage = tree.number::<u64>(&format!("{outermost}/memory.usage_in_bytes")).unwrap_or(0);
        let used = usage.saturating_sub(page_cache_bytes(tree, &path, "total_"));
        (limit < own).then_some(Limit { path, limit, used, is_unified: false })
    }

    /// The memory from which on a group is slowed down, with what it leaves, if there is one.
    pub fn memory_high(&self, tree: &Tree, memory_total: u64) -> Option<Limit> {
        self.memory_of(tree, "memory.high", "", memory_total).into_iter().min_by_key(Limit::room)
    }

    /// The limit of threads that leaves fewest, if there is one.
    pub fn threads(&self, tree: &Tree) -> Option<Limit> {
        let unified = self.unified.directories.iter().map(|group| (group, true));
        let groups = unified.chain(self.pids.directories.iter().map(|group| (group, false)));
        let limits = groups.filter_map(|(group, is_unified)| {
            let path = format!("{group}/pids.max");
            let limit = tree.number(&path).ok()?;
            Some(Limit {
                path,
                limit,
                used: tree.number(&format!("{group}/pids.current")).unwrap_or(0),
                is_unified,
            })
        });
        limits.min_by_key(Limit::room)
    }

    /// The systemd service that the process is of, if its group is named after one.
    pub fn service(&self) -> Option<&str> {
        self.path.rsplit('/').find(|part| part.ends_with(".service"))
    }

    fn memory_of(&self, tree: &Tree, unified: &str, first: &str, memory_total: u64) -> Vec<Limit> {
        let second = self.unified.directories.iter().map(|group| (group, unified, "memory.current", ""));
        let first = self
            .memory
            .directories
            .iter()
            .map(|group| (group, first, "memory.usage_in_bytes", "total_"))
            .filter(|of| !of.1.is_empty());
        let limits = second.chain(first).filter_map(|(group, limit, usage, prefix)| {
            let path = format!("{group}/{limit}");
            // `max` is no number and no limit.
            let limit = tree.number::<u64>(&path).ok().filter(|limit| *limit < memory_total)?;
            let usage = tree.number::<u64>(&format!("{group}/{usage}")).unwrap_or(0);
            let cache = page_cache_bytes(tree, &format!("{group}/memory.stat"), prefix);
            Some(Limit { path, limit, used: usage.saturating_sub(cache), is_unified: prefix.is_empty() })
        });
        limits.collect()
    }
}

/// Bytes of files' pages that a group can give back.
fn page_cache_bytes(tree: &Tree, path: &str, prefix: &str) -> u64 {
    let text = tree.text(path).unwrap_or_default();
    let value = |name: &str| stat(&text, &format!("{prefix}{name}")).unwrap_or(0);
    value("inactive_file").saturating_add(value("active_file"))
}

/// The number that a `memory.stat` names `name`.
fn stat(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.parse().ok()
}

/// A mounted hierarchy.
#[derive(Debug)]
struct Mount {
    /// The group that the mount shows at its top.
    root: String,
    point: String,
    is_unified: bool,
    options: String,
}

impl Mount {
    fn has(&self, controller: &str) -> bool {
        self.options.split(',').any(|option| option == controller)
    }
}

/// The hierarchies among the lines of `mountinfo` (proc_pid_mountinfo(5)).
fn mounts(text: &str) -> Vec<Mount> {
    let mounts = text.lines().filter_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(3);
        let (root, point) = (front.next()?, front.next()?);
        let mut back = back.split(' ');
        let (kind, options) = (back.next()?, back.nth(1).unwrap_or_default());
        let is_mount = ["cgroup", "cgroup2"].contains(&kind) && point.starts_with('/');
        is_mount.then(|| Mount {
            root: root.to_owned(),
            point: point.to_owned(),
            is_unified: kind == "cgroup2",
            options: options.to_owned(),
        })
    });
    mounts.collect()
}

/// The directories of the group `path` and of all around it, as far as `mount` shows them.
fn chain(mount: &Mount, path: &str) -> Chain {
    let below = match path.strip_prefix(mount.root.as_str()) {
        _ if mount.root == "/" => Some(path),
        Some(below) if below.is_empty() || below.starts_with('/') => Some(below),
        // The group lies outside of what is mounted, or somewhere below its top that nobody tells: the
        // mount's top is the nearest that is seen.
        _ => None,
    };
    let mut parts: Vec<_> = below.unwrap_or("").split('/').filter(|part| !part.is_empty()).collect();
    let mut is_cut = below.is_none();
    if parts.contains(&"..") {
        // A namespace of groups names those outside of it so.
        (parts, is_cut) = (Vec::new(), true);
    }
    let up = (0..=parts.len()).rev().map(|depth| {
        parts[..depth].iter().fold(mount.point.clone(), |place, part| format!("{place}/{part}"))
    });
    Chain { directories: up.collect(), is_cut }
}
