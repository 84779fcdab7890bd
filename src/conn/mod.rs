//! The lean connection: what throng keeps in user memory for each WebSocket it holds.
//!
//! An idle connection is one `Connection` in its shard's slab and nothing on the heap: a partial
//! frame and a backlog are boxed when they come into being and freed when they are done.
//!
//! Absent on purpose: sockets and clocks. `S` is whatever handle the shard owns the socket by,
//! `P` what the service keeps per connection.

mod backlog;
mod inbound;
mod reason;

pub use backlog::{Backlog, Mark};
pub use inbound::{Event, Inbound};
pub use reason::CloseReason;

/// Index of a connection in its shard's slab. Reused as soon as its connection is gone.
pub type Key = u32;

/// A connection for as long as it lives: its slab index and a number that no other connection
/// of the shard had, so that what was meant for an ended connection reaches nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// Index in the slab.
    pub key: Key,
    /// Number of the connection among all that the shard accepted, modulo 2³².
    pub generation: u32,
}

/// Where a connection is in its life. It only moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Accepted; the upgrade request is not complete.
    Upgrading,
    /// Upgraded; the service is told of its messages.
    Open,
    /// Our close frame is on its way; what the peer sends is ignored until its own close frame.
    Closing,
    /// Our last word is on its way, behind which our side is shut. The peer sends no frames that
    /// could be read: it asked for no WebSocket or broke RFC 6455. Waiting for it to close.
    Lingering,
    /// The last bytes are on their way and the peer has no more; the socket is closed as soon as
    /// they are written.
    Finishing,
    /// The socket failed or is done with; the slot is freed within this turn.
    Dead,
}

/// "No node" in `Connection::pending`.
pub const NO_OUTPUT: u32 = u32::MAX;

/// One connection, as it sits in the slab. At most 64 bytes with the rooms service's `P`,
/// which `rooms` asserts.
#[derive(Debug)]
pub struct Connection<S, P> {
    /// The shard's handle of the socket.
    pub socket: S,
    /// See `ConnectionId::generation`.
    pub generation: u32,
    /// The partial frame or message, if there is one.
    pub inbound: Inbound,
    /// Bytes that the socket refused, if there are any.
    pub backlog: Option<Box<Backlog>>,
    /// Last entry of this turn's output for the connection, or `NO_OUTPUT`.
    pub pending: u32,
    /// Where it is in its life.
    pub phase: Phase,
    /// The shard has it on its list of connections with a backlog.
    pub is_listed: bool,
    /// The shard has it in its queue of connections to read on.
    pub reads_on: bool,
    /// The service is to be told when nothing waits for it any more.
    pub is_awaited: bool,
    /// The service's own state.
    pub peer: P,
}

impl<S, P> Connection<S, P> {
    /// A connection that was just accepted.
    pub fn new(socket: S, generation: u32, peer: P) -> Self {
        Connection {
            socket,
            generation,
            inbound: Inbound::default(),
            backlog: None,
            pending: NO_OUTPUT,
            phase: Phase::Upgrading,
            is_listed: false,
            reads_on: false,
            is_awaited: false,
            peer,
        }
    }
}
