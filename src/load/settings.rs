//! What a server that this run starts is configured with, beside its command line.
//!
//! Absent on purpose: a copy of the server's own options. A setting is a table, a key and a value here, and the
//! child says what it thinks of it.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

/// The table of the rooms that a bench uses.
pub const ROOMS: &str = "channel.without_namespace";
/// The table of limits.
pub const LIMITS: &str = "limits";
/// The table of what clients may.
pub const CLIENT: &str = "client";
/// What stands before all tables.
pub const SERVER: &str = "";

/// Settings by table.
#[derive(Debug, Clone, Default)]
pub struct Settings(BTreeMap<&'static str, Vec<(&'static str, String)>>);

impl Settings {
    /// The same with `key` of `table` set to `value`, a number or true or false.
    pub fn with(mut self, table: &'static str, key: &'static str, value: impl Display) -> Self {
        self.0.entry(table).or_default().push((key, value.to_string()));
        self
    }

    /// The same with `key` of `table` set to the text `value`.
    pub fn with_text(self, table: &'static str, key: &'static str, value: &str) -> Self {
        self.with(table, key, format!("{value:?}"))
    }

    /// Both.
    pub fn and(mut self, other: &Self) -> Self {
        for (table, settings) in &other.0 {
            self.0.entry(table).or_default().extend(settings.iter().cloned());
        }
        self
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The configuration file.
    pub fn file(&self) -> String {
        let mut text = String::new();
        // The empty name is the first of all, as TOML needs it.
        for (table, settings) in &self.0 {
            if !table.is_empty() {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "[{table}]");
            }
            for (key, value) in settings {
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_all_tables_comes_first_and_each_table_once() {
        let rooms = Settings::default().with(ROOMS, "presence", true).with(LIMITS, "a", 1);
        let all =
            rooms.and(&Settings::default().with(SERVER, "drain_ms", 5).with_text(ROOMS, "slow", "recover"));
        assert_eq!(
            all.file(),
            "drain_ms = 5\n[channel.without_namespace]\npresence = true\nslow = \"recover\"\n[limits]\na = 1\n"
        );
        assert!(!all.is_empty() && Settings::default().is_empty());
    }
}
