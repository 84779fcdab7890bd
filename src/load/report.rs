//! What every report has in common: on which machine, by which command, and how numbers are printed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::percentiles::Percentiles;

/// Where and how a figure was measured; without it a figure is worth nothing.
#[derive(Debug, Clone, Serialize)]
pub struct Origin {
    /// The command line.
    pub command: String,
    /// Kernel release.
    pub kernel: String,
    /// Model name of the first CPU.
    pub cpu: String,
    /// Cores of the machine, whichever of them this process is pinned to.
    pub cores: usize,
    /// The target's URL.
    pub target: String,
    /// Worker threads of the generator.
    pub threads: usize,
    /// Source addresses used; 0 if the kernel chose.
    pub source_ips: u64,
}

impl Origin {
    /// The origin of a run against `target`.
    pub fn now(target: &str, threads: usize, source_ips: u64) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
        let cpu = cpuinfo
            .lines()
            .find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim().to_owned()));
        Self {
            command: std::env::args().collect::<Vec<_>>().join(" "),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: cpu.unwrap_or_else(|| "unknown".to_owned()),
            cores,
            target: target.to_owned(),
            threads,
            source_ips,
        }
    }
}

/// A table of two columns for people: what, and how much.
#[derive(Default)]
pub struct Table {
    rows: Vec<(String, String)>,
}

impl Table {
    /// Adds a row.
    pub fn row(&mut self, what: impl Into<String>, value: impl Into<String>) {
        self.rows.push((what.into(), value.into()));
    }

    /// Adds a line that begins a group of rows.
    pub fn heading(&mut self, what: &str) {
        self.row(format!("-- {what}"), "");
    }

    /// Adds a row if there is a value.
    pub fn row_if(&mut self, what: &str, value: Option<f64>, decimals: usize) {
        if let Some(value) = value {
            self.row(what, number(value, decimals));
        }
    }

    /// Adds the percentiles of a distribution, if there is one.
    pub fn percentiles(&mut self, what: &str, times: Option<&Percentiles>) {
        let Some(times) = times else { return };
        for (name, us) in [
            ("p50", times.p50_us),
            ("p90", times.p90_us),
            ("p99", times.p99_us),
            ("p99.9", times.p999_us),
            ("max", times.max_us),
        ] {
            self.row(format!("{what}, {name} (µs)"), number(us as f64, 0));
        }
    }

    /// Adds one row per reason.
    pub fn reasons(&mut self, what: &str, reasons: &BTreeMap<String, u64>) {
        for (reason, count) in reasons {
            self.row(format!("  {what}: {reason}"), number(*count as f64, 0));
        }
    }

    /// The table as text, values right-aligned, ending in a newline.
    pub fn render(&self) -> String {
        let what = self.rows.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
        let value = self.rows.iter().map(|(_, value)| value.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for (name, amount) in &self.rows {
            // Writing to a String cannot fail.
            let line = format!("{name:<what$}  {amount:>value$}");
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }
}

/// `value` with `decimals` digits and a comma between thousands.
pub fn number(value: f64, decimals: usize) -> String {
    let plain = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = plain.split_once('.').map_or((plain.as_str(), None), |(w, f)| (w, Some(f)));
    let mut text = String::new();
    if value < 0.0 && plain.bytes().any(|digit| matches!(digit, b'1'..=b'9')) {
        text.push('-');
    }
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

/// `part / count`, or `None` where there was nothing to divide by.
pub fn per(part: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| part / count as f64)
}

/// Writes `report` to `path` as JSON, indented, ending in a newline.
///
/// # Errors
///
/// The file cannot be written: a sentence with its path.
pub fn write_json(report: &impl Serialize, path: &Path) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| format!("{} cannot be written: {error}", path.display());
    let mut text = serde_json::to_string_pretty(report).map_err(|error| said(&error))?;
    text.push('\n');
    fs::write(path, text).map_err(|error| said(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_and_as_many_decimals_as_asked_for() {
        assert_eq!(number(0.0, 0), "0");
        assert_eq!(number(999.0, 0), "999");
        assert_eq!(number(1_234_567.891, 1), "1,234,567.9");
        assert_eq!(number(-1_000.0, 0), "-1,000");
        assert_eq!(number(-0.001, 1), "0.0");
    }

    #[test]
    fn a_table_aligns_both_columns_and_leaves_out_what_is_unknown() {
        let mut table = Table::default();
        table.row("a", "1");
        table.row_if("long name", Some(1000.0), 0);
        table.row_if("absent", None, 0);
        table.reasons("failed", &BTreeMap::from([("x".to_owned(), 2)]));
        assert_eq!(table.render(), "a                1\nlong name    1,000\n  failed: x      2\n");
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        assert_eq!(per(5.0, 0), None);
        assert_eq!(per(5.0, 2), Some(2.5));
    }
}
