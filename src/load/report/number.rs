//! Numbers as people read them.

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

/// `value` with three significant digits or all of its whole ones, e.g. `0.0123`, `1.5`, `12,345`.
pub fn significant(value: f64) -> String {
    let digits = if value == 0.0 { 1 } else { value.abs().log10().floor() as i32 + 1 };
    let text = number(value, (3 - digits).clamp(0, 9) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `value` in a few characters for the tick of an axis, e.g. `0.5`, `2,000`, `50k`, `1.5M`.
pub fn short(value: f64) -> String {
    for (suffix, unit) in [("G", 1e9_f64), ("M", 1e6), ("k", 1e3)] {
        // Four digits are as short as their abbreviation and easier to read.
        if value.abs() >= unit.max(1e4) {
            return format!("{}{suffix}", significant(value / unit));
        }
    }
    significant(value)
}

/// `part / count`, or `None` where there was nothing to divide by.
pub fn per(part: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| part / count as f64)
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
    fn significant_digits_are_three_and_zeros_at_the_end_are_left_out() {
        let text: Vec<_> = [0.0, 0.012_345, 1.5, 20.0, 99.99, 12_345.6, -0.5].map(significant).into();
        assert_eq!(text, ["0", "0.0123", "1.5", "20", "100", "12,346", "-0.5"]);
    }

    #[test]
    fn ticks_are_short() {
        let text: Vec<_> = [0.0, 0.25, 2_000.0, 50_000.0, 1_500_000.0, 2e9].map(short).into();
        assert_eq!(text, ["0", "0.25", "2,000", "50k", "1.5M", "2G"]);
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        assert_eq!(per(5.0, 0), None);
        assert_eq!(per(5.0, 2), Some(2.5));
    }
}
