//! Rates that clients are held to: so many in a second, and a second's worth at once.
//!
//! A token bucket kept as one number, the time at which it is full again (the generic cell rate
//! algorithm, ITU-T I.371 annex A): a bucket that is full is not kept at all, so those who are quiet
//! cost nothing.
//!
//! Invariant: `full_at` holds only buckets that were not full when it was last cleared of them, and
//! doubles at most before that is done again.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

/// Parts of `SharedBuckets`, each with its own lock, so that shards rarely wait for each other.
const PARTS: usize = 64;

/// Buckets that are kept before those that are full are looked for.
const KEPT_MIN: usize = 1_024;

/// One bucket of its own. A new one is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    full_at_ns: u64,
}

impl Bucket {
    /// Takes one token at `now_ms`; `false` if there is none. A rate of 0 is no limit.
    pub fn take(&mut self, per_second: u32, now_ms: u64) -> bool {
        if per_second == 0 {
            return true;
        }
        let Some(full_at_ns) = full_after(self.full_at_ns, per_second, now_ms) else { return false };
        self.full_at_ns = full_at_ns;
        true
    }

    /// Whether nothing was taken that has not come back.
    pub fn is_full(&self, now_ms: u64) -> bool {
        self.full_at_ns <= now_ms * 1_000_000
    }

    /// Tokens that it has; at most `per_second`, which is not 0.
    pub fn tokens(&self, per_second: u32, now_ms: u64) -> u32 {
        let taken_ns = self.full_at_ns.saturating_sub(now_ms * 1_000_000);
        let taken = taken_ns.div_ceil(token_ns(per_second));
        per_second.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX))
    }

    /// Milliseconds until it has `tokens`, which are no more than `per_second`.
    pub fn wait_ms(&self, tokens: u32, per_second: u32, now_ms: u64) -> u64 {
        let token_ns = token_ns(per_second);
        let there_at_ns =
            self.full_at_ns.saturating_sub(token_ns * u64::from(per_second.saturating_sub(tokens)));
        there_at_ns.saturating_sub(now_ms * 1_000_000).div_ceil(1_000_000)
    }
}

/// Time in which one token comes back.
fn token_ns(per_second: u32) -> u64 {
    (1_000_000_000 / u64::from(per_second)).max(1)
}

/// When a bucket that is full at `full_at_ns` is full again if a token is taken now; `None` if it has none.
fn full_after(full_at_ns: u64, per_second: u32, now_ms: u64) -> Option<u64> {
    let now_ns = now_ms * 1_000_000;
    let token_ns = token_ns(per_second);
    let full_at_ns = now_ns.max(full_at_ns) + token_ns;
    (full_at_ns - now_ns <= token_ns * u64::from(per_second)).then_some(full_at_ns)
}

/// One bucket for each of those who were not quiet.
#[derive(Debug)]
pub struct Buckets<Who> {
    /// Nanoseconds at which each bucket is full again.
    full_at_ns: HashMap<Who, u64>,
    /// How many there may be before the full ones are cleared away.
    clear_above: usize,
}

impl<Who> Default for Buckets<Who> {
    fn default() -> Self {
        Buckets { full_at_ns: HashMap::new(), clear_above: KEPT_MIN }
    }
}

impl<Who: Hash + Eq> Buckets<Who> {
    /// Takes one token from the bucket of `who` at `now_ms`; `false` if it has none. A rate of 0 is no limit.
    pub fn take(&mut self, who: Who, per_second: u32, now_ms: u64) -> bool {
        if per_second == 0 {
            return true;
        }
        let full_at_ns = self.full_at_ns.get(&who).copied().unwrap_or(0);
        let Some(full_at_ns) = full_after(full_at_ns, per_second, now_ms) else { return false };
        self.full_at_ns.insert(who, full_at_ns);
        let now_ns = now_ms * 1_000_000;
        if self.full_at_ns.len() > self.clear_above {
            self.full_at_ns.retain(|_, at| *at > now_ns);
            self.clear_above = KEPT_MIN.max(self.full_at_ns.len() * 2);
            self.full_at_ns.shrink_to(self.clear_above);
        }
        true
    }
}

/// Buckets of the whole server, each known by a name.
#[derive(Debug)]
pub struct SharedBuckets {
    parts: [Mutex<Buckets<u64>>; PARTS],
    hasher: RandomState,
}

impl Default for SharedBuckets {
    fn default() -> Self {
        SharedBuckets { parts: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }
}

impl SharedBuckets {
    /// As [`Buckets::take`]. Takes a lock, unless the rate is 0. `now_ms` is by one clock whoever calls.
    pub fn take(&self, name: impl Hash, per_second: u32, now_ms: u64) -> bool {
        if per_second == 0 {
            return true;
        }
        // Two names share a bucket once in 2⁶⁴: nobody can choose such names, and the harm is small.
        let who = self.hasher.hash_one(name);
        let part = &self.parts[who as usize % PARTS];
        part.lock().unwrap_or_else(PoisonError::into_inner).take(who, per_second, now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `tries` at `now_ms` are let through.
    fn taken(buckets: &mut Buckets<u32>, per_second: u32, tries: u32, now_ms: u64) -> u32 {
        (0..tries).map(|_| u32::from(buckets.take(7, per_second, now_ms))).sum()
    }

    #[test]
    fn a_second_s_worth_is_let_through_at_once_and_then_the_rate() {
        for per_second in [1, 3, 10, 999, 70_000] {
            let mut buckets = Buckets::default();
            assert_eq!(taken(&mut buckets, per_second, per_second * 2, 5), per_second);
            let mut later = 0;
            for tenth in 1..=100 {
                later += taken(&mut buckets, per_second, per_second + 1, 5 + tenth * 100);
            }
            let expected = per_second * 10;
            assert!(
                (expected - 1..=expected + 1 + expected / 1_000).contains(&later),
                "{later} of {expected}"
            );
        }
    }

    #[test]
    fn a_bucket_tells_what_it_has_and_when_it_will_have_more() {
        let mut bucket = Bucket::default();
        assert_eq!((bucket.tokens(50, 7), bucket.wait_ms(50, 50, 7), bucket.is_full(7)), (50, 0, true));
        let taken = (0..60).filter(|_| bucket.take(50, 7)).count();
        assert_eq!((taken, bucket.tokens(50, 7), bucket.is_full(7)), (50, 0, false));
        assert_eq!((bucket.wait_ms(1, 50, 7), bucket.wait_ms(50, 50, 7)), (20, 1_000));
        assert_eq!((bucket.tokens(50, 26), bucket.tokens(50, 27), bucket.tokens(50, 1_007)), (0, 1, 50));
        assert!(bucket.take(50, 27) && !bucket.take(50, 27) && bucket.take(0, 27));
    }

    #[test]
    fn a_rate_of_zero_is_no_limit_and_one_who_is_quiet_does_not_limit_another() {
        let mut buckets = Buckets::default();
        assert_eq!(taken(&mut buckets, 0, 5_000, 0), 5_000);
        assert!(buckets.full_at_ns.is_empty());
        assert_eq!(taken(&mut buckets, 2, 5, 0), 2);
        assert!(buckets.take(8, 2, 0));
    }

    #[test]
    fn buckets_that_are_full_are_not_kept() {
        let mut buckets = Buckets::default();
        for who in 0..1_000_000 {
            assert!(buckets.take(who, 1_000, who / 100));
        }
        assert!(buckets.full_at_ns.len() < 3 * KEPT_MIN, "{}", buckets.full_at_ns.len());
    }

    #[test]
    fn a_name_has_one_bucket_whoever_takes_from_it() {
        let buckets = SharedBuckets::default();
        let taken = std::thread::scope(|threads| {
            let take = || (0..100).filter(|_| buckets.take("room", 30, 1)).count();
            let threads: Vec<_> = (0..4).map(|_| threads.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!(taken, 30);
        assert!(buckets.take("other", 30, 1) && buckets.take("room", 0, 1));
    }
}
