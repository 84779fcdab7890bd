//! Namespaces: the options a room has by its name, and who may do what in it.
//!
//! A room `chat:lobby` has the options of the namespace `chat`; a room without `:` has those of
//! the namespace without a name. Options and their names follow Centrifugo where they mean the same.

use serde::Deserialize;

use crate::hub::retention::duration_ms;
use crate::hub::{Durability, Retention};

/// Options of one namespace. Every one is off by default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NamespaceOptions {
    /// Members can ask who else is a member.
    pub presence: bool,
    /// Members that ask for it are told who joins and leaves.
    pub join_leave: bool,
    /// With `join_leave`: every member is told, asked or not.
    pub force_push_join_leave: bool,
    /// Time that a join or leave has to last before it is told; 0 tells each at once.
    pub join_leave_debounce_ms: u32,
    /// A publisher that is a member does not get its own message.
    pub exclude_sender: bool,
    /// Authenticated clients may subscribe without a subscription token.
    pub allow_subscribe_for_client: bool,
    /// With `allow_subscribe_for_client`: anonymous clients too.
    pub allow_subscribe_for_anonymous: bool,
    /// Authenticated clients may publish.
    pub allow_publish_for_client: bool,
    /// Members may publish.
    pub allow_publish_for_subscriber: bool,
    /// With one of the two above: anonymous clients too.
    pub allow_publish_for_anonymous: bool,
    /// Authenticated clients may ask for presence.
    pub allow_presence_for_client: bool,
    /// Members may ask for presence.
    pub allow_presence_for_subscriber: bool,
    /// With one of the two above: anonymous clients too.
    pub allow_presence_for_anonymous: bool,
    /// `room#17,42` may be subscribed to by users 17 and 42 only.
    pub allow_user_limited_channels: bool,
    /// Room names must match this regular expression, if it is not empty; it replaces the ASCII rule.
    pub channel_regex: String,
    /// Publications a second that clients may make in one room; a second's worth may come at once. 0 is no limit.
    pub publishes_per_second: u32,
    /// Longest data of a client's publication in bytes; 0 leaves it to what a message may be.
    pub data_bytes_max: u32,
    /// What is done about a member that reads too slowly.
    pub slow: Slow,
    /// Which publications replace those before them that were not delivered yet. Without history only.
    pub conflate: Conflate,
    /// Members that a room may have before `over_cap` says what happens; 0 is no cap.
    pub member_cap: u32,
    /// What happens above `member_cap`.
    pub over_cap: OverCap,
    /// Time between two beats of a room in feed mode, and of signals.
    pub feed_interval_ms: u32,
    /// Publications kept of each room; 0 turns history off.
    pub history_size: u32,
    /// Time after a room's last publish at which its history is dropped; 0 turns history off.
    #[serde(rename = "history_ttl", deserialize_with = "duration_ms")]
    pub history_ttl_ms: u64,
    /// Time after a room's last use at which its epoch and offset are forgotten too.
    #[serde(rename = "history_meta_ttl", deserialize_with = "duration_ms")]
    pub history_meta_ttl_ms: u64,
    /// When a publication counts as kept, and its publisher is told so.
    pub durability: Durability,
    /// Every subscription is recoverable: a client that comes back gets what it missed.
    pub force_recovery: bool,
    /// A subscription is recoverable if the client asks for it.
    pub allow_recovery: bool,
    /// Every subscription knows its position in the room's stream.
    pub force_positioning: bool,
    /// A subscription knows its position if the client asks for it.
    pub allow_positioning: bool,
    /// What recovery gives a client that comes back.
    pub force_recovery_mode: RecoveryMode,
    /// Authenticated clients may read the history.
    pub allow_history_for_client: bool,
    /// Members may read the history.
    pub allow_history_for_subscriber: bool,
    /// With one of the two above: anonymous clients too.
    pub allow_history_for_anonymous: bool,
}

/// Which publications replace those before them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conflate {
    /// None: each is delivered.
    #[default]
    None,
    /// Those of the same user: the latest is delivered on the next beat, to members that are not behind.
    User,
}

/// What happens when a room has as many members as it may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverCap {
    /// One more is refused with error 106.
    #[default]
    Refuse,
    /// All are let in, and what the room gets is delivered on a beat.
    Feed,
}

/// What is done about a member for which more waits than may. Source: DESIGN section 6.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slow {
    /// Its connection is closed with 3008; its SDK connects again.
    #[default]
    Disconnect,
    /// What waits is dropped, and the member gets it from the history as fast as it reads. For those
    /// who can recover.
    Recover,
}

/// What recovery gives a client that comes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecoveryMode {
    /// All that it missed, or nothing.
    #[default]
    Stream,
    /// The latest publication.
    Cache,
}

/// Time that a room's epoch and offset outlive its last use, by default: 30 days.
/// Source: Centrifugo v6 `channel.history_meta_ttl`.
const HISTORY_META_TTL_MS: u64 = 30 * 24 * 3600 * 1000;

/// Time between two beats of a room in feed mode, by default: what people still take for at once, and
/// 12 messages in one write at 50 a second.
const FEED_INTERVAL_MS: u32 = 250;

impl Default for NamespaceOptions {
    fn default() -> Self {
        NamespaceOptions {
            presence: false,
            join_leave: false,
            force_push_join_leave: false,
            join_leave_debounce_ms: 0,
            exclude_sender: false,
            allow_subscribe_for_client: false,
            allow_subscribe_for_anonymous: false,
            allow_publish_for_client: false,
            allow_publish_for_subscriber: false,
            allow_publish_for_anonymous: false,
            allow_presence_for_client: false,
            allow_presence_for_subscriber: false,
            allow_presence_for_anonymous: false,
            allow_user_limited_channels: false,
            channel_regex: String::new(),
            publishes_per_second: 0,
            data_bytes_max: 0,
            slow: Slow::default(),
            conflate: Conflate::default(),
            member_cap: 0,
            over_cap: OverCap::default(),
            feed_interval_ms: FEED_INTERVAL_MS,
            history_size: 0,
            history_ttl_ms: 0,
            history_meta_ttl_ms: HISTORY_META_TTL_MS,
            durability: Durability::default(),
            force_recovery: false,
            allow_recovery: false,
            force_positioning: false,
            allow_positioning: false,
            force_recovery_mode: RecoveryMode::default(),
            allow_history_for_client: false,
            allow_history_for_subscriber: false,
            allow_history_for_anonymous: false,
        }
    }
}

impl NamespaceOptions {
    /// How the rooms' history is kept.
    pub fn retention(&self) -> Retention {
        Retention {
            size: self.history_size,
            ttl_ms: self.history_ttl_ms,
            meta_ttl_ms: self.history_meta_ttl_ms,
            durability: self.durability,
        }
    }
}
