//! Stopping the server for a moment (SIGSTOP), so that its sockets stay while the clients' go.
//!
//! Invariant: whoever was stopped is continued: when the guard is dropped (an early return and a panic
//! included), and by [`thaw`] where the process ends without unwinding. A child whose generator is
//! killed is continued by the kernel, with SIGHUP, because its process group is then an orphan with a
//! stopped member (POSIX `_exit`); a foreign server is not.

use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The process that is stopped now; 0 for none. There is one server under load.
static FROZEN: AtomicI32 = AtomicI32::new(0);
/// How long a process may take to stop: its threads do when they next return to user mode.
const FREEZE_MAX: Duration = Duration::from_secs(2);
/// Between two looks whether it has.
const FREEZE_LOOK: Duration = Duration::from_millis(2);

/// A process that is stopped as long as this lives.
#[derive(Debug)]
pub struct Frozen(());

impl Frozen {
    /// Stops process `pid` and waits until all of its threads stand.
    ///
    /// # Errors
    ///
    /// It is gone, not ours to stop, or did not stop: a sentence.
    pub fn new(pid: u32) -> Result<Self, String> {
        let said = |why: &str| format!("process {pid} cannot be stopped for a moment: {why}");
        let number = i32::try_from(pid).map_err(|_| said("no process has such a number"))?;
        FROZEN.store(number, SeqCst);
        let guard = Self(());
        kill(Pid::from_raw(number), Signal::SIGSTOP).map_err(|error| said(error.desc()))?;
        let end = Instant::now() + FREEZE_MAX;
        while !stands(pid) {
            if Instant::now() >= end {
                return Err(said("it goes on"));
            }
            thread::sleep(FREEZE_LOOK);
        }
        Ok(guard)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        thaw();
    }
}

/// Continues the process that is stopped, if one is.
pub fn thaw() {
    let number = FROZEN.swap(0, SeqCst);
    if number > 0 {
        // Fails only for a process that is gone, which needs no more help.
        let _ = kill(Pid::from_raw(number), Signal::SIGCONT);
    }
}

/// Whether every thread of process `pid` is stopped: state `T` in `/proc/PID/task/TID/stat`.
fn stands(pid: u32) -> bool {
    let mut threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The name before it stands in parentheses and may hold any character.
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_stands_while_the_guard_lives_and_goes_on_after_it() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let frozen = Frozen::new(child.id()).unwrap();
        assert!(stands(child.id()));
        drop(frozen);
        let end = Instant::now() + FREEZE_MAX;
        while stands(child.id()) {
            assert!(Instant::now() < end, "it was not continued");
            thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(Frozen::new(u32::MAX).unwrap_err().contains("4294967295"));
    }
}
