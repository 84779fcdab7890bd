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
        } else if let Some(index) = self.returning.pop_front() {
            index
        } else {
            self.retries.pop_front_if(|(at, _)| *at <= now)?.1
        };
        self.under_way += 1;
        Some(index)
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

    /// How long until a failed connection may be tried again; `None` if none waits.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        self.retries.front().map(|(at, _)| at.saturating_duration_since(now))
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
}
