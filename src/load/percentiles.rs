//! A distribution of times, as a report shows it.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Points of the curve per halving of the distance to 100 %.
const CURVE_STEPS_PER_HALF: u32 = 4;

/// Times in µs.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Percentiles {
    /// How many times there were.
    pub count: u64,
    /// Median.
    pub p50_us: u64,
    /// 90th percentile.
    pub p90_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// 99.9th percentile.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
    /// The whole curve: (quantile from 0 to 1, µs), denser towards 1.
    pub curve: Vec<(f64, u64)>,
}

impl Percentiles {
    /// The percentiles of `times_us`, or `None` where there were none.
    pub fn of(times_us: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| times_us.value_at_quantile(quantile);
        (!times_us.is_empty()).then(|| Self {
            count: times_us.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: times_us.max(),
            curve: times_us
                .iter_quantiles(CURVE_STEPS_PER_HALF)
                .map(|step| (step.quantile_iterated_to(), step.value_iterated_to().min(times_us.max())))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::watch::histogram_us;

    #[test]
    fn percentiles_are_within_the_three_digits_of_the_histogram() {
        let mut times_us = histogram_us();
        assert!(Percentiles::of(&times_us).is_none());
        (1..=1_000).for_each(|us| times_us.record(us).unwrap());
        let times = Percentiles::of(&times_us).unwrap();
        assert_eq!((times.p50_us, times.p90_us, times.p99_us, times.p999_us), (500, 900, 990, 999));
        assert_eq!((times.count, times.max_us, times.curve.last()), (1_000, 1_000, Some(&(1.0, 1_000))));
        assert!(times.curve.is_sorted_by_key(|(_, us)| *us));
    }
}
