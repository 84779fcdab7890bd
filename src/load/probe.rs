//! What a process costs: its memory and its CPU time, from outside.

use std::{fs, io, time::Duration};

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde::Serialize;

/// User memory of a process in bytes. Source: `/proc/PID/smaps_rollup`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Proportional set size: resident pages, shared ones divided by their users.
    pub pss_bytes: u64,
    /// Resident set size.
    pub rss_bytes: u64,
    /// Resident pages of this process alone.
    pub private_bytes: u64,
    /// Its page tables, which are the kernel's memory. Source: `VmPTE` of `/proc/PID/status`.
    pub page_table_bytes: u64,
}

/// A process under observation, and the clock that counts its CPU time.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    pid: i32,
    clock: ClockId,
}

impl Probe {
    /// Observes process `pid`.
    ///
    /// # Errors
    ///
    /// There is no such process, or it is not ours to look at: a sentence that says which.
    pub fn new(pid: u32) -> Result<Self, String> {
        let pid = i32::try_from(pid).map_err(|_| format!("--pid {pid}: no process has such a number"))?;
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid))
            .map_err(|error| format!("process {pid} cannot be observed: {}", error.desc()))?;
        let probe = Self { pid, clock };
        probe.memory().map_err(|error| format!("the memory of process {pid} cannot be read: {error}"))?;
        Ok(probe)
    }

    /// Observes this very process.
    ///
    /// # Errors
    ///
    /// As [`Probe::new`]: `/proc` is not mounted.
    pub fn own() -> Result<Self, String> {
        Self::new(std::process::id())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// CPU time of all the process's threads so far, ended ones included, user and system together.
    ///
    /// This is the clock that the scheduler charges, in ns, not the ticks of `/proc/PID/stat`.
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn cpu(&self) -> io::Result<Duration> {
        Ok(Duration::from(clock_gettime(self.clock)?))
    }

    /// Memory now. The kernel walks all of the process's pages: milliseconds for a large one.
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn memory(&self) -> io::Result<Memory> {
        let mut memory = parse_smaps_rollup(&fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid))?);
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        memory.page_table_bytes = kib_of("VmPTE:", &status).unwrap_or(0);
        Ok(memory)
    }
}

impl Probe {
    /// The most memory that the process has had resident, in bytes. Source: `VmHWM` of `/proc/PID/status`.
    pub fn peak_bytes(&self) -> Option<u64> {
        kib_of("VmHWM:", &fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?)
    }
}

/// The line of `status` that begins with `name`, in bytes.
fn kib_of(name: &str, status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.split_ascii_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Seconds of CPU between two readings of one clock, if both could be taken.
pub fn spent(before: Option<Duration>, after: Option<Duration>) -> Option<f64> {
    Some(after?.saturating_sub(before?).as_secs_f64())
}

fn parse_smaps_rollup(text: &str) -> Memory {
    let mut memory = Memory::default();
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(name), Some(Ok(kib))) = (fields.next(), fields.next().map(str::parse::<u64>)) else {
            continue;
        };
        match name {
            "Pss:" => memory.pss_bytes = kib * 1024,
            "Rss:" => memory.rss_bytes = kib * 1024,
            "Private_Clean:" | "Private_Dirty:" | "Private_Hugetlb:" => memory.private_bytes += kib * 1024,
            _ => {}
        }
    }
    memory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes_and_private_pages_are_summed() {
        let text = "5587-7fff ---p 00000000 00:00 0   [rollup]\nRss:      1756 kB\nPss:       400 kB\n\
                    Pss_Dirty: 116 kB\nPrivate_Clean:  48 kB\nPrivate_Dirty: 116 kB\n";
        let memory = parse_smaps_rollup(text);
        assert_eq!(memory.rss_bytes, 1756 * 1024);
        assert_eq!(memory.pss_bytes, 400 * 1024);
        assert_eq!(memory.private_bytes, 164 * 1024);
        assert_eq!(kib_of("VmPTE:", "VmData:\t 9 kB\nVmPTE:\t      52 kB\n"), Some(52 * 1024));
    }

    #[test]
    fn the_cpu_clock_of_this_process_only_goes_forward() {
        let probe = Probe::own().unwrap();
        let before = probe.cpu().unwrap();
        let memory = probe.memory().unwrap();
        assert!(probe.cpu().unwrap() > before);
        assert!(probe.peak_bytes().unwrap() > 0);
        assert!(memory.pss_bytes > 0 && memory.rss_bytes >= memory.private_bytes);
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        assert!(Probe::new(u32::MAX).unwrap_err().contains("4294967295"));
        assert!(Probe::new(0x3FFF_FFFF).unwrap_err().contains("1073741823"));
    }
}
