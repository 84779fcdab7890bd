//! What the shards count, as Prometheus reads it.
//!
//! Nothing is counted here: at each scrape the collector reads every shard's `Stats` and writes
//! the numbers out. A number carries the label `shard` where an uneven spread is something an
//! operator acts on; the others are sums over the shards.
//!
//! Absent on purpose: memory and descriptors of the process, which node and process exporters
//! read from /proc at a cost that a scrape of this listener should not have.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelValue, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::shard::{Counter, Stats, TIME_BUCKETS, bucket_end_us};

/// Media type of [`text`]. Source: OpenMetrics 1.0, "Text format".
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One count of `Stats` and how it is exposed. The format adds the prefix `throng_`, the unit,
/// and `_total` to counters.
struct Exposed {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    count: fn(&Stats) -> &Counter,
}

/// Gauges with the label `shard`.
const GAUGES_BY_SHARD: [Exposed; 3] = [
    Exposed {
        name: "connections",
        help: "Sockets the shard holds, from accept to close",
        unit: None,
        count: |stats| &stats.connections,
    },
    Exposed {
        name: "listening",
        help: "1 while the shard accepts connections, 0 while it is full or draining",
        unit: None,
        count: |stats| &stats.listening,
    },
    Exposed {
        name: "backlog",
        help: "Bytes waiting in user memory because sockets were full",
        unit: Some(Unit::Bytes),
        count: |stats| &stats.backlog_bytes,
    },
];

/// Counters with the label `shard`.
const COUNTERS_BY_SHARD: [Exposed; 3] = [
    Exposed { name: "accepts", help: "Accepted TCP connections", unit: None, count: |stats| &stats.accepts },
    Exposed {
        name: "inbox_messages",
        help: "Messages that arrived in the shard's inbox from other threads",
        unit: None,
        count: |stats| &stats.inbox_messages,
    },
    Exposed {
        name: "turns",
        help: "Turns of the shard's event loop",
        unit: None,
        count: |stats| &stats.turns,
    },
];

/// Counters that are sums over the shards.
const COUNTERS: [Exposed; 13] = [
    Exposed {
        name: "accept_failures",
        help: "Accepts that failed because descriptors or memory ran out",
        unit: None,
        count: |stats| &stats.accept_failures,
    },
    Exposed {
        name: "accept_pauses",
        help: "Times that whoever came was left to the kernel's queue, because of admission.accepts_per_second",
        unit: None,
        count: |stats| &stats.accept_pauses,
    },
    Exposed {
        name: "upgrades",
        help: "HTTP requests that became WebSockets",
        unit: None,
        count: |stats| &stats.upgrades,
    },
    Exposed {
        name: "upgrades_abandoned",
        help: "Connections that ended before their upgrade request was complete, without an answer",
        unit: None,
        count: |stats| &stats.upgrades_abandoned,
    },
    Exposed {
        name: "messages_in",
        help: "Messages received from clients",
        unit: None,
        count: |stats| &stats.messages_in,
    },
    Exposed {
        name: "deliveries",
        help: "Messages handed to connections: publications, replies and pings",
        unit: None,
        count: |stats| &stats.deliveries,
    },
    Exposed {
        name: "writes",
        help: "Write calls made to deliver messages",
        unit: None,
        count: |stats| &stats.writes,
    },
    Exposed {
        name: "slow_recoveries",
        help: "Times that what waited for a slow member was dropped, for it to get that from the history as fast as it reads",
        unit: None,
        count: |stats| &stats.slow_recoveries,
    },
    Exposed {
        name: "write_timeout_closes",
        help: "Connections closed because their backlog made no progress in time",
        unit: None,
        count: |stats| &stats.write_timeout_closes,
    },
    Exposed {
        name: "publishes_refused",
        help: "Publishes refused with error 111, and join and leave pushes not passed on, because a shard's inbox or the committer's queue was full",
        unit: None,
        count: |stats| &stats.publishes_refused,
    },
    Exposed {
        name: "publishes_limited",
        help: "Publish commands refused with error 111, because the connection or the room had too many a second",
        unit: None,
        count: |stats| &stats.publishes_limited,
    },
    Exposed {
        name: "subscribes_limited",
        help: "Subscribe commands refused with error 111, because the connection sent too many a second",
        unit: None,
        count: |stats| &stats.subscribes_limited,
    },
    Exposed {
        name: "feed_switches",
        help: "Times that a room went over to feed delivery because it had more members than its cap, or back",
        unit: None,
        count: |stats| &stats.feed_switches,
    },
];

/// The first step of the histogram of publish times: what is faster nobody has to tell apart.
const PUBLISH_TIME_MIN_US: u64 = 64;

/// A registry that reads `stats`, one of each shard in the order of their numbers.
pub fn registry(stats: Arc<[Arc<Stats>]>) -> Registry {
    let mut registry = Registry::with_prefix("throng");
    let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "Version of the running server", version);
    registry.register_collector(Box::new(Shards(stats)));
    registry
}

/// Everything in `registry`, in the OpenMetrics text format.
///
/// # Errors
///
/// A value could not be formatted.
pub fn text(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    encode(&mut text, registry)?;
    Ok(text)
}

/// The shards' counts, in the order of the shards' numbers.
#[derive(Debug)]
struct Shards(Arc<[Arc<Stats>]>);

impl Collector for Shards {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for exposed in &GAUGES_BY_SHARD {
            self.by_shard(&mut encoder, exposed, MetricType::Gauge)?;
        }
        for exposed in &COUNTERS_BY_SHARD {
            self.by_shard(&mut encoder, exposed, MetricType::Counter)?;
        }
        for exposed in &COUNTERS {
            encoder
                .encode_descriptor(exposed.name, exposed.help, exposed.unit.as_ref(), MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&self.sum(exposed.count), None)?;
        }
        self.by_label(
            &mut encoder,
            "upgrades_refused",
            "HTTP requests that did not become WebSockets, and connections refused when they came, by reason",
            "reason",
            |stats| stats.refusals.iter().collect(),
        )?;
        self.by_label(
            &mut encoder,
            "slow_closes",
            "Connections closed with 3008 as too slow: their own backlog was full, the sum of all was full and \
             theirs the largest (budget), or they fell behind again and again (behind)",
            "reason",
            |stats| stats.slow_closes.iter().collect(),
        )?;
        self.by_label(
            &mut encoder,
            "closes",
            "WebSockets that ended, by close code; 1005 is a close frame without a code, 1006 an end \
             without a close frame, 0 any code that is not listed",
            "code",
            |stats| stats.closes.iter().collect(),
        )?;
        self.publish_times(&mut encoder)?;
        encoder
            .encode_descriptor(
                "coalescing_ratio",
                "Messages per write call since the start; above 1, messages share writes",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&self.coalescing_ratio())
    }
}

impl Shards {
    fn sum(&self, count: fn(&Stats) -> &Counter) -> u64 {
        self.0.iter().map(|stats| count(stats).get()).sum()
    }

    fn coalescing_ratio(&self) -> f64 {
        let writes = self.sum(|stats| &stats.writes);
        // Before the first write there is no ratio; 0 says so and is still a number.
        if writes == 0 { 0.0 } else { self.sum(|stats| &stats.deliveries) as f64 / writes as f64 }
    }

    /// The histogram of publish times, in steps of a power of two.
    fn publish_times(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut counts = [0; TIME_BUCKETS];
        let sum_us: u64 = self.0.iter().map(|stats| stats.publish_times.add_to(&mut counts)).sum();
        let mut buckets: Vec<(f64, u64)> = Vec::new();
        let mut since_last = 0;
        for (bucket, count) in counts.iter().enumerate() {
            since_last += count;
            let end_us = bucket_end_us(bucket);
            if end_us.is_none_or(|end_us| end_us.is_power_of_two() && end_us >= PUBLISH_TIME_MIN_US) {
                let end_s = end_us.map_or(f64::INFINITY, |end_us| end_us as f64 / 1e6);
                buckets.push((end_s, std::mem::take(&mut since_last)));
            }
        }
        let help = "Time from when a message was published to the last write of it on each shard that has \
                    members; a socket that is full is not waited for";
        encoder
            .encode_descriptor("publish", help, Some(&Unit::Seconds), MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(sum_us as f64 / 1e6, counts.iter().sum(), &buckets, None)
    }

    /// One line for each shard.
    fn by_shard(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        exposed: &Exposed,
        kind: MetricType,
    ) -> fmt::Result {
        let mut family =
            encoder.encode_descriptor(exposed.name, exposed.help, exposed.unit.as_ref(), kind)?;
        for (shard, stats) in self.0.iter().enumerate() {
            let labels = [("shard", shard)];
            let mut metric = family.encode_family(&labels)?;
            let count = (exposed.count)(stats).get();
            match kind {
                MetricType::Gauge => metric.encode_gauge(&count)?,
                _ => metric.encode_counter::<NoLabelSet, _, u64>(&count, None)?,
            }
        }
        Ok(())
    }

    /// One line for each label that `counts` lists, in its order, summed over the shards. A label
    /// whose count is zero has a line too, so that a rate over its first event is right.
    fn by_label<L: EncodeLabelValue>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        label: &str,
        counts: fn(&Stats) -> Vec<(L, u64)>,
    ) -> fmt::Result {
        let mut sums: Vec<(L, u64)> = Vec::new();
        for stats in self.0.iter() {
            let counts = counts(stats);
            if sums.is_empty() {
                sums = counts;
            } else {
                sums.iter_mut().zip(counts).for_each(|(sum, (_, count))| sum.1 += count);
            }
        }
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, sum) in sums {
            family.encode_family(&[(label, value)])?.encode_counter::<NoLabelSet, _, u64>(&sum, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::time::Duration;

    use super::*;
    use crate::shard::{CLOSE_CODES, SlowReason};
    use crate::wire::Refusal;

    /// A page of metrics, read back: each sample by its name with labels.
    fn scrape(stats: Vec<Stats>) -> HashMap<String, f64> {
        let stats: Arc<[Arc<Stats>]> = stats.into_iter().map(Arc::new).collect();
        let page = text(&registry(stats)).unwrap();
        let (lines, end) = page.split_at(page.len() - "# EOF\n".len());
        assert_eq!(end, "# EOF\n");
        let mut described = HashSet::new();
        let mut samples = HashMap::new();
        for line in lines.lines() {
            if let Some(words) = line.strip_prefix("# ") {
                let mut words = words.splitn(3, ' ');
                let (kind, family) = (words.next().unwrap(), words.next().unwrap());
                assert!(["HELP", "TYPE", "UNIT"].contains(&kind), "{line}");
                assert!(kind != "HELP" || described.insert(family), "{family} is described twice");
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            let bare = name.split('{').next().unwrap();
            // What the format adds to a family's name.
            let ends = ["_total", "_info", "_sum", "_count", "_bucket"];
            let family = ends.iter().find_map(|end| bare.strip_suffix(end)).unwrap_or(bare);
            assert!(described.contains(family), "{name} has no help");
            assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{name} twice");
        }
        samples
    }

    #[test]
    fn each_count_is_exposed_by_shard_or_as_a_sum_over_the_shards() {
        let [one, two] = [Stats::default(), Stats::default()];
        for (stats, times) in [(&one, 1), (&two, 100)] {
            let counts = GAUGES_BY_SHARD.iter().chain(&COUNTERS_BY_SHARD).chain(&COUNTERS);
            for (index, exposed) in counts.enumerate() {
                (exposed.count)(stats).set((index as u64 + 1) * times);
            }
        }
        let samples = scrape(vec![one, two]);
        for (name, in_one, in_two) in [
            ("connections", 1.0, 100.0),
            ("listening", 2.0, 200.0),
            ("backlog_bytes", 3.0, 300.0),
            ("accepts_total", 4.0, 400.0),
            ("inbox_messages_total", 5.0, 500.0),
            ("turns_total", 6.0, 600.0),
        ] {
            assert_eq!(samples[&format!("throng_{name}{{shard=\"0\"}}")], in_one, "{name}");
            assert_eq!(samples[&format!("throng_{name}{{shard=\"1\"}}")], in_two, "{name}");
        }
        let names = [
            "accept_failures",
            "accept_pauses",
            "upgrades",
            "upgrades_abandoned",
            "messages_in",
            "deliveries",
            "writes",
            "slow_recoveries",
            "write_timeout_closes",
            "publishes_refused",
            "publishes_limited",
            "subscribes_limited",
            "feed_switches",
        ];
        let first = GAUGES_BY_SHARD.len() + COUNTERS_BY_SHARD.len() + 1;
        assert_eq!(names.len(), COUNTERS.len());
        for (name, number) in names.iter().zip(first..) {
            assert_eq!(samples[&format!("throng_{name}_total")], (number * 101) as f64, "{name}");
        }
    }

    #[test]
    fn every_close_code_refusal_and_slow_close_has_a_line_and_events_are_counted_on_theirs() {
        let [one, two] = [Stats::default(), Stats::default()];
        one.closes.count(3008);
        two.closes.count(3008);
        two.closes.count(1000);
        two.refusals.count(Refusal::Origin);
        one.slow_closes.count(SlowReason::Budget);
        two.slow_closes.count(SlowReason::Budget);
        let samples = scrape(vec![one, two]);
        let of = |family: &str| samples.keys().filter(|name| name.starts_with(family)).count();
        assert_eq!(of("throng_closes_total{code="), CLOSE_CODES.len());
        assert_eq!(of("throng_upgrades_refused_total{reason="), Stats::default().refusals.iter().count());
        assert_eq!(samples["throng_closes_total{code=\"3008\"}"], 2.0);
        assert_eq!(samples["throng_closes_total{code=\"1000\"}"], 1.0);
        assert_eq!(samples["throng_closes_total{code=\"1001\"}"], 0.0);
        assert_eq!(samples["throng_slow_closes_total{reason=\"budget\"}"], 2.0);
        assert_eq!(samples["throng_slow_closes_total{reason=\"behind\"}"], 0.0);
        let refused = |refusal: Refusal| {
            samples[&format!("throng_upgrades_refused_total{{reason=\"{}\"}}", refusal.label())]
        };
        assert_eq!((refused(Refusal::Method), refused(Refusal::Origin)), (0.0, 1.0));
    }

    #[test]
    fn the_coalescing_ratio_is_messages_per_write_over_all_shards() {
        let [one, two] = [Stats::default(), Stats::default()];
        one.deliveries.set(7);
        one.writes.set(1);
        two.deliveries.set(3);
        two.writes.set(3);
        assert_eq!(scrape(vec![one, two])["throng_coalescing_ratio"], 2.5);
        assert_eq!(scrape(vec![Stats::default()])["throng_coalescing_ratio"], 0.0);
    }

    #[test]
    fn publish_times_are_a_histogram_over_all_shards() {
        let [one, two] = [Stats::default(), Stats::default()];
        one.publish_times.record(Duration::from_micros(10), 3);
        two.publish_times.record(Duration::from_micros(1_500), 2);
        two.publish_times.record(Duration::from_secs(600), 1);
        let samples = scrape(vec![one, two]);
        let below = |seconds: &str| samples[&format!("throng_publish_seconds_bucket{{le=\"{seconds}\"}}")];
        assert_eq!((below("0.000064"), below("0.001024"), below("0.002048")), (3.0, 3.0, 5.0));
        assert_eq!((below("67.108864"), below("+Inf")), (5.0, 6.0));
        assert_eq!(samples["throng_publish_seconds_count"], 6.0);
        assert!((samples["throng_publish_seconds_sum"] - 600.00303).abs() < 1e-9);
    }

    #[test]
    fn the_version_is_told() {
        let name = format!("throng_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        assert_eq!(scrape(vec![Stats::default()])[&name], 1.0);
    }
}
