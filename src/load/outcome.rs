//! What one worker knows at the end, and how that of all adds up.

use std::collections::BTreeMap;
use std::time::Instant;

use hdrhistogram::Histogram;

use super::continuity::Found;

/// What one worker knows at the end; merged over all of them.
#[derive(Default)]
pub struct Outcome {
    /// Failures before a connection was whole, by reason.
    pub failures: BTreeMap<String, u64>,
    /// Ends by the server after it was whole, by reason.
    pub drops: BTreeMap<String, u64>,
    /// Messages that live members did not get.
    pub lost: u64,
    /// Messages that live members got more often than once.
    pub duplicated: u64,
    /// Out of order at the witnesses (one connection per worker).
    pub reordered: u64,
    /// Missing numbers at the witnesses.
    pub skipped: u64,
    /// Bytes of a message as the server sent it.
    pub message_bytes: usize,
    /// Times of rounds in µs, from the worker that published.
    pub rounds_us: Option<Histogram<u64>>,
    /// From the order to return until each chosen connection was whole again, in µs.
    pub returns_us: Option<Histogram<u64>>,
    /// From each one's connect until then, in µs.
    pub reconnects_us: Option<Histogram<u64>>,
    /// What was found of the rooms' streams, where that is followed.
    pub found: Found,
    /// How connections that were whole ended, where that is noted.
    pub ends: Vec<End>,
}

/// The end of a connection that was whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// When it had become whole.
    pub whole: Instant,
    /// When its end was seen.
    pub ended: Instant,
    /// The code of the server's close frame; `None` if none came.
    pub code: Option<u16>,
}

impl Outcome {
    /// Adds what another worker knows.
    pub(super) fn merge(&mut self, other: Self) {
        for (into, from) in [(&mut self.failures, other.failures), (&mut self.drops, other.drops)] {
            for (reason, count) in from {
                *into.entry(reason).or_default() += count;
            }
        }
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.skipped += other.skipped;
        self.message_bytes = self.message_bytes.max(other.message_bytes);
        self.rounds_us = self.rounds_us.take().or(other.rounds_us);
        self.found.merge(other.found);
        self.ends.extend(other.ends);
        for (into, from) in
            [(&mut self.returns_us, other.returns_us), (&mut self.reconnects_us, other.reconnects_us)]
        {
            match (&mut *into, from) {
                (Some(into), Some(from)) => *into += from,
                (_, from) => *into = into.take().or(from),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_add_up_by_reason() {
        let part = |reason: &str, lost| Outcome {
            failures: BTreeMap::from([(reason.to_owned(), 2)]),
            lost,
            ..Outcome::default()
        };
        let mut all = Outcome::default();
        all.merge(part("ECONNREFUSED", 1));
        all.merge(part("ECONNREFUSED", 2));
        all.merge(part("ETIMEDOUT", 0));
        assert_eq!((all.failures["ECONNREFUSED"], all.failures["ETIMEDOUT"], all.lost), (4, 2, 3));
    }
}
