//! Connections of all shards together, and the most there ever were.
//!
//! The one number that shards write together, because a sum of each shard's own peak would be too large. A
//! shard tells at most twice in a turn, and only in one in which its number changed.

use std::sync::atomic::{AtomicU64, Ordering};

/// Connections of all shards together.
#[derive(Debug, Default)]
pub struct Total {
    now: AtomicU64,
    peak: AtomicU64,
}

impl Total {
    /// Takes note that a shard that had `before` connections has `now`.
    pub(super) fn change(&self, before: usize, now: usize) {
        if now < before {
            self.now.fetch_sub((before - now) as u64, Ordering::Relaxed);
        } else {
            let more = (now - before) as u64;
            self.peak.fetch_max(self.now.fetch_add(more, Ordering::Relaxed) + more, Ordering::Relaxed);
        }
    }

    /// Most connections at any time.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_that_of_all_shards_at_one_time() {
        let total = Total::default();
        total.change(0, 7);
        total.change(0, 4);
        total.change(7, 1);
        total.change(4, 9);
        assert_eq!((total.peak(), total.now.load(Ordering::Relaxed)), (11, 10));
    }
}
