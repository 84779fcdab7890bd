//! The Centrifuge client protocol in JSON: commands in, replies and pushes out, tokens, names.
//!
//! PROTOCOL.md beside this file says what throng speaks and what it does not.
//!
//! Invariants:
//! - an encoder appends one whole JSON object to the caller's buffer, never a raw newline (newlines
//!   separate replies), and allocates nothing but that buffer's growth;
//! - a payload passes through byte for byte, less its newlines; it is neither parsed nor rebuilt;
//! - nothing a client or a publisher wrote reaches a buffer unescaped, unless it was checked to be JSON.
//!
//! Absent on purpose: sockets, clocks, random numbers and rooms. Bytes, times and ids arrive as
//! arguments, so every rule is tested, fuzzed and simulated without a server. What a command is
//! answered (permissions, rooms, timers) is decided above this module.

pub mod channel;
pub mod client;
pub mod code;
pub mod command;
pub mod json;
pub mod push;
pub mod reply;
pub mod request;
pub mod token;

pub use channel::{ChannelName, NameError};
pub use client::{CLIENT_ID_TEXT_BYTES, ClientId, ClientInfo};
pub use code::{Disconnect, ErrorCode, Unsubscribe};
pub use command::{Command, Lines, Malformed, Method, lines, parse, parse_bytes};
pub use json::{quote, raw_json};
pub use reply::{ConnectResult, EmptyReply, StreamPosition, SubscribeResult};
pub use token::{ConnectionClaims, SubOptions, SubscriptionClaims, TokenError, TokenKeys, Verifier};
