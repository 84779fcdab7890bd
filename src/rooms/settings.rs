//! What the rooms service is told at its start.

use crate::hub::NamespaceOptions;
use crate::limits;
use crate::protocol::token::TokenKeys;

/// What the rooms service is told at its start. Times are in the unit of their names.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Anyone may connect, subscribe, publish and ask for presence, without tokens.
    pub insecure: bool,
    /// A client without a token may connect as the anonymous user `""`.
    pub allow_anonymous_connect_without_token: bool,
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
    /// Longest room name in bytes.
    pub channel_max_length: usize,
    /// Connections one named user may have on this server; 0 is no limit.
    pub user_connection_limit: u32,
    /// Publish commands a second that one connection may send; a second's worth may come at once. 0 is
    /// no limit.
    pub publishes_per_second: u32,
    /// Subscribe commands a second, likewise.
    pub subscribes_per_second: u32,
    /// Times that one connection may fall behind, one soon after the other, and get what it missed from the
    /// history; then 3008. 0 is no limit.
    pub slow_recoveries_max: u32,
    /// Longest answer to one command, in bytes: what a connection can take at once.
    pub answer_bytes_max: usize,
    /// Most publications that one answer to a history request holds. At least 1.
    pub history_max_publication_limit: usize,
    /// Most publications that a client gets back when it recovers; one that missed more gets none,
    /// and is told that it did not recover. At least 1.
    pub recovery_max_publication_limit: usize,
    /// Namespace of the rooms that each named user is subscribed to from the connect on: `#USER`
    /// for `""`, else `NAMESPACE:#USER` with one of `namespaces`. None: no such rooms.
    pub personal_channel: Option<String>,
    /// Keys of connection tokens; none: a token is refused.
    pub token: Option<TokenKeys>,
    /// Keys of subscription tokens; none: those of connection tokens.
    pub subscription_token: Option<TokenKeys>,
    /// Options of rooms without `:`.
    pub without_namespace: NamespaceOptions,
    /// Options of rooms by the text before their first `:`.
    pub namespaces: Vec<(String, NamespaceOptions)>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            insecure: false,
            allow_anonymous_connect_without_token: false,
            ping_interval_ms: 25_000,
            pong_timeout_ms: 8_000,
            stale_close_delay_ms: 10_000,
            expired_close_delay_ms: 25_000,
            expired_sub_close_delay_ms: 25_000,
            channel_limit: limits::CHANNEL_LIMIT,
            channel_max_length: limits::CHANNEL_BYTES_MAX,
            user_connection_limit: 0,
            publishes_per_second: 0,
            subscribes_per_second: 0,
            slow_recoveries_max: 10,
            answer_bytes_max: limits::ANSWER_BYTES_MAX,
            history_max_publication_limit: 300,
            recovery_max_publication_limit: 300,
            personal_channel: None,
            token: None,
            subscription_token: None,
            without_namespace: NamespaceOptions::default(),
            namespaces: Vec::new(),
        }
    }
}
