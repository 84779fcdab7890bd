//! The dashboard: what an operator watches while the server works.
//!
//! - `GET /dashboard`: the page. It is whole: whatever it shows comes from here, and from nowhere else.
//! - `GET /dashboard/events`: a [`Snapshot`] each second, as server-sent events.
//! - `GET /dashboard/snapshot`: one, as JSON.
//!
//! While nobody looks nothing is sampled and no shard counts for it. While somebody does, one task samples
//! for all who look (`viewers`, `sampler`).
//!
//! Absent on purpose: history, and anything that scans connections or rooms.

mod bounds;
mod latency;
mod machine;
mod page;
mod rooms;
mod sampler;
pub mod snapshot;
mod viewers;
mod walls;

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio_stream::StreamExt as _;

use super::access::{self, Access, Denied};
use super::admin::Health;
use super::config::Config;
use super::drain::Drain;
use crate::rooms::Gateway;
use crate::shard::Stats;
use crate::store::committer::Gauge;

pub use snapshot::Snapshot;

use machine::Machine;
use viewers::{VIEWERS_MAX, Viewer, Viewers};
use walls::Walls;

/// What the dashboard shows, and who looks.
#[derive(Debug)]
pub(super) struct Dashboard {
    stats: Arc<[Arc<Stats>]>,
    gateway: Gateway,
    health: Arc<Health>,
    drain: Arc<Drain>,
    committer: Arc<Gauge>,
    machine: Machine,
    walls: Walls,
    backlog_bytes_max: u64,
    queue_bytes_max: u64,
    /// Where history is kept.
    data: PathBuf,
    started: Instant,
    viewers: Viewers,
}

/// What of a server that runs the dashboard reads, beside its configuration.
pub(super) struct Sources {
    /// Of each shard, in the order of their numbers.
    pub stats: Arc<[Arc<Stats>]>,
    /// The way to rooms.
    pub gateway: Gateway,
    /// The server's phase.
    pub health: Arc<Health>,
    /// A drain, under way or not.
    pub drain: Arc<Drain>,
    /// What waits for the committer.
    pub committer: Arc<Gauge>,
    /// Descriptors that each shard's table has from the process's.
    pub inherited: u64,
}

impl Dashboard {
    /// The dashboard of a server that was started with `config` and has no connections yet.
    pub(super) fn new(config: &Config, sources: Sources) -> Arc<Self> {
        let Sources { stats, gateway, health, drain, committer, inherited } = sources;
        Arc::new(Dashboard {
            machine: Machine::at_rest(),
            walls: Walls::new(config, inherited),
            backlog_bytes_max: config.limits.backlog_total_bytes_max as u64,
            queue_bytes_max: config.store.queue_bytes_max as u64,
            data: config.data.clone(),
            started: Instant::now(),
            viewers: Viewers::default(),
            stats,
            gateway,
            health,
            drain,
            committer,
        })
    }

    /// Has `registry` tell whether somebody looks, and what the server's bounds are.
    pub(super) fn register(self: &Arc<Self>, registry: &mut Registry) {
        registry.register_collector(Box::new(Looks(Arc::clone(self))));
        registry.register_collector(Box::new(bounds::Bounds(Arc::clone(self))));
    }

    /// One who looks, from now on; nothing if too many do.
    fn look(self: &Arc<Self>) -> Option<Viewer> {
        let (viewer, is_first) = self.viewers.enter(self)?;
        if is_first {
            drop(tokio::spawn(sampler::run(Arc::clone(self))));
        }
        Some(viewer)
    }
}

/// Tells how many look, and whether anything is sampled for them.
#[derive(Debug)]
struct Looks(Arc<Dashboard>);

impl Collector for Looks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (viewers, is_sampling) = self.0.viewers.count();
        for (name, help, value) in [
            ("dashboard_viewers", "Who looks at the dashboard", viewers as u64),
            (
                "dashboard_sampling",
                "1 while the server is sampled and shards count rooms for the dashboard",
                is_sampling.into(),
            ),
        ] {
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(encoder)?;
        }
        Ok(())
    }
}

/// The paths of the dashboard, for whom `access` lets.
pub(super) fn router(dashboard: Arc<Dashboard>, access: Arc<Access>) -> Router {
    let guard = from_fn_with_state(Arc::clone(&access), access::guard);
    let guarded = Router::new()
        .route("/dashboard/events", get(events))
        .route("/dashboard/snapshot", get(one))
        .route_layer(guard)
        .with_state(dashboard);
    // The page itself asks for the key.
    let page = Router::new().route("/dashboard", get(page)).with_state(access);
    Router::new().route("/", get(async || Redirect::to("/dashboard"))).merge(page).merge(guarded)
}

async fn page(
    State(access): State<Arc<Access>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    match access.judge(peer, &request.into_parts().0) {
        Ok(()) => page::response(StatusCode::OK),
        Err(Denied::NoKey) => page::response(StatusCode::UNAUTHORIZED),
        Err(denied) => denied.into_response(),
    }
}

async fn events(State(dashboard): State<Arc<Dashboard>>) -> Response {
    match dashboard.look() {
        Some(viewer) => {
            Sse::new(viewer.snapshots().map(|json| Ok::<_, Infallible>(Event::default().data(json))))
                .into_response()
        }
        None => full(),
    }
}

async fn one(State(dashboard): State<Arc<Dashboard>>) -> Response {
    match dashboard.look() {
        Some(viewer) => match viewer.snapshots().next().await {
            Some(json) => (
                [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")],
                json.to_string(),
            )
                .into_response(),
            None => (StatusCode::SERVICE_UNAVAILABLE, "the server ends\n").into_response(),
        },
        None => full(),
    }
}

fn full() -> Response {
    let text = format!("{VIEWERS_MAX} look at the dashboard already; close one of them\n");
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], text).into_response()
}
