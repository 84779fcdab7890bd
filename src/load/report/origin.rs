//! When, on which machine and by which command a figure was measured.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// Where and how a figure was measured; without it a figure is worth nothing.
#[derive(Debug, Clone, Serialize)]
pub struct Origin {
    /// When the run began, in UTC as RFC 3339.
    pub started_at: String,
    /// The command line.
    pub command: String,
    /// The version of throng that measured.
    pub version: &'static str,
    /// Kernel release.
    pub kernel: String,
    /// Model name of the first CPU.
    pub cpu: String,
    /// Cores of the machine, whichever of them this process is pinned to.
    pub cores: usize,
    /// Load averages of 1, 5 and 15 minutes before the run: what else was going on.
    pub load_average: String,
    /// The target's URL.
    pub target: String,
    /// Worker threads of the generator.
    pub threads: usize,
    /// Source addresses used; 0 if the kernel chose.
    pub source_ips: u64,
}

impl Origin {
    /// The origin of a run against `target` that begins now.
    pub fn now(target: &str, threads: usize, source_ips: u64) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
        let cpu = cpuinfo
            .lines()
            .find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim().to_owned()));
        let loads = read("/proc/loadavg");
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started_at: rfc_3339(since_1970.as_secs()),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            version: env!("CARGO_PKG_VERSION"),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: cpu.unwrap_or_else(|| "unknown".to_owned()),
            cores,
            load_average: loads.split(' ').take(3).collect::<Vec<_>>().join(" "),
            target: target.to_owned(),
            threads,
            source_ips,
        }
    }

    /// The same as pairs of what and which, for people.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let sources =
            if self.source_ips == 0 { "the kernel's choice".to_owned() } else { self.source_ips.to_string() };
        vec![
            ("Command", self.command.clone()),
            ("Target", self.target.clone()),
            ("Started", self.started_at.clone()),
            ("Measured by", format!("throng {}", self.version)),
            ("Kernel", self.kernel.clone()),
            ("CPU", format!("{} ({} cores)", self.cpu, self.cores)),
            ("Load average before", self.load_average.clone()),
            ("Generator threads", self.threads.to_string()),
            ("Source addresses", sources),
        ]
    }
}

/// Seconds since 1970 as a date and time of the Gregorian calendar, in UTC.
fn rfc_3339(seconds: u64) -> String {
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut days) = (1970, seconds / 86_400);
    loop {
        let days_of_year = 365 + u64::from(is_leap(year));
        if days < days_of_year {
            break;
        }
        days -= days_of_year;
        year += 1;
    }
    let mut month = 1;
    for days_of_month in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < days_of_month {
            break;
        }
        days -= days_of_month;
        month += 1;
    }
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar_leap_days_included() {
        assert_eq!(rfc_3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc_3339(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(rfc_3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc_3339(1_767_225_599), "2025-12-31T23:59:59Z");
        assert_eq!(rfc_3339(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn an_origin_names_this_machine_and_the_command() {
        let origin = Origin::now("ws://127.0.0.1:1/", 2, 0);
        assert!(origin.cores > 0 && !origin.kernel.is_empty() && !origin.command.is_empty());
        assert_eq!(origin.load_average.split(' ').count(), 3);
        assert!(origin.rows().contains(&("Source addresses", "the kernel's choice".to_owned())));
    }
}
