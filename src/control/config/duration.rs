//! Durations as a person writes them in the file: `30d`, `90s`.

/// Units, longest first: milliseconds, and what the file calls them.
const UNITS: [(u64, &str); 5] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];

/// Tells a time in the longest unit in which it is a whole number; the file may say it so too.
pub fn duration_text(time_ms: u64) -> String {
    match UNITS.iter().find(|(unit_ms, _)| time_ms > 0 && time_ms.is_multiple_of(*unit_ms)) {
        Some((unit_ms, name)) => format!("{}{name}", time_ms / unit_ms),
        None => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_its_longest_whole_unit_and_understood_again() {
        for text in ["0s", "1ms", "1500ms", "90s", "90m", "1d", "25h", "30d", "36500d"] {
            let duration = humantime::parse_duration(text).unwrap();
            assert_eq!(duration_text(duration.as_millis() as u64), text);
        }
    }
}
