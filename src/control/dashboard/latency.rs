//! Percentiles over the last ten seconds, from counts that only grow.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::snapshot::Latency;
use crate::shard::{Stats, TIME_BUCKETS, percentile_us};

/// What the percentiles are of.
const WINDOW: Duration = Duration::from_secs(10);

type Counts = [u64; TIME_BUCKETS];

/// The counts of all shards at some moments, the oldest first.
#[derive(Debug)]
pub(super) struct Window(VecDeque<(Instant, Box<Counts>)>);

fn counts(stats: &[Arc<Stats>]) -> Box<Counts> {
    let mut counts = Box::new([0; TIME_BUCKETS]);
    for stats in stats {
        stats.publish_times.add_to(&mut counts);
    }
    counts
}

impl Window {
    /// A window that begins now.
    pub(super) fn new(stats: &[Arc<Stats>], now: Instant) -> Self {
        Window(VecDeque::from([(now, counts(stats))]))
    }

    /// What was counted in the window that ends now.
    pub(super) fn beat(&mut self, stats: &[Arc<Stats>], now: Instant) -> Latency {
        let latest = counts(stats);
        // The youngest of those that are too old is where the window begins.
        while self.0.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= WINDOW) {
            self.0.pop_front();
        }
        let mut since = *latest;
        if let Some((_, first)) = self.0.front() {
            since.iter_mut().zip(first.iter()).for_each(|(count, before)| *count -= before);
        }
        self.0.push_back((now, latest));
        Latency {
            count: since.iter().sum(),
            p50_us: percentile_us(&since, 0.5),
            p99_us: percentile_us(&since, 0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let stats: Vec<Arc<Stats>> = (0..2).map(|_| Arc::default()).collect();
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        stats[0].publish_times.record(Duration::from_secs(1), 5);
        let mut window = Window::new(&stats, began);
        assert_eq!(window.beat(&stats, at(1)), Latency::default());
        stats[1].publish_times.record(Duration::from_micros(100), 3);
        let seen = Latency { count: 3, p50_us: 104, p99_us: 104 };
        for second in 2..=11 {
            assert_eq!(window.beat(&stats, at(second)), seen, "after {second} s");
        }
        assert_eq!(window.beat(&stats, at(12)), Latency::default());
        assert!(window.0.len() <= 12);
    }
}
