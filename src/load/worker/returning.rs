//! The orders to drop and to come back, as one worker carries them out.
//!
//! Connections are dropped in slices between two polls, so that those who stay are read meanwhile. They
//! come back when they are told to, which may be at once.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

use super::Worker;
use crate::load::backoff;
use crate::load::connection::Stage;
use crate::load::fleet::{Notice, Order};
use crate::load::openings::Retry;
use crate::load::watch::histogram_us;

/// Connections dropped between two polls.
const DROP_BATCH: usize = 256;

/// How far the orders are carried out.
#[derive(Debug, Default)]
pub(super) struct Returning {
    is_dropping: bool,
    /// Connections that may have to be dropped still.
    dropping: Range<usize>,
    /// All were dropped, and the scenario knows.
    is_noted: bool,
    /// When the dropped connections were told to return.
    since: Option<Instant>,
    /// When each one that is on its way back began to connect.
    connects: HashMap<usize, Instant>,
    /// Tries that are given up if they have not got further by then. The wait is the same for all, so in order.
    patience: VecDeque<Try>,
}

/// A step of a try to come back.
#[derive(Debug)]
struct Try {
    /// When it is given up.
    end: Instant,
    index: usize,
    /// Which try of the connection it is.
    nth: u8,
    /// The transport is open, and what was said first is to be answered.
    is_open: bool,
}

impl Returning {
    /// True while connections have to be dropped, which must not wait for an event.
    pub(super) fn is_busy(&self) -> bool {
        !self.dropping.is_empty()
    }

    /// When there is a try to be given up.
    pub(super) fn due(&self) -> Option<Instant> {
        self.patience.front().map(|step| step.end)
    }

    /// Takes note that those that come back are on their way from `now` on.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// True once connections were told to return.
    pub(super) fn is_ordered(&self) -> bool {
        self.since.is_some()
    }
}

impl Worker {
    /// When told to, drops every chosen connection without a farewell, as a failing switch does, and lets
    /// them come back.
    pub(super) fn drop_and_return(&mut self) {
        let counters = &self.seat.counters;
        if !self.returning.is_dropping && counters.is_ordered(Order::Drop) {
            self.returning.is_dropping = true;
            self.returning.dropping = 0..self.slots.len();
            self.announced = false;
            self.openings.hold();
        }
        if self.returning.is_dropping && self.returning.since.is_none() && counters.is_ordered(Order::Return)
        {
            let now = Instant::now();
            self.returning.begin(now);
            self.outcome.returns_us = Some(histogram_us());
            self.outcome.reconnects_us = Some(histogram_us());
            let (plan, threads) = (&self.seat.plan, self.seat.plan.threads);
            // The first time a failure is final: a target that is down would be tried for ever.
            self.openings.retry(plan.retry, self.seat.number);
            let interval = plan.return_rate.map(|rate| Duration::from_secs_f64(threads as f64 / rate));
            let turn = interval.unwrap_or_default().mul_f64(self.seat.number as f64 / threads as f64);
            self.openings.release(now + turn, interval);
        }
        let from = self.returning.dropping.start;
        self.returning.dropping.start = self.returning.dropping.end.min(from + DROP_BATCH);
        for index in from..self.returning.dropping.start {
            if !self.seat.plan.chosen.has(self.number(index)) {
                continue;
            }
            if let Some(stream) = self.slots[index].stream.take() {
                // A reset instead of a FIN: no TIME_WAIT takes the port that the return may need. It
                // fails only for a socket that is closed already.
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                self.slots[index].connection.partial = Box::default();
                self.openings.reopen(index, Instant::now());
            }
        }
        if self.returning.is_dropping && !self.returning.is_busy() && !self.returning.is_noted {
            self.returning.is_noted = true;
            let _ = self.seat.notices.send(Notice::Dropped);
        }
    }

    /// Connection `index` begins to connect.
    pub(super) fn note_connect(&mut self, index: usize) {
        if self.returning.is_ordered() {
            self.returning.connects.insert(index, Instant::now());
            self.be_patient(index, false);
        }
    }

    /// Connection `index` is upgraded and has greeted.
    pub(super) fn note_greeting(&mut self, index: usize) {
        if self.returning.is_ordered() {
            self.be_patient(index, true);
        }
    }

    /// An official SDK waits for a transport to open, and then for the answers, and so long each time.
    fn be_patient(&mut self, index: usize, is_open: bool) {
        if self.seat.plan.retry == Retry::Backoff {
            let (end, nth) = (Instant::now() + backoff::TIMEOUT, self.openings.tries(index));
            self.returning.patience.push_back(Try { end, index, nth, is_open });
        }
    }

    /// Ends tries that have taken too long.
    pub(super) fn give_up(&mut self) {
        let now = Instant::now();
        while let Some(step) = self.returning.patience.pop_front_if(|step| step.end <= now) {
            let stage = self.slots[step.index].connection.stage;
            let is_under_way = self.slots[step.index].stream.is_some()
                && self.openings.tries(step.index) == step.nth
                && if step.is_open { stage == Stage::Greeting } else { stage < Stage::Greeting };
            if is_under_way {
                let what = if step.is_open { "answers" } else { "upgrade" };
                let seconds = backoff::TIMEOUT.as_secs();
                self.end(step.index, format!("no {what} within {seconds} s, which is when an SDK gives up"));
            }
        }
    }

    /// Connection `index` became whole, for the first time or again.
    pub(super) fn note_whole(&mut self, index: usize) {
        self.openings.settled(index);
        if let Some(at) = self.whole_at.get_mut(index) {
            *at = Some(Instant::now());
        }
        let Some(since) = self.returning.since else {
            self.fresh.whole += 1;
            return;
        };
        self.fresh.back += 1;
        let connect = self.returning.connects.remove(&index);
        for (times, from) in
            [(&mut self.outcome.returns_us, Some(since)), (&mut self.outcome.reconnects_us, connect)]
        {
            if let (Some(times), Some(from)) = (times, from) {
                times.saturating_record((from.elapsed().as_micros() as u64).max(1));
            }
        }
    }
}
