//! The server API: what an application's own servers ask over HTTP, and what clients see of it.

#[path = "../common/mod.rs"]
pub mod common;

mod access;
mod batch;
mod caller;
mod connections;
mod disconnect;
mod history;
mod openapi;
mod order;
mod presence;
mod publish;
mod refresh;
