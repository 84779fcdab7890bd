//! Fan-out: from a push to the members of its room, here and in other shards.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::conn::{ConnectionId, Key, Mark};
use crate::hub::{Room, RoomId, RoomIndex};
use crate::protocol::{Disconnect, Unsubscribe};
use crate::rooms::batch::{Batch, Kind, Sender};
use crate::rooms::{Audience, Event, Peer, Rooms, TEXT};
use crate::shard::Io;

impl Rooms {
    /// Sends the push in `scratch` to the members of `room` everywhere, behind what the room got
    /// before it.
    pub(super) fn push(
        &mut self,
        io: &mut Io<Peer>,
        room: &Arc<Room>,
        audience: Audience,
        excluded: Option<Key>,
    ) {
        let push = std::mem::take(&mut self.scratch);
        let excluded = excluded.map(|key| Sender { shard: self.links.me(), connection: io.id(key) });
        self.batch(io, room, Kind { audience, excluded, is_relayed: false }, (1, 0), &push, io.now());
        self.scratch = push;
    }

    /// Takes in pushes that another shard or the committer sent to the members here.
    pub(super) fn relay(
        &mut self,
        io: &mut Io<Peer>,
        room: RoomId,
        (audience, excluded): (Audience, Option<ConnectionId>),
        pushes: &Bytes,
        (messages, first): (u32, u64),
        since: Instant,
    ) {
        // The last member may have left while the pushes were on their way.
        let Some(index) = self.members.index_of(room) else { return };
        if first > 0 {
            self.members.count_stream(index);
        }
        let room = Arc::clone(self.members.room(index));
        let excluded = excluded.map(|connection| Sender { shard: self.links.me(), connection });
        let kind = Kind { audience, excluded, is_relayed: true };
        self.batch(io, &room, kind, (messages, first), pushes, since);
    }

    fn batch(
        &mut self,
        io: &mut Io<Peer>,
        room: &Arc<Room>,
        kind: Kind,
        (messages, first): (u32, u64),
        pushes: &[u8],
        since: Instant,
    ) {
        if let Some(other) = self.batches.take_other(room.id, kind) {
            self.send_batch(io, other);
        }
        self.batches.add(room, kind, (first, messages), pushes, since);
    }

    /// Sends what `room` has waiting, before its members change.
    pub(super) fn send_batch_of(&mut self, io: &mut Io<Peer>, room: RoomId) {
        if let Some(batch) = self.batches.take(room) {
            self.send_batch(io, batch);
        }
    }

    /// Sends everything that waits.
    pub(super) fn send_batches(&mut self, io: &mut Io<Peer>) {
        while let Some(batch) = self.batches.take_any() {
            self.send_batch(io, batch);
        }
    }

    fn send_batch(&mut self, io: &mut Io<Peer>, batch: Batch) {
        self.send_replies(io);
        self.tell_other_shards(io, &batch);
        if Self::is_on_beat(&batch.room, batch.kind.audience) {
            self.hold_for_beat(io, batch);
            return;
        }
        self.send_held(io, batch.room.id);
        self.deliver(io, &batch, |_| true);
        self.batches.recycle(batch.pushes);
    }

    /// Queues a batch for the members here of whom `is_for` is true.
    pub(super) fn deliver(&mut self, io: &mut Io<Peer>, batch: &Batch, is_for: impl Fn(Key) -> bool) {
        let Batch { room, kind, pushes, messages, first, since } = batch;
        let Some(index) = self.members.index_of(room.id) else { return };
        let frame = io.frame(TEXT, *messages, pushes);
        if *first > 0 {
            io.mark(frame, Mark { of: room.id.0, at: *first });
        }
        // A publisher that has gone may have left its key to another.
        let sender = kind.excluded.map(|sender| sender.connection);
        let excluded = sender.filter(|sender| io.peer_of(*sender).is_some()).map(|sender| sender.key);
        // Who has not even taken the last beat gets this one from the history.
        let is_beat = *first > 0 && room.is_feed();
        let mut behind = Vec::new();
        let mut queued = 0;
        for member in self.members.of(index) {
            let is_meant = match kind.audience {
                Audience::Everyone => !member.trails(),
                Audience::JoinLeave => member.wants_join_leave(),
                Audience::Ready => !io.has_backlog(member.key()),
            };
            let key = member.key();
            if is_meant && excluded != Some(key) && is_for(key) {
                if is_beat && member.recovers() && io.has_backlog(key) {
                    behind.push(key);
                } else {
                    io.queue(key, frame);
                    queued += 1;
                }
            }
        }
        for key in behind {
            self.miss_beat(io, key, index, *first - 1);
        }
        if queued > 0 {
            self.warm(room.id, queued * u64::from(*messages));
            if kind.audience == Audience::Everyone {
                io.published(*since, *messages);
            }
        }
        io.flush_if_large();
    }

    /// Sends a batch that began here to the other shards that have members.
    fn tell_other_shards(&mut self, io: &mut Io<Peer>, batch: &Batch) {
        let Batch { room, kind, pushes, messages, first, since } = batch;
        let (messages, first, since) = (*messages, *first, *since);
        if !kind.is_relayed {
            let mut shared = None;
            let me = self.links.me();
            for shard in room.shards().filter(|shard| *shard != me) {
                // Who joins and leaves, and signals, are soft state; a publication was let in before it came here.
                if kind.audience != Audience::Everyone && self.links.is_full(shard) {
                    io.stats().publishes_refused.add(messages.into());
                    continue;
                }
                let pushes = shared.get_or_insert_with(|| Bytes::copy_from_slice(pushes)).clone();
                let bytes = pushes.len();
                let event = Event::Published {
                    room: room.id,
                    audience: kind.audience,
                    excluded: None,
                    pushes,
                    messages,
                    first,
                    since,
                };
                self.links.send(shard, event, bytes);
            }
        }
    }

    /// Whether the server subscribed the client to the room at `index`, so that its SDK has no
    /// subscription that it could make anew.
    fn is_of_server(&self, peer: &Peer, index: RoomIndex) -> bool {
        let room = &self.members.room(index).name;
        peer.is_server_side(room, index)
            || self.shared.personal_room(peer.user_name()).is_some_and(|own| *own == **room)
    }

    /// Has the members of `room` that follow its stream begin anew: what they have does not fit what
    /// comes. A client subscribes again; one that the server subscribed connects again.
    pub(super) fn reset(&mut self, io: &mut Io<Peer>, room: RoomId) {
        self.send_batch_of(io, room);
        let Some(index) = self.members.index_of(room) else { return };
        let followers = self.members.of(index).iter().filter(|member| member.follows());
        let members: Vec<_> = followers.map(|member| member.key()).collect();
        for key in members {
            self.begin_anew(io, key, index);
        }
    }

    /// Has one member of the room at `index` begin anew.
    pub(super) fn begin_anew(&mut self, io: &mut Io<Peer>, key: Key, index: RoomIndex) {
        if self.is_of_server(io.peer(key), index) {
            self.disconnect(io, key, Disconnect::InsufficientState);
        } else {
            self.end_subscription(io, key, index, Unsubscribe::InsufficientState);
        }
    }
}
