//! What the kernel says of the process and its machine, cheap enough to ask each second: memory, and the
//! time that each shard's thread ran.
//!
//! No file here is longer for more connections. What a connection costs is told from how much memory grew
//! since the server was at rest, so everything else that grows on the machine is in it; it is told from
//! `COUNTED_MIN` connections on, below which that would be most of it.

use std::time::Duration;

use super::snapshot::Memory;
use crate::host::tree::Tree;

/// Connections from which on memory is told for each.
const COUNTED_MIN: u64 = 1_000;

/// Bytes of a page. Source: x86-64, and what most other kernels are built with.
const PAGE_BYTES: u64 = 4096;

/// Directories of a process's threads.
const TASKS: &str = "/proc/self/task";

/// Bytes that are in use.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    user: Option<u64>,
    kernel: Option<u64>,
}

/// The machine, and what was in use on it when the server was at rest.
#[derive(Debug)]
pub(super) struct Machine {
    tree: Tree,
    at_rest: Used,
}

impl Machine {
    /// The machine of a server that has no connections yet.
    pub(super) fn at_rest() -> Self {
        let tree = Tree::live();
        Machine { at_rest: used(&tree), tree }
    }

    /// What is in use now, and what of that each of `connections` costs.
    pub(super) fn memory(&self, connections: u64) -> Memory {
        let now = used(&self.tree);
        let each = |now: Option<u64>, at_rest: Option<u64>| {
            let grown = now?.checked_sub(at_rest?)?;
            (connections >= COUNTED_MIN).then(|| grown as f64 / connections as f64)
        };
        Memory {
            user_bytes: now.user,
            kernel_bytes: now.kernel,
            user_bytes_per_connection: each(now.user, self.at_rest.user),
            kernel_bytes_per_connection: each(now.kernel, self.at_rest.kernel),
        }
    }

    /// Where the kernel tells how long the thread of each of `shards` ran; nothing for a thread that is
    /// not found.
    pub(super) fn threads(&self, shards: usize) -> Vec<Option<String>> {
        let mut threads = vec![None; shards];
        for task in self.tree.entries(TASKS).unwrap_or_default() {
            let name = self.tree.text(&format!("{TASKS}/{task}/comm")).unwrap_or_default();
            let shard = name.strip_prefix("shard-").and_then(|number| number.parse::<usize>().ok());
            if let Some(thread) = shard.and_then(|shard| threads.get_mut(shard)) {
                *thread = Some(format!("{TASKS}/{task}/schedstat"));
            }
        }
        threads
    }

    /// How long a thread of `threads` ran so far.
    pub(super) fn ran(&self, thread: &str) -> Option<Duration> {
        let text = self.tree.text(thread).ok()?;
        Some(Duration::from_nanos(text.split_ascii_whitespace().next()?.parse().ok()?))
    }
}

fn used(tree: &Tree) -> Used {
    let slabs = tree.size_bytes("/proc/meminfo", "Slab").ok();
    // Buffers of TCP: the pages of their data are in no slab.
    let buffers = tree.text("/proc/net/sockstat").ok().and_then(|text| tcp_pages(&text));
    Used {
        user: tree.size_bytes("/proc/self/status", "RssAnon").ok(),
        kernel: slabs.zip(buffers).map(|(slabs, pages)| slabs + pages * PAGE_BYTES),
    }
}

/// `mem` of the TCP line of `/proc/net/sockstat`.
fn tcp_pages(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP: "))?;
    line.split_ascii_whitespace().skip_while(|word| *word != "mem").nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_for_each_connection_once_they_are_what_made_it_grow() {
        let machine = Machine::at_rest();
        let few = machine.memory(COUNTED_MIN - 1);
        assert!(few.user_bytes.unwrap() > 0 && few.kernel_bytes.unwrap() > 0);
        assert_eq!((few.user_bytes_per_connection, few.kernel_bytes_per_connection), (None, None));
        let at_rest = Used { user: Some(0), kernel: Some(u64::MAX) };
        let machine = Machine { at_rest, ..machine };
        let many = machine.memory(COUNTED_MIN);
        assert!(many.user_bytes_per_connection.unwrap() > 0.0);
        assert_eq!(many.kernel_bytes_per_connection, None, "less than at rest is nobody's cost");
    }

    #[test]
    fn pages_of_tcp_are_those_of_its_line() {
        let text = "sockets: used 13\nTCP: inuse 7 orphan 0 tw 0 alloc 9 mem 3\nUDP: inuse 5 mem 8\n";
        assert_eq!(tcp_pages(text), Some(3));
        assert_eq!(tcp_pages("UDP: inuse 5 mem 8\n"), None);
    }

    #[test]
    fn the_thread_of_a_shard_is_found_by_its_name() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("shard-1".to_owned());
        let thread = thread.spawn(move || stopped.recv().is_ok()).unwrap();
        let machine = Machine::at_rest();
        // A thread gives itself its name, so it may not have it yet.
        let threads =
            std::iter::repeat_with(|| machine.threads(2)).find(|threads| threads[1].is_some()).unwrap();
        assert_eq!(threads[0], None);
        assert!(machine.ran(threads[1].as_ref().unwrap()).is_some());
        drop(stop);
        assert!(!thread.join().unwrap());
        assert_eq!(machine.ran("/proc/self/task/0/schedstat"), None);
    }
}
