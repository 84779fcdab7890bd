//! A count as it grew: samples over time, few enough to keep and to draw.
//!
//! Invariants: times and counts never go back; there are at most [`SAMPLES_MAX`] samples, whatever
//! the length of the run, because every other one is dropped when they are full.

use std::time::Duration;

use serde::Serialize;

/// Samples kept at most.
const SAMPLES_MAX: usize = 1_024;
/// Between two samples, until there are too many.
pub const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// Seconds since the start, and the count by then.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Timeline {
    samples: Vec<(f64, u64)>,
    #[serde(skip)]
    every_seconds: f64,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { samples: Vec::new(), every_seconds: SAMPLE_EVERY.as_secs_f64() }
    }
}

impl Timeline {
    /// Adds a sample, unless the last one is as good as now.
    pub fn sample(&mut self, seconds: f64, count: u64) {
        // Half a step of slack: a thread that wakes a little early must not lose every other sample.
        let due = self.samples.last().is_none_or(|last| seconds - last.0 >= self.every_seconds / 2.0);
        if due {
            self.push(seconds, count);
        }
    }

    /// Adds the sample at which counting ended, whenever that is.
    pub fn end(&mut self, seconds: f64, count: u64) {
        self.push(seconds, count);
    }

    fn push(&mut self, seconds: f64, count: u64) {
        if self.samples.len() == SAMPLES_MAX {
            let mut at = 0;
            self.samples.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.every_seconds *= 2.0;
        }
        self.samples.push((seconds, count));
    }

    /// The samples.
    pub fn samples(&self) -> &[(f64, u64)] {
        &self.samples
    }

    /// The growth per second in at most `windows_max` windows of equal numbers of samples, as the
    /// corners of steps: each window gives its rate at its start and at its end.
    pub fn rates(&self, windows_max: usize) -> Vec<(f64, f64)> {
        let steps = self.samples.len().saturating_sub(1);
        let stride = steps.div_ceil(windows_max.max(1)).max(1);
        let mut corners = Vec::new();
        for from in (0..steps).step_by(stride) {
            let (start, end) = (self.samples[from], self.samples[(from + stride).min(steps)]);
            if end.0 > start.0 {
                let rate = end.1.saturating_sub(start.1) as f64 / (end.0 - start.0);
                corners.extend([(start.0, rate), (end.0, rate)]);
            }
        }
        corners
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_its_first_and_last_sample_and_drops_between() {
        let mut timeline = Timeline::default();
        for tick in 0..100_000_u64 {
            timeline.sample(tick as f64 / 10.0, tick);
        }
        timeline.end(10_000.0, 100_000);
        let samples = timeline.samples();
        assert!((SAMPLES_MAX / 3..=SAMPLES_MAX).contains(&samples.len()), "{}", samples.len());
        assert_eq!((samples[0], *samples.last().unwrap()), ((0.0, 0), (10_000.0, 100_000)));
        assert!(samples.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
    }

    #[test]
    fn rates_are_growth_per_second_and_nothing_is_divided_by_no_time() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.rates(10), []);
        timeline.sample(0.0, 0);
        timeline.end(0.5, 100);
        timeline.end(0.5, 100);
        assert_eq!(timeline.rates(10), [(0.0, 200.0), (0.5, 200.0)]);
        timeline.end(1.5, 200);
        assert_eq!(timeline.rates(1), [(0.0, 200.0 / 1.5), (1.5, 200.0 / 1.5)]);
    }

    #[test]
    fn machines_read_a_timeline_as_pairs() {
        let mut timeline = Timeline::default();
        timeline.end(0.5, 3);
        assert_eq!(serde_json::to_string(&timeline).unwrap(), "[[0.5,3]]");
    }
}
