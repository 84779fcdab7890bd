//! What is looked at in a message beside counting it: its order, and in a paced run how late it came.
//!
//! Absent on purpose: the clock. The worker says what time it is, once per read.

use std::sync::Arc;

use hdrhistogram::Histogram;

use super::bounce::Roster;
use super::continuity::Continuity;
use super::dialect::{Dialect, sequence};
use super::pacer::Schedule;
use super::publish::{InFlight, Receipts};

/// Longest delay and round that is told from a longer one: ten minutes.
pub const DELAY_US_MAX: u64 = 600_000_000;

/// A histogram of times in µs with three digits.
pub fn histogram_us() -> Histogram<u64> {
    Histogram::new_with_bounds(1, DELAY_US_MAX, 3)
        .unwrap_or_else(|_| unreachable!("bounds are 1 and more than twice that, digits at most 5"))
}

/// How closely the messages of one read are looked at.
pub enum Watch<'a> {
    /// They are counted.
    Count,
    /// Their order is checked, for one connection that is in every room.
    Order(&'a mut Witness),
    /// Each one's delay and order are kept, for connections that are in one room each.
    Delay {
        /// Where they are kept.
        stopwatch: &'a mut Stopwatch,
        /// When the read returned, in µs since the schedule's origin.
        now_us: u64,
    },
    /// Their offsets are followed, and what a connection that comes back is given of those it missed.
    Stream(&'a mut Continuity),
    /// Who joins and leaves is noted, for one connection that is told.
    Roster(&'a mut Roster),
    /// The answers to publishes are timed, for a connection that publishes.
    Answers {
        /// Its publishes that are not answered.
        in_flight: &'a mut InFlight,
        /// Where the answers are kept.
        receipts: &'a mut Receipts,
        /// When the read returned, on the clock of `in_flight`.
        now_us: u64,
    },
}

impl Watch<'_> {
    /// Takes one message of connection `index`, whose last number, plus one, is `last`.
    pub fn saw(&mut self, message: &[u8], index: u64, last: &mut u32) {
        match self {
            Watch::Count | Watch::Answers { .. } | Watch::Roster(_) => {}
            Watch::Order(witness) => witness.saw(message),
            Watch::Delay { stopwatch, now_us } => stopwatch.saw(message, *now_us, last),
            Watch::Stream(continuity) => continuity.saw(message, index, last),
        }
    }

    /// Takes one good reply to what connection `index` said first.
    pub fn joined(&mut self, line: &[u8], index: u64, last: &mut u32) {
        match self {
            Watch::Stream(continuity) => continuity.joined(line, index, last),
            Watch::Roster(roster) => roster.replied(line),
            _ => {}
        }
    }

    /// Takes one line that tells who joined or left.
    pub fn came(&mut self, line: &[u8]) {
        if let Watch::Roster(roster) = self {
            roster.came(line);
        }
    }

    /// True if the connection knows where it is in its room's stream.
    pub fn follows(&self) -> bool {
        matches!(self, Watch::Stream(_))
    }

    /// Takes one reply of `dialect` to a whole connection.
    pub fn replied(&mut self, line: &[u8], is_refusal: bool, dialect: &Dialect) {
        match self {
            Watch::Answers { in_flight, receipts, now_us } => {
                if let Some((id, rest)) = dialect.reply_id(line) {
                    receipts.answered(in_flight.answered(id), is_refusal.then_some(rest), *now_us);
                }
            }
            Watch::Roster(roster) => roster.replied(line),
            _ => {}
        }
    }
}

/// Checks the order of all messages that one connection receives.
#[derive(Debug)]
pub struct Witness {
    /// Last sequence number seen per room. Number `s` is published to room `s % rooms`, and only
    /// within a room is the order promised.
    last: Vec<Option<u64>>,
    /// Messages whose number was not above the one before.
    pub reordered: u64,
    /// Numbers skipped.
    pub skipped: u64,
    /// Bytes of the longest message: the line or frame payload that the server sent for it.
    pub message_bytes: usize,
}

impl Witness {
    /// A witness for publishes that go to `rooms` rooms (at least 1) in turn.
    pub fn new(rooms: u64) -> Self {
        Self { last: vec![None; rooms.max(1) as usize], reordered: 0, skipped: 0, message_bytes: 0 }
    }

    fn saw(&mut self, message: &[u8]) {
        self.message_bytes = self.message_bytes.max(message.len());
        let Some(number) = sequence(message) else { return };
        let rooms = self.last.len() as u64;
        let last = &mut self.last[(number % rooms) as usize];
        match *last {
            Some(before) if number <= before => self.reordered += 1,
            Some(before) => self.skipped += (number - before) / rooms - 1,
            None => {}
        }
        *last = (*last).max(Some(number));
    }
}

/// What one worker's connections saw of a paced run since it was last asked.
#[derive(Debug, Clone)]
pub struct Timings {
    /// From the scheduled time of a publish to the read that brought it, in µs.
    pub delays_us: Histogram<u64>,
    /// Messages whose number was not above the one before, at any connection.
    pub reordered: u64,
    /// Bytes of the longest message.
    pub message_bytes: usize,
}

impl Default for Timings {
    fn default() -> Self {
        Self { delays_us: histogram_us(), reordered: 0, message_bytes: 0 }
    }
}

impl Timings {
    /// Adds what another worker saw.
    pub fn merge(&mut self, other: &Self) {
        self.delays_us += &other.delays_us;
        self.reordered += other.reordered;
        self.message_bytes = self.message_bytes.max(other.message_bytes);
    }
}

/// Measures every message of one worker against the schedule it was published by.
#[derive(Debug)]
pub struct Stopwatch {
    schedule: Arc<Schedule>,
    /// What was seen since it was last taken.
    pub timings: Timings,
}

impl Stopwatch {
    /// A stopwatch that has seen nothing.
    pub fn new(schedule: Arc<Schedule>) -> Self {
        Self { schedule, timings: Timings::default() }
    }

    fn saw(&mut self, message: &[u8], now_us: u64, last: &mut u32) {
        let Some(number) = sequence(message) else { return };
        let delay_us = now_us.saturating_sub(self.schedule.due_us(number));
        self.timings.delays_us.saturating_record(delay_us.max(1));
        self.timings.message_bytes = self.timings.message_bytes.max(message.len());
        // Wraps after four billion publishes, or at the invention of a server.
        let next = (number as u32).wrapping_add(1);
        if next <= *last {
            self.timings.reordered += 1;
        } else {
            *last = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u64) -> Vec<u8> {
        format!(r#"{{"seq":"{number:010}"}}"#).into_bytes()
    }

    #[test]
    fn a_witness_sees_gaps_and_order_within_each_room() {
        let mut witness = Witness::new(2);
        // Rooms 0 and 1 in turn; across rooms any order is fine, 4 and 6 are missing, 3 comes twice.
        for number in [1, 0, 2, 3, 3, 8, 5] {
            Watch::Order(&mut witness).saw(&message(number), 0, &mut 0);
        }
        assert_eq!((witness.reordered, witness.skipped, witness.message_bytes), (1, 2, 20));
    }

    #[test]
    fn a_delay_counts_from_the_scheduled_time_and_a_number_that_comes_again_is_out_of_order() {
        let schedule = Arc::new(Schedule::new());
        for (number, due_us) in [(0, 1_000), (1, 2_000), (2, 3_000)] {
            schedule.set(number, due_us);
        }
        let (mut stopwatch, mut last) = (Stopwatch::new(schedule), 0);
        for (number, now_us) in [(0, 1_500), (2, 3_100), (1, 9_000)] {
            Watch::Delay { stopwatch: &mut stopwatch, now_us }.saw(&message(number), 0, &mut last);
        }
        let timings = &stopwatch.timings;
        assert_eq!((timings.delays_us.len(), timings.reordered, timings.message_bytes), (3, 1, 20));
        assert!(timings.delays_us.equivalent(timings.delays_us.max(), 7_000));
        assert_eq!(timings.delays_us.min(), 100);
    }
}
