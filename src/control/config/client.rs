//! `[client]`: how clients are treated.

use serde::Deserialize;

use super::Token;
use crate::rooms;

/// `[client]`: how clients are treated. The fields mean what they do in [`rooms::Settings`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Client {
    /// Time between two pings; 0 turns pings off.
    pub ping_interval_ms: u32,
    /// Time a client has to answer a ping; then 3012. Less than `ping_interval_ms`.
    pub pong_timeout_ms: u32,
    /// Time a client has from upgrade to a successful connect; then 3502.
    pub stale_close_delay_ms: u32,
    /// Time an expired connection has to refresh; then 3005.
    pub expired_close_delay_ms: u32,
    /// Time an expired subscription has to refresh; then it is ended with 2501.
    pub expired_sub_close_delay_ms: u32,
    /// Rooms one connection may be a member of.
    pub channel_limit: usize,
    /// Connections one named user may have on this server; 0 is no limit.
    pub user_connection_limit: u32,
    /// Publish commands a second that one connection may send; 0 is no limit.
    pub publishes_per_second: u32,
    /// Subscribe commands a second that one connection may send; 0 is no limit.
    pub subscribes_per_second: u32,
    /// Times that one connection may fall behind, one soon after the other; then 3008. 0 is no limit.
    pub slow_recoveries_max: u32,
    /// A client without a token may connect as the anonymous user `""`.
    pub allow_anonymous_connect_without_token: bool,
    /// Most publications that one answer to a history request holds.
    pub history_max_publication_limit: usize,
    /// Most publications that a client gets back when it recovers; one that missed more gets none.
    pub recovery_max_publication_limit: usize,
    /// `[client.subscribe_to_user_personal_channel]`: a room of each user's own.
    pub subscribe_to_user_personal_channel: PersonalChannel,
    /// `[client.token]`: keys of connection tokens; none: a token is refused.
    pub token: Option<Token>,
    /// `[client.subscription_token]`: keys of subscription tokens; none: those of `token`.
    pub subscription_token: Option<Token>,
}

impl Default for Client {
    fn default() -> Self {
        let rooms = rooms::Settings::default();
        Client {
            ping_interval_ms: rooms.ping_interval_ms,
            pong_timeout_ms: rooms.pong_timeout_ms,
            stale_close_delay_ms: rooms.stale_close_delay_ms,
            expired_close_delay_ms: rooms.expired_close_delay_ms,
            expired_sub_close_delay_ms: rooms.expired_sub_close_delay_ms,
            channel_limit: rooms.channel_limit,
            user_connection_limit: rooms.user_connection_limit,
            publishes_per_second: rooms.publishes_per_second,
            subscribes_per_second: rooms.subscribes_per_second,
            slow_recoveries_max: rooms.slow_recoveries_max,
            allow_anonymous_connect_without_token: rooms.allow_anonymous_connect_without_token,
            history_max_publication_limit: rooms.history_max_publication_limit,
            recovery_max_publication_limit: rooms.recovery_max_publication_limit,
            subscribe_to_user_personal_channel: PersonalChannel::default(),
            token: None,
            subscription_token: None,
        }
    }
}

/// `[client.subscribe_to_user_personal_channel]`: a room that only one user is in, with every one of
/// that user's connections as a member from the connect on. Source: PROTOCOL.md 19.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PersonalChannel {
    /// Named users are subscribed to their room.
    pub enabled: bool,
    /// The namespace of these rooms, which has to be there; empty: they have none.
    pub personal_channel_namespace: String,
}

impl PersonalChannel {
    /// The namespace of the users' own rooms, which is `""` if they have none; `None` if there are
    /// no such rooms.
    pub(super) fn namespace(&self) -> Option<String> {
        self.enabled.then(|| self.personal_channel_namespace.clone())
    }

    /// What the room of user 42 is called, as an example; `None` if there are no such rooms.
    pub fn example(&self) -> Option<String> {
        self.namespace().map(|name| if name.is_empty() { "#42".to_owned() } else { format!("{name}:#42") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_of_ones_own_is_called_by_its_namespace_and_the_user() {
        let room = |enabled, namespace: &str| {
            PersonalChannel { enabled, personal_channel_namespace: namespace.to_owned() }.example()
        };
        assert_eq!(room(false, "own"), None);
        assert_eq!(room(true, "").as_deref(), Some("#42"));
        assert_eq!(room(true, "own").as_deref(), Some("own:#42"));
    }
}
