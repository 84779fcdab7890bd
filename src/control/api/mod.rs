//! The server API: what an application's own servers ask throng over HTTP, on the admin listener.
//!
//! `POST /api/<method>` with a JSON body; `openapi.json` beside it describes every method. What the
//! methods mean stands in the files of their names; here is what they have in common: who
//! may call, how long a body may be, and how an answer is written. Source: PROTOCOL.md 21.
//!
//! Invariants:
//! - nothing of a body is looked at before its sender has shown the key;
//! - a call that waits for the committer or for shards is answered within `commit_timeout_ms`, each
//!   call of a batch by itself.
//!
//! Absent on purpose: rights within the API. Whoever has the key may do everything.

mod access;
mod answer;
mod batch;
mod channels;
mod connections;
mod fields;
mod history;
mod info;
mod method;
mod openapi;
mod presence;
mod publish;
mod repeats;
mod requests;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{self, Body};
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use prometheus_client::registry::Registry;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, oneshot};

use super::config::{Config, ErrorMode};
use crate::protocol::ErrorCode;
use crate::rooms::{Gateway, Tell};
use crate::shard::Stats;
pub(super) use access::has_key;
use answer::{Answer, answer};
use fields::or_default;
use method::Entry;
use repeats::Repeats;
use requests::{Outcome, Requests};

/// Publishes with a key that may wait at once; one more gets error 111.
const KEYED_MAX: usize = 16 * 1024;

/// Longest body besides one publication of the longest kind: a batch, or a list of rooms.
const BODY_BYTES: usize = 1024 * 1024;

/// Asks for `ErrorMode::Transport`.
const ERROR_MODE_HEADER: &str = "x-centrifugo-error-mode";

/// What the API answers from.
#[derive(Debug)]
pub struct Api {
    gateway: Gateway,
    /// Of each shard.
    stats: Arc<[Arc<Stats>]>,
    key: String,
    is_insecure: bool,
    error_mode: ErrorMode,
    timeout: Duration,
    message_bytes_max: usize,
    repeats: Repeats,
    /// Places for publishes with a key, which go on when their callers have given up.
    keyed: Arc<Semaphore>,
    requests: Requests,
    started: Instant,
    /// Names this process.
    uid: String,
    openapi: OnceLock<String>,
}

impl Api {
    /// Answers through `gateway` and from `stats`, one of each shard.
    pub fn new(config: &Config, gateway: Gateway, stats: Arc<[Arc<Stats>]>) -> Self {
        Api {
            gateway,
            stats,
            key: config.http_api.key.clone(),
            is_insecure: config.http_api.insecure,
            error_mode: config.http_api.error_mode,
            timeout: Duration::from_millis(config.store.commit_timeout_ms.into()),
            message_bytes_max: config.limits.message_bytes_max,
            repeats: Repeats::new(),
            keyed: Arc::new(Semaphore::new(KEYED_MAX)),
            requests: Requests::default(),
            started: Instant::now(),
            uid: info::new_uid(),
            openapi: OnceLock::new(),
        }
    }

    /// Has `registry` expose what the API counts.
    pub(super) fn register(&self, registry: &mut Registry) {
        self.requests.register(registry);
    }

    /// Asks the rooms, and waits for the answer as long as a call may take.
    ///
    /// # Errors
    ///
    /// 100 if no answer comes in time. What was asked may be done all the same.
    async fn ask<T: Send + 'static>(&self, ask: impl FnOnce(&Gateway, Tell<T>)) -> Result<T, ErrorCode> {
        let answer = tokio::time::timeout(self.timeout, self.answer(ask));
        answer.await.unwrap_or(Err(ErrorCode::Internal))
    }

    /// The same, however long it takes.
    async fn answer<T: Send + 'static>(&self, ask: impl FnOnce(&Gateway, Tell<T>)) -> Result<T, ErrorCode> {
        let (sender, receiver) = oneshot::channel();
        let tell = move |answer| {
            // Whoever asked may wait no longer.
            let _: Result<(), Result<T, ErrorCode>> = sender.send(answer);
        };
        ask(&self.gateway, Box::new(tell));
        receiver.await.unwrap_or(Err(ErrorCode::Internal))
    }
}

/// The paths of the API.
pub(super) fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/api", any(legacy))
        .route("/api/openapi.json", axum::routing::get(document))
        .route("/api/{method}", any(call))
        .with_state(api)
}

async fn document(State(api): State<Arc<Api>>) -> Response {
    let document = api.openapi.get_or_init(|| openapi::document().to_string());
    ([(header::CONTENT_TYPE, "application/json")], document.clone()).into_response()
}

async fn call(State(api): State<Arc<Api>>, Path(method): Path<String>, request: Request) -> Response {
    let entry = method::find(&method);
    let label = entry.map_or(requests::OTHER, |entry| entry.name);
    let mode = error_mode(&api, &request);
    let done = async {
        let body = admit(&api, request).await?;
        let entry = entry.ok_or(Refused::of(StatusCode::NOT_FOUND, "no such method\n"))?;
        let params: Box<RawValue> = serde_json::from_slice(&body).map_err(|_| NOT_JSON)?;
        Ok((entry, params))
    };
    match done.await {
        Ok((entry, params)) => run(&api, entry, params, mode).await,
        Err(refused) => refuse(&api, label, refused),
    }
}

/// The body of `POST /api`: the method is named inside.
#[derive(Deserialize)]
struct Legacy {
    #[serde(default, deserialize_with = "or_default")]
    method: String,
    params: Option<Box<RawValue>>,
}

async fn legacy(State(api): State<Arc<Api>>, request: Request) -> Response {
    let mode = error_mode(&api, &request);
    let done = async {
        let body = admit(&api, request).await?;
        let body: Box<RawValue> = serde_json::from_slice(&body).map_err(|_| NOT_JSON)?;
        Ok(serde_json::from_str::<Legacy>(body.get()).map_err(|_| ErrorCode::BadRequest))
    };
    let code = match done.await {
        Ok(Ok(Legacy { method, params })) => match method::find(&method) {
            Some(entry) => {
                let params = params.unwrap_or_else(|| RawValue::NULL.to_owned());
                return run(&api, entry, params, mode).await;
            }
            None => ErrorCode::MethodNotFound,
        },
        Ok(Err(code)) => code,
        Err(refused) => return refuse(&api, requests::OTHER, refused),
    };
    api.requests.count(requests::OTHER, Outcome::Error(code));
    answer(Answer::Wrapped, Err(code), mode)
}

async fn run(api: &Arc<Api>, entry: &'static Entry, params: Box<RawValue>, mode: ErrorMode) -> Response {
    let result = (entry.call)(Arc::clone(api), params).await;
    api.requests.count(entry.name, result.as_ref().err().map_or(Outcome::Ok, |code| Outcome::Error(*code)));
    answer(entry.answer, result, mode)
}

fn error_mode(api: &Api, request: &Request) -> ErrorMode {
    let asked = request.headers().get(ERROR_MODE_HEADER);
    if asked.is_some_and(|mode| mode.as_bytes().eq_ignore_ascii_case(b"transport")) {
        ErrorMode::Transport
    } else {
        api.error_mode
    }
}

/// A request that is no call: its status, and what a person may want to know.
struct Refused {
    status: StatusCode,
    text: &'static str,
}

impl Refused {
    const fn of(status: StatusCode, text: &'static str) -> Self {
        Refused { status, text }
    }
}

/// What the reference says to a body that it cannot read.
const NOT_JSON: Refused = Refused::of(StatusCode::BAD_REQUEST, "Bad Request");

fn refuse(api: &Api, label: &'static str, refused: Refused) -> Response {
    api.requests.count(label, Outcome::Status(refused.status.as_u16()));
    let mut response = (refused.status, refused.text).into_response();
    if refused.status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("POST"));
    }
    response
}

/// The body of a request whose sender may call.
async fn admit(api: &Api, request: Request) -> Result<body::Bytes, Refused> {
    if request.method() != Method::POST {
        return Err(Refused::of(StatusCode::METHOD_NOT_ALLOWED, "the API takes POST\n"));
    }
    if api.is_insecure {
        if request.headers().contains_key(header::ORIGIN) {
            let text = "a page must not call an API that asks for no key (http_api.insecure = true)\n";
            return Err(Refused::of(StatusCode::FORBIDDEN, text));
        }
    } else if !has_key(request.headers(), request.uri(), &api.key) {
        return Err(Refused::of(StatusCode::UNAUTHORIZED, ""));
    }
    read(request.into_body(), BODY_BYTES + api.message_bytes_max).await
}

async fn read(body: Body, bytes_max: usize) -> Result<body::Bytes, Refused> {
    use axum::body::HttpBody;
    const TOO_LONG: Refused = Refused::of(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long\n");
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(TOO_LONG);
    }
    // A body that breaks off has nobody left to be told.
    body::to_bytes(body, bytes_max).await.map_err(|_| TOO_LONG)
}
