//! The load generator behind `throng bench`: many real client connections from one process, and what
//! they cost on both sides.
//!
//! It measures any WebSocket server, so it knows nothing of throng's own: frames, the upgrade and the
//! dialects are its own few lines, written for a client that counts rather than reads. From the inside
//! out:
//! - [`frame`], [`dialect`], [`target`]: bytes, without sockets;
//! - [`connection`]: one connection's progress from upgrade to counting, without its socket;
//! - [`source`], [`worker`], [`publisher`], [`fleet`]: sockets and threads;
//! - [`probe`], [`kernel`], [`server`], [`interrupt`]: the measured process, the machine, the user;
//! - [`idle`], [`fanout`], [`progress`], [`report`]: one question each, and its answer as a table and as JSON.
//!
//! Absent on purpose: retries (a failed connection is counted by its reason and stays failed) and
//! pacing (both scenarios are closed loops).

pub mod connection;
pub mod dialect;
pub mod fanout;
mod fanout_page;
pub mod fleet;
pub mod frame;
pub mod idle;
mod idle_page;
pub mod interrupt;
pub mod kernel;
pub mod probe;
pub mod progress;
pub mod publisher;
pub mod report;
pub mod server;
pub mod source;
pub mod target;
pub mod worker;
