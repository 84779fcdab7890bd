//! Numbers with up to six decimals, exactly.

use std::fmt::{self, Display};

use serde::{Serialize, Serializer};

use super::text::grouped;

/// Millionths in one.
pub const MILLION: u128 = 1_000_000;

/// A number of 0 or more in millionths: fractions and rates as people type them, without the errors of
/// binary floating point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal {
    millionths: u128,
}

impl Decimal {
    /// 0.
    pub const ZERO: Self = Self::whole(0);
    /// 1.
    pub const ONE: Self = Self::whole(1);

    /// A whole number.
    pub const fn whole(number: u64) -> Self {
        Self { millionths: number as u128 * MILLION }
    }

    /// So many millionths.
    pub const fn from_millionths(millionths: u128) -> Self {
        Self { millionths }
    }

    /// The number in millionths.
    pub const fn millionths(self) -> u128 {
        self.millionths
    }

    /// The number itself if it is whole and fits.
    pub fn to_whole(self) -> Option<u64> {
        let is_whole = self.millionths.is_multiple_of(MILLION);
        is_whole.then(|| u64::try_from(self.millionths / MILLION).ok()).flatten()
    }

    /// The nearest whole number, and at least 1: how many there are of what there is.
    pub fn rounded(self) -> u128 {
        ((self.millionths + MILLION / 2) / MILLION).max(1)
    }

    /// The decimal number in `text` times `factor`, divided by `divisor`: digits, at most one point, and
    /// digits after it. `None` if `text` is no such number, is too long to be meant (30 digits), or has
    /// more than six decimals.
    pub fn parse(text: &str, factor: u128, divisor: u128) -> Option<Self> {
        let (scaled, divisor) = scaled(text, factor, divisor)?;
        scaled.is_multiple_of(divisor).then(|| Self { millionths: scaled / divisor })
    }

    /// The same, rounded down to a whole number.
    pub fn parse_rounded_down(text: &str, factor: u128) -> Option<Self> {
        let (scaled, divisor) = scaled(text, factor, 1)?;
        let millionths = scaled / divisor;
        Some(Self { millionths: millionths - millionths % MILLION })
    }
}

/// `text` times `factor` in millionths, as a fraction with a multiple of `divisor` below.
fn scaled(text: &str, factor: u128, divisor: u128) -> Option<(u128, u128)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    if digits.len() > 30 {
        return None;
    }
    // At most 30 digits fit in 100 bits.
    let digits: u128 = digits.parse().ok()?;
    let scaled = digits.checked_mul(factor)?.checked_mul(MILLION)?;
    Some((scaled, 10_u128.checked_pow(fraction.len() as u32)?.checked_mul(divisor)?))
}

impl Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&grouped(self.millionths / MILLION))?;
        let fraction = self.millionths % MILLION;
        if fraction > 0 {
            write!(f, ".{}", format!("{fraction:06}").trim_end_matches('0'))?;
        }
        Ok(())
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.millionths.is_multiple_of(MILLION) {
            serializer.serialize_u128(self.millionths / MILLION)
        } else {
            // The nearest double of a number with six decimals prints as these decimals.
            serializer.serialize_f64(self.millionths as f64 / MILLION as f64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millionths(text: &str) -> Option<u128> {
        Decimal::parse(text, 1, 1).map(Decimal::millionths)
    }

    #[test]
    fn a_decimal_is_read_exactly_or_not_at_all() {
        assert_eq!(millionths("0.1"), Some(100_000));
        assert_eq!(millionths("1.500000000"), Some(1_500_000));
        assert_eq!(millionths("000"), Some(0));
        for wrong in ["", ".5", "5.", "-1", "+1", "1e6", "NaN", "inf", "1,000", "0.0000001", "1 ", "٣"] {
            assert_eq!(millionths(wrong), None, "{wrong}");
        }
        assert_eq!(millionths(&"9".repeat(31)), None);
        assert_eq!(Decimal::parse("1.2345678", 1_000_000, 1).unwrap().to_string(), "1,234,567.8");
        assert_eq!(Decimal::parse("40", 1, 100).unwrap(), Decimal::parse("0.4", 1, 1).unwrap());
        assert_eq!(Decimal::parse(&"9".repeat(30), u128::MAX, 1), None);
    }

    #[test]
    fn a_decimal_is_shown_without_zeros_that_say_nothing() {
        let shown = |millionths| Decimal::from_millionths(millionths).to_string();
        assert_eq!(shown(1_500_000), "1.5");
        assert_eq!(shown(10_000_000_000), "10,000");
        assert_eq!(shown(1), "0.000001");
        assert_eq!(serde_json::to_string(&Decimal::from_millionths(100_000)).unwrap(), "0.1");
        assert_eq!(serde_json::to_string(&Decimal::whole(7)).unwrap(), "7");
    }
}
