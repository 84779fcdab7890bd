//! What a shard serves: the trait between the event loop and what messages mean.

use crate::conn::{CloseReason, Key};
use crate::shard::Io;
use crate::wire::Request;

/// What messages mean. A shard calls its service from its own thread and for one connection at a
/// time; the service answers through `Io` and must not block.
///
/// For every connection the order is `opened`, any number of `message`, `pong` and `timer`, then
/// `closed`, exactly once. A connection whose upgrade failed is never seen.
pub trait Service {
    /// What the service keeps for each connection, inside the connection itself. Small: see
    /// `conn::Connection`.
    type Peer: Default;

    /// What other threads send the service through the shard's inbox.
    type Event: Send + 'static;

    /// A connection was upgraded by `request`; its 101 answer is queued.
    fn opened(&mut self, io: &mut Io<Self::Peer>, key: Key, request: &Request<'_>);

    /// A whole data message arrived: text (valid UTF-8) or binary. `payload` is the shard's own
    /// buffer and may be changed in place.
    fn message(&mut self, io: &mut Io<Self::Peer>, key: Key, text: bool, payload: &mut [u8]);

    /// A pong frame arrived. Pings of the peer are answered by the shard itself.
    fn pong(&mut self, _io: &mut Io<Self::Peer>, _key: Key) {}

    /// The connection ended, or began to end: nothing sent to it arrives any more. Its peer state
    /// is still there.
    fn closed(&mut self, io: &mut Io<Self::Peer>, key: Key, reason: CloseReason);

    /// The connection's timer fired; see `Io::set_timer`.
    fn timer(&mut self, _io: &mut Io<Self::Peer>, _key: Key) {}

    /// More waits for this connection to read than may. Drops what it can do without, with
    /// `Io::marked_waiting` and `Io::drop_waiting`; if that is not enough, it is closed with 3008.
    fn overfull(&mut self, _io: &mut Io<Self::Peer>, _key: Key) {}

    /// Everything that was queued for this connection is written; see `Io::tell_when_written`.
    fn written(&mut self, _io: &mut Io<Self::Peer>, _key: Key) {}

    /// A time of `Io::wake_by` has come, or is near.
    fn alarm(&mut self, _io: &mut Io<Self::Peer>) {}

    /// Another thread sent `event`.
    fn event(&mut self, io: &mut Io<Self::Peer>, event: Self::Event);

    /// Everything that this turn brought was handed over: send what was held back to be coalesced.
    fn turn_end(&mut self, _io: &mut Io<Self::Peer>) {}

    /// Many connections have gone and nothing is going on: give back memory that was theirs.
    fn shrink(&mut self) {}
}
