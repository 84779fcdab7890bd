//! A drain as Prometheus sees it.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::Drain;

/// Reads a drain at each scrape.
#[derive(Debug)]
pub(in crate::control) struct Gauges(pub(in crate::control) Arc<Drain>);

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = self.0.status();
        let draining = u64::from(status.state != "none");
        for (name, help, value) in [
            ("draining", "1 from the begin of a drain until it is cancelled", draining),
            ("drain_connections", "Connections that a drain closes; 0 without one", status.total),
            ("drain_closed", "Those of them that were closed, or left by themselves", status.closed),
        ] {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
        }
        Ok(())
    }
}
