//! The dashboard: what an operator watches while the server works.

pub mod snapshot;

pub use snapshot::Snapshot;
