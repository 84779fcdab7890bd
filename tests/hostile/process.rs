//! What a server's process costs, as Linux tells it.

use std::fs;

/// Memory of process `pid` in bytes: its heaps and stacks, but not the pages of the binary, of which
/// each server of a test run has its share.
pub fn memory_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// CPU time that process `pid` has used, user and system, in milliseconds.
pub fn cpu_ms(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name in brackets may hold spaces; utime and stime are the 14th and 15th field of proc(5).
    let (_, fields) = text.rsplit_once(") ").unwrap();
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    // USER_HZ is 100 on every architecture that Linux has left.
    ticks * 10
}
