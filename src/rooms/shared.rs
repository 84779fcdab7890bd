//! What the rooms services of all shards have in common: settings, keys, rooms, users.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use regex::Regex;

use crate::conn::ConnectionId;
use crate::hub::{Directory, NamespaceOptions, SharedBuckets, Users};
use crate::protocol::{ChannelName, ClientId, ErrorCode, Verifier};
use crate::rooms::Settings;

/// Index of the namespace without a name.
const WITHOUT_NAMESPACE: u16 = 0;

/// A namespace, ready for use.
#[derive(Debug)]
pub(super) struct Namespace {
    pub options: NamespaceOptions,
    pattern: Option<Regex>,
}

/// What the rooms services of all shards have in common.
#[derive(Debug)]
pub struct Shared {
    pub(super) settings: Settings,
    pub(super) connection_tokens: Option<Verifier>,
    pub(super) subscription_tokens: Option<Verifier>,
    pub(super) directory: Directory,
    pub(super) users: Users,
    /// How many publications each room may still get from clients.
    pub(super) publishes: SharedBuckets,
    namespaces: Vec<Namespace>,
    by_name: HashMap<String, u16>,
    /// Makes client ids that nobody can guess or tell apart by age.
    client_ids: RandomState,
}

impl Shared {
    /// For `shards` shards.
    ///
    /// # Errors
    ///
    /// A namespace's `channel_regex` is not a regular expression.
    pub fn new(settings: Settings, shards: usize) -> Result<Self, regex::Error> {
        let ready = |options: &NamespaceOptions| {
            let pattern = Some(options.channel_regex.as_str()).filter(|pattern| !pattern.is_empty());
            Ok(Namespace { options: options.clone(), pattern: pattern.map(Regex::new).transpose()? })
        };
        let mut namespaces = vec![ready(&settings.without_namespace)?];
        let mut by_name = HashMap::new();
        for (name, options) in &settings.namespaces {
            by_name.insert(name.clone(), namespaces.len() as u16);
            namespaces.push(ready(options)?);
        }
        let connection_tokens = settings.token.as_ref().map(Verifier::new);
        let subscription_tokens =
            settings.subscription_token.as_ref().or(settings.token.as_ref()).map(Verifier::new);
        Ok(Shared {
            connection_tokens,
            subscription_tokens,
            directory: Directory::new(shards),
            users: Users::default(),
            publishes: SharedBuckets::default(),
            namespaces,
            by_name,
            client_ids: RandomState::new(),
            settings,
        })
    }

    /// Judges a room's name: its parts and its namespace.
    ///
    /// # Errors
    ///
    /// 107: too long, or letters that the namespace does not allow. 102: no such namespace.
    pub(super) fn channel<'a>(&self, name: &'a str) -> Result<(ChannelName<'a>, u16), ErrorCode> {
        let channel =
            ChannelName::parse(name, self.settings.channel_max_length).map_err(|_| ErrorCode::BadRequest)?;
        let namespace = match channel.namespace() {
            None => WITHOUT_NAMESPACE,
            Some(namespace) => *self.by_name.get(namespace).ok_or(ErrorCode::UnknownChannel)?,
        };
        if !channel.is_valid(self.namespaces[namespace as usize].pattern.as_ref()) {
            return Err(ErrorCode::BadRequest);
        }
        Ok((channel, namespace))
    }

    /// The personal room of a user, if users have one; the anonymous user has none.
    pub(super) fn personal_room(&self, user: &str) -> Option<String> {
        let namespace = self.settings.personal_channel.as_deref().filter(|_| !user.is_empty())?;
        Some(if namespace.is_empty() { format!("#{user}") } else { format!("{namespace}:#{user}") })
    }

    /// Whether `channel` is some user's personal room.
    pub(super) fn is_personal(&self, channel: &ChannelName<'_>) -> bool {
        self.settings.personal_channel.as_deref().is_some_and(|namespace| {
            let local = if namespace.is_empty() {
                Some(channel.full())
            } else {
                channel.full().strip_prefix(namespace).and_then(|rest| rest.strip_prefix(':'))
            };
            local.is_some_and(|local| local.starts_with('#'))
        })
    }

    /// The options of a namespace.
    pub(super) fn options(&self, namespace: u16) -> &NamespaceOptions {
        &self.namespaces[namespace as usize].options
    }

    /// The client id of a connection: derived, so that no connection has to keep one.
    pub(super) fn client_id(&self, shard: usize, connection: ConnectionId) -> ClientId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.client_ids.hash_one((shard, connection, 0_u8)).to_ne_bytes());
        bytes[8..].copy_from_slice(&self.client_ids.hash_one((shard, connection, 1_u8)).to_ne_bytes());
        ClientId::new(bytes)
    }

    /// Whether something allowed `for_client` (and anonymous ones only `for_anonymous`) or
    /// `for_subscriber` is allowed to this one.
    pub(super) fn allows(&self, is_anonymous: bool, is_member: bool, allowed: Allowed) -> bool {
        self.settings.insecure
            || ((allowed.for_client || (allowed.for_subscriber && is_member))
                && (!is_anonymous || allowed.for_anonymous))
    }
}

/// Whom a namespace allows something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed {
    pub for_client: bool,
    pub for_subscriber: bool,
    pub for_anonymous: bool,
}

impl Allowed {
    pub(super) fn subscribe(options: &NamespaceOptions) -> Self {
        Allowed {
            for_client: options.allow_subscribe_for_client,
            for_subscriber: false,
            for_anonymous: options.allow_subscribe_for_anonymous,
        }
    }

    pub(super) fn publish(options: &NamespaceOptions) -> Self {
        Allowed {
            for_client: options.allow_publish_for_client,
            for_subscriber: options.allow_publish_for_subscriber,
            for_anonymous: options.allow_publish_for_anonymous,
        }
    }

    pub(super) fn presence(options: &NamespaceOptions) -> Self {
        Allowed {
            for_client: options.allow_presence_for_client,
            for_subscriber: options.allow_presence_for_subscriber,
            for_anonymous: options.allow_presence_for_anonymous,
        }
    }

    pub(super) fn history(options: &NamespaceOptions) -> Self {
        Allowed {
            for_client: options.allow_history_for_client,
            for_subscriber: options.allow_history_for_subscriber,
            for_anonymous: options.allow_history_for_anonymous,
        }
    }
}
