//! Reading and dropping the history of a room.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Api;
use super::fields::{Nothing, StreamPosition, or_default};
use super::method::Method;
use crate::protocol::ErrorCode;
use crate::rooms;

/// The `limit` that asks for all.
const ALL: i64 = -1;

/// What `history` is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct HistoryRequest {
    /// The room.
    #[serde(deserialize_with = "or_default")]
    channel: String,
    /// Most publications that are answered: 0 asks where the room is, -1 for all that are kept.
    #[serde(deserialize_with = "or_default")]
    #[schemars(range(min = -1, max = 2_147_483_647))]
    limit: i64,
    /// Where to begin, exclusive. Not given: with the oldest publication, or the latest if `reverse`.
    since: Option<StreamPosition>,
    /// Latest first.
    #[serde(deserialize_with = "or_default")]
    reverse: bool,
}

/// What `history` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct HistoryResult {
    /// In the order that was asked for.
    #[schemars(with = "Vec<Publication>")]
    publications: Box<RawValue>,
    /// The room's stream.
    epoch: String,
    /// Number of its last publication; 0 if there was none.
    offset: u64,
}

/// A publication that was kept.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is only described: publications are kept as they are written")]
struct Publication {
    /// What was published.
    data: super::fields::Payload,
    /// The client that published it, if it was one.
    #[schemars(with = "Option<super::presence::ClientInfo>")]
    #[serde(default)]
    info: Option<super::presence::ClientInfo>,
    /// Texts that go with it.
    #[serde(default)]
    tags: Option<std::collections::BTreeMap<String, String>>,
    /// Its number.
    offset: u64,
}

/// `history`.
pub(super) struct History;

impl Method for History {
    const NAME: &'static str = "history";
    const SUMMARY: &'static str = "Reads the publications that a room keeps.";
    type Request = HistoryRequest;
    type Result = HistoryResult;

    fn example() -> Value {
        json!({ "channel": "room", "limit": 10, "reverse": true })
    }

    async fn call(api: Arc<Api>, request: HistoryRequest) -> Result<HistoryResult, ErrorCode> {
        let HistoryRequest { channel, limit, since, reverse } = request;
        let limit = match limit {
            ALL => None,
            limit => Some(
                i32::try_from(limit)
                    .ok()
                    .and_then(|limit| limit.try_into().ok())
                    .ok_or(ErrorCode::BadRequest)?,
            ),
        };
        let since = since.map(|since| since.since());
        let (position, publications) =
            api.ask(|gateway, tell| gateway.history(&channel, since, limit, reverse, tell)).await?;
        let list = rooms::encode_list(&publications);
        Ok(HistoryResult {
            publications: list_of(&list, '[', ']')?,
            epoch: position.epoch.as_str().to_owned(),
            offset: position.offset,
        })
    }
}

/// JSON that commas separate, as a whole. What is not JSON, because it was damaged where it was kept,
/// is error 100 and not half an answer.
pub(super) fn list_of(items: &[u8], open: char, close: char) -> Result<Box<RawValue>, ErrorCode> {
    let items = std::str::from_utf8(items).map_err(|_| ErrorCode::Internal)?;
    RawValue::from_string(format!("{open}{items}{close}")).map_err(|_| ErrorCode::Internal)
}

/// What `history_remove` is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct HistoryRemoveRequest {
    /// The room.
    #[serde(deserialize_with = "or_default")]
    channel: String,
}

/// `history_remove`.
pub(super) struct HistoryRemove;

impl Method for HistoryRemove {
    const NAME: &'static str = "history_remove";
    const SUMMARY: &'static str =
        "Drops the publications that a room keeps; its epoch and its numbers go on.";
    type Request = HistoryRemoveRequest;
    type Result = Nothing;

    fn example() -> Value {
        json!({ "channel": "room" })
    }

    async fn call(api: Arc<Api>, request: HistoryRemoveRequest) -> Result<Nothing, ErrorCode> {
        api.ask(|gateway, tell| gateway.clear(&request.channel, tell)).await?;
        Ok(Nothing {})
    }
}
