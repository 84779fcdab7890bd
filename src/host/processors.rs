//! Processors: how many a thread may use, and pinning one to each shard.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Processors that this process may run on, by number.
///
/// # Errors
///
/// The kernel knows more processors than `CpuSet` has room for.
pub fn available() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect())
}

/// Binds the calling thread to one processor.
///
/// # Errors
///
/// The processor does not exist or is not this process's to use.
pub fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_has_one_processor() {
        let last = *available().unwrap().last().unwrap();
        let mine = std::thread::spawn(move || {
            pin(last).unwrap();
            available().unwrap()
        });
        assert_eq!(mine.join().unwrap(), [last]);
    }
}
