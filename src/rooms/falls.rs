//! How often clients have fallen behind their rooms, one time soon after the other: by this they wait
//! before they read the history again, and go when they never keep up.
//!
//! What a slow client reads from the history costs more than what it is sent as it comes. One that falls behind
//! now and then is worth that; one that falls behind again as soon as it has caught up would have it read for ever.
//!
//! Invariant: whoever is in `of` trails a room, or did until less than `FORGIVEN_AFTER_MS` before `forgive` was
//! last called; nobody else costs anything.
//!
//! Absent on purpose: the clock, and what is done about those who fell behind; `trailing` has both.

use std::collections::{HashMap, VecDeque};

use crate::conn::Key;

/// Wait before the history is read after the second fall; doubled for each that follows. What a round trip over
/// a bad line takes: less would not be noticed by anybody.
const DELAY_MS: u64 = 100;

/// Longest wait. A client that hears nothing for longer takes its room for dead, and what it misses
/// meanwhile, a history that is not small still has.
const DELAY_MS_MAX: u64 = 5_000;

/// Time after which one who is live is as good as one who never fell behind. Twice the longest wait, so that
/// nobody is forgiven for waiting; and a history read each 10 s is nothing to mind.
const FORGIVEN_AFTER_MS: u64 = 10_000;

const _: () = assert!(FORGIVEN_AFTER_MS >= 2 * DELAY_MS_MAX);

/// Beats missed in a row that lengthen the wait. To miss one is what feeds are made for and drops nothing, so the wait
/// stays below a second and nobody goes for it.
const BEATS_MAX: u32 = 5;

const _: () = assert!(delay_ms(BEATS_MAX) < 1_000);

/// What is known of one who fell behind.
#[derive(Debug, Default)]
struct Fallen {
    /// How often, one time soon after the other.
    times: u32,
    /// When it may read the history.
    reads_at_ms: u64,
    /// When it had caught up; `None` while it trails.
    live_since_ms: Option<u64>,
}

/// Clients that fell behind their rooms.
#[derive(Debug, Default)]
pub(super) struct Falls {
    of: HashMap<Key, Fallen>,
    /// Who may have been live for long enough, and when that is; ascending.
    forgiven_at_ms: VecDeque<(u64, Key)>,
}

/// Time that one waits who has fallen behind for the `times`th time.
const fn delay_ms(times: u32) -> u64 {
    let Some(doublings) = times.checked_sub(2) else { return 0 };
    // 2^6 is above the longest wait already.
    let delay_ms = DELAY_MS << if doublings < 6 { doublings } else { 6 };
    if delay_ms < DELAY_MS_MAX { delay_ms } else { DELAY_MS_MAX }
}

impl Falls {
    /// `key` has fallen behind. Returns for which time that is, one soon after the other.
    pub(super) fn fall(&mut self, key: Key, now_ms: u64) -> u32 {
        self.add(key, now_ms, u32::MAX)
    }

    /// `key` has missed a beat. One that trails another room has fallen already.
    pub(super) fn miss(&mut self, key: Key, now_ms: u64) {
        if self.of.get(&key).is_none_or(|fallen| fallen.live_since_ms.is_some()) {
            self.add(key, now_ms, BEATS_MAX);
        }
    }

    /// Counts one more, unless there are `times_max` already.
    fn add(&mut self, key: Key, now_ms: u64, times_max: u32) -> u32 {
        let fallen = self.of.entry(key).or_default();
        if fallen.live_since_ms.is_some_and(|since_ms| now_ms >= since_ms + FORGIVEN_AFTER_MS) {
            fallen.times = 0;
        }
        fallen.live_since_ms = None;
        fallen.times = fallen.times.max(times_max.min(fallen.times.saturating_add(1)));
        fallen.reads_at_ms = now_ms + delay_ms(fallen.times);
        fallen.times
    }

    /// When `key` may read the history; 0 for at once.
    pub(super) fn reads_at_ms(&self, key: Key) -> u64 {
        self.of.get(&key).map_or(0, |fallen| fallen.reads_at_ms)
    }

    /// `key` trails no room any more. Returns when `forgive` is to be called, if it had fallen behind.
    pub(super) fn caught_up(&mut self, key: Key, now_ms: u64) -> Option<u64> {
        let fallen = self.of.get_mut(&key).filter(|fallen| fallen.live_since_ms.is_none())?;
        fallen.live_since_ms = Some(now_ms);
        let at_ms = now_ms + FORGIVEN_AFTER_MS;
        self.forgiven_at_ms.push_back((at_ms, key));
        Some(at_ms)
    }

    /// Forgets those who have been live for long enough. Returns when to call this again.
    pub(super) fn forgive(&mut self, now_ms: u64) -> Option<u64> {
        while let Some((at_ms, key)) = self.forgiven_at_ms.front().copied() {
            if at_ms > now_ms {
                return Some(at_ms);
            }
            self.forgiven_at_ms.pop_front();
            // It may have fallen again since, or be another that has its key.
            let since_ms = self.of.get(&key).and_then(|fallen| fallen.live_since_ms);
            if since_ms.is_some_and(|since_ms| now_ms >= since_ms + FORGIVEN_AFTER_MS) {
                self.of.remove(&key);
            }
        }
        None
    }

    /// Forgets a connection that has ended.
    pub(super) fn end(&mut self, key: Key) {
        self.of.remove(&key);
    }

    /// Gives back memory.
    pub(super) fn shrink(&mut self) {
        self.of.shrink_to_fit();
        self.forgiven_at_ms.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_falls_again_and_again_waits_longer_and_longer() {
        let mut falls = Falls::default();
        let mut waits = Vec::new();
        for time in 1..=10 {
            let now_ms = time * 1_000;
            assert_eq!(u64::from(falls.fall(7, now_ms)), time);
            waits.push(falls.reads_at_ms(7) - now_ms);
            falls.caught_up(7, now_ms + 900);
        }
        assert_eq!(waits, [0, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
        assert_eq!(falls.reads_at_ms(8), 0);
    }

    #[test]
    fn one_who_stays_live_is_forgiven_and_one_who_trails_for_long_is_not() {
        let mut falls = Falls::default();
        falls.fall(7, 0);
        assert_eq!(falls.fall(7, 60_000), 2);
        assert_eq!(falls.caught_up(7, 70_000), Some(80_000));
        assert_eq!(falls.fall(7, 79_999), 3);
        falls.caught_up(7, 79_999);
        assert_eq!(falls.fall(7, 89_999), 1);
    }

    #[test]
    fn those_who_are_forgiven_or_gone_are_not_kept() {
        let mut falls = Falls::default();
        for key in 1..=3 {
            falls.fall(key, 0);
            falls.caught_up(key, u64::from(key));
        }
        falls.fall(2, 5_000);
        falls.end(3);
        assert_eq!(falls.forgive(10_000), Some(10_001));
        assert_eq!(falls.forgive(10_001), Some(10_002));
        assert_eq!(falls.forgive(30_000), None);
        assert!(falls.of.keys().eq([&2]), "{falls:?}");
        assert_eq!(falls.fall(2, 30_000), 3);
        assert_eq!(falls.caught_up(2, 40_000), Some(50_000));
        assert_eq!(falls.forgive(50_000), None);
        assert!(falls.of.is_empty() && falls.caught_up(2, 50_000).is_none());
    }

    #[test]
    fn missed_beats_lengthen_the_wait_to_below_a_second() {
        let mut falls = Falls::default();
        for beat in 0..100 {
            falls.miss(7, beat * 250);
            // In another room.
            falls.miss(7, beat * 250);
            falls.caught_up(7, beat * 250 + 1);
        }
        assert_eq!(falls.reads_at_ms(7), 99 * 250 + 800);
        assert_eq!(falls.fall(7, 30_000), 6);
        falls.caught_up(7, 30_001);
        falls.miss(7, 30_250);
        assert_eq!(falls.fall(7, 30_500), 7);
    }
}
