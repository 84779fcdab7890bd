//! The load generator behind `throng bench`: many real client connections from one process, and what
//! they cost on both sides.
//!
//! It measures any WebSocket server, so it knows nothing of throng's own: frames, the upgrade and the
//! dialects are its own few lines, written for a client that counts rather than reads. From the inside
//! out:
//! - [`frame`], [`dialect`], [`target`]: bytes, without sockets;
//! - [`connection`]: one connection's progress from upgrade to counting, without its socket;
//! - [`watch`]: what is looked at in a message;
//! - [`source`], [`openings`], [`worker`], [`publisher`], [`pacer`], [`fleet`]: sockets and threads;
//! - [`probe`], [`cost`], [`kernel`], [`server`], [`interrupt`]: the measured process, the machine, the user;
//! - [`idle`], [`fanout`], [`progress`], [`report`]: one question each, and its answer as a table and as JSON.
//!
//! Absent on purpose: retries (a failed connection is counted by its reason and stays failed) and
//! pacing (both scenarios are closed loops).

pub mod ceiling;
pub mod connection;
pub mod cost;
pub mod dialect;
pub mod failures;
pub mod fanout;
mod fanout_page;
pub mod fleet;
pub mod frame;
pub mod idle;
mod idle_page;
pub mod interrupt;
pub mod kernel;
pub mod openings;
pub mod options;
pub mod paced;
pub mod pacer;
pub mod percentiles;
pub mod probe;
pub mod progress;
pub mod publisher;
pub mod report;
pub mod server;
pub mod slow;
pub mod source;
pub mod steady;
mod steady_pages;
pub mod storm;
pub mod target;
pub mod watch;
pub mod worker;
