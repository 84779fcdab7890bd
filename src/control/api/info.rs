//! What runs here, and how much of everything it has.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Api;
use super::method::Method;
use crate::protocol::{ClientId, ErrorCode};
use crate::shard::Stats;

/// What `info` is asked: nothing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct InfoRequest {}

/// What `info` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct InfoResult {
    /// The servers: this one.
    nodes: Vec<Node>,
}

/// One server.
#[derive(Debug, Serialize, JsonSchema)]
struct Node {
    /// Names the process; another after each start.
    uid: String,
    /// Names the machine and its process.
    name: String,
    /// Version of throng.
    version: &'static str,
    /// WebSockets that are open.
    num_clients: u64,
    /// Named users that have connections.
    num_users: usize,
    /// Rooms that have members.
    num_channels: usize,
    /// Members of all rooms together.
    num_subs: usize,
    /// Seconds since the start.
    uptime: u64,
}

/// A name for this process: random, as every `RandomState` is.
pub(super) fn new_uid() -> String {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&RandomState::new().hash_one(0).to_ne_bytes());
    bytes[8..].copy_from_slice(&RandomState::new().hash_one(1).to_ne_bytes());
    ClientId::new(bytes).to_string()
}

fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}_{}", host.trim(), std::process::id())
}

/// WebSockets that are open: upgrades less ends.
fn open(stats: &Stats) -> u64 {
    let ended: u64 = stats.closes.iter().map(|(_, count)| count).sum();
    stats.upgrades.get().saturating_sub(ended)
}

/// `info`.
pub(super) struct Info;

impl Method for Info {
    const NAME: &'static str = "info";
    const SUMMARY: &'static str = "Tells what runs here. Costs as much as there are rooms.";
    type Request = InfoRequest;
    type Result = InfoResult;

    fn example() -> Value {
        json!({})
    }

    async fn call(api: Arc<Api>, _: InfoRequest) -> Result<InfoResult, ErrorCode> {
        let gateway = api.gateway.clone();
        let counts =
            tokio::task::spawn_blocking(move || gateway.counts()).await.map_err(|_| ErrorCode::Internal)?;
        Ok(InfoResult {
            nodes: vec![Node {
                uid: api.uid.clone(),
                name: name(),
                version: env!("CARGO_PKG_VERSION"),
                num_clients: api.stats.iter().map(|stats| open(stats)).sum(),
                num_users: counts.users,
                num_channels: counts.rooms,
                num_subs: counts.members,
                uptime: api.started.elapsed().as_secs(),
            }],
        })
    }
}
