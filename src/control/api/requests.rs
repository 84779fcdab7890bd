//! How many calls there were, by method and by what came of them.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::method;
use crate::protocol::ErrorCode;

/// The method of a request that names none of ours.
pub(super) const OTHER: &str = "other";

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    /// A result.
    Ok,
    /// An error of the API.
    Error(ErrorCode),
    /// A status before the method was called.
    Status(u16),
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Outcome::Ok => "ok".encode(encoder),
            Outcome::Error(code) => u64::from(code.code()).encode(encoder),
            Outcome::Status(status) => format!("http_{status}").encode(encoder),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    method: &'static str,
    outcome: Outcome,
}

/// How many calls there were.
#[derive(Debug, Default)]
pub(super) struct Requests(Family<Labels, Counter>);

impl Requests {
    /// Counts one request.
    pub(super) fn count(&self, method: &'static str, outcome: Outcome) {
        self.0.get_or_create(&Labels { method, outcome }).inc();
    }

    /// Has `registry` expose the counts. Every method has a line from the start, so that a rate over
    /// its first call is right.
    pub(super) fn register(&self, registry: &mut Registry) {
        for entry in method::METHODS {
            drop(self.0.get_or_create(&Labels { method: entry.name, outcome: Outcome::Ok }));
        }
        let help =
            "Requests to the server API by method and outcome: ok, an error's code, or http_ and the status";
        registry.register("api_requests", help, self.0.clone());
    }
}
