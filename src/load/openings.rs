//! Which connection a worker opens next: new ones, then those that come back, then those to try again.
//!
//! Invariants: every connection handed out by [`Openings::next`] is settled exactly once, by
//! [`Openings::settled`] or [`Openings::failed`]; no more than `at_once_max` are unsettled.
//!
//! Absent on purpose: sockets, and the clock, which comes as an argument.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use super::backoff;

/// When a connection is opened again, after it came to be dropped and after a try that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// At once, and a failed one stays failed.
    Never,
    /// At once, and this long after a failure.
    After(Duration),
    /// As the official SDKs do it: see [`backoff`].
    Backoff,
}

/// The queue of one worker.
#[derive(Debug)]
pub struct Openings {
    /// Connections that this worker has, numbered from 0.
    share: usize,
    at_once_max: usize,
    retry: Retry,
    /// Tells the chances of this queue from those of another.
    seed: u64,
    /// Tries of each connection since it was last whole, where they count.
    tries: Vec<u8>,
    opened: usize,
    under_way: usize,
    returning: VecDeque<usize>,
    /// Those that come back wait for [`Openings::release`].
    is_held: bool,
    /// When the next one that comes back may, and the time from one to the next: as fast as it goes if
    /// there is none.
    turn: Option<(Instant, Duration)>,
    /// Those that wait, with the time of their next try.
    retries: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Openings {
    /// A queue of `share` new connections, `at_once_max` of them under way at once. A failed one stays
    /// failed.
    pub fn new(share: usize, at_once_max: usize) -> Self {
        Self {
            share,
            at_once_max,
            retry: Retry::Never,
            seed: 0,
            tries: Vec::new(),
            opened: 0,
            under_way: 0,
            returning: VecDeque::new(),
            is_held: false,
            turn: None,
            retries: BinaryHeap::new(),
        }
    }

    /// From now on connections are opened again as `retry` says; `seed` is another for each queue.
    pub fn retry(&mut self, retry: Retry, seed: u64) {
        (self.retry, self.seed) = (retry, seed);
        if retry == Retry::Backoff {
            self.tries = vec![0; self.share];
            // Clients know nothing of each other.
            self.at_once_max = usize::MAX;
        }
    }

    /// How often connection `index` was tried since it was last whole, where that counts.
    pub fn tries(&self, index: usize) -> u8 {
        self.tries.get(index).copied().unwrap_or_default()
    }

    /// Lets connection `index` wait for its next try, as an SDK does.
    fn back_off(&mut self, index: usize, now: Instant) {
        let tries = self.tries[index];
        self.tries[index] = tries.saturating_add(1);
        let after = backoff::delay(self.seed, index as u64, u32::from(tries));
        self.retries.push(Reverse((now + after, index)));
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
            let Reverse((at, index)) = *self.retries.peek()?;
            if at > now {
                return None;
            }
            self.retries.pop();
            index
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
        if self.retry == Retry::Backoff {
            for index in std::mem::take(&mut self.returning) {
                self.back_off(index, from);
            }
        }
        self.turn = interval.map(|interval| (from, interval));
    }

    /// Connection `index` became whole.
    pub fn settled(&mut self, index: usize) {
        self.under_way -= 1;
        if let Some(tries) = self.tries.get_mut(index) {
            *tries = 0;
        }
    }

    /// Connection `index` failed.
    pub fn failed(&mut self, index: usize, now: Instant) {
        self.under_way -= 1;
        match self.retry {
            Retry::Never => {}
            Retry::After(after) => self.retries.push(Reverse((now + after, index))),
            Retry::Backoff => self.back_off(index, now),
        }
    }

    /// Connection `index`, which was whole, is to be opened again.
    pub fn reopen(&mut self, index: usize, now: Instant) {
        if self.retry == Retry::Backoff && !self.is_held {
            self.back_off(index, now);
        } else {
            self.returning.push_back(index);
        }
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
        let may_retry = self.under_way < self.at_once_max;
        let retry = self.retries.peek().filter(|_| may_retry).map(|Reverse((at, _))| *at);
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
        openings.settled(0);
        assert_eq!((openings.next(now), openings.next(now)), (Some(2), None));
        openings.settled(1);
        assert!(!openings.is_done());
        openings.failed(2, now);
        assert!(openings.is_done() && openings.wait(now).is_none(), "without retries a failure is final");
    }

    #[test]
    fn a_failed_one_is_tried_again_after_its_wait_and_one_that_returns_goes_before_it() {
        let (after, now) = (Duration::from_secs(1), Instant::now());
        let mut openings = Openings::new(2, 8);
        openings.retry(Retry::After(after), 0);
        while openings.next(now).is_some() {}
        openings.settled(1);
        openings.failed(0, now);
        assert_eq!((openings.next(now), openings.wait(now)), (None, Some(after)));
        openings.reopen(1, now);
        assert_eq!(openings.next(now + after), Some(1));
        assert_eq!(openings.next(now + after), Some(0));
        assert!(!openings.is_done());
    }

    #[test]
    fn those_that_come_back_wait_for_their_release_and_then_for_their_turn() {
        let (now, ms) = (Instant::now(), Duration::from_millis(1));
        let mut openings = Openings::new(3, 8);
        while let Some(index) = openings.next(now) {
            openings.settled(index);
        }
        openings.hold();
        (0..3).for_each(|index| openings.reopen(index, now));
        assert_eq!((openings.next(now), openings.wait(now), openings.is_done()), (None, None, false));
        openings.release(now + ms, Some(ms * 2));
        assert_eq!((openings.next(now), openings.wait(now)), (None, Some(ms)));
        assert_eq!((openings.next(now + ms), openings.next(now + ms)), (Some(0), None));
        // Who looks late finds all whose turn has come.
        assert_eq!((openings.next(now + ms * 9), openings.next(now + ms * 9)), (Some(1), Some(2)));
        openings.release(now, None);
        (0..2).for_each(|index| openings.reopen(index, now));
        assert_eq!((openings.next(now), openings.next(now)), (Some(0), Some(1)));
    }

    #[test]
    fn those_who_back_off_wait_half_a_second_first_and_longer_after_each_failure() {
        let (now, ms) = (Instant::now(), Duration::from_millis);
        let mut openings = Openings::new(100, usize::MAX);
        while let Some(index) = openings.next(now) {
            openings.settled(index);
        }
        openings.retry(Retry::Backoff, 7);
        openings.hold();
        (0..50).for_each(|index| openings.reopen(index, now));
        openings.release(now, None);
        (50..100).for_each(|index| openings.reopen(index, now));
        assert_eq!(openings.next(now + ms(499)), None);
        let by = |openings: &mut Openings, at| std::iter::from_fn(|| openings.next(now + ms(at))).count();
        let early = by(&mut openings, 750);
        assert!((10..90).contains(&early), "{early} of 100 in the first half of their time");
        assert_eq!(early + by(&mut openings, 1_000), 100);
        assert_eq!((openings.tries(3), openings.tries(99)), (1, 1));
        openings.failed(3, now);
        openings.settled(99);
        assert_eq!((openings.tries(3), openings.tries(99)), (2, 0));
        let wait = openings.wait(now).unwrap();
        assert!((ms(500)..=ms(1_500)).contains(&wait), "{wait:?}");
    }
}
