//! The load generator behind `throng bench`: many real client connections from one process, and what
//! they cost on both sides.
//!
//! It measures any WebSocket server, so it knows nothing of throng's own: the upgrade and the dialects
//! are its own, written for a client that counts rather than reads. From the inside out:
//! - [`frame`], [`dialect`], [`target`]: bytes, without sockets;
//! - [`script`], [`connection`]: what connections say, and one's progress from upgrade to counting, without its
//!   socket;
//! - [`watch`], [`continuity`], [`percentiles`]: what is looked at in a message, where a connection is in its
//!   room's stream, and how times are told;
//! - [`source`], [`backoff`], [`openings`], [`counters`], [`outcome`], [`worker`], [`fleet`]: sockets and the
//!   threads that hold them;
//! - [`publisher`], [`pacer`], [`speaker`]: who publishes, in a closed loop inside a worker or by a schedule on
//!   a thread of its own, and on what;
//! - [`settings`], [`keep`], [`disk`], [`metrics`], [`sampler`]: how a server that is started is configured, what
//!   it keeps of its rooms, on which disk, and what it says of itself;
//! - [`probe`], [`cost`], [`kernel`], [`account`], [`server`], [`freeze`], [`failures`], [`interrupt`]: the
//!   measured process, the machine, the user;
//! - [`bare`]: the server that measured ones are compared with;
//! - [`steady`]: rooms under a schedule, one window after another; [`paced`], [`ceiling`], [`slow`] and
//!   [`storm`] are questions to it;
//! - [`publish`], [`recover`]: rooms with a history;
//! - [`bounce`], [`drain`]: members that come and go, and a server that goes;
//! - [`idle`], [`fanout`], [`floor`], [`heartbeat`]: the other questions;
//! - [`options`], [`progress`], [`report`]: what every question is told, how its waiting is seen, and its
//!   answer as a table, as JSON and as a page.
//!
//! Invariants: a figure of the server is taken from outside (`/proc`, the kernel's counts), so it is the
//! same for every server; only messages per write and what a store does are throng's own count. What a
//! scenario cannot know is absent, never zero.
//!
//! Absent on purpose: retries, except of those that come back (elsewhere a failed connection is counted by
//! its reason and stays failed), TLS and compression (they would measure a library).

pub mod account;
mod account_page;
pub mod backoff;
pub mod bare;
pub mod bounce;
pub mod ceiling;
pub mod connection;
pub mod continuity;
pub mod cost;
pub mod counters;
pub mod dialect;
pub mod disk;
pub mod drain;
pub mod failures;
pub mod fanout;
mod fanout_page;
pub mod fleet;
pub mod floor;
pub mod frame;
pub mod freeze;
pub mod heartbeat;
pub mod idle;
mod idle_page;
pub mod interrupt;
pub mod keep;
pub mod kernel;
pub mod metrics;
pub mod openings;
pub mod options;
pub mod outcome;
pub mod paced;
pub mod pacer;
pub mod percentiles;
pub mod probe;
pub mod progress;
pub mod publish;
pub mod publisher;
pub mod recover;
pub mod report;
pub mod sampler;
pub mod script;
pub mod server;
pub mod settings;
pub mod slow;
pub mod source;
pub mod speaker;
pub mod steady;
mod steady_pages;
pub mod storm;
pub mod target;
pub mod watch;
pub mod worker;
