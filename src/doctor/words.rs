//! Numbers as people read them, written by [`crate::plan::text`], and what Linux writes for numbers.
//!
//! The doctor has one number more than the plan: the largest one, which no limit is.

use crate::plan::text::{grouped, noun_of, rounded};

/// `1234567` as `1,234,567`; the largest number there is as `unlimited`.
pub fn count(number: u64) -> String {
    if number == u64::MAX { "unlimited".to_owned() } else { grouped(number.into()) }
}

/// Bytes with the unit that suits them, such as `22.95 GiB`.
pub fn size(bytes: u64) -> String {
    if bytes == u64::MAX { count(bytes) } else { rounded(bytes.into()) }
}

/// `number` with the noun in the number that it asks for: `1 shard`, `2 shards`.
pub fn several(number: u64, noun: &str) -> String {
    format!("{} {}", count(number), noun_of(number.into(), noun))
}

/// More processors than any box has.
const PROCESSORS_MAX: u64 = 1 << 20;

/// The numbers of a text such as `0-3,8`, which Linux writes for sets of processors; nothing if it
/// is no such text.
pub fn number_list(text: &str) -> Option<Vec<u64>> {
    let mut numbers = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
        // A text that has more, in one part or in all, is not one of Linux's.
        if last < first || last > PROCESSORS_MAX || numbers.len() as u64 + (last - first) > PROCESSORS_MAX {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(u64::MAX), "unlimited");
        assert_eq!((size(3 << 29), size(u64::MAX)), ("1.50 GiB".into(), "unlimited".into()));
        assert_eq!((several(1, "shard"), several(2, "shard")), ("1 shard".into(), "2 shards".into()));
    }

    #[test]
    fn a_list_of_processors_is_read_with_its_ranges() {
        assert_eq!(number_list("0-2,8"), Some(vec![0, 1, 2, 8]));
        assert_eq!(number_list(""), Some(vec![]));
        for garbage in ["x", "3-1", "0-99999999999", "1-"] {
            assert_eq!(number_list(garbage), None, "{garbage}");
        }
        let many = ["0-1048575"; 60].join(",");
        assert_eq!(number_list(&many), None, "the parts are bounded in all");
    }
}
