//! What is done with the connections of a user: subscribe, unsubscribe, disconnect, refresh.
//!
//! Each call answers when it is done. Whoever is not there is done with: that is no error.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::Api;
use super::fields::{Nothing, Payload, StreamPosition, or_default};
use super::method::Method;
use crate::limits::CLOSE_REASON_BYTES_MAX;
use crate::protocol::{self, ErrorCode, SubOptions};
use crate::rooms::{Ending, Grant, Renewal, Whom};

/// Close codes that an application may choose.
const CODES: std::ops::RangeInclusive<u32> = 3000..=4999;

/// A time in Unix seconds, where 0 is never.
///
/// # Errors
///
/// 107: it is before 1970, or, unless `may_be_over`, not to come.
fn expiry(unix_s: i64, may_be_over: bool) -> Result<Option<i64>, ErrorCode> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let is_over = i64::try_from(now_s).is_ok_and(|now_s| unix_s <= now_s);
    match unix_s {
        0 => Ok(None),
        ..0 => Err(ErrorCode::BadRequest),
        _ if is_over && !may_be_over => Err(ErrorCode::BadRequest),
        _ => Ok(Some(unix_s)),
    }
}

/// A switch that may say nothing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Switch {
    /// On or off.
    #[serde(deserialize_with = "or_default")]
    value: bool,
}

/// Options of the room's namespace that are others for one subscription.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Override {
    /// `false` hides the client from presence.
    presence: Option<Switch>,
    /// Others are told that it joins and leaves.
    join_leave: Option<Switch>,
    /// It is told who joins and leaves.
    force_push_join_leave: Option<Switch>,
    /// It may come back and get what it missed.
    force_recovery: Option<Switch>,
    /// It knows where in the room's stream it is.
    force_positioning: Option<Switch>,
}

/// What `subscribe` is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct SubscribeRequest {
    /// Whose connections. Needed, unless `client` is given.
    #[serde(deserialize_with = "or_default")]
    user: String,
    /// The room.
    #[serde(deserialize_with = "or_default")]
    channel: String,
    /// The one connection with this id.
    #[serde(deserialize_with = "or_default")]
    client: String,
    /// The one connection with this session. Connections of this server have none.
    #[serde(deserialize_with = "or_default")]
    session: String,
    /// For the client.
    data: Payload,
    /// The same, as JSON in base64. It wins over `data`.
    #[serde(deserialize_with = "or_default")]
    b64data: String,
    /// What others see as the client's `chan_info`.
    info: Payload,
    /// The same, as JSON in base64. It wins over `info`.
    #[serde(deserialize_with = "or_default")]
    b64info: String,
    /// Unix seconds at which the subscription is over, and the connection with it; 0 for never.
    #[serde(deserialize_with = "or_default")]
    expire_at: i64,
    /// Where the client is, if it is to get what it missed.
    recover_since: Option<StreamPosition>,
    /// Options that are others for this subscription.
    #[serde(rename = "override")]
    overrides: Option<Override>,
}

impl SubscribeRequest {
    /// Takes out what the subscription is to be like.
    ///
    /// # Errors
    ///
    /// 107: it is over already, or `info` or `data` are not JSON or longer than `bytes_max`.
    fn grant(&mut self, bytes_max: usize) -> Result<Grant, ErrorCode> {
        let info = std::mem::take(&mut self.info).unless_null().or_base64(&self.b64info)?;
        let data = std::mem::take(&mut self.data).unless_null().or_base64(&self.b64data)?;
        if [&info, &data].into_iter().flatten().any(|json| json.len() > bytes_max) {
            return Err(ErrorCode::BadRequest);
        }
        let overrides = self.overrides.take().unwrap_or_default();
        let value = |switch: Option<Switch>| switch.map(|switch| switch.value);
        let options = SubOptions {
            info,
            data,
            presence: value(overrides.presence),
            join_leave: value(overrides.join_leave),
            force_push_join_leave: value(overrides.force_push_join_leave),
            force_recovery: value(overrides.force_recovery),
            force_positioning: value(overrides.force_positioning),
        };
        let since = self.recover_since.as_ref().map(StreamPosition::since);
        Ok(Grant { options, expires_at: expiry(self.expire_at, false)?, since })
    }
}

/// `subscribe`.
pub(super) struct Subscribe;

impl Method for Subscribe {
    const NAME: &'static str = "subscribe";
    const SUMMARY: &'static str = "Subscribes a user's connections to a room.";
    type Request = SubscribeRequest;
    type Result = Nothing;

    fn example() -> Value {
        json!({ "user": "42", "channel": "room" })
    }

    async fn call(api: Arc<Api>, mut request: SubscribeRequest) -> Result<Nothing, ErrorCode> {
        let grant = request.grant(api.message_bytes_max)?;
        let SubscribeRequest { user, channel, client, session, .. } = &request;
        let whom = Whom { user, client, session };
        api.ask(|gateway, tell| gateway.subscribe(whom, channel, grant, tell)).await?;
        Ok(Nothing {})
    }
}

/// What `unsubscribe` is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct UnsubscribeRequest {
    /// Whose connections. Needed, unless `client` is given.
    #[serde(deserialize_with = "or_default")]
    user: String,
    /// The room.
    #[serde(deserialize_with = "or_default")]
    channel: String,
    /// The one connection with this id.
    #[serde(deserialize_with = "or_default")]
    client: String,
    /// The one connection with this session. Connections of this server have none.
    #[serde(deserialize_with = "or_default")]
    session: String,
}

/// `unsubscribe`.
pub(super) struct Unsubscribe;

impl Method for Unsubscribe {
    const NAME: &'static str = "unsubscribe";
    const SUMMARY: &'static str = "Ends the subscriptions of a user's connections to a room; the clients do not come back by themselves.";
    type Request = UnsubscribeRequest;
    type Result = Nothing;

    fn example() -> Value {
        json!({ "user": "42", "channel": "room" })
    }

    async fn call(api: Arc<Api>, request: UnsubscribeRequest) -> Result<Nothing, ErrorCode> {
        let UnsubscribeRequest { user, channel, client, session } = &request;
        let whom = Whom { user, client, session };
        api.ask(|gateway, tell| gateway.unsubscribe(whom, channel, tell)).await?;
        Ok(Nothing {})
    }
}

/// What `disconnect` is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct DisconnectRequest {
    /// Whose connections. Needed, unless `client` is given.
    #[serde(deserialize_with = "or_default")]
    user: String,
    /// The one connection with this id.
    #[serde(deserialize_with = "or_default")]
    client: String,
    /// The one connection with this session. Connections of this server have none.
    #[serde(deserialize_with = "or_default")]
    session: String,
    /// Ids of connections that go on.
    #[serde(deserialize_with = "or_default")]
    whitelist: Vec<String>,
    /// What the clients are told; 3503 "force disconnect" if it is not given.
    disconnect: Option<DisconnectReason>,
}

/// How a connection is closed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct DisconnectReason {
    /// Close code. Clients do not come back after 3500 to 3999 and 4500 to 4999.
    #[serde(deserialize_with = "or_default")]
    #[schemars(range(min = 3000, max = 4999))]
    code: u32,
    /// Text of the close frame: 1 to 123 bytes, and no JSON, which SDKs would take for advice.
    #[serde(deserialize_with = "or_default")]
    #[schemars(length(min = 1, max = 123))]
    reason: String,
}

impl DisconnectReason {
    fn check(&self) -> Result<u16, ErrorCode> {
        let is_text = !self.reason.is_empty()
            && self.reason.len() <= CLOSE_REASON_BYTES_MAX
            && serde_json::from_str::<IgnoredAny>(&self.reason).is_err();
        if !is_text || !CODES.contains(&self.code) {
            return Err(ErrorCode::BadRequest);
        }
        u16::try_from(self.code).map_err(|_| ErrorCode::BadRequest)
    }
}

/// `disconnect`.
pub(super) struct Disconnect;

impl Method for Disconnect {
    const NAME: &'static str = "disconnect";
    const SUMMARY: &'static str = "Ends a user's connections.";
    type Request = DisconnectRequest;
    type Result = Nothing;

    fn example() -> Value {
        json!({ "user": "42", "disconnect": { "code": 4500, "reason": "banned" } })
    }

    async fn call(api: Arc<Api>, request: DisconnectRequest) -> Result<Nothing, ErrorCode> {
        let whom = Whom { user: &request.user, client: &request.client, session: &request.session };
        let disconnect = request.disconnect.unwrap_or_else(|| {
            let default = protocol::Disconnect::ForceDisconnect;
            DisconnectReason { code: default.code().into(), reason: default.reason().to_owned() }
        });
        let code = disconnect.check()?;
        let ending = Ending { code, reason: disconnect.reason.into(), spared: request.whitelist };
        api.ask(|gateway, tell| gateway.disconnect(whom, ending, tell)).await?;
        Ok(Nothing {})
    }
}

/// What `refresh` is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct RefreshRequest {
    /// Whose connections. Needed, unless `client` is given.
    #[serde(deserialize_with = "or_default")]
    user: String,
    /// The one connection with this id.
    #[serde(deserialize_with = "or_default")]
    client: String,
    /// The one connection with this session. Connections of this server have none.
    #[serde(deserialize_with = "or_default")]
    session: String,
    /// The connections have expired: they are closed with 3005.
    #[serde(deserialize_with = "or_default")]
    expired: bool,
    /// Unix seconds at which they expire; 0 for never. A time that is over closes them with 3005.
    #[serde(deserialize_with = "or_default")]
    expire_at: i64,
    /// What others see as the clients' `conn_info` from now on; not given: as before.
    info: Payload,
}

/// `refresh`.
pub(super) struct Refresh;

impl Method for Refresh {
    const NAME: &'static str = "refresh";
    const SUMMARY: &'static str = "Sets when a user's connections expire.";
    type Request = RefreshRequest;
    type Result = Nothing;

    fn example() -> Value {
        json!({ "user": "42", "expire_at": 4_102_444_800_i64 })
    }

    async fn call(api: Arc<Api>, request: RefreshRequest) -> Result<Nothing, ErrorCode> {
        let whom = Whom { user: &request.user, client: &request.client, session: &request.session };
        let renewal = Renewal {
            is_expired: request.expired,
            expires_at: expiry(request.expire_at, true)?,
            info: request.info.unless_null().or_base64("")?,
        };
        if renewal.info.as_ref().is_some_and(|info| info.len() > api.message_bytes_max) {
            return Err(ErrorCode::BadRequest);
        }
        api.ask(|gateway, tell| gateway.refresh(whom, renewal, tell)).await?;
        Ok(Nothing {})
    }
}
