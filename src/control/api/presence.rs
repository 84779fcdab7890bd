//! Who is in a room, and how many.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Api;
use super::fields::{Payload, or_default};
use super::history::list_of;
use super::method::Method;
use crate::protocol::ErrorCode;

/// What `presence` and `presence_stats` are asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct PresenceRequest {
    /// The room.
    #[serde(deserialize_with = "or_default")]
    channel: String,
}

/// What `presence` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PresenceResult {
    /// The members by client id.
    #[schemars(with = "BTreeMap<String, ClientInfo>")]
    presence: Box<RawValue>,
}

/// A client, as others see it.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is only described: the shards write it")]
pub(super) struct ClientInfo {
    /// Its user; empty for the anonymous one.
    user: String,
    /// Its id.
    client: String,
    /// What its connection token says of it.
    #[serde(default)]
    conn_info: Payload,
    /// What its subscription token says of it.
    #[serde(default)]
    chan_info: Payload,
}

/// What `presence_stats` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PresenceStatsResult {
    /// Members.
    num_clients: u32,
    /// Users that they are; all anonymous clients are one.
    num_users: u32,
}

/// `presence`.
pub(super) struct Presence;

impl Method for Presence {
    const NAME: &'static str = "presence";
    const SUMMARY: &'static str = "Lists the members of a room.";
    type Request = PresenceRequest;
    type Result = PresenceResult;

    fn example() -> Value {
        json!({ "channel": "room" })
    }

    async fn call(api: Arc<Api>, request: PresenceRequest) -> Result<PresenceResult, ErrorCode> {
        let channel = request.channel;
        let presence = api.ask(|gateway, tell| gateway.presence(&channel, tell)).await?;
        Ok(PresenceResult { presence: list_of(&presence, '{', '}')? })
    }
}

/// `presence_stats`.
pub(super) struct PresenceStats;

impl Method for PresenceStats {
    const NAME: &'static str = "presence_stats";
    const SUMMARY: &'static str = "Counts the members of a room.";
    type Request = PresenceRequest;
    type Result = PresenceStatsResult;

    fn example() -> Value {
        json!({ "channel": "room" })
    }

    async fn call(api: Arc<Api>, request: PresenceRequest) -> Result<PresenceStatsResult, ErrorCode> {
        let (num_clients, num_users) = api.gateway.presence_stats(&request.channel)?;
        Ok(PresenceStatsResult { num_clients, num_users })
    }
}
