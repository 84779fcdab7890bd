//! The control plane: what starts, configures, watches and drains the shards.
//!
//! It runs on ordinary threads that may block, allocate and log. It reaches the data plane
//! through the shards' inboxes and reads what they count (`shard::Stats`), and in no other way.

mod access;
pub mod admin;
mod api;
pub mod capacity;
pub mod config;
mod crew;
pub mod dashboard;
pub mod data_dir;
mod demo;
mod drain;
mod failure;
mod keeper;
pub mod metrics;
mod page;
pub mod server;
mod store_metrics;
mod supervisor;
mod watermark;
