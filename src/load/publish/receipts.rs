//! What a connection has published and not been told of, and what all of them were told.
//!
//! Absent on purpose: the clock. Times are µs since the run's origin and come as arguments.

use std::collections::{BTreeMap, VecDeque};

use hdrhistogram::Histogram;
use serde::Deserialize;

use crate::load::watch::histogram_us;

/// Publishes of one connection that are not answered, oldest first.
#[derive(Debug, Default)]
pub struct InFlight(VecDeque<(u64, u64)>);

impl InFlight {
    /// Notes that the publish with `id` was due at `due_us`.
    pub fn published(&mut self, id: u64, due_us: u64) {
        self.0.push_back((id, due_us));
    }

    /// Takes the publish with `id` out; when it was due. `None`: there is none.
    ///
    /// Answers come nearly in order, so the search ends where it begins.
    pub fn answered(&mut self, id: u64) -> Option<u64> {
        let at = self.0.iter().position(|(waiting, _)| *waiting == id)?;
        self.0.remove(at).map(|(_, due_us)| due_us)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if all are answered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Answers to publishes.
#[derive(Debug, Clone)]
pub struct Receipts {
    /// From the time a publish was due to the read that brought its acknowledgement, in µs.
    pub latency_us: Histogram<u64>,
    /// How late publishes were written, in µs: the generator's own part of every latency.
    pub lateness_us: Histogram<u64>,
    /// Refusals by code and message.
    pub errors: BTreeMap<String, u64>,
    /// Answers to what was not asked, or was answered before.
    pub unasked: u64,
}

impl Default for Receipts {
    fn default() -> Self {
        let (latency_us, lateness_us) = (histogram_us(), histogram_us());
        Self { latency_us, lateness_us, errors: BTreeMap::new(), unasked: 0 }
    }
}

impl Receipts {
    /// Publishes that were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.latency_us.len()
    }

    /// Publishes that were refused.
    pub fn refused(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Takes the answer to a publish that was due at `due_us`, if there was one; `refusal` is what follows
    /// the id in a refusal.
    pub fn answered(&mut self, due_us: Option<u64>, refusal: Option<&[u8]>, now_us: u64) {
        match (due_us, refusal) {
            (None, _) => self.unasked += 1,
            (Some(_), Some(refusal)) => *self.errors.entry(reason(refusal)).or_default() += 1,
            (Some(due_us), None) => {
                self.latency_us.saturating_record(now_us.saturating_sub(due_us).max(1));
            }
        }
    }

    /// Adds what another thread was told.
    pub fn merge(&mut self, other: &Self) {
        self.latency_us += &other.latency_us;
        self.lateness_us += &other.lateness_us;
        self.unasked += other.unasked;
        for (reason, count) in &other.errors {
            *self.errors.entry(reason.clone()).or_default() += count;
        }
    }
}

/// Code and message of a refusal; of another protocol's, its text.
fn reason(refusal: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Answer {
        error: Error,
    }
    #[derive(Deserialize)]
    struct Error {
        code: u32,
        #[serde(default)]
        message: String,
    }
    // What follows the id is the object without its front: `,"error":{…}}`.
    let whole = refusal.strip_prefix(b",").map(|rest| [b"{", rest].concat()).unwrap_or_default();
    match serde_json::from_slice(&whole) {
        Ok(Answer { error: Error { code, message } }) => format!("{code} {message}"),
        Err(_) => String::from_utf8_lossy(refusal).trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_timed_from_its_own_publish_whatever_order_they_come_in() {
        let (mut in_flight, mut receipts) = (InFlight::default(), Receipts::default());
        for (id, due_us) in [(7, 100), (8, 200), (9, 300)] {
            in_flight.published(id, due_us);
        }
        for (id, now_us) in [(8, 250), (7, 400), (7, 500)] {
            receipts.answered(in_flight.answered(id), None, now_us);
        }
        assert_eq!((receipts.acknowledged(), receipts.unasked, in_flight.len()), (2, 1, 1));
        assert_eq!((receipts.latency_us.min(), receipts.latency_us.max()), (50, 300));
    }

    #[test]
    fn a_refusal_is_counted_by_its_code_and_has_no_latency() {
        let mut receipts = Receipts::default();
        let refusal = br#","error":{"code":111,"message":"too many requests","temporary":true}}"#;
        receipts.answered(Some(1), Some(refusal), 9);
        receipts.answered(Some(1), Some(b" 'odd'"), 9);
        let mut all = Receipts::default();
        all.merge(&receipts);
        all.merge(&receipts);
        assert_eq!((all.errors["111 too many requests"], all.errors["'odd'"]), (2, 2));
        assert_eq!((all.acknowledged(), all.refused()), (0, 4));
    }
}
