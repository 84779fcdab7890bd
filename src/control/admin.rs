//! The admin listener: health, readiness and metrics for people, probes and Prometheus, the server
//! API (`api`) for an application's own servers, what steers the server (`drain`), for whom
//! `access` lets, and the demo (`demo`).
//!
//! It runs on the control plane's runtime. Health, readiness and metrics are answered from memory and
//! wait for nothing, so they are right even while shards are full or draining.
//!
//! Absent on purpose: TLS, and passwords but for the API's key. It listens on loopback unless told
//! otherwise, and what it tells others without a key are counts and what the API can do.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use super::access::{self, Access};
use super::api::{self, Api};
use super::dashboard::{self, Dashboard};
use super::demo::{self, Demo};
use super::drain::{self, Drain};
use super::metrics;
use super::store_metrics::StoreCollector;
use super::watermark::MemoryGauges;
use crate::shard::Stats;

/// What a request for anything else is answered with.
const HINT: &str = "not found; the admin listener has /dashboard, /healthz, /readyz, /metrics, /api/drain and the \
                    server API at /api, which /api/openapi.json describes; /demo is a chat to try it with\n";

/// Where the server is in its life: starting, then ready, then draining, and ready again if the drain is
/// taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Not every shard listens yet.
    Starting,
    /// Every shard listens.
    Ready,
    /// Connections are being closed; new ones belong elsewhere.
    Draining,
}

/// The server's phase, shared between the thread that changes it and those that ask.
#[derive(Debug, Default)]
pub struct Health(AtomicU8);

impl Health {
    /// Moves on to `phase`. Going back is ignored: a start that completes after a drain has begun
    /// must not call the server ready again.
    pub fn enter(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::AcqRel);
    }

    /// A drain was taken back: ready again, and nothing if there was none.
    pub(super) fn resume(&self) {
        let (draining, ready) = (Phase::Draining as u8, Phase::Ready as u8);
        // Only one who began a drain ends it, so whoever finds another phase has nothing to change.
        let _ = self.0.compare_exchange(draining, ready, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }
}

/// What the admin listener answers from.
#[derive(Debug, Clone)]
pub struct AdminState {
    /// What `/readyz` tells.
    pub(super) health: Arc<Health>,
    /// What `/metrics` tells.
    pub(super) registry: Arc<Registry>,
    /// The server API.
    pub(super) api: Arc<Api>,
    /// What `/api/drain` steers.
    pub(super) drain: Arc<Drain>,
    /// Who may steer, and see names.
    pub(super) access: Arc<Access>,
    /// The dashboard.
    pub(super) dashboard: Arc<Dashboard>,
    /// The demo.
    pub(super) demo: Arc<Demo>,
}

impl AdminState {
    /// Everything that is measured: what the shards count, one of `stats` for each in the order of their
    /// numbers, what the durable store does, the memory in use, and what the other parts know.
    pub(super) fn registry(
        stats: Arc<[Arc<Stats>]>,
        store: StoreCollector,
        memory: &MemoryGauges,
        api: &Api,
        drain: &Arc<Drain>,
        dashboard: &Arc<Dashboard>,
    ) -> Arc<Registry> {
        let mut registry = metrics::registry(stats);
        registry.register_collector(Box::new(store));
        memory.register(&mut registry);
        api.register(&mut registry);
        registry.register_collector(Box::new(drain::Gauges(Arc::clone(drain))));
        dashboard.register(&mut registry);
        Arc::new(registry)
    }
}

/// Serves until `shutdown` completes.
///
/// Answers under way are cut off then: they are short, and the process is about to end.
///
/// # Errors
///
/// The listener broke. Failed accepts do not count: they are retried.
pub async fn serve(
    listener: TcpListener,
    state: AdminState,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let service = router(state).into_make_service_with_connect_info::<SocketAddr>();
    let mut server = pin!(axum::serve(listener, service).into_future());
    let mut shutdown = pin!(shutdown);
    poll_fn(|context| match shutdown.as_mut().poll(context) {
        Poll::Ready(()) => Poll::Ready(Ok(())),
        Poll::Pending => server.as_mut().poll(context),
    })
    .await
}

fn router(state: AdminState) -> Router {
    let api = api::router(Arc::clone(&state.api));
    let guard = from_fn_with_state(Arc::clone(&state.access), access::guard);
    let dashboard = dashboard::router(Arc::clone(&state.dashboard), Arc::clone(&state.access));
    let guarded = drain::router(Arc::clone(&state.drain));
    let guarded = guarded.merge(demo::router(Arc::clone(&state.demo))).route_layer(guard);
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .fallback(async || (StatusCode::NOT_FOUND, HINT))
        .with_state(state)
        .merge(api)
        .merge(guarded)
        .merge(dashboard)
}

async fn readyz(State(state): State<AdminState>) -> (StatusCode, &'static str) {
    match state.health.phase() {
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Phase::Ready => (StatusCode::OK, "ready\n"),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

async fn scrape(State(state): State<AdminState>) -> Response {
    match metrics::text(&state.registry) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        // Only a formatter that has no memory left fails; the next scrape may succeed.
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::config::Config;
    use crate::rooms::{self, Gateway, Links, Shared};
    use crate::store::committer;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use tokio::sync::oneshot;

    /// Serves one request from `state` through a real socket; the whole response as text. Returns
    /// only once `serve` has ended, so every test tests the shutdown too.
    fn answer(state: AdminState, request: &str) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let request = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let (stop, stopped) = oneshot::channel::<()>();
        let client = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut response = String::new();
            stream.read_to_string(&mut response).unwrap();
            stop.send(()).unwrap();
            response
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            // A client that panics drops its end, which stops the server as well.
            serve(listener, state, async { drop(stopped.await) }).await.unwrap();
        });
        client.join().unwrap()
    }

    fn state(phase: Phase) -> AdminState {
        let health = Arc::new(Health::default());
        health.enter(phase);
        let stats = [Arc::new(Stats::default())];
        stats[0].connections.set(12);
        let store = StoreCollector { stats: Arc::default(), gauge: Arc::default() };
        let stats: Arc<[Arc<Stats>]> = Arc::new(stats);
        let shared = Arc::new(Shared::new(rooms::Settings::default(), 0).unwrap());
        let gateway = Gateway::new(shared, Links::of_no_shard(Arc::new([])), committer::channel(1).0);
        let config = Config::default();
        let api = Arc::new(Api::new(&config, gateway.clone(), Arc::clone(&stats)));
        let drain = Arc::new(Drain::new(&config, Arc::clone(&health), Arc::clone(&stats)));
        let sources = dashboard::Sources {
            stats: Arc::clone(&stats),
            gateway,
            health: Arc::clone(&health),
            drain: Arc::clone(&drain),
            committer: Arc::default(),
            inherited: 0,
        };
        let dashboard = Dashboard::new(&config, sources);
        let registry = AdminState::registry(stats, store, &MemoryGauges::default(), &api, &drain, &dashboard);
        let access = Arc::new(Access::new(&config.http_api));
        AdminState { health, registry, api, drain, access, dashboard, demo: Arc::default() }
    }

    fn assert_answer(response: &str, status: &str, body: &str) {
        assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{response}");
        assert!(response.ends_with(&format!("\r\n\r\n{body}")), "{response}");
    }

    #[test]
    fn the_server_is_healthy_in_every_phase() {
        for phase in [Phase::Starting, Phase::Ready, Phase::Draining] {
            assert_answer(&answer(state(phase), "GET /healthz"), "200", "ok\n");
        }
    }

    #[test]
    fn the_server_is_ready_between_start_and_drain() {
        assert_answer(&answer(state(Phase::Starting), "GET /readyz"), "503", "starting\n");
        assert_answer(&answer(state(Phase::Ready), "GET /readyz"), "200", "ready\n");
        assert_answer(&answer(state(Phase::Draining), "GET /readyz"), "503", "draining\n");
    }

    #[test]
    fn a_draining_server_is_ready_again_only_if_the_drain_is_taken_back() {
        let health = Health::default();
        health.resume();
        assert_eq!(health.phase(), Phase::Starting);
        health.enter(Phase::Draining);
        health.enter(Phase::Ready);
        assert_eq!(health.phase(), Phase::Draining, "a start that completes late");
        health.resume();
        assert_eq!(health.phase(), Phase::Ready);
        health.resume();
        assert_eq!(health.phase(), Phase::Ready);
    }

    #[test]
    fn metrics_are_scraped_as_open_metrics() {
        let response = answer(state(Phase::Ready), "GET /metrics");
        assert!(response.contains("content-type: application/openmetrics-text; version=1.0.0"), "{response}");
        assert!(response.contains("throng_connections{shard=\"0\"} 12\n"), "{response}");
        assert!(response.ends_with("# EOF\n"), "{response}");
    }

    #[test]
    fn anything_else_is_answered_with_what_there_is() {
        assert_answer(&answer(state(Phase::Ready), "GET /nothing"), "404", HINT);
        let response = answer(state(Phase::Ready), "GET /");
        assert!(response.contains("\r\nlocation: /dashboard\r\n"), "{response}");
        let response = answer(state(Phase::Ready), "POST /metrics");
        assert!(response.starts_with("HTTP/1.1 405"), "{response}");
    }
}
