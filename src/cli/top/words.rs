//! Numbers of a snapshot in few characters.

use crate::control::dashboard::snapshot::Limit;
use crate::load::report::number;

/// A rate: whole from ten on, with one digit below.
pub(super) fn rate(per_second: f64) -> String {
    number(per_second, usize::from(per_second > 0.0 && per_second < 9.95))
}

/// A number of things.
pub(super) fn count(count: u64) -> String {
    crate::plan::text::grouped(count.into())
}

/// A number of things in at most five characters: `12,345` is `12.3k`.
pub(super) fn short(value: f64) -> String {
    for (suffix, unit) in [("G", 1e9), ("M", 1e6), ("k", 1e3)] {
        if value >= unit * 9.9995 {
            let scaled = value / unit;
            return format!("{scaled:.*}{suffix}", usize::from(scaled < 99.95));
        }
    }
    let has_fraction = value < 9.95 && value.fract() != 0.0;
    format!("{value:.*}", usize::from(has_fraction))
}

/// Bytes with one digit behind the point.
pub(super) fn bytes(bytes: f64) -> String {
    for (name, unit) in [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= unit as f64 {
            return format!("{:.1} {name}", bytes / unit as f64);
        }
    }
    format!("{bytes:.0} B")
}

/// A time that is given in microseconds.
pub(super) fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

/// A time that is given in seconds, in its two largest units.
pub(super) fn seconds(s: u64) -> String {
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// A name that somebody else chose, without what a terminal would take for a command.
pub(super) fn harmless(name: &str) -> String {
    name.chars().map(|letter| if letter.is_control() { '\u{FFFD}' } else { letter }).collect()
}

/// How full a wall is, 0 to 1.
pub(super) fn share(limit: &Limit) -> f64 {
    if limit.max == 0 { 0.0 } else { (limit.used as f64 / limit.max as f64).clamp(0.0, 1.0) }
}

/// How much of a wall is used, of how much.
pub(super) fn used(limit: &Limit) -> String {
    if limit.unit == "bytes" {
        format!("{} of {}", bytes(limit.used as f64), bytes(limit.max as f64))
    } else {
        format!("{} of {}", short(limit.used as f64), short(limit.max as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_true() {
        let text: Vec<_> =
            [0.0, 0.4, 9.96, 12.0, 9_999.0, 12_345.0, 123_456.0, 9_999_999.0].map(short).into();
        assert_eq!(text, ["0", "0.4", "10", "12", "9999", "12.3k", "123k", "10.0M"]);
        assert!(
            [0.0, 1.0, 99_949.0, 99_951.0, 1e6, 99.94e6, 1e9].map(short).iter().all(|text| text.len() <= 5)
        );
        let text: Vec<_> = [0.0, 1_023.0, 1_536.0, 4e9].map(bytes).into();
        assert_eq!(text, ["0 B", "1023 B", "1.5 KiB", "3.7 GiB"]);
        let text: Vec<_> = [7, 1_234, 2_500_000].map(micros).into();
        assert_eq!(text, ["7 µs", "1.2 ms", "2.5 s"]);
        let text: Vec<_> = [59, 61, 3_661, 90_000].map(seconds).into();
        assert_eq!(text, ["59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
        let text: Vec<_> = [0.0, 0.25, 9.94, 9.96, 1_234.4].map(rate).into();
        assert_eq!(text, ["0", "0.2", "9.9", "10", "1,234"]);
    }

    #[test]
    fn a_name_cannot_speak_to_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jé\u{9b}b\n"), "a\u{FFFD}[2Jé\u{FFFD}b\u{FFFD}");
    }

    #[test]
    fn a_wall_of_nothing_is_not_near() {
        assert_eq!(share(&Limit::default()), 0.0);
        let limit = Limit { used: 3, max: 2, unit: "connections".to_owned(), ..Limit::default() };
        assert_eq!((share(&limit), used(&limit).as_str()), (1.0, "3 of 2"));
    }
}
