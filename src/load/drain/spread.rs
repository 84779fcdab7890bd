//! How evenly, and in which order, connections were ended. Times in, figures out.

use std::time::Instant;

use serde::Serialize;

use crate::load::fleet::End;

/// Correlations of a random order of `n` have a deviation of 1 / sqrt(n - 1): this many of them are no chance.
const DEVIATIONS: f64 = 5.0;
/// What an order may be correlated beyond chance and still be called random: those that are closed in one step
/// are read in the order of their sockets.
const CORRELATION_SLACK: f64 = 0.05;

/// How the closes were spread.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Spread {
    /// From the order to drain until the first close.
    pub seconds_to_first: f64,
    /// From the first to the last.
    pub seconds: f64,
    /// Closes in each second from the first on, for as long as they were to be spread over.
    pub closes_in_second: Vec<u64>,
    /// Closes after the last of them.
    pub late: u64,
    /// Closes per second if they were even.
    pub even_per_second: f64,
    /// What the second that is furthest from even is off by, in percent of even.
    pub worst_percent: f64,
    /// Rank correlation (Spearman) of the order in which connections had become whole and that in which they were
    /// closed: 1 is the same order, -1 the opposite one, 0 none.
    pub order_correlation: Option<f64>,
    /// The order is one that chance makes.
    pub is_random: Option<bool>,
}

impl Spread {
    /// The spread of `ends` that were to take `over_seconds`, ordered at `told`; `None` without any.
    pub fn of(ends: &[End], told: Instant, over_seconds: f64) -> Option<Self> {
        let at = |end: &End| end.ended.saturating_duration_since(told).as_secs_f64();
        let first = ends.iter().map(at).reduce(f64::min)?;
        let last = ends.iter().map(at).fold(first, f64::max);
        let mut closes_in_second = vec![0; over_seconds.floor().max(1.0) as usize];
        let mut late = 0;
        for end in ends {
            match closes_in_second.get_mut((at(end) - first) as usize) {
                Some(count) => *count += 1,
                None => late += 1,
            }
        }
        let even_per_second = ends.len() as f64 / over_seconds.max(1.0);
        let off = |count: &u64| (*count as f64 - even_per_second).abs() / even_per_second * 100.0;
        let order_correlation = correlation(ends);
        let by_chance = DEVIATIONS / (ends.len().max(2) as f64 - 1.0).sqrt();
        Some(Self {
            seconds_to_first: first,
            seconds: last - first,
            worst_percent: closes_in_second.iter().map(off).fold(0.0, f64::max),
            closes_in_second,
            late,
            even_per_second,
            order_correlation,
            is_random: order_correlation.map(|order| order.abs() <= by_chance + CORRELATION_SLACK),
        })
    }
}

/// Spearman's rank correlation of when connections became whole and when they ended; `None` for fewer than two.
fn correlation(ends: &[End]) -> Option<f64> {
    let count = ends.len();
    if count < 2 {
        return None;
    }
    let ranks = |key: fn(&End) -> Instant| {
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|nth| key(&ends[*nth]));
        let mut ranks = vec![0.0; count];
        order.into_iter().enumerate().for_each(|(rank, nth)| ranks[nth] = rank as f64);
        ranks
    };
    let (whole, ended) = (ranks(|end| end.whole), ranks(|end| end.ended));
    let squares: f64 = whole.iter().zip(&ended).map(|(a, b)| (a - b) * (a - b)).sum();
    let count = count as f64;
    Some(1.0 - 6.0 * squares / (count * (count * count - 1.0)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Connections that became whole one after the other and ended at these milliseconds.
    fn ends(told: Instant, ended_ms: impl Iterator<Item = u64>) -> Vec<End> {
        let end = |(nth, ms)| End {
            whole: told + Duration::from_micros(nth),
            ended: told + Duration::from_millis(ms),
            code: Some(3001),
        };
        (0..).zip(ended_ms).map(end).collect()
    }

    #[test]
    fn closes_at_equal_distances_are_even_and_in_order() {
        let told = Instant::now();
        let spread = Spread::of(&ends(told, (0..400).map(|nth| 500 + nth * 10)), told, 4.0).unwrap();
        assert_eq!((spread.closes_in_second.as_slice(), spread.late), (&[100; 4][..], 0));
        assert_eq!((spread.even_per_second, spread.worst_percent), (100.0, 0.0));
        assert!((spread.seconds_to_first - 0.5).abs() < 1e-9 && (spread.seconds - 3.99).abs() < 1e-9);
        assert_eq!((spread.order_correlation, spread.is_random), (Some(1.0), Some(false)));
    }

    #[test]
    fn a_rush_a_lull_and_a_late_one_show() {
        let told = Instant::now();
        let rushed = (0..400).map(|nth| if nth < 150 { nth } else { 1_000 + nth * 10 });
        let spread = Spread::of(&ends(told, rushed), told, 4.0).unwrap();
        assert_eq!((spread.closes_in_second.as_slice(), spread.late), (&[150, 0, 50, 100][..], 100));
        assert_eq!(spread.worst_percent, 100.0);
        assert_eq!(Spread::of(&[], told, 4.0), None);
    }

    #[test]
    fn an_order_without_relation_is_random_and_the_opposite_one_is_not() {
        let told = Instant::now();
        // 7 is a primitive root of 401, so its powers are each of 1 to 400 once.
        let shuffled = std::iter::successors(Some(1), |power| Some(power * 7 % 401)).take(400);
        let spread = Spread::of(&ends(told, shuffled), told, 1.0).unwrap();
        assert_eq!(spread.is_random, Some(true), "{spread:?}");
        let spread = Spread::of(&ends(told, (0..400).rev()), told, 1.0).unwrap();
        assert_eq!((spread.order_correlation, spread.is_random), (Some(-1.0), Some(false)));
        let alone = Spread::of(&ends(told, 5..6), told, 1.0).unwrap();
        assert_eq!((alone.order_correlation, alone.is_random), (None, None));
    }
}
