//! A table of two columns: what, and how much.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::number::number;
use crate::load::percentiles::Percentiles;

/// Rows in the order in which they were added.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Vec<(String, String)>,
}

impl Table {
    /// Adds a row.
    pub fn row(&mut self, what: impl Into<String>, value: impl Into<String>) {
        self.rows.push((what.into(), value.into()));
    }

    /// Adds a row if there is a value.
    pub fn row_if(&mut self, what: &str, value: Option<f64>, decimals: usize) {
        if let Some(value) = value {
            self.row(what, number(value, decimals));
        }
    }

    /// Adds a line that begins a group of rows.
    pub fn heading(&mut self, what: &str) {
        self.row(format!("-- {what}"), "");
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

    /// The rows. What belongs to the row before it is indented by two spaces.
    pub fn rows(&self) -> &[(String, String)] {
        &self.rows
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_aligns_both_columns_and_leaves_out_what_is_unknown() {
        let mut table = Table::default();
        table.row("a", "1");
        table.row_if("long name", Some(1000.0), 0);
        table.row_if("absent", None, 0);
        table.reasons("failed", &BTreeMap::from([("x".to_owned(), 2)]));
        assert_eq!(table.render(), "a                1\nlong name    1,000\n  failed: x      2\n");
    }
}
