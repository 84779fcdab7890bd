//! A drain of the whole server: how it stands, and the paths by which it is asked for.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::json;

use super::dashboard::snapshot;

/// A drain, under way or not.
#[derive(Debug, Default)]
pub(super) struct Drain {}

impl Drain {
    /// How it stands.
    pub(super) fn status(&self) -> snapshot::Drain {
        snapshot::Drain { state: "none".to_owned(), ..Default::default() }
    }
}

/// The paths under `/api/drain`; who may ask is for the caller to guard.
pub(super) fn router(drain: Arc<Drain>) -> Router {
    Router::new().route("/api/drain", get(status)).with_state(drain)
}

async fn status(State(drain): State<Arc<Drain>>) -> impl IntoResponse {
    let body = json!({ "result": drain.status() }).to_string();
    ([(header::CONTENT_TYPE, "application/json")], body)
}
