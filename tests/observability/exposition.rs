//! A page of metrics in the OpenMetrics format: families, their kinds, and the labels of their samples.

use std::collections::{BTreeMap, BTreeSet};

/// What a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Grows, and has `_total`.
    Counter,
    /// Goes up and down; so does what `info` tells.
    Gauge,
    /// Has `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// Values of each label.
pub type Labels = BTreeMap<String, BTreeSet<String>>;

/// All families of a page.
#[derive(Debug, Default)]
pub struct Exposed {
    families: BTreeMap<String, (Kind, Labels)>,
    /// Families by the names of their samples.
    samples: BTreeMap<String, String>,
}

impl Exposed {
    /// Reads the answer to a scrape.
    pub fn parse(response: &str) -> Exposed {
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        let mut exposed = Exposed::default();
        let mut family = String::new();
        for line in response.lines().skip_while(|line| !line.starts_with('#')) {
            if let Some(described) = line.strip_prefix("# TYPE ") {
                let (name, word) = described.split_once(' ').unwrap();
                let kind = match word {
                    "counter" => Kind::Counter,
                    "gauge" => Kind::Gauge,
                    "histogram" => Kind::Histogram,
                    "info" => Kind::Gauge,
                    other => panic!("{name} is a {other}, which this test does not know"),
                };
                family = if word == "info" { format!("{name}_info") } else { name.to_owned() };
                exposed.families.insert(family.clone(), (kind, Labels::new()));
            } else if line.starts_with(&family) && !family.is_empty() {
                exposed.sample(&family, line);
            } else {
                assert!(line.starts_with('#') || line.is_empty(), "{line} is of no family");
            }
        }
        assert!(!exposed.families.is_empty());
        exposed
    }

    fn sample(&mut self, family: &str, line: &str) {
        let name_bytes = line.find(['{', ' ']).unwrap();
        let name = &line[..name_bytes];
        self.samples.insert(name.to_owned(), family.to_owned());
        let Some(labels) = line[name_bytes..].strip_prefix('{') else { return };
        let labels = labels.rsplit_once('}').unwrap().0;
        let known = &mut self.families.get_mut(family).unwrap().1;
        for label in labels.split("\",") {
            let (label, value) = label.split_once("=\"").unwrap();
            known.entry(label.to_owned()).or_default().insert(value.trim_end_matches('"').to_owned());
        }
    }

    /// Names of all families; one of info with its `_info`.
    pub fn families(&self) -> impl Iterator<Item = &str> {
        self.families.keys().map(String::as_str)
    }

    /// The family that the samples called `sample` are of, and its kind.
    pub fn family(&self, sample: &str) -> Option<(&str, Kind)> {
        let family = self.samples.get(sample)?;
        Some((family, self.families[family].0))
    }

    /// The labels of a family.
    pub fn labels(&self, family: &str) -> BTreeMap<&str, BTreeSet<&str>> {
        let labels = self.families[family].1.iter();
        labels.map(|(label, values)| (label.as_str(), values.iter().map(String::as_str).collect())).collect()
    }
}
