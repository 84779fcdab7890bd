//! One connection's lean state.

pub mod inbound;
