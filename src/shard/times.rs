//! How long publications took, counted in buckets that other threads may read at any time.
//!
//! A bucket is an eighth of a power of two of microseconds, so a percentile that is read from them is too
//! large by an eighth at most and never too small. The last bucket has no end.
//!
//! Absent on purpose: a window. Counts only grow; who wants the last ten seconds subtracts.

use std::time::Duration;

use crate::shard::Counter;

/// Buckets for each power of two, as bits.
const PART_BITS: u32 = 3;
const PARTS: u64 = 1 << PART_BITS;

/// Powers of two that have buckets of their own: up to 2^26 µs, 67 s, longer than a client's patience.
const POWER_MAX: u32 = 26;

/// Number of buckets.
pub const TIME_BUCKETS: usize = ((POWER_MAX - PART_BITS + 1) as usize) * PARTS as usize + 1;

/// Durations in buckets.
#[derive(Debug)]
pub struct Times {
    buckets: [Counter; TIME_BUCKETS],
    /// Microseconds of all of them.
    sum_us: Counter,
}

impl Default for Times {
    fn default() -> Self {
        Times { buckets: std::array::from_fn(|_| Counter::default()), sum_us: Counter::default() }
    }
}

/// The bucket that `us` is counted in.
fn bucket_of(us: u64) -> usize {
    if us < PARTS {
        return us as usize;
    }
    let power = us.ilog2();
    if power >= POWER_MAX {
        return TIME_BUCKETS - 1;
    }
    // The bits behind the first one tell the part.
    let part = (us >> (power - PART_BITS)) & (PARTS - 1);
    ((power - PART_BITS + 1) as usize) * PARTS as usize + part as usize
}

/// The first number of microseconds that is counted behind `bucket`; nothing for the last one.
pub fn bucket_end_us(bucket: usize) -> Option<u64> {
    if bucket + 1 >= TIME_BUCKETS {
        return None;
    }
    let next = bucket as u64 + 1;
    let (step, part) = (next / PARTS, next % PARTS);
    Some(if step == 0 { part } else { (PARTS + part) << (step - 1) })
}

impl Times {
    /// Counts `n` that took as long as `took`. Only the owning shard may call it.
    pub fn record(&self, took: Duration, n: u64) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX >> 32);
        self.buckets[bucket_of(us)].add(n);
        self.sum_us.add(us.saturating_mul(n));
    }

    /// Adds what is in each bucket to `counts`; returns the sum of the durations in microseconds.
    pub fn add_to(&self, counts: &mut [u64; TIME_BUCKETS]) -> u64 {
        for (count, bucket) in counts.iter_mut().zip(&self.buckets) {
            *count += bucket.get();
        }
        self.sum_us.get()
    }
}

/// The longest that `part` of the durations in `counts` took, in microseconds and rounded up to its bucket's
/// end; 0 if there are none.
pub fn percentile_us(counts: &[u64; TIME_BUCKETS], part: f64) -> u64 {
    let total: u64 = counts.iter().sum();
    let rank = ((total as f64 * part).ceil() as u64).max(1);
    let mut seen = 0;
    for (bucket, count) in counts.iter().enumerate() {
        seen += count;
        if seen >= rank {
            return bucket_end_us(bucket).unwrap_or(1 << POWER_MAX);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_below_the_end_of_its_bucket_and_not_below_that_of_the_one_before() {
        let powers = (0..POWER_MAX).map(|power| 1_u64 << power);
        let around = powers.flat_map(|us| [us - 1, us, us + 1, us + us / 3]);
        for us in around {
            let bucket = bucket_of(us);
            let end = bucket_end_us(bucket).unwrap();
            let start = bucket.checked_sub(1).map_or(0, |before| bucket_end_us(before).unwrap());
            assert!((start..end).contains(&us), "{us} in {start}..{end}");
            assert!(end - start <= (start / PARTS).max(1), "{us} in {start}..{end}");
        }
        assert_eq!(bucket_of(1 << POWER_MAX), TIME_BUCKETS - 1);
        assert_eq!(bucket_of(u64::MAX), TIME_BUCKETS - 1);
        assert_eq!(bucket_end_us(TIME_BUCKETS - 2), Some(1 << POWER_MAX));
        assert_eq!(bucket_end_us(TIME_BUCKETS - 1), None);
    }

    #[test]
    fn percentiles_are_of_all_that_was_counted() {
        let times = Times::default();
        let mut counts = [0; TIME_BUCKETS];
        assert_eq!(times.add_to(&mut counts), 0);
        assert_eq!(percentile_us(&counts, 0.5), 0);
        times.record(Duration::from_micros(100), 98);
        times.record(Duration::from_millis(50), 2);
        assert_eq!(times.add_to(&mut counts), 98 * 100 + 2 * 50_000);
        assert_eq!(percentile_us(&counts, 0.5), 104);
        assert_eq!(percentile_us(&counts, 0.98), 104);
        assert_eq!(percentile_us(&counts, 0.99), 53_248);
        times.record(Duration::from_secs(3600), 1);
        counts = [0; TIME_BUCKETS];
        times.add_to(&mut counts);
        assert_eq!(percentile_us(&counts, 1.0), 1 << POWER_MAX);
    }
}
