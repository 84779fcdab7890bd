//! How long a client waits before it tries to connect again, as the official Centrifuge SDKs do it.
//!
//! Source: `backoff` and `_getReconnectDelay` of centrifuge-js 5, with its defaults `minReconnectDelay` 500 and
//! `maxReconnectDelay` 20,000 ms: the least, and a random part of up to the least times two to the power of the
//! tries before ("full jitter"), the most in all. centrifuge-dart, -swift and -python do the same.
//!
//! Absent on purpose: a random source. Chance is a hash of who waits, so that a run can be repeated.

use std::time::Duration;

/// The least delay.
const DELAY_MS_MIN: u64 = 500;
/// The most.
const DELAY_MS_MAX: u64 = 20_000;
/// Powers of two after which nothing changes.
const STEP_MAX: u32 = 31;

/// How long an SDK waits for a transport to open, and again for the answers to what it said first. Source:
/// `timeout` of centrifuge-js, 5,000 ms.
pub const TIMEOUT: Duration = Duration::from_millis(5_000);

/// The delay before try number `tries` (0 is the first) of connection `index` in the queue `seed`.
pub fn delay(seed: u64, index: u64, tries: u32) -> Duration {
    let most_ms = (DELAY_MS_MIN << tries.min(STEP_MAX)).min(DELAY_MS_MAX);
    let chance = mix(mix(mix(seed) ^ index) ^ u64::from(tries));
    Duration::from_millis((DELAY_MS_MIN + chance % (most_ms + 1)).min(DELAY_MS_MAX))
}

/// Spreads `number` over all of 64 bits. Source: the finalizer of SplitMix64.
fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_spread_between_the_least_and_twice_as_much_at_each_try_up_to_the_most() {
        for (tries, most_ms) in [(0, 1_000), (1, 1_500), (2, 2_500), (5, 16_500), (6, 20_000), (200, 20_000)]
        {
            let delays_ms = (0..10_000).map(|index| delay(3, index, tries).as_millis() as u64);
            let (least, most, sum) = delays_ms
                .fold((u64::MAX, 0, 0), |(least, most, sum), ms| (least.min(ms), most.max(ms), sum + ms));
            assert!((500..520).contains(&least) && most <= most_ms && most > most_ms - most_ms / 50);
            // Past the most, delays are cut off there, so their mean is higher than half way.
            let half_way = (500 + most_ms) as f64 / 2.0;
            assert!(sum as f64 / 10_000.0 > half_way * 0.97, "try {tries}: {sum}");
        }
        assert_ne!(delay(1, 5, 3), delay(2, 5, 3));
    }
}
