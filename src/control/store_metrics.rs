//! What the durable store and its committer count, as Prometheus reads it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::store::StoreStats;
use crate::store::committer::Gauge;

/// One count and how it is exposed.
struct Exposed<T> {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    kind: MetricType,
    count: fn(&T) -> &AtomicU64,
}

/// What the store counts.
const STORE: [Exposed<StoreStats>; 12] = [
    counter("store_commits", "Batches that were written", |stats| &stats.commits),
    counter("store_fsyncs", "Batches for which the disk was waited for", |stats| &stats.fsyncs),
    counter(
        "store_commits_failed",
        "Batches that the disk refused; their publishers got error 100",
        |stats| &stats.commits_failed,
    ),
    counter("store_publications", "Publications that were written", |stats| &stats.publications),
    counter("store_bytes_written", "Bytes of keys and values that were written", |stats| {
        &stats.written_bytes
    }),
    counter("store_reads", "Reads of history that memory could not answer", |stats| &stats.reads),
    counter("store_read_bytes", "Bytes of keys and values that those reads gave", |stats| &stats.read_bytes),
    counter("store_freed", "Publications that were freed because they are no longer kept", |stats| {
        &stats.freed
    }),
    counter("store_reopened", "Times the store was opened anew after the disk failed", |stats| {
        &stats.reopened
    }),
    gauge("store_batch_max", "Publications in the largest batch", None, |stats| &stats.batch_max),
    gauge("store_rooms_resident", "Rooms whose state is in memory", None, |stats| &stats.rooms_resident),
    gauge("store_resident", "Memory of rooms and their recent publications", Some(Unit::Bytes), |stats| {
        &stats.resident_bytes
    }),
];

/// What the committer counts.
const COMMITTER: [Exposed<Gauge>; 4] = [
    counter("committer_rounds", "Rounds of the committer, each with at most one batch", |gauge| {
        &gauge.rounds
    }),
    counter(
        "committer_late",
        "Asks that were not done because they had waited longer than commit_timeout_ms",
        |gauge| &gauge.late,
    ),
    counter(
        "committer_overdue",
        "Clients that got error 100 because they had waited commit_timeout_ms",
        |gauge| &gauge.overdue,
    ),
    counter("committer_failed_rounds", "Rounds whose batch failed", |gauge| &gauge.failed_commits),
];

const fn counter<T>(name: &'static str, help: &'static str, count: fn(&T) -> &AtomicU64) -> Exposed<T> {
    Exposed { name, help, unit: None, kind: MetricType::Counter, count }
}

const fn gauge<T>(
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    count: fn(&T) -> &AtomicU64,
) -> Exposed<T> {
    Exposed { name, help, unit, kind: MetricType::Gauge, count }
}

/// Reads the counts at each scrape.
#[derive(Debug)]
pub(super) struct StoreCollector {
    /// Of the store.
    pub stats: Arc<StoreStats>,
    /// Of the committer.
    pub gauge: Arc<Gauge>,
}

impl Collector for StoreCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for exposed in &STORE {
            write(&mut encoder, exposed, &self.stats)?;
        }
        for exposed in &COMMITTER {
            write(&mut encoder, exposed, &self.gauge)?;
        }
        let help = "Bytes of what waits for the committer or is being committed";
        encoder
            .encode_descriptor("committer_waiting", help, Some(&Unit::Bytes), MetricType::Gauge)?
            .encode_gauge(&(self.gauge.waiting_bytes() as u64))
    }
}

fn write<T>(encoder: &mut DescriptorEncoder<'_>, exposed: &Exposed<T>, counts: &T) -> fmt::Result {
    let count = (exposed.count)(counts).load(Ordering::Relaxed);
    let mut metric =
        encoder.encode_descriptor(exposed.name, exposed.help, exposed.unit.as_ref(), exposed.kind)?;
    match exposed.kind {
        MetricType::Gauge => metric.encode_gauge(&count),
        _ => metric.encode_counter::<NoLabelSet, _, u64>(&count, None),
    }
}
