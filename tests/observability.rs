//! The files of `observability/` against the metrics that a server really has, in both directions.
//!
//! PromQL is read as far as names go (`promql`): which metrics, with which labels and values, under which
//! function. What Prometheus computes from them is not judged.

pub mod common;
#[path = "observability/exposition.rs"]
mod exposition;
#[path = "observability/promql.rs"]
mod promql;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use common::Server;
use exposition::{Exposed, Kind};
use promql::{Expression, Use};
use serde::Deserialize;
use serde_json::Value;

/// Metrics that no panel shows, and why not.
const NOT_SHOWN: [(&str, &str); 2] = [
    ("throng_coalescing_ratio", "of the whole time since the start; a panel has the same over an interval"),
    ("throng_dashboard_sampling", "1 while throng_dashboard_viewers is not 0, and a second longer"),
];

/// Labels that Prometheus gives to what it scrapes.
const SCRAPED: [&str; 2] = ["instance", "job"];

/// A metric of Prometheus itself.
const UP: &str = "up";

/// `alerts.yml`. Keys that Prometheus does not know are refused here too.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    alert: String,
    expr: String,
    #[serde(rename = "for")]
    lasting: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("observability").join(name)).unwrap()
}

fn rules() -> Vec<Rule> {
    let rules: Rules = serde_saphyr::from_str(&file("alerts.yml")).unwrap();
    assert_eq!(rules.groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["throng"]);
    rules.groups.into_iter().flat_map(|group| group.rules).collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&file("grafana-dashboard.json")).unwrap()
}

/// Every value of `key` in `value`, however deep.
fn all<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name == key {
                    found.push(member);
                }
                all(member, key, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| all(item, key, found)),
        _ => {}
    }
}

/// Expressions of the dashboard, what its variables ask for included.
fn panels() -> Vec<String> {
    let dashboard = dashboard();
    let mut found = Vec::new();
    all(&dashboard, "expr", &mut found);
    let mut panels: Vec<_> = found.iter().map(|expr| expr.as_str().unwrap().to_owned()).collect();
    assert!(panels.len() > 30, "{panels:?}");
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["query"]["query"].as_str() {
            // `label_values(metric, label)` is Grafana's, not PromQL's.
            let inner = query.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
            panels.push(inner.split_once(", ").unwrap().0.to_owned());
        }
    }
    panels
}

/// What is wrong with one use of a metric.
fn judge(used: &Use, exposed: &Exposed) -> Result<(), String> {
    if used.metric == UP {
        return Ok(());
    }
    let (family, kind) = exposed.family(&used.metric).ok_or("no such metric")?;
    let function = used.function.as_deref().unwrap_or_default();
    let counts = ["rate", "irate", "increase", "resets"].contains(&function);
    if counts && kind == Kind::Gauge {
        return Err(format!("{function} of a gauge"));
    }
    if !counts && matches!(kind, Kind::Counter | Kind::Histogram) {
        return Err("a count since the start by itself, without rate or increase".to_owned());
    }
    if counts != used.range.is_some() {
        return Err("a range belongs to rate or increase".to_owned());
    }
    let labels = exposed.labels(family);
    for (label, operator, value) in &used.matchers {
        if SCRAPED.contains(&label.as_str()) {
            continue;
        }
        let values = labels.get(label.as_str()).ok_or(format!("no label {label}"))?;
        let wanted: Vec<_> = if operator.ends_with('~') { value.split('|').collect() } else { vec![value] };
        for value in wanted {
            if !values.contains(value) {
                return Err(format!("no {label} {value:?} in {values:?}"));
            }
        }
    }
    Ok(())
}

/// What is wrong with an expression.
fn judge_expression(text: &str, exposed: &Exposed) -> Vec<String> {
    let expression = match Expression::read(text) {
        Ok(expression) => expression,
        Err(error) => return vec![format!("{text}: {error}")],
    };
    let mut wrong: Vec<_> = expression.uses.iter().filter_map(|used| judge(used, exposed).err()).collect();
    if expression.uses.is_empty() {
        wrong.push("it asks for nothing".to_owned());
    }
    let mut known: BTreeSet<&str> = SCRAPED.into();
    for used in expression.uses.iter().filter(|used| used.metric != UP) {
        if let Some((family, _)) = exposed.family(&used.metric) {
            known.extend(exposed.labels(family).keys());
        }
    }
    let unknown = expression.grouped_by.iter().filter(|label| !known.contains(label.as_str()));
    wrong.extend(unknown.map(|label| format!("no metric of it has the label {label}")));
    wrong.into_iter().map(|wrong| format!("{text}: {wrong}")).collect()
}

fn exposed() -> Exposed {
    let server = Server::with_shards("", 2);
    Exposed::parse(&server.admin_get("/metrics"))
}

#[test]
fn every_panel_and_alert_asks_for_metrics_that_exist_in_a_way_that_fits_them() {
    let exposed = exposed();
    let alerts = rules().into_iter().map(|rule| rule.expr);
    let wrong: Vec<_> =
        panels().into_iter().chain(alerts).flat_map(|text| judge_expression(&text, &exposed)).collect();
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn every_metric_is_on_a_panel_or_is_left_out_for_a_reason() {
    let exposed = exposed();
    let shown: BTreeSet<String> = panels()
        .iter()
        .flat_map(|text| Expression::read(text).unwrap().uses)
        .filter_map(|used| exposed.family(&used.metric).map(|(family, _)| family.to_owned()))
        .collect();
    let left_out: BTreeSet<_> = NOT_SHOWN.iter().map(|(name, _)| (*name).to_owned()).collect();
    let missing: Vec<_> =
        exposed.families().filter(|name| !shown.contains(*name) && !left_out.contains(*name)).collect();
    assert_eq!(missing, [""; 0], "put them on a panel of observability/grafana-dashboard.json");
    let both: Vec<_> = shown.intersection(&left_out).collect();
    assert!(both.is_empty(), "{both:?} are on a panel, and in the list of those that are not");
    for name in &left_out {
        assert!(exposed.families().any(|family| family == name), "{name} does not exist any more");
    }
}

#[test]
fn every_alert_says_how_bad_it_is_what_it_is_and_what_to_do() {
    let rules = rules();
    assert!(rules.len() > 10);
    let names: BTreeSet<_> = rules.iter().map(|rule| rule.alert.as_str()).collect();
    assert_eq!(names.len(), rules.len(), "names are used once");
    for Rule { alert, lasting, labels, annotations, .. } in &rules {
        assert!(alert.starts_with("Throng"), "{alert}");
        let severity = labels.get("severity").map(String::as_str);
        assert!(matches!(severity, Some("page" | "ticket")) && labels.len() == 1, "{alert}: {labels:?}");
        let keys: Vec<_> = annotations.keys().map(String::as_str).collect();
        assert_eq!(keys, ["description", "summary"], "{alert}");
        let is_time =
            |text: &String| text.ends_with(['s', 'm', 'h']) && text[..text.len() - 1].parse::<u32>().is_ok();
        assert!(lasting.as_ref().is_none_or(is_time), "{alert}: {lasting:?}");
        // An option of throng that an alert names is one that exists.
        let example = include_str!("../throng.example.toml");
        for word in annotations["description"].split([' ', '(', ')', ',', ':', ';', '?']) {
            let option = word.trim_end_matches('.').rsplit('.').next().unwrap();
            let is_option = word.contains('.') && word.contains('_') && !word.starts_with("throng_");
            assert!(!is_option || example.contains(&format!("{option} = ")), "{alert} names {word}");
        }
    }
}

#[test]
fn panels_have_places_and_numbers_of_their_own() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{panel}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{} lies over another", panel["title"]);
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_found() {
    let page = "HTTP/1.1 200 OK\r\n\r\n# TYPE throng_a counter\nthrong_a_total{kind=\"x\"} 1\n# TYPE throng_g gauge\nthrong_g 1\n\
                # TYPE throng_h histogram\nthrong_h_bucket{le=\"1.0\"} 1\nthrong_h_sum 1\nthrong_h_count 1\n# EOF\n";
    let exposed = Exposed::parse(page);
    for right in [
        "sum by (instance, kind) (rate(throng_a_total{instance=~\"$instance\",kind=\"x\"}[5m])) > 0",
        "throng_g{job=\"throng\"} / on (instance) throng_g",
        "histogram_quantile(0.9, sum by (le) (rate(throng_h_bucket[$__rate_interval])))",
        "increase(throng_h_count[1m]) or up == 0",
    ] {
        assert_eq!(judge_expression(right, &exposed), [""; 0]);
    }
    for wrong in [
        "throng_b",
        "rate(throng_a[5m])",
        "throng_a_total",
        "rate(throng_a_total)",
        "rate(throng_g[5m])",
        "rate(throng_h[5m])",
        "rate(throng_a_total{kind=\"y\"}[5m])",
        "rate(throng_a_total{kind=~\"x|y\"}[5m])",
        "rate(throng_a_total{sort=\"x\"}[5m])",
        "sum by (sort) (throng_g)",
        "sum(throng_g",
        "sum(throng_g))",
        "some(throng_g)",
        "throng_g{kind=x}",
        "1 > 0",
    ] {
        assert_ne!(judge_expression(wrong, &exposed), [""; 0], "{wrong}");
    }
}
