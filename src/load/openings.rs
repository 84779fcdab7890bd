//! Which connection a worker opens next: new ones, then those that come back, then those to try again.
//!
//! Invariants: every connection handed out by [`Openings::next`] is settled exactly once, by
//! [`Openings::settled`] or [`Openings::failed`]; no more than `at_once_max` are unsettled.
//!
//! Absent on purpose: sockets, and the clock, which comes as an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The queue of one worker.
#[derive(Debug)]
pub struct Openings {
    /// Connections that this worker has, numbered from 0.
    share: usize,
    at_once_max: usize,
    retry_after: Option<Duration>,
    opened: usize,
    under_way: usize,
    returning: VecDeque<usize>,
    /// Those that come back wait for [`Openings::release`].
    is_held: bool,
    /// When the next one that comes back may, and the time from one to the next: as fast as it goes if
    /// there is none.
    turn: Option<(Instant, Duration)>,
    /// Failed ones with the time of their next try; the wait is the same for all, so in order.
    retries: VecDeque<(Instant, usize)>,
}

impl Openings {
    /// A queue of `share` new connections, `at_once_max` of them under way at once. A failed one stays
    /// failed.
    pub fn new(share: usize, at_once_max: usize) -> Self {
        Self {
            share,
            at_once_max,
            retry_after: None,
            opened: 0,
            under_way: 0,
            returning: VecDeque::new(),
            is_held: false,
            turn: None,
            retries: VecDeque::new(),
        }
    }

    /// From now on a failed connection is tried again `after` its failure; `None`: it stays failed.
    pub fn retry_after(&mut self, after: Option<Duration>) {
        self.retry_after = after;
    }

    /// The connection to open now, if there is one and enough others have settled.
    pub fn next(&mut self, now: Instant) -> Option<usize> {
        if self.under_way >= self.at_once_max {
            return None;
        }
        let index = if self.opened < self.share {
            self.opened += 1;
            self.opened - 1
        } else if let Some(index) = self.next_return(now) {
            index
        } else {
            self.retries.pop_front_if(|(at, _)| *at <= now)?.1
        };
        self.under_way += 1;
        Some(index)
    }

    fn next_return(&mut self, now: Instant) -> Option<usize> {
        if self.is_held {
            return None;
        }
        if let (false, Some((turn, interval))) = (self.returning.is_empty(), &mut self.turn) {
            if *turn > now {
                return None;
            }
            *turn += *interval;
        }
        self.returning.pop_front()
    }

    /// Lets none come back until [`Openings::release`].
    pub fn hold(&mut self) {
        self.is_held = true;
    }

    /// Lets those come back that are or will be queued: the first at `from`, the others each `interval`
    /// after the one before, or as fast as they settle.
    pub fn release(&mut self, from: Instant, interval: Option<Duration>) {
        self.is_held = false;
        self.turn = interval.map(|interval| (from, interval));
    }

    /// A connection became whole.
    pub fn settled(&mut self) {
        self.under_way -= 1;
    }

    /// Connection `index` failed.
    pub fn failed(&mut self, index: usize, now: Instant) {
        self.under_way -= 1;
        if let Some(after) = self.retry_after {
            self.retries.push_back((now + after, index));
        }
    }

    /// Connection `index`, which was whole, is to be opened again.
    pub fn reopen(&mut self, index: usize) {
        self.returning.push_back(index);
    }

    /// True when every connection has settled and none waits.
    pub fn is_done(&self) -> bool {
        self.opened == self.share
            && self.under_way == 0
            && self.returning.is_empty()
            && self.retries.is_empty()
    }

    /// How long until a connection may be opened that only time holds back; `None` if none waits for it.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let is_paced = !self.is_held && !self.returning.is_empty() && self.under_way < self.at_once_max;
        let turn = self.turn.filter(|_| is_paced).map(|(turn, _)| turn);
        let retry = self.retries.front().map(|(at, _)| *at);
        turn.into_iter().chain(retry).min().map(|at| at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_under_way_than_allowed_and_each_is_handed_out_once() {
        let (mut openings, now) = (Openings::new(3, 2), Instant::now());
        assert_eq!((openings.next(now), openings.next(now), openings.next(now)), (Some(0), Some(1), None));
        openings.settled();
        assert_eq!((openings.next(now), openings.next(now)), (Some(2), None));
        openings.settled();
        assert!(!openings.is_done());
        openings.failed(2, now);
        assert!(openings.is_done() && openings.wait(now).is_none(), "without retries a failure is final");
    }

    #[test]
    fn a_failed_one_is_tried_again_after_its_wait_and_one_that_returns_goes_before_it() {
        let (after, now) = (Duration::from_secs(1), Instant::now());
        let mut openings = Openings::new(2, 8);
        openings.retry_after(Some(after));
        while openings.next(now).is_some() {}
        openings.settled();
        openings.failed(0, now);
        assert_eq!((openings.next(now), openings.wait(now)), (None, Some(after)));
        openings.reopen(1);
        assert_eq!(openings.next(now + after), Some(1));
        assert_eq!(openings.next(now + after), Some(0));
        assert!(!openings.is_done());
    }

    #[test]
    fn those_that_come_back_wait_for_their_release_and_then_for_their_turn() {
        let (now, ms) = (Instant::now(), Duration::from_millis(1));
        let mut openings = Openings::new(3, 8);
        while openings.next(now).is_some() {
            openings.settled();
        }
        openings.hold();
        (0..3).for_each(|index| openings.reopen(index));
        assert_eq!((openings.next(now), openings.wait(now), openings.is_done()), (None, None, false));
        openings.release(now + ms, Some(ms * 2));
        assert_eq!((openings.next(now), openings.wait(now)), (None, Some(ms)));
        assert_eq!((openings.next(now + ms), openings.next(now + ms)), (Some(0), None));
        // Who looks late finds all whose turn has come.
        assert_eq!((openings.next(now + ms * 9), openings.next(now + ms * 9)), (Some(1), Some(2)));
        openings.release(now, None);
        (0..2).for_each(|index| openings.reopen(index));
        assert_eq!((openings.next(now), openings.next(now)), (Some(0), Some(1)));
    }
}
