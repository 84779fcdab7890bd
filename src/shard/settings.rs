//! What a shard is told at its start. Every number has its unit in its name.

use ipnet::IpNet;

pub use crate::host::listen::SocketOptions;
use crate::limits;

/// Which origins may upgrade. Source: PROTOCOL.md beside `protocol`, "Origin check".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Requests without an `Origin` header and those whose origin matches one of these patterns.
    Matching(Vec<String>),
    /// Requests without an `Origin` header and pages that this machine itself serves (development).
    Loopback,
}

/// Who is let in, and how fast. A 0 is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    /// Connections a second that the shard accepts; more are left to the kernel's queue.
    pub accepts_per_second: u32,
    /// Upgrades a second that the shard takes in; more are answered 503.
    pub connects_per_second: u32,
    /// Connections that one address may have, on all shards that have one `Gate`.
    pub connections_per_address_max: u32,
    /// Connections a second that one address may make, on all shards that have one `Gate`.
    pub connects_per_second_per_address: u32,
    /// Who begins with a PROXY header, and is believed what it says.
    pub proxy_protocol_from: Vec<IpNet>,
}

/// What a shard is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Options of the listeners.
    pub socket: SocketOptions,
    /// Path a client upgrades on; any other path gets 404. An empty one accepts every path.
    pub path: String,
    /// Subprotocols the service speaks, best first.
    pub subprotocols: &'static [&'static str],
    /// Origin rule.
    pub origins: Origins,
    /// Sockets the shard may hold; at this number it suspends its listeners.
    pub connections_max: usize,
    /// Connections accepted in one turn of the loop, so that a storm does not starve served ones.
    pub accept_batch: usize,
    /// Longest message a client may send; longer ones close it with 1009.
    pub message_bytes_max: usize,
    /// Bytes one connection may have waiting, each frame counted with 128 more; over it is closed with 3008.
    pub backlog_bytes_max: usize,
    /// Bytes that all connections of the shard together may have waiting.
    pub backlog_total_bytes_max: usize,
    /// Time from accept to a complete upgrade request; then 408.
    pub upgrade_timeout_ms: u32,
    /// Time a closing connection has to answer the close frame; then its socket is closed.
    pub close_timeout_ms: u32,
    /// Time a backlog may go without progress; then 3009.
    pub write_timeout_ms: u32,
    /// Bytes that may wait in the inbox before other shards' publishes are refused with 111.
    pub inbox_bytes_max: usize,
    /// Who is let in, and how fast.
    pub admission: Admission,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            socket: SocketOptions::default(),
            path: String::new(),
            subprotocols: &[],
            origins: Origins::Matching(Vec::new()),
            connections_max: 100_000,
            accept_batch: 64,
            message_bytes_max: limits::MESSAGE_BYTES_MAX,
            backlog_bytes_max: limits::BACKLOG_BYTES_MAX,
            backlog_total_bytes_max: 256 * limits::BACKLOG_BYTES_MAX,
            upgrade_timeout_ms: 10_000,
            close_timeout_ms: 5_000,
            write_timeout_ms: 1_000,
            inbox_bytes_max: 64 * 1024 * 1024,
            admission: Admission::default(),
        }
    }
}
