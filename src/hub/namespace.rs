//! Namespaces: the options a room has by its name, and who may do what in it.
//!
//! A room `chat:lobby` has the options of the namespace `chat`; a room without `:` has those of
//! the namespace without a name. Options and their names follow Centrifugo where they mean the same.

use serde::Deserialize;

/// Options of one namespace. Every one is off by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NamespaceOptions {
    /// Members can ask who else is a member.
    pub presence: bool,
    /// Members that ask for it are told who joins and leaves.
    pub join_leave: bool,
    /// With `join_leave`: every member is told, asked or not.
    pub force_push_join_leave: bool,
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
}
