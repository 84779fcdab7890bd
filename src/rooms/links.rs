//! The way to the shards, from one of them or from another thread: events are pushed as they come
//! up and the shards that got some are woken once, at the end of the turn.

use std::sync::Arc;

use crate::rooms::Event;
use crate::shard::inbox::Sender;
use crate::shard::message::Message;

/// Bytes that an event keeps in an inbox besides its payload.
const EVENT_BYTES: usize = 96;

/// The `me` of links that are no shard's.
const NO_SHARD: usize = usize::MAX;

/// The way to the shards.
#[derive(Debug, Clone)]
pub struct Links {
    me: usize,
    shards: Arc<[Sender<Message<Event>>]>,
    /// Shards that were sent something since the last `wake`.
    touched: Vec<usize>,
}

impl Links {
    /// The links of shard `me`; `shards` are the inboxes of all, its own among them.
    pub fn new(me: usize, shards: Arc<[Sender<Message<Event>>]>) -> Self {
        Links { me, touched: Vec::with_capacity(shards.len()), shards }
    }

    /// The links of a thread that is no shard's.
    pub fn of_no_shard(shards: Arc<[Sender<Message<Event>>]>) -> Self {
        Links::new(NO_SHARD, shards)
    }

    /// How many shards there are.
    pub(super) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// The shard's own index.
    pub(super) fn me(&self) -> usize {
        self.me
    }

    /// Sends `event`, whose payload is `payload_bytes` long, to a shard.
    pub(super) fn send(&mut self, shard: usize, event: Event, payload_bytes: usize) {
        self.shards[shard].push(Message::Service(event), EVENT_BYTES + payload_bytes);
        if !self.touched.contains(&shard) {
            self.touched.push(shard);
        }
    }

    /// Whether the inbox of another shard is so full that nothing should be published to it.
    pub(super) fn is_full(&self, shard: usize) -> bool {
        shard != self.me && self.shards[shard].is_full()
    }

    /// Wakes every shard that was sent something.
    pub(super) fn wake(&mut self) {
        for shard in self.touched.drain(..) {
            self.shards[shard].wake();
        }
    }
}
