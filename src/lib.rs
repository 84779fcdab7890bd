//! throng: a kernel-tuned WebSocket connection server for one Linux box.
//!
//! The binary is `throng serve`; this library is what it is made of. The folders are the
//! architecture, and a module names only the ones before it:
//! `limits` → `wire`, `plan` → `protocol`, `conn`, `hub` → `host` → `doctor` → `shard`, `store` → `rooms` → `control`,
//! `load` → `cli`. ARCHITECTURE.md tells why.

pub mod cli;
pub mod conn;
pub mod control;
pub mod doctor;
pub mod host;
pub mod hub;
pub mod limits;
pub mod load;
pub mod plan;
pub mod protocol;
pub mod rooms;
pub mod shard;
pub mod store;
pub mod wire;
