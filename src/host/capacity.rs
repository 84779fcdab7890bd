//! How many connections this box allows, and which limit binds.

use std::fs;

use crate::limits::{KERNEL_BYTES_PER_CONNECTION, USER_BYTES_PER_CONNECTION};

/// A limit on connections: where it comes from, what it allows and how to raise it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// What limits.
    pub name: &'static str,
    /// Connections of the whole server that it allows.
    pub connections: u64,
    /// What raises it.
    pub remedy: String,
}

/// What bounds the number of connections, as read from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// RLIMIT_NOFILE of a descriptor table, after it was raised.
    pub descriptors_per_table: u64,
    /// Descriptors in each table that are not connections.
    pub descriptors_reserved: u64,
    /// Tables that hold connections: one per shard, or one for all.
    pub tables: u64,
    /// `fs.file-max`.
    pub files_max: u64,
    /// `fs.file-max` less what is open now.
    pub files_free: u64,
    /// `fs.epoll.max_user_watches`.
    pub epoll_watches: u64,
    /// `MemAvailable`, in bytes.
    pub memory_bytes: u64,
}

impl Machine {
    /// Every limit, the binding one first.
    pub fn limits(&self) -> Vec<Limit> {
        let per_table = self.descriptors_per_table.saturating_sub(self.descriptors_reserved);
        let mut limits = vec![
            Limit {
                name: "RLIMIT_NOFILE",
                connections: per_table * self.tables,
                remedy: format!(
                    "`--shards {}` (each shard has its own table of {} descriptors), or `ulimit -Hn` / systemd `LimitNOFILE=`",
                    self.tables * 2,
                    self.descriptors_per_table
                ),
            },
            Limit {
                name: "fs.file-max",
                connections: self.files_free,
                remedy: format!("`sysctl -w fs.file-max={}`", self.files_max.saturating_mul(2)),
            },
            Limit {
                name: "fs.epoll.max_user_watches",
                connections: self.epoll_watches,
                remedy: format!(
                    "`sysctl -w fs.epoll.max_user_watches={}`",
                    self.epoll_watches.saturating_mul(2)
                ),
            },
            Limit {
                name: "memory",
                connections: self.memory_bytes / (KERNEL_BYTES_PER_CONNECTION + USER_BYTES_PER_CONNECTION),
                remedy: "more memory, or fewer other processes".to_owned(),
            },
        ];
        limits.sort_by_key(|limit| limit.connections);
        limits
    }
}

/// Reads what the kernel says about files, watches and memory: (most files, free files, epoll
/// watches, available bytes). What cannot be read does not limit.
pub fn read_kernel() -> (u64, u64, u64, u64) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let first = |text: &str| text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
    let file_max = first(&read("/proc/sys/fs/file-max")).unwrap_or(u64::MAX);
    let files_open = first(&read("/proc/sys/fs/file-nr")).unwrap_or(0);
    let watches = first(&read("/proc/sys/fs/epoll/max_user_watches")).unwrap_or(u64::MAX);
    let available_kib = read("/proc/meminfo")
        .lines()
        .find_map(|line| first(line.strip_prefix("MemAvailable:")?))
        .unwrap_or(u64::MAX / 1024);
    (file_max, file_max.saturating_sub(files_open), watches, available_kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Machine = Machine {
        descriptors_per_table: 1024,
        descriptors_reserved: 24,
        tables: 4,
        files_max: 120_000,
        files_free: 100_000,
        epoll_watches: 50_000,
        memory_bytes: 1 << 30,
    };

    #[test]
    fn the_binding_limit_comes_first_with_what_raises_it() {
        let limits = SMALL.limits();
        assert_eq!((limits[0].name, limits[0].connections), ("RLIMIT_NOFILE", 4_000));
        assert!(limits[0].remedy.contains("--shards 8"));
        let watched = Machine { epoll_watches: 300, ..SMALL }.limits();
        assert_eq!((watched[0].name, watched[0].connections), ("fs.epoll.max_user_watches", 300));
    }

    #[test]
    fn more_reserved_descriptors_than_a_table_has_allow_nothing() {
        assert_eq!(Machine { descriptors_reserved: 2_000, ..SMALL }.limits()[0].connections, 0);
    }

    #[test]
    fn this_machine_says_what_it_has() {
        let (files_max, files_free, watches, memory) = read_kernel();
        assert!(files_max >= files_free && files_free > 0 && watches > 0 && memory > 0);
    }
}
