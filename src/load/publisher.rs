//! The closed loop of the fan-out: K publishes in one write, then nothing until every member has all K.
//!
//! It lives in the worker that owns the publishing connection, so with one worker no thread has to
//! wake another between two rounds.

use std::time::Instant;

use hdrhistogram::Histogram;

use super::connection::mask;
use super::dialect::Dialect;
use super::watch::histogram_us;
use crate::wire::frame::write_client_frame;

/// What is published.
#[derive(Debug, Clone, Copy)]
pub struct PublishPlan {
    /// Publishes per round.
    pub in_flight: u64,
    /// Rooms that the publishes go to in turn.
    pub rooms: u64,
    /// Bytes of each payload.
    pub payload_bytes: usize,
    /// Connections that receive each publish, the publisher among them.
    pub members: u64,
}

/// The loop's state.
pub struct Publisher {
    plan: PublishPlan,
    next_sequence: u64,
    /// When the round under way was written, or `None` between rounds.
    round_started: Option<Instant>,
    /// Times of finished rounds in µs, from the write to the last member's last message.
    pub rounds_us: Histogram<u64>,
}

impl Publisher {
    /// A publisher that has sent nothing.
    pub fn new(plan: PublishPlan) -> Self {
        Self { plan, next_sequence: 0, round_started: None, rounds_us: histogram_us() }
    }

    /// Publishes sent so far.
    pub fn published(&self) -> u64 {
        self.next_sequence
    }

    /// Messages that have arrived, at all members together, once everything sent so far has.
    pub fn goal(&self) -> u64 {
        self.next_sequence * self.plan.members
    }

    /// True while a round waits for its messages.
    pub fn is_waiting(&self) -> bool {
        self.round_started.is_some()
    }

    /// Appends the next round's frames to `out`: they leave in one write.
    pub fn start_round(&mut self, dialect: &Dialect, out: &mut Vec<u8>, now: Instant) {
        let mut text = Vec::with_capacity(self.plan.payload_bytes + 64);
        for _ in 0..self.plan.in_flight {
            text.clear();
            let sequence = self.next_sequence;
            dialect.publish(&mut text, sequence, sequence % self.plan.rooms, self.plan.payload_bytes);
            write_client_frame(out, dialect.opcode, &text, mask(sequence));
            self.next_sequence += 1;
        }
        self.round_started = Some(now);
    }

    /// Ends the round if `delivered`, counted over all members since the start, has reached the goal.
    pub fn end_round(&mut self, delivered: u64, now: Instant) {
        if delivered < self.goal() {
            return;
        }
        if let Some(started) = self.round_started.take() {
            let us = now.duration_since(started).as_micros() as u64;
            self.rounds_us.saturating_record(us.max(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::dialect::built_in;
    use super::*;

    #[test]
    fn a_round_is_k_frames_and_ends_when_every_member_has_them() {
        let plan = PublishPlan { in_flight: 3, rooms: 2, payload_bytes: 64, members: 10 };
        let (mut publisher, mut out, now) = (Publisher::new(plan), Vec::new(), Instant::now());
        publisher.start_round(&built_in("nchan").unwrap(), &mut out, now);
        assert_eq!(out.len(), 3 * (6 + 64));
        assert_eq!((publisher.published(), publisher.goal()), (3, 30));
        let later = now + Duration::from_millis(5);
        publisher.end_round(29, later);
        assert!(publisher.is_waiting());
        publisher.end_round(30, later);
        assert!(!publisher.is_waiting());
        assert_eq!(publisher.rounds_us.len(), 1);
        assert!(publisher.rounds_us.equivalent(publisher.rounds_us.max(), 5_000));
    }
}
