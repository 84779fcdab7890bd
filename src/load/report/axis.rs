//! An axis: where a value lies on it, and the few values that get a line and a label.
//!
//! Plotters chooses ticks of its own; these are chosen here because its log axis has no 2 and 5, and
//! no scale of its own is that of percentiles.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::number::short;
use super::plot::Scale;

/// Steps between ticks within a decade.
const STEPS: [f64; 3] = [1.0, 2.0, 5.0];
/// The ticks of a percentile axis, as quantiles and as percentiles.
const QUANTILES: [(f64, &str); 8] = [
    (0.0, "0"),
    (0.5, "50"),
    (0.9, "90"),
    (0.99, "99"),
    (0.999, "99.9"),
    (0.9999, "99.99"),
    (0.99999, "99.999"),
    (0.999_999, "99.9999"),
];

/// One axis, lowest to highest value.
#[derive(Debug, Clone)]
pub struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis that shows all of `values` on `scale`, with about `ticks` ticks; `is_tight` ends it at
    /// the largest value, not at the next tick. Values that the scale has no place for are passed over.
    pub fn new(scale: Scale, values: impl Iterator<Item = f64>, ticks: usize, is_tight: bool) -> Self {
        let has_place = |value: &f64| match scale {
            Scale::Linear => value.is_finite(),
            Scale::Log => value.is_finite() && *value > 0.0,
            // The maximum lies infinitely far to the right; it is drawn at the edge.
            Scale::Percentile => (0.0..1.0).contains(value),
        };
        let (low, high) = values
            .filter(has_place)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        match scale {
            Scale::Linear => Self::linear(low, high, ticks, is_tight),
            Scale::Log => Self::log(low, high, ticks, is_tight),
            Scale::Percentile => Self::percentile(high),
        }
    }

    fn linear(low: f64, high: f64, ticks: usize, is_tight: bool) -> Self {
        let low = if low.is_finite() { low.min(0.0) } else { 0.0 };
        let high = if high > low { high } else { low + 1.0 };
        let rough = (high - low) / ticks.max(1) as f64;
        let decade = 10_f64.powf(rough.log10().floor());
        let step = STEPS.iter().map(|step| step * decade).find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(decade * 10.0);
        let low = (low / step).floor() * step;
        let high = if is_tight { high } else { (high / step * 0.999).ceil() * step };
        let count = ((high - low) / step * 1.001).floor() as usize;
        let ticks = (0..=count).map(|at| low + at as f64 * step).map(|tick| (tick, short(tick))).collect();
        Self { scale: Scale::Linear, low, high, ticks }
    }

    fn log(low: f64, high: f64, ticks: usize, is_tight: bool) -> Self {
        let (low, high) = if low <= high { (low, high) } else { (1.0, 10.0) };
        let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let all: Vec<f64> =
            decades.flat_map(|decade| STEPS.iter().map(move |step| step * 10_f64.powi(decade))).collect();
        let last_below = all.iter().rposition(|tick| *tick <= low * 1.001).unwrap_or(0);
        let first_above = all.iter().position(|tick| *tick >= high * 0.999).unwrap_or(all.len() - 1);
        let within = &all[last_below..=first_above.max(last_below + 1)];
        // All of them, or only the decades, or every n-th decade.
        let is_decade = |tick: &f64| (tick.log10() - tick.log10().round()).abs() < 1e-6;
        let shown: Vec<f64> = if within.len() <= ticks + 2 {
            within.to_vec()
        } else {
            let decades: Vec<f64> = within.iter().copied().filter(is_decade).collect();
            let every = decades.len().div_ceil(ticks.max(1)).max(1);
            decades.into_iter().step_by(every).collect()
        };
        // With fewer than two ticks between the values themselves nobody could read the scale.
        let between = |tick: &&f64| (low..=high * 1.001).contains(*tick);
        let is_tight = is_tight && shown.iter().filter(between).count() >= 2;
        let (low, high) = if is_tight { (low, high) } else { (within[0], within[within.len() - 1]) };
        let ticks = shown.into_iter().filter(|tick| (low..=high * 1.001).contains(tick));
        let ticks = ticks.map(|tick| (tick, short(tick))).collect();
        Self { scale: Scale::Log, low, high, ticks }
    }

    fn percentile(high: f64) -> Self {
        let high = high.clamp(0.9, QUANTILES[QUANTILES.len() - 1].0);
        let ticks = QUANTILES.iter().filter(|(quantile, _)| *quantile <= high + 1e-9);
        Self {
            scale: Scale::Percentile,
            low: 0.0,
            high,
            ticks: ticks.map(|(quantile, name)| (*quantile, (*name).to_owned())).collect(),
        }
    }

    /// Values with a line and a label, and the labels.
    pub fn ticks(&self) -> &[(f64, String)] {
        &self.ticks
    }

    /// The axis's place for `value`: linear in pixels.
    fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(f64::MIN_POSITIVE).log10(),
            // Each further 9 takes as much room as the one before it, as HdrHistogram draws it.
            Scale::Percentile => -(1.0 - value).log10(),
        }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let (low, high) = (self.place(self.low), self.place(self.high));
        let share = (self.place(value.clamp(self.low, self.high)) - low) / (high - low);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Plotters asks twice, for bold lines and for light ones between them. There are no light ones.
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        self.ticks.iter().map(|(value, _)| *value).collect()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let named = self.ticks.iter().find(|(tick, _)| tick == value);
        named.map_or_else(String::new, |(_, name)| name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, values: &[f64]) -> Vec<String> {
        let axis = Axis::new(scale, values.iter().copied(), 5, false);
        axis.ticks().iter().map(|(_, label)| label.clone()).collect()
    }

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        assert_eq!(labels(Scale::Linear, &[3.0, 17.0]), ["0", "5", "10", "15", "20"]);
        assert_eq!(labels(Scale::Linear, &[0.0, 0.42]), ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(labels(Scale::Log, &[3.0, 60.0]), ["2", "5", "10", "20", "50", "100"]);
        assert_eq!(labels(Scale::Log, &[3.0, 60_000.0]), ["10", "100", "1,000", "10k", "100k"]);
        assert_eq!(labels(Scale::Percentile, &[0.9993, 1.0]), ["0", "50", "90", "99", "99.9"]);
    }

    #[test]
    fn a_tight_axis_ends_with_the_values() {
        for scale in [Scale::Linear, Scale::Log] {
            let axis = Axis::new(scale, [1.0, 32.0].into_iter(), 8, true);
            assert_eq!((axis.high, axis.ticks.first().unwrap().1.len()), (32.0, 1), "{scale:?}");
            assert!(axis.ticks.len() >= 4 && axis.ticks.iter().all(|(tick, _)| *tick <= 32.0), "{scale:?}");
        }
    }

    #[test]
    fn no_value_or_only_one_still_gives_an_axis_of_some_length() {
        for scale in [Scale::Linear, Scale::Log, Scale::Percentile] {
            for values in [&[][..], &[0.0], &[0.5], &[1.0], &[f64::NAN], &[f64::INFINITY, -1.0]] {
                let axis = Axis::new(scale, values.iter().copied(), 5, true);
                assert!(axis.low < axis.high, "{scale:?} of {values:?}");
                assert_eq!((axis.map(&axis.low, (0, 100)), axis.map(&axis.high, (0, 100))), (0, 100));
                assert!(!axis.ticks().is_empty(), "{scale:?} of {values:?}");
            }
        }
    }

    #[test]
    fn every_nine_takes_the_same_room() {
        let axis = Axis::new(Scale::Percentile, [0.9999].into_iter(), 5, true);
        let places = [0.0, 0.9, 0.99, 0.999, 0.9999].map(|quantile| axis.map(&quantile, (0, 400)));
        assert_eq!(places, [0, 100, 200, 300, 400]);
    }
}
