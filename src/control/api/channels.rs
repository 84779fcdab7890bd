//! Which rooms have members.

use std::collections::BTreeMap;
use std::sync::Arc;

use globset::GlobBuilder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Api;
use super::fields::or_default;
use super::method::Method;
use crate::protocol::ErrorCode;

/// What `channels` is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct ChannelsRequest {
    /// Names that are wanted: `*` stands for any text, `?` for one character, `[ab]` for one of
    /// several, `{one,two}` for either. Empty: all.
    #[serde(deserialize_with = "or_default")]
    pattern: String,
}

/// What `channels` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ChannelsResult {
    /// Rooms that have members, by name.
    channels: BTreeMap<String, ChannelInfo>,
}

/// One room.
#[derive(Debug, Serialize, JsonSchema)]
struct ChannelInfo {
    /// Members.
    num_clients: u32,
}

/// `channels`.
pub(super) struct Channels;

impl Method for Channels {
    const NAME: &'static str = "channels";
    const SUMMARY: &'static str = "Lists the rooms that have members. Costs as much as there are rooms.";
    type Request = ChannelsRequest;
    type Result = ChannelsResult;

    fn example() -> Value {
        json!({ "pattern": "room*" })
    }

    async fn call(api: Arc<Api>, request: ChannelsRequest) -> Result<ChannelsResult, ErrorCode> {
        let pattern = Some(request.pattern).filter(|pattern| !pattern.is_empty());
        let compile = |pattern: String| {
            let glob = GlobBuilder::new(&pattern).literal_separator(false).backslash_escape(true).build();
            glob.map(|glob| glob.compile_matcher())
        };
        let wanted = pattern.map(compile).transpose().map_err(|_| ErrorCode::BadRequest)?;
        // There may be a million rooms, and this thread is the one that answers probes.
        let walk = tokio::task::spawn_blocking(move || {
            let mut channels = BTreeMap::new();
            api.gateway.rooms(|name, num_clients| {
                if wanted.as_ref().is_none_or(|wanted| wanted.is_match(name)) {
                    channels.insert(name.to_owned(), ChannelInfo { num_clients });
                }
            });
            channels
        });
        let channels = walk.await.map_err(|_| ErrorCode::Internal)?;
        Ok(ChannelsResult { channels })
    }
}
