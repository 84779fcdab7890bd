//! A page of metrics, read back.

use std::collections::BTreeMap;

/// Samples by name with labels, as they are written: `throng_accepts_total{shard="0"}`.
#[derive(Debug, Clone)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Reads an HTTP response whose body is OpenMetrics text.
    pub fn parse(response: &str) -> Metrics {
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        let samples = response.lines().filter(|line| line.starts_with("throng_")).map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        Metrics(samples.collect())
    }

    /// One sample by its name with labels. A name that the server does not have is a test's mistake.
    pub fn get(&self, name: &str) -> u64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no metric {name} in {self:#?}")) as u64
    }

    /// All samples of `name` in the order of the label `shard`.
    pub fn by_shard(&self, name: &str) -> Vec<u64> {
        let sample = |shard| self.0.get(&format!("{name}{{shard=\"{shard}\"}}"));
        (0..).map_while(sample).map(|value| *value as u64).collect()
    }

    /// The sum of `by_shard`.
    pub fn sum(&self, name: &str) -> u64 {
        self.by_shard(name).iter().sum()
    }

    /// Connections closed as too slow for `reason`.
    pub fn slow_closes(&self, reason: &str) -> u64 {
        self.get(&format!("throng_slow_closes_total{{reason=\"{reason}\"}}"))
    }

    /// WebSockets that ended with a close code.
    pub fn closes(&self, code: u16) -> u64 {
        self.get(&format!("throng_closes_total{{code=\"{code}\"}}"))
    }
}
