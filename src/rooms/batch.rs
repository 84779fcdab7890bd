//! Fan-out of one shard: what its rooms get in one turn, encoded once.
//!
//! Pushes to a room gather in one buffer until the turn ends, then become one frame that every
//! member in this shard is sent, and one event for every other shard that has members. So the
//! busier a room is, the fewer frames, writes and events each of its messages costs.
//!
//! Invariants:
//! - what a room is sent stays in order: a push that cannot share the open batch (other audience,
//!   other excluded sender, other origin) closes it first;
//! - a connection gets exactly the pushes that came while it was a member: whoever becomes one
//!   closes the open batch first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::conn::ConnectionId;
use crate::hub::{Room, RoomId};
use crate::rooms::Audience;

/// Bytes after which a batch is closed, so that a frame stays well below what clients accept.
pub(super) const BATCH_BYTES_MAX: usize = 64 * 1024;

/// Empty buffers kept for the batches of later turns.
const SPARE_MAX: usize = 64;

/// Capacity above which a buffer is not kept.
const SPARE_BYTES_MAX: usize = 2 * BATCH_BYTES_MAX;

/// Who published: a connection, and the shard that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sender {
    pub shard: usize,
    pub connection: ConnectionId,
}

/// What pushes must have in common to share a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub audience: Audience,
    /// The member that does not get it: the publisher, where the namespace says so.
    pub excluded: Option<Sender>,
    /// It came from another shard, which has told all shards already.
    pub is_relayed: bool,
}

/// Pushes to one room.
#[derive(Debug)]
pub(super) struct Batch {
    pub room: Arc<Room>,
    pub kind: Kind,
    /// Pushes separated by newlines.
    pub pushes: Vec<u8>,
    pub messages: u32,
    /// Offset of the first publication that has one; 0 if none has.
    pub first: u64,
    /// When the oldest of them was published.
    pub since: Instant,
}

/// The open batches of this turn.
#[derive(Debug, Default)]
pub(super) struct Batches {
    open: Vec<Batch>,
    by_room: HashMap<RoomId, usize>,
    spare: Vec<Vec<u8>>,
}

impl Batches {
    /// The open batch of `room` if it has one and a push of `kind` cannot go into it.
    pub(super) fn take_other(&mut self, room: RoomId, kind: Kind) -> Option<Batch> {
        let at = *self.by_room.get(&room)?;
        let batch = &self.open[at];
        (batch.kind != kind || batch.pushes.len() >= BATCH_BYTES_MAX).then(|| self.take_at(at))
    }

    /// The open batch of `room`.
    pub(super) fn take(&mut self, room: RoomId) -> Option<Batch> {
        let at = *self.by_room.get(&room)?;
        Some(self.take_at(at))
    }

    /// Any open batch.
    pub(super) fn take_any(&mut self) -> Option<Batch> {
        let batch = self.open.pop()?;
        self.by_room.remove(&batch.room.id);
        Some(batch)
    }

    fn take_at(&mut self, at: usize) -> Batch {
        let batch = self.open.swap_remove(at);
        self.by_room.remove(&batch.room.id);
        if let Some(moved) = self.open.get(at) {
            self.by_room.insert(moved.room.id, at);
        }
        batch
    }

    /// Adds a push of `kind`, or several, separated by newlines; `first` is the offset of the first of them
    /// that has one, or 0. The oldest was published at `since`.
    pub(super) fn add(
        &mut self,
        room: &Arc<Room>,
        kind: Kind,
        (first, messages): (u64, u32),
        pushes: &[u8],
        since: Instant,
    ) {
        let at = *self.by_room.entry(room.id).or_insert_with(|| {
            let pushes = self.spare.pop().unwrap_or_default();
            self.open.push(Batch { room: Arc::clone(room), kind, pushes, messages: 0, first: 0, since });
            self.open.len() - 1
        });
        let batch = &mut self.open[at];
        debug_assert_eq!(batch.kind, kind, "take_other comes first");
        if batch.messages > 0 {
            batch.pushes.push(b'\n');
        }
        batch.pushes.extend_from_slice(pushes);
        batch.messages += messages;
        batch.since = batch.since.min(since);
        if batch.first == 0 {
            batch.first = first;
        }
    }

    /// Takes the buffer of a batch that was sent back for later ones.
    pub(super) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE_MAX && buffer.capacity() <= SPARE_BYTES_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Gives memory back.
    pub(super) fn shrink(&mut self) {
        self.spare = Vec::new();
        self.open.shrink_to_fit();
        self.by_room.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Directory;

    const LIVE: Kind = Kind { audience: Audience::Everyone, excluded: None, is_relayed: false };

    const SENDER: Sender = Sender { shard: 0, connection: ConnectionId { key: 4, generation: 1 } };

    #[test]
    fn pushes_of_one_kind_share_a_batch_and_others_close_it() {
        let directory = Directory::new(1);
        let room = directory.enter("a", 0, 0);
        let mut batches = Batches::default();
        batches.add(&room, LIVE, (0, 1), b"1", Instant::now());
        assert!(batches.take_other(room.id, LIVE).is_none());
        batches.add(&room, LIVE, (0, 2), b"2\n3", Instant::now());
        let batch = batches.take_other(room.id, Kind { excluded: Some(SENDER), ..LIVE }).unwrap();
        assert_eq!((batch.pushes.as_slice(), batch.messages), (b"1\n2\n3".as_slice(), 3));
        assert!(batches.take_any().is_none());
    }

    #[test]
    fn taking_one_batch_leaves_the_others_findable() {
        let directory = Directory::new(1);
        let rooms: Vec<_> = ["a", "b", "c"].map(|name| directory.enter(name, 0, 0)).into();
        let mut batches = Batches::default();
        for room in &rooms {
            batches.add(room, LIVE, (0, 1), room.name.as_bytes(), Instant::now());
        }
        assert_eq!(batches.take(rooms[0].id).unwrap().pushes, b"a");
        assert_eq!(batches.take(rooms[2].id).unwrap().pushes, b"c");
        assert_eq!(batches.take(rooms[1].id).unwrap().pushes, b"b");
        assert!(batches.take(rooms[1].id).is_none());
    }

    #[test]
    fn a_full_batch_is_closed() {
        let directory = Directory::new(1);
        let room = directory.enter("a", 0, 0);
        let mut batches = Batches::default();
        batches.add(&room, LIVE, (0, 1), &[b'x'; BATCH_BYTES_MAX], Instant::now());
        assert!(batches.take_other(room.id, LIVE).is_some());
    }
}
