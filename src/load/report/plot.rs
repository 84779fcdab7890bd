//! A plot as plain data: names and numbers, so that a scenario knows nothing of drawing.
//!
//! The same data is the plot's table of numbers, for who cannot see it or wants the digits.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::number::significant;

/// Percentiles that a table of latencies shows.
const SHOWN: [f64; 7] = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0];
/// Samples of a histogram's curve in each halving of what is left above.
const TICKS_PER_HALF_DISTANCE: u32 = 4;

/// Share of the longest bar from which a part is a pixel wide; a smaller one is a number only.
const SEEN_SHARE: f64 = 1.0 / 700.0;

/// How an axis places its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Proportionally, from 0.
    Linear,
    /// By their logarithm; values of 0 and less have no place.
    Log,
    /// Quantiles by their number of nines, as HdrHistogram draws them: 0, 0.9, 0.99, 0.999, ….
    Percentile,
}

/// Points under one name, in the order in which they are joined.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Series {
    /// What they are, for the legend.
    pub name: String,
    /// x and y.
    pub points: Vec<(f64, f64)>,
    /// Drawn as a broad pale band, which other lines run in: what is to be seen first.
    #[serde(skip)]
    pub is_band: bool,
}

impl Series {
    /// A series.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, is_band: false }
    }

    /// A series that is a band under or over lines.
    pub fn band(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { is_band: true, ..Self::new(name, points) }
    }

    /// The distribution of `values` as quantiles and values, for [`Plot::Percentiles`].
    pub fn distribution(name: impl Into<String>, values: &Histogram<u64>) -> Self {
        let points = values.iter_quantiles(TICKS_PER_HALF_DISTANCE);
        let points = points
            .map(|point| (point.quantile_iterated_to(), point.value_iterated_to().min(values.max()) as f64));
        Self::new(name, points.collect())
    }

    /// The value at `quantile`: that of the first point not below it.
    fn at_quantile(&self, quantile: f64) -> Option<f64> {
        let point = self.points.iter().find(|point| point.0 >= quantile - 1e-9).or(self.points.last());
        point.map(|point| point.1)
    }
}

/// One bar, stacked of its parts.
#[derive(Debug, Clone, Default)]
pub struct Bar {
    /// What is compared, e.g. `server side`.
    pub name: String,
    /// Names and amounts from the left. A part of the same name has the same colour in every bar;
    /// one that is not above 0, or too
    /// small to be seen, is not drawn.
    pub parts: Vec<(String, f64)>,
}

impl Bar {
    /// A bar.
    pub fn new(name: impl Into<String>, parts: Vec<(String, f64)>) -> Self {
        Self { name: name.into(), parts }
    }

    /// All that is drawn, end to end.
    pub fn total(&self) -> f64 {
        self.parts.iter().map(|(_, amount)| drawn(*amount)).sum()
    }
}

/// The length that stands for an amount.
pub(super) fn drawn(amount: f64) -> f64 {
    if amount.is_finite() { amount.max(0.0) } else { 0.0 }
}

/// What is drawn. Names of axes and units end up beside the numbers, e.g. `bytes per connection`.
#[derive(Debug, Clone)]
pub enum Plot {
    /// One bar for each thing compared, stacked by where the amount lives.
    Bars {
        /// Unit of the amounts.
        unit: String,
        /// From the top.
        bars: Vec<Bar>,
    },
    /// Latencies over their percentiles.
    Percentiles {
        /// Unit of the values, e.g. `µs`.
        unit: String,
        /// Quantiles (0 to 1) and values; see [`Series::distribution`].
        series: Vec<Series>,
    },
    /// Anything over anything.
    Lines {
        /// What x is, with its unit.
        x: String,
        /// How x is placed.
        x_scale: Scale,
        /// What y is, with its unit.
        y: String,
        /// How y is placed.
        y_scale: Scale,
        /// The lines.
        series: Vec<Series>,
    },
}

/// The numbers of a plot, as a table with a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    /// Names of the columns; the first is that of the rows' names.
    pub head: Vec<String>,
    /// A name and one value for each further column. What is unknown is empty.
    pub rows: Vec<Vec<String>>,
}

impl Plot {
    /// Nothing would be drawn: there is no number in it.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Bars { bars, .. } => bars.iter().all(|bar| bar.total() == 0.0),
            Self::Percentiles { series, .. } | Self::Lines { series, .. } => {
                series.iter().all(|series| series.points.is_empty())
            }
        }
    }

    /// The names that have a colour, in the order of the colours: parts of bars, or series.
    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Self::Bars { bars, .. } => {
                let seen = bars.iter().map(Bar::total).fold(0.0, f64::max) * SEEN_SHARE;
                let mut names: Vec<&str> = Vec::new();
                for (name, amount) in bars.iter().flat_map(|bar| &bar.parts) {
                    if drawn(*amount) > seen && !names.contains(&name.as_str()) {
                        names.push(name);
                    }
                }
                names
            }
            Self::Percentiles { series, .. } | Self::Lines { series, .. } => {
                series.iter().map(|series| series.name.as_str()).collect()
            }
        }
    }

    /// Its numbers.
    pub(super) fn numbers(&self) -> Numbers {
        match self {
            Self::Bars { unit, bars } => {
                let mut names: Vec<&str> = Vec::new();
                for (name, _) in bars.iter().flat_map(|bar| &bar.parts) {
                    if !names.contains(&name.as_str()) {
                        names.push(name);
                    }
                }
                let row = |name: &str| {
                    let part = |bar: &Bar| bar.parts.iter().find(|part| part.0 == name).map(|part| part.1);
                    let amounts = bars.iter().map(|bar| part(bar).map_or_else(String::new, significant));
                    std::iter::once(name.to_owned()).chain(amounts).collect()
                };
                let head = std::iter::once(unit.clone()).chain(bars.iter().map(|bar| bar.name.clone()));
                Numbers { head: head.collect(), rows: names.into_iter().map(row).collect() }
            }
            Self::Percentiles { unit, series } => {
                let row = |quantile: &f64| {
                    let values = series.iter().map(|series| series.at_quantile(*quantile));
                    let values = values.map(|value| value.map_or_else(String::new, significant));
                    let percentile = if *quantile == 1.0 { "max".to_owned() } else { percentile(*quantile) };
                    std::iter::once(percentile).chain(values).collect()
                };
                let names = series.iter().map(|series| format!("{} ({unit})", series.name));
                Numbers {
                    head: std::iter::once("percentile".to_owned()).chain(names).collect(),
                    rows: SHOWN.iter().map(row).collect(),
                }
            }
            Self::Lines { x, y, series, .. } => lines_numbers(x, y, series),
        }
    }
}

/// `quantile` as a percentile: `99.9` for 0.999.
fn percentile(quantile: f64) -> String {
    // The product has digits that the quantile was never meant to have.
    format!("{}", (quantile * 1e8).round() / 1e6)
}

fn lines_numbers(x: &str, y: &str, series: &[Series]) -> Numbers {
    let mut xs: Vec<f64> = series.iter().flat_map(|series| &series.points).map(|point| point.0).collect();
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    let row = |at: f64| {
        // Where two steps meet, the later one counts.
        let value = |series: &Series| {
            series.points.iter().rev().find(|point| point.0 == at).map(|point| significant(point.1))
        };
        let values = series.iter().map(|series| value(series).unwrap_or_default());
        std::iter::once(significant(at)).chain(values).collect()
    };
    let names = series.iter().map(|series| format!("{}: {y}", series.name));
    Numbers {
        head: std::iter::once(x.to_owned()).chain(names).collect(),
        rows: xs.into_iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, amount: f64) -> (String, f64) {
        (name.to_owned(), amount)
    }

    #[test]
    fn bars_share_the_colours_of_their_parts_and_what_shrank_is_a_number_only() {
        let server = Bar::new(
            "server",
            vec![part("user", 160.0), part("TCP", 2_368.0), part("filp", -3.0), part("small", 0.5)],
        );
        let floor = Bar::new("floor", vec![part("TCP", 2_368.0)]);
        assert_eq!(server.total(), 2_528.5);
        let plot = Plot::Bars { unit: "bytes".to_owned(), bars: vec![server, floor] };
        assert_eq!(plot.names(), ["user", "TCP"]);
        let numbers = plot.numbers();
        assert_eq!(numbers.head, ["bytes", "server", "floor"]);
        assert_eq!(numbers.rows[0], ["user", "160", ""]);
        assert_eq!(numbers.rows[2], ["filp", "-3", ""]);
    }

    #[test]
    fn a_distribution_is_read_at_its_percentiles() {
        let mut values = Histogram::<u64>::new(3).unwrap();
        (1..=1000).for_each(|us| values.record(us).unwrap());
        let series = vec![Series::distribution("rounds", &values)];
        let numbers = Plot::Percentiles { unit: "µs".to_owned(), series }.numbers();
        assert_eq!(numbers.head, ["percentile", "rounds (µs)"]);
        assert_eq!(numbers.rows[2][0], "90");
        assert_eq!(numbers.rows[4][0], "99.9");
        assert_eq!(numbers.rows[6], ["max", "1,000"]);
        let near: f64 = numbers.rows[3][1].parse().unwrap();
        assert!((985.0..=1000.0).contains(&near), "{near}");
    }

    #[test]
    fn lines_share_their_rows() {
        let plot = Plot::Lines {
            x: "in flight".to_owned(),
            x_scale: Scale::Log,
            y: "ns".to_owned(),
            y_scale: Scale::Linear,
            series: vec![Series::new("a", vec![(1.0, 5.0), (2.0, 4.0)]), Series::new("b", vec![(2.0, 3.0)])],
        };
        assert_eq!(plot.numbers().rows, [["1", "5", ""], ["2", "4", "3"]]);
    }

    #[test]
    fn a_plot_without_a_number_is_empty() {
        assert!(Plot::Bars { unit: String::new(), bars: Vec::new() }.is_empty());
        let nothing = Bar::new("a", vec![part("user", 0.0), part("TCP", f64::NAN)]);
        assert!(Plot::Bars { unit: String::new(), bars: vec![nothing] }.is_empty());
        let none = Histogram::<u64>::new(3).unwrap();
        let series = vec![Series::distribution("none", &none)];
        let plot = Plot::Percentiles { unit: String::new(), series };
        assert!(plot.is_empty() && plot.numbers().rows[6] == ["max", ""]);
    }
}
