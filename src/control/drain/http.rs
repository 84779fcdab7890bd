//! The paths of a drain on the admin listener: `POST /api/drain` begins one, `GET /api/drain` tells how it
//! stands, `POST /api/drain/cancel` takes it back. Each answers `{"result": …}` with how it stands then.
//!
//! Absent on purpose: these paths in `/api/openapi.json`. That says what an application's servers may ask, with
//! the key; a drain is an operator's, who may be on this machine without one (`access`).

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Drain, Irrevocable, Plan};

/// What a drain may be asked to be like; what is left out is as configured.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wish {
    grace_ms: Option<u32>,
    over_ms: Option<u32>,
}

/// The paths under `/api/drain`; who may ask is for the caller to guard.
pub(in crate::control) fn router(drain: Arc<Drain>) -> Router {
    Router::new()
        .route("/api/drain", get(status).post(begin))
        .route("/api/drain/cancel", post(cancel))
        .with_state(drain)
}

async fn status(State(drain): State<Arc<Drain>>) -> Response {
    standing(&drain)
}

async fn begin(State(drain): State<Arc<Drain>>, body: Bytes) -> Response {
    let needed = "needed: nothing, or {\"grace_ms\": MS, \"over_ms\": MS} with one or both";
    let wish = match body.trim_ascii() {
        b"" => Ok(Wish::default()),
        // An array is not taken for an object whose fields come in order.
        object @ [b'{', ..] => serde_json::from_slice(object).map_err(|error| format!("{error}; {needed}")),
        _ => Err(format!("the body is no JSON object; {needed}")),
    };
    match wish {
        Ok(Wish { grace_ms, over_ms }) => {
            let Plan { grace_ms: grace, over_ms: over, rate_max } = drain.plan;
            let plan = Plan {
                grace_ms: grace_ms.map_or(grace, u64::from),
                over_ms: over_ms.map_or(over, u64::from),
                rate_max,
            };
            drain.begin(plan);
            standing(&drain)
        }
        Err(text) => refused(StatusCode::BAD_REQUEST, 107, &text),
    }
}

async fn cancel(State(drain): State<Arc<Drain>>) -> Response {
    let text = match drain.cancel() {
        Ok(()) => return standing(&drain),
        Err(Irrevocable::NotDraining) => "no drain is under way",
        Err(Irrevocable::Signal) => {
            "a signal told the server to end (systemctl stop, kill), and whoever sent it waits for that"
        }
        Err(Irrevocable::TooLate) => "everybody is gone, and the server is ending",
    };
    refused(StatusCode::CONFLICT, 113, text)
}

fn standing(drain: &Drain) -> Response {
    json_response(StatusCode::OK, &json!({ "result": drain.watched() }))
}

/// An error as the server API writes them, and as a status too.
fn refused(status: StatusCode, code: u16, message: &str) -> Response {
    json_response(status, &json!({ "error": { "code": code, "message": message } }))
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
