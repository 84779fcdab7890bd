//! File descriptors: the limit of a table, and tables of a shard's own.
//!
//! RLIMIT_NOFILE counts per table, not per process: a thread that unshares its table has the
//! whole limit to itself, takes no lock that another thread's accept or close holds, and its
//! system calls borrow descriptors without an atomic (`fdget` in Linux `fs/file.c`).

use std::io;

use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of descriptors in a table to the hard one; returns the limit.
///
/// # Errors
///
/// The kernel refused, which it does only under a seccomp or security module's rule.
pub fn raise_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// Gives the calling thread a private copy of the descriptor table.
///
/// What is opened or closed afterwards, here or in other threads, stays on its side, so whatever
/// threads share (wakers, logs) must be open before.
///
/// # Errors
///
/// No memory for the table, or a container's rule against `unshare`.
pub fn unshare_table() -> io::Result<()> {
    Ok(unshare(CloneFlags::CLONE_FILES)?)
}

/// Descriptors open in the calling thread's table.
///
/// # Errors
///
/// `/proc` is not mounted.
pub fn open_count() -> io::Result<usize> {
    // The listing holds one descriptor itself.
    Ok(std::fs::read_dir("/proc/thread-self/fd")?.count().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let limit = raise_limit().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (limit, limit));
    }

    #[test]
    fn a_private_table_counts_only_its_own_descriptors() {
        let (mine, theirs) = std::thread::spawn(|| {
            unshare_table().unwrap();
            let before = open_count().unwrap();
            let files: Vec<_> = (0..100).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
            let held = open_count().unwrap() - before;
            let elsewhere = std::fs::read_dir(format!("/proc/{}/fd", std::process::id())).unwrap().count();
            drop(files);
            (held, elsewhere)
        })
        .join()
        .unwrap();
        assert_eq!(mine, 100);
        assert!(theirs < 100 + mine, "the process's own table must not have grown by the thread's files");
    }
}
