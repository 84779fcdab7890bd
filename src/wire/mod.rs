//! RFC 6455 as pure functions over bytes: the upgrade, frame headers, masking, UTF-8 across frames.
//!
//! Everything here is given bytes and gives back values or bytes. The half that reads and writes
//! sockets is in `shard`; the half that remembers a partial frame is in `conn`.
//!
//! Invariants:
//! - no function panics on any input (`tests/wire_properties.rs`, `fuzz/`);
//! - no function on the message path allocates, except to grow a buffer that the caller passed in.
//!
//! Absent on purpose: sockets, clocks and random sources (a client passes its masks and keys in),
//! and extensions: permessage-deflate costs a window of memory for every connection, so no RSV bit
//! is ever legal here.

pub mod error;
pub mod frame;
pub mod mask;
pub mod origin;
pub mod proxy;
pub mod refusal;
pub mod upgrade;
pub mod utf8;

pub use error::ProtocolError;
pub use frame::Header;
pub use refusal::Refusal;
pub use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
pub use upgrade::Request;
