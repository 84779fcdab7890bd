//! How results and errors are written.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::control::config::ErrorMode;
use crate::protocol::ErrorCode;

/// Where a result stands in its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Under `result`.
    Wrapped,
    /// It is the answer.
    Bare,
}

/// Why a call failed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct Error {
    /// 100 internal, 102 unknown channel, 104 not found, 106 limit exceeded, 107 bad request, 108 not
    /// available, 111 too many requests, 112 unrecoverable position, 113 conflict.
    pub code: u16,
    /// The code in words.
    pub message: &'static str,
}

impl Error {
    /// As the API says it: two codes have other words here than in the client protocol.
    pub(super) fn new(code: ErrorCode) -> Self {
        let message = match code {
            ErrorCode::MethodNotFound => "not found",
            ErrorCode::ConcurrentPagination => "conflict",
            _ => code.message(),
        };
        Error { code: code.code(), message }
    }
}

/// A call's answer where others stand beside it, in a batch or a broadcast.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reply {
    /// It succeeded.
    Result(Box<RawValue>),
    /// It failed.
    Error(Error),
}

impl Reply {
    pub(super) fn new(outcome: Result<Box<RawValue>, ErrorCode>) -> Self {
        outcome.map_or_else(|code| Reply::Error(Error::new(code)), Reply::Result)
    }
}

/// The status that tells of an error in `ErrorMode::Transport`. Source: PROTOCOL.md 21; 106 and 111,
/// which the reference does not have, by their meaning.
fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::UnknownChannel | ErrorCode::MethodNotFound => StatusCode::NOT_FOUND,
        ErrorCode::UnrecoverablePosition => StatusCode::RANGE_NOT_SATISFIABLE,
        ErrorCode::ConcurrentPagination => StatusCode::CONFLICT,
        ErrorCode::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// The response that tells what came of a call.
pub(super) fn answer(kind: Answer, outcome: Result<Box<RawValue>, ErrorCode>, mode: ErrorMode) -> Response {
    let (status, body) = match (kind, outcome, mode) {
        (Answer::Bare, Ok(result), _) => (StatusCode::OK, result),
        (_, Err(code), ErrorMode::Transport) => (status(code), raw(&Error::new(code))),
        (_, outcome, _) => (StatusCode::OK, raw(&Reply::new(outcome))),
    };
    (status, [(header::CONTENT_TYPE, "application/json")], String::from(Box::<str>::from(body)))
        .into_response()
}

/// `value` as JSON.
pub(super) fn raw(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).expect("results have string keys and no failing fields")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_the_status_of_the_protocol() {
        for (code, expected) in [
            (ErrorCode::Internal, 500),
            (ErrorCode::UnknownChannel, 404),
            (ErrorCode::MethodNotFound, 404),
            (ErrorCode::BadRequest, 400),
            (ErrorCode::NotAvailable, 400),
            (ErrorCode::UnrecoverablePosition, 416),
            (ErrorCode::ConcurrentPagination, 409),
            (ErrorCode::LimitExceeded, 400),
            (ErrorCode::TooManyRequests, 429),
        ] {
            assert_eq!(status(code).as_u16(), expected, "{code:?}");
        }
    }

    #[test]
    fn an_answer_is_a_result_or_an_error() {
        let reply = |outcome| raw(&Reply::new(outcome)).get().to_owned();
        assert_eq!(reply(Ok(raw(&1))), r#"{"result":1}"#);
        assert_eq!(
            reply(Err(ErrorCode::ConcurrentPagination)),
            r#"{"error":{"code":113,"message":"conflict"}}"#
        );
        assert_eq!(reply(Err(ErrorCode::MethodNotFound)), r#"{"error":{"code":104,"message":"not found"}}"#);
    }
}
