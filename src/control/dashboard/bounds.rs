//! The bounds that a server was given, as Prometheus reads them: how near they are is a quotient there.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::Dashboard;

/// Reads the bounds at each scrape.
#[derive(Debug)]
pub(super) struct Bounds(pub Arc<Dashboard>);

impl Collector for Bounds {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Sockets the shard may hold";
        let mut family = encoder.encode_descriptor("connections_max", help, None, MetricType::Gauge)?;
        for (shard, stats) in self.0.stats.iter().enumerate() {
            family.encode_family(&[("shard", shard)])?.encode_gauge(&stats.connections_max.get())?;
        }
        let help = ["Bytes that may wait for all slow readers", "Bytes that may wait for the committer"];
        for (name, help, bytes) in [
            ("backlog_max", help[0], self.0.backlog_bytes_max),
            ("committer_waiting_max", help[1], self.0.queue_bytes_max),
        ] {
            let encoder = encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?;
            ConstGauge::new(bytes).encode(encoder)?;
        }
        Ok(())
    }
}
