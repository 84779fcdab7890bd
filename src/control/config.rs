//! The configuration: one TOML file, in memory as [`Config`].
//!
//! A setting is a field here or in the file of its table, and nowhere else; its default is the one
//! of the `Settings` it ends up in, where there is one. Names follow Centrifugo where they mean the
//! same, with the unit last. `throng.example.toml` explains every option; a test finds each of them
//! there.
//!
//! Invariants:
//! - a `Config` that `load`, `parse` or `with` returned has passed every check of `validate`, those
//!   that depend on this machine's cores only if `with` returned it;
//! - an unknown key is an error: a misspelt limit must not silently be no limit;
//! - neither an error nor `Debug` shows a secret.
//!
//! Absent on purpose: environment variables and reloading. One file and one command line say
//! all there is to say, and what they said holds until the process ends.

mod address;
mod admission;
mod client;
mod demo;
mod document;
mod duration;
mod error;
mod fields;
mod http_api;
mod meaning;
mod namespaces;
mod overrides;
mod store;
mod token;
mod validate;
mod warnings;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use address::parse_address;
pub use admission::Admission;
pub use client::{Client, PersonalChannel};
pub use demo::Demo;
pub use duration::duration_text;
pub use error::ConfigError;
pub use http_api::{ErrorMode, HttpApi};
pub use namespaces::Namespace;
pub use overrides::Overrides;
pub use store::Store;
pub use token::Token;

pub use crate::limits::SHARDS_MAX;

use crate::hub::NamespaceOptions;
use crate::rooms;
use crate::shard::settings::{self as shard, SocketOptions};
use document::Document;

/// What the server was told, complete: what the file leaves out has its default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Addresses that clients connect to. At least one; port 0 lets the kernel choose.
    #[serde(deserialize_with = "address::several")]
    pub listen: Vec<SocketAddr>,
    /// Address of the admin listener: health, readiness and metrics, which ask for no password, and
    /// the server API, which does.
    #[serde(deserialize_with = "address::one")]
    pub admin: SocketAddr,
    /// Path that clients upgrade on. Starts with `/`.
    pub path: String,
    /// Directory of the durable rooms, made if it is missing and locked while the server runs. A
    /// relative one starts at the working directory. Never empty.
    pub data: PathBuf,
    /// Shards; 0 for as many as there are available cores. At most [`SHARDS_MAX`].
    pub shards: usize,
    /// Each shard's thread is bound to a core.
    pub pin_shards: bool,
    /// Each shard has its own table of file descriptors.
    pub private_fd_tables: bool,
    /// Origins whose pages may connect; none given: see [`Config::origins`].
    pub allowed_origins: Option<Vec<String>>,
    /// Everybody may do everything, without tokens; not given: see [`Config::is_insecure`].
    pub insecure: Option<bool>,
    /// Other servers of this user may listen on the same addresses.
    pub reuse_port: bool,
    /// Time between saying that the server is not ready and the first close of a drain.
    pub drain_grace_ms: u32,
    /// Time over which connections are closed when the server ends; 0 closes them at once.
    pub drain_ms: u32,
    /// Most connections of the whole server that a drain closes in a second; 0 for no bound.
    pub drain_rate_max: u32,
    /// Options of the listeners.
    pub socket: SocketOptions,
    /// Bounds of memory and time.
    pub limits: Limits,
    /// Who is let in, and how fast.
    pub admission: Admission,
    /// How clients are treated.
    pub client: Client,
    /// Rooms: what the client protocol calls channels.
    pub channel: Channel,
    /// Where rooms with history are kept.
    pub store: Store,
    /// Who may call the server API.
    pub http_api: HttpApi,
    /// The chat to try throng with.
    pub demo: Demo,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: vec![loopback(8000)],
            admin: loopback(8001),
            path: "/connection/websocket".to_owned(),
            data: PathBuf::from("./throng-data"),
            shards: 0,
            pin_shards: false,
            private_fd_tables: true,
            allowed_origins: None,
            insecure: None,
            reuse_port: false,
            drain_grace_ms: 0,
            drain_ms: 10_000,
            drain_rate_max: 0,
            socket: SocketOptions::default(),
            limits: Limits::default(),
            admission: Admission::default(),
            client: Client::default(),
            channel: Channel::default(),
            store: Store::default(),
            http_api: HttpApi::default(),
            demo: Demo::default(),
        }
    }
}

/// `[limits]`: bounds of memory and time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections of the whole server; 0 for what the box allows.
    pub connections_max: usize,
    /// Connections a shard accepts in one turn of its loop.
    pub accept_batch: usize,
    /// Longest message a client may send; longer ones close it with 1009.
    pub message_bytes_max: usize,
    /// Bytes one connection may have waiting; over it is closed with 3008.
    pub backlog_bytes_max: usize,
    /// Bytes that all connections of the server together may have waiting.
    pub backlog_total_bytes_max: usize,
    /// Bytes that may wait in a shard's inbox before publishes are refused with 111.
    pub inbox_bytes_max: usize,
    /// Time from accept to a complete upgrade request; then 408.
    pub upgrade_timeout_ms: u32,
    /// Time a closing connection has to answer the close frame.
    pub close_timeout_ms: u32,
    /// Time a backlog may go without progress; then 3009.
    pub write_timeout_ms: u32,
}

impl Default for Limits {
    fn default() -> Self {
        let shard = shard::Settings::default();
        Limits {
            connections_max: 0,
            accept_batch: shard.accept_batch,
            message_bytes_max: shard.message_bytes_max,
            backlog_bytes_max: shard.backlog_bytes_max,
            backlog_total_bytes_max: 1024 * 1024 * 1024,
            inbox_bytes_max: shard.inbox_bytes_max,
            upgrade_timeout_ms: shard.upgrade_timeout_ms,
            close_timeout_ms: shard.close_timeout_ms,
            write_timeout_ms: shard.write_timeout_ms,
        }
    }
}

/// `[channel]`: rooms, by their names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Channel {
    /// Longest room name in bytes.
    pub max_length: usize,
    /// `[channel.without_namespace]`: options of rooms without `:`.
    pub without_namespace: NamespaceOptions,
    /// `[[channel.namespaces]]`: options of rooms by the text before their first `:`.
    pub namespaces: Vec<Namespace>,
}

impl Default for Channel {
    fn default() -> Self {
        Channel {
            max_length: rooms::Settings::default().channel_max_length,
            without_namespace: NamespaceOptions::default(),
            namespaces: Vec::new(),
        }
    }
}

impl Config {
    /// Reads the configuration file at `path`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or [`Config::parse`] refuses its text.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::new(&origin, None, format!("cannot be read: {error}")))?;
        Config::parse(&text, &origin)
    }

    /// Reads a configuration from `text`; `origin` is what errors call the place it came from.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with its line: the text is not TOML, a key is unknown, a
    /// value has the wrong type, or two values contradict each other.
    pub fn parse(text: &str, origin: &str) -> Result<Config, ConfigError> {
        let document = Document::parse(text, origin)?;
        let config: Config = toml::from_str(text).map_err(|error| document.explain(&error))?;
        validate::validate(&config, &document)?;
        Ok(config)
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

#[cfg(test)]
mod tests;
