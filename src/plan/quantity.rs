//! What each input may be: its unit, its range and how it is typed.
//!
//! The ranges leave room for every product of the arithmetic in 128 bits (the largest is of the order
//! of 10^36), and end far above any machine or planet.

use super::decimal::{Decimal, MILLION};
use super::text::bytes;

/// How a number may be abbreviated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// k, M, G and T are powers of 1,000.
    Count,
    /// K, M, G and T are powers of 1,024, with or without `iB` or `B`: as memory is counted.
    Bytes,
    /// A part of one, or percent.
    Fraction,
}

/// One input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity {
    /// The option that sets it.
    pub option: &'static str,
    unit: Unit,
    is_whole: bool,
    low_millionths: u128,
    high_millionths: u128,
    example: &'static str,
}

const fn whole(option: &'static str, unit: Unit, low: u64, high: u64, example: &'static str) -> Quantity {
    let (low, high) = (Decimal::whole(low).millionths(), Decimal::whole(high).millionths());
    Quantity { option, unit, is_whole: true, low_millionths: low, high_millionths: high, example }
}

const fn decimal(
    option: &'static str,
    unit: Unit,
    low_millionths: u128,
    high_millionths: u128,
    example: &'static str,
) -> Quantity {
    Quantity { option, unit, is_whole: false, low_millionths, high_millionths, example }
}

/// Users connected at once.
pub const USERS: Quantity = whole("--users", Unit::Count, 1, 1_000_000_000_000, "10M");
/// Connections of one user.
pub const SESSIONS_PER_USER: Quantity =
    decimal("--sessions-per-user", Unit::Count, 1, 1_000 * MILLION, "1.5");
/// Publishes per second over all rooms.
pub const PUBLISHES_PER_SECOND: Quantity =
    decimal("--publishes-per-second", Unit::Count, 1, 1_000_000_000 * MILLION, "2000 or 0.5");
/// Most members of a room.
pub const ROOM_SIZE_MAX: u64 = 1_000_000_000;
/// Members of a room.
pub const ROOM_SIZE: Quantity = whole("--room-sizes", Unit::Count, 1, ROOM_SIZE_MAX, "150");
/// Share of the publishes that go to rooms of a size.
pub const ROOM_SHARE: Quantity = decimal("--room-sizes", Unit::Fraction, 1, MILLION, "0.7 or 70%");
/// Fraction of the members that are connected.
pub const ACTIVE: Quantity = decimal("--active", Unit::Fraction, 1, MILLION, "0.4 or 40%");
/// Payload of the WebSocket message that a member gets.
pub const MESSAGE_BYTES: Quantity = whole("--message-bytes", Unit::Bytes, 1, 1 << 30, "200 or 2KiB");
/// Memory of a node for its connections.
pub const MEMORY: Quantity = whole("--memory", Unit::Bytes, 1, 1 << 50, "28GiB");
/// Memory of one connection.
pub const BYTES_PER_CONNECTION: Quantity =
    whole("--bytes-per-connection", Unit::Bytes, 1, 1 << 30, "20KiB or 4054");
/// Descriptors of a node for its connections.
pub const DESCRIPTORS: Quantity = whole("--descriptors", Unit::Count, 1, 1_000_000_000_000, "1M");
/// Writes per second of a node.
pub const DELIVERIES_PER_SECOND: Quantity =
    whole("--deliveries-per-second", Unit::Count, 1, 1_000_000_000_000, "40k");
/// Egress of a node in Gbit/s.
pub const EGRESS_GBIT: Quantity = decimal("--egress-gbit", Unit::Count, 1, 1_000_000 * MILLION, "10 or 0.5");
/// Fraction of every limit that is kept free.
pub const HEADROOM: Quantity = decimal("--headroom", Unit::Fraction, 0, MILLION - 1, "0.3 or 30%");
/// Nodes that may fail at once.
pub const SURVIVE: Quantity = whole("--survive", Unit::Count, 0, 1_000_000, "1");
/// Factor on the nodes needed.
pub const REDUNDANCY: Quantity = decimal("--redundancy", Unit::Count, MILLION, 100 * MILLION, "2 or 1.5");
/// Nodes that there are.
pub const NODES: Quantity = whole("--nodes", Unit::Count, 1, 1_000_000_000, "10");

impl Quantity {
    /// The number in `text`, abbreviated or not.
    ///
    /// # Errors
    ///
    /// It is no number, or not one that is accepted: a sentence with what is.
    pub fn parse(&self, text: &str) -> Result<Decimal, String> {
        let number =
            self.read(text).ok_or_else(|| format!("{}; accepted: {}", self.why(text), self.accepted()))?;
        self.check(number).map_err(|accepted| format!("accepted: {accepted}"))?;
        Ok(number)
    }

    /// The same for what is counted in whole numbers.
    ///
    /// # Errors
    ///
    /// As [`Quantity::parse`]; a fraction is none that is accepted.
    pub fn parse_whole(&self, text: &str) -> Result<u64, String> {
        self.parse(text)?.to_whole().ok_or_else(|| format!("accepted: {}", self.accepted()))
    }

    /// Whether `number` is in range.
    ///
    /// # Errors
    ///
    /// It is not: what is accepted.
    pub fn check(&self, number: Decimal) -> Result<(), String> {
        let is_in_range = (self.low_millionths..=self.high_millionths).contains(&number.millionths());
        let is_whole = !self.is_whole || number.to_whole().is_some();
        if is_in_range && is_whole { Ok(()) } else { Err(self.accepted()) }
    }

    /// The range with an example.
    fn accepted(&self) -> String {
        let number = |millionths: u128| match self.unit {
            Unit::Bytes => bytes(millionths / MILLION),
            Unit::Count | Unit::Fraction => Decimal::from_millionths(millionths).to_string(),
        };
        let (low, high) = (self.low_millionths, self.high_millionths);
        let low_text = if low == 1 { "more than 0".to_owned() } else { number(low) };
        let high_text = if high == MILLION - 1 { "less than 1".to_owned() } else { number(high) };
        let whole = if self.is_whole { "whole numbers from" } else { "numbers from" };
        let six = if self.is_whole { "" } else { ", with at most 6 decimals" };
        format!("{whole} {low_text} to {high_text}{six}, such as {}", self.example)
    }

    /// Why `text` is no number of this kind.
    fn why(&self, text: &str) -> &'static str {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.len() < text.len() && self.read(digits).is_some() {
            return "it is negative";
        }
        "it is not such a number"
    }

    fn read(&self, text: &str) -> Option<Decimal> {
        let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (digits, suffix) = text.split_at(digits_end);
        let (factor, divisor) = self.unit.suffix(suffix)?;
        if self.unit == Unit::Bytes && factor > 1 {
            // 28.7GiB are no whole number of bytes, and nobody means the last one.
            return Decimal::parse_rounded_down(digits, factor);
        }
        Decimal::parse(digits, factor, divisor)
    }
}

impl Unit {
    /// What `suffix` multiplies by, and what it divides by.
    fn suffix(self, suffix: &str) -> Option<(u128, u128)> {
        let (base, suffix): (u128, _) = match self {
            Self::Count => (1_000, suffix),
            Self::Bytes if suffix == "B" => return Some((1, 1)),
            Self::Bytes => {
                (1_024, suffix.strip_suffix("iB").or_else(|| suffix.strip_suffix('B')).unwrap_or(suffix))
            }
            Self::Fraction if suffix == "%" => return Some((1, 100)),
            Self::Fraction => return suffix.is_empty().then_some((1, 1)),
        };
        let power = match suffix {
            "" => 0,
            "k" | "K" => 1,
            "M" => 2,
            "G" => 3,
            "T" => 4,
            _ => return None,
        };
        Some((base.pow(power), 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_abbreviate_them() {
        assert_eq!(USERS.parse_whole("10M"), Ok(10_000_000));
        assert_eq!(USERS.parse_whole("1.5M"), Ok(1_500_000));
        assert_eq!(DELIVERIES_PER_SECOND.parse_whole("50k"), Ok(50_000));
        assert_eq!(MEMORY.parse_whole("28GiB"), Ok(28 << 30));
        for text in ["20KiB", "20KB", "20kB", "20K", "20480", "20480B"] {
            assert_eq!(BYTES_PER_CONNECTION.parse_whole(text), Ok(20_480), "{text}");
        }
        assert_eq!(MEMORY.parse_whole("28.7GiB"), Ok(30_816_390_348));
        assert_eq!(ACTIVE.parse("40%"), ACTIVE.parse("0.4"));
        assert_eq!(PUBLISHES_PER_SECOND.parse("0.5").unwrap().millionths(), 500_000);
    }

    #[test]
    fn what_is_no_number_is_refused_with_what_is_accepted() {
        for text in ["", "NaN", "inf", "1e6", "10m", "ten", "10 M", "0x10", "1,000", "--json", "9e999", "🦀"]
        {
            let said = USERS.parse_whole(text).unwrap_err();
            assert_eq!(
                said,
                "it is not such a number; accepted: whole numbers from 1 to 1,000,000,000,000, such as 10M"
            );
        }
        assert!(USERS.parse_whole("-10M").unwrap_err().starts_with("it is negative; accepted: "));
    }

    #[test]
    fn what_is_out_of_range_is_refused_with_the_range() {
        let huge = "9".repeat(300);
        for (quantity, texts, accepted) in [
            (USERS, ["0", "1.5", "1000001M", huge.as_str()], "whole numbers from 1 to 1,000,000,000,000"),
            (ACTIVE, ["0", "1.1", "101%", "0.0000001"], "numbers from more than 0 to 1, with at most 6"),
            (HEADROOM, ["1", "100%", "2", "0.9999999"], "numbers from 0 to less than 1, with at most 6"),
            (MEMORY, ["0", "1.5", "2000TiB", "28Gb"], "whole numbers from 1 B to 1,024 TiB, such as 28GiB"),
            (REDUNDANCY, ["0", "0.5", "101", "1M"], "numbers from 1 to 100, with at most 6"),
        ] {
            for text in texts {
                let said = quantity.parse(text).unwrap_err();
                assert!(said.contains(accepted), "{text} for {}: {said}", quantity.option);
            }
        }
    }
}
