//! Whole numbers as people read them.

use std::fmt::Write as _;

/// Bytes, and what so many are called. Memory is sold and counted in powers of 1,024.
const UNITS: [(u128, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];

/// `number` with a comma between thousands.
pub fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `bytes` in the largest unit in which they have at most one decimal, e.g. `28 GiB`, `1.5 KiB`, `4,054 B`.
/// From a MiB on it need not be a whole number of bytes: `28.7 GiB` are told if there is less than a byte
/// between.
pub fn bytes(bytes: u128) -> String {
    for (unit, name) in UNITS {
        let tenths = (bytes * 10 + unit / 2) / unit;
        let off = (bytes * 10).abs_diff(tenths * unit);
        if bytes >= unit && (off == 0 || (off < 10 && unit >= 1 << 20)) {
            let mut text = grouped(tenths / 10);
            if !tenths.is_multiple_of(10) {
                // Writing to a String cannot fail.
                let _ = write!(text, ".{}", tenths % 10);
            }
            return format!("{text} {name}");
        }
    }
    format!("{} B", grouped(bytes))
}

/// `bytes` in the largest unit that they fill, to a hundredth of it: `22.95 GiB`. For what was measured and is
/// another number a moment later.
pub fn rounded(bytes: u128) -> String {
    let Some((unit, name)) = UNITS.iter().find(|(unit, _)| bytes >= *unit) else {
        return format!("{bytes} B");
    };
    let hundredths = (bytes * 100 + unit / 2) / unit;
    format!("{}.{:02} {name}", grouped(hundredths / 100), hundredths % 100)
}

/// `noun` as there are `count` of it: `node` and `nodes`, `address` and `addresses`.
pub fn noun_of(count: u128, noun: &str) -> String {
    let ending = match count {
        1 => "",
        _ if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{noun}{ending}")
}

/// `count` things, the right form of the noun included: `1 node`, `2 nodes`.
pub fn counted(count: u128, noun: &str) -> String {
    format!("{} {}", grouped(count), noun_of(count, noun))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let text: Vec<_> = [0, 999, 1_000, 1_468_006].map(grouped).into();
        assert_eq!(text, ["0", "999", "1,000", "1,468,006"]);
        assert_eq!(counted(1, "node") + &counted(2_000, "node"), "1 node2,000 nodes");
        assert_eq!(counted(1, "address") + &counted(0, "address"), "1 address0 addresses");
    }

    #[test]
    fn measured_bytes_are_told_to_a_hundredth() {
        let text: Vec<_> = [0, 1_023, 1_024, 3 << 29, 24_642_000_000, (1 << 20) - 1].map(rounded).into();
        assert_eq!(text, ["0 B", "1023 B", "1.00 KiB", "1.50 GiB", "22.95 GiB", "1,024.00 KiB"]);
        assert_eq!(rounded(u128::from(u64::MAX)), "16,777,216.00 TiB");
    }

    #[test]
    fn bytes_are_told_to_the_byte() {
        let text: Vec<_> = [1, 4_054, 20_480, 1_536, 28 << 30, 3 << 40].map(bytes).into();
        assert_eq!(text, ["1 B", "4,054 B", "20 KiB", "1.5 KiB", "28 GiB", "3 TiB"]);
        let text: Vec<_> = [30_816_390_348, 30_816_390_349, 30_816_390_359, 1_127].map(bytes).into();
        assert_eq!(text, ["28.7 GiB", "28.7 GiB", "30,816,390,359 B", "1,127 B"]);
    }
}
