//! The harness of the behaviour tests: a server of one's own, clients, tokens and metrics.
//!
//! A test file says `pub mod common;` (public, so that what this file needs and another does not is no
//! dead code) and starts one server per test or shares one between tests. Everything goes through
//! the public door: the binary, its ports, its exit code.
//!
//! ```ignore
//! let server = Server::start("");                    // insecure, so all is allowed; one shard
//! let mut ann = server.client();                     // upgraded and connected, anonymous
//! ann.subscribe("room");                             // panics unless it succeeds
//! ann.publish("room", json!("hi"));
//! assert_eq!(ann.receive()["push"]["pub"]["data"], "hi");
//! ann.send("nonsense");
//! ann.expect_close(3501, "bad request");
//! ```
//!
//! Invariants:
//! - nothing waits longer than `PATIENCE`, and whoever waits in vain panics with what was missing;
//! - a server ends with its `Server`, whatever the test does.
//!
//! Absent on purpose: sleeps. A test waits for a message, or for a metric by `Server::wait_for`.

pub mod client;
pub mod counting;
pub mod metrics;
pub mod scratch;
pub mod server;
pub mod steer;
pub mod token;

use std::time::Duration;

pub use client::Client;
pub use metrics::Metrics;
pub use scratch::Scratch;
pub use server::Server;
pub use token::{SECRET, WITH_TOKENS, now_s, token, token_signed};

/// Longest wait for anything. Long, because it costs nothing unless a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);
