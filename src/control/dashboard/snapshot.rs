//! What the dashboard shows, as one value: the page and `throng top` get it as JSON, once a beat.
//!
//! Rates are means over the time since the last beat. A number that this machine does not tell (an
//! unreadable file of /proc, say) is absent, never zero.
//!
//! Absent on purpose: history. Who draws a line over time keeps what it was sent.

use serde::{Deserialize, Serialize};

/// The server at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Version of the server.
    pub version: String,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// Seconds since the server was ready.
    pub uptime_s: u64,
    /// `starting`, `ready` or `draining`.
    pub phase: String,
    /// Sockets held.
    pub connections: Connections,
    /// Events per second.
    pub rates: Rates,
    /// From a publish to the last write of it on a shard.
    pub latency: Latency,
    /// Bytes that wait for slow readers.
    pub backlog: Backlog,
    /// What was done about slow readers since the start.
    pub slow: Slow,
    /// Connections that ended since the start, by close code; codes without one are left out.
    pub closes: Vec<Closes>,
    /// What connections cost.
    pub memory: Memory,
    /// Every shard, in the order of their numbers.
    pub shards: Vec<Shard>,
    /// Rooms with the most deliveries, the hottest first; 20 at most.
    pub rooms: Vec<Room>,
    /// The walls, the nearest first.
    pub limits: Vec<Limit>,
    /// A drain, under way or not.
    pub drain: Drain,
}

/// Sockets held.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Connections {
    /// Now, in whatever phase.
    pub now: u64,
    /// Most at any time since the start.
    pub peak: u64,
}

/// Events per second, over all shards.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Upgrades that succeeded.
    pub connects: f64,
    /// WebSockets that ended.
    pub closes: f64,
    /// Connections refused, by admission or at the upgrade.
    pub refusals: f64,
    /// Messages from clients.
    pub messages_in: f64,
    /// Messages handed to connections.
    pub deliveries: f64,
    /// Write calls.
    pub writes: f64,
    /// Deliveries for each write.
    pub coalescing: f64,
}

/// Time from a publish to the last local write of it, over the last ten seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Publications measured.
    pub count: u64,
    /// Half of them took at most this many microseconds.
    pub p50_us: u64,
    /// 99 of 100 took at most this many microseconds.
    pub p99_us: u64,
}

/// Bytes that wait for slow readers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Backlog {
    /// Now.
    pub bytes: u64,
    /// What may wait in all.
    pub bytes_max: u64,
}

/// What was done about slow readers since the start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Slow {
    /// Closed with 3008, by why.
    pub closed: Vec<Reason>,
    /// Times that what waited was dropped, for the member to read the history.
    pub recoveries: u64,
}

/// Events of one reason.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// A word, as the label of the metric has it.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// Connections that ended with one code.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Closes {
    /// Close code; 1005 is a close frame without one, 1006 no close frame, 0 any that is not listed.
    pub code: u16,
    /// How many.
    pub count: u64,
}

/// What connections cost, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Anonymous memory of the process.
    pub user_bytes: Option<u64>,
    /// The kernel's slabs, which have all sockets, and the buffers of TCP, of the whole machine.
    pub kernel_bytes: Option<u64>,
    /// What `user_bytes` has grown by since the server had no connections, for each; absent below 1,000 of
    /// them.
    pub user_bytes_per_connection: Option<f64>,
    /// The same of `kernel_bytes`.
    pub kernel_bytes_per_connection: Option<f64>,
}

/// One shard.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    /// Sockets held.
    pub connections: u64,
    /// It accepts.
    pub is_listening: bool,
    /// Messages handed to connections per second.
    pub deliveries: f64,
    /// Turns of its loop per second.
    pub turns: f64,
    /// Bytes that wait for slow readers.
    pub backlog_bytes: u64,
    /// Part of a core that its thread used, 0 to 1.
    pub cpu: Option<f64>,
}

/// One of the hottest rooms.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Room {
    /// Its name.
    pub name: String,
    /// Members, of all shards.
    pub members: u64,
    /// Deliveries per second; true within `error`.
    pub deliveries: f64,
    /// By how much `deliveries` may be too high.
    pub error: f64,
}

/// One wall.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// What it is of, in a few words.
    pub name: String,
    /// How much is used.
    pub used: u64,
    /// How much there is.
    pub max: u64,
    /// Of what: `connections`, `bytes`, `descriptors`.
    pub unit: String,
    /// What moves it, a command or an option.
    pub remedy: String,
}

/// A drain, under way or not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Drain {
    /// `none`, `grace` (not ready any more, nobody is closed yet), `closing` or `drained`.
    pub state: String,
    /// Connections there were when it began to close them.
    pub total: u64,
    /// Connections closed by it so far.
    pub closed: u64,
    /// Milliseconds until its last close, if all goes as planned.
    pub left_ms: u64,
}
