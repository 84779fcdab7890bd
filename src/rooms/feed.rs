//! Rooms above their cap, where the namespace says `over_cap = "feed"`: what they get goes out on a beat.
//!
//! A room of many members that is published to often costs a write for each member and message. On a
//! beat it costs one for each member and beat, however many messages there are; they come later by at
//! most one beat. Joins and leaves are not told, and a member whose socket is full does not build a backlog
//! but trails the room, if it can recover.
//!
//! A beat is sent to some members in each turn, so that others do not wait behind all of its writes. Who is a
//! member when it begins gets it, unless it has left since, or got what the beat brings from the history.
//!
//! Invariants:
//! - what a room is sent stays in order: its held segments leave before anything that is sent at once;
//! - whoever becomes a member, or is live again, gets nothing that was held before; whoever leaves
//!   gets nothing that is held.

use std::collections::HashMap;
use std::sync::Arc;

use crate::conn::{ConnectionId, Key, Mark};
use crate::hub::{OverCap, Room, RoomId};
use crate::rooms::batch::{BATCH_BYTES_MAX, Batch};
use crate::rooms::{Audience, Peer, Rooms, TEXT};
use crate::shard::{FrameId, Io};

/// Bytes above which what is held does not wait for the beat: a quarter of a default backlog.
const HELD_BYTES_MAX: usize = crate::limits::BACKLOG_BYTES_MAX / 4;

/// Memberships that a beat is sent to in one turn: two or three milliseconds of writes.
/// Source: `benches/results/2026-11-22-2core-xeon-rooms/feed.txt`.
const SLICE_MAX: usize = 512;

/// What a room in feed mode has got since its last beat.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// In order. Each has one kind, and members came only between two of them.
    segments: Vec<Batch>,
    /// Members that get only the segments from this one on.
    newcomers: HashMap<Key, usize>,
    /// A member has come since the last segment began.
    is_sealed: bool,
    /// Bytes of all segments.
    bytes: usize,
    /// Messages that were handed to members here, of a beat that is on its way.
    delivered: u64,
}

impl Held {
    fn add(&mut self, batch: Batch) -> Option<Vec<u8>> {
        match self.segments.last_mut() {
            Some(last)
                if !self.is_sealed
                    && last.kind == batch.kind
                    && last.pushes.len() + batch.pushes.len() <= BATCH_BYTES_MAX =>
            {
                last.pushes.push(b'\n');
                last.pushes.extend_from_slice(&batch.pushes);
                last.messages += batch.messages;
                last.since = last.since.min(batch.since);
                if last.first == 0 {
                    last.first = batch.first;
                }
                Some(batch.pushes)
            }
            _ => {
                self.is_sealed = false;
                self.segments.push(batch);
                None
            }
        }
    }

    /// Takes note that `key` is a member from here on.
    fn welcome(&mut self, key: Key) {
        self.newcomers.insert(key, self.segments.len());
        self.is_sealed = true;
    }

    /// Whether `key` was a member when segment `nth` came.
    fn is_for(&self, key: Key, nth: usize) -> bool {
        self.newcomers.get(&key).is_none_or(|from| nth >= *from)
    }
}

/// A beat on its way to the members.
#[derive(Debug, Default)]
pub(super) struct Beat {
    rooms: Vec<(RoomId, Held)>,
    /// Where in `rooms` each of them is.
    places: HashMap<RoomId, usize>,
    /// Who gets something and of which of `rooms`, by connection, so that a member of several gets one write.
    to: Vec<(ConnectionId, usize)>,
    /// How many of `to` have got it.
    done: usize,
}

impl Beat {
    fn is_over(&self) -> bool {
        self.done == self.to.len()
    }

    /// What is on its way of `room`.
    fn held(&mut self, room: RoomId) -> Option<&mut Held> {
        let place = self.places.get(&room)?;
        Some(&mut self.rooms[*place].1)
    }

    /// Gives back memory.
    pub(super) fn shrink(&mut self) {
        self.to.shrink_to_fit();
        self.rooms.shrink_to_fit();
        self.places.shrink_to_fit();
    }
}

impl Rooms {
    /// Holds back what the members here get until the next beat.
    pub(super) fn hold_for_beat(&mut self, io: &mut Io<Peer>, batch: Batch) {
        let interval_ms = u64::from(self.shared.options(batch.room.namespace).feed_interval_ms.max(1));
        let room = batch.room.id;
        let held = self.held.entry(room).or_default();
        held.bytes += batch.pushes.len();
        let is_full = held.bytes > HELD_BYTES_MAX;
        if let Some(spare) = held.add(batch) {
            self.batches.recycle(spare);
        }
        if is_full {
            // So much at once would be too much for those who read it.
            return self.send_held(io, room);
        }
        // All rooms with one interval have one beat, so that a member of several gets one write.
        let now_ms = io.now_ms();
        let beat_ms = (now_ms / interval_ms + 1) * interval_ms;
        let is_set = self.beats.iter().any(|(of, _)| *of == room);
        if !is_set {
            self.beats.push((room, beat_ms));
        }
        io.wake_by(beat_ms);
    }

    /// Sends some of the beat that is on its way, or begins the one that is due.
    pub(super) fn beat(&mut self, io: &mut Io<Peer>) {
        if self.beat.is_over() {
            self.begin_beat(io);
        }
        let done = self.beat.to.len().min(self.beat.done + SLICE_MAX);
        self.send_slice(io, done, None);
        if self.beat.is_over() {
            self.end_beat(io);
        } else {
            // In the next turn, which begins at once.
            io.wake_by(io.now_ms());
        }
    }

    /// Counts what went to members here of a beat that all of them have.
    fn count_beat(&mut self, io: &mut Io<Peer>, room: RoomId, held: &Held) {
        if held.delivered > 0 {
            self.warm(room, held.delivered);
            held.segments.iter().for_each(|segment| io.published(segment.since, segment.messages));
        }
    }

    fn end_beat(&mut self, io: &mut Io<Peer>) {
        let mut rooms = std::mem::take(&mut self.beat.rooms);
        for (room, held) in rooms.drain(..) {
            self.count_beat(io, room, &held);
            held.segments.into_iter().for_each(|segment| self.batches.recycle(segment.pushes));
        }
        self.beat.rooms = rooms;
        self.beat.places.clear();
        self.beat.to.clear();
        self.beat.done = 0;
    }

    fn begin_beat(&mut self, io: &mut Io<Peer>) {
        let now_ms = io.now_ms();
        let Beat { rooms, places, to, .. } = &mut self.beat;
        for (room, _) in self.beats.extract_if(.., |(_, at_ms)| *at_ms <= now_ms) {
            let Some(held) = self.held.remove(&room) else { continue };
            let Some(index) = self.members.index_of(room) else { continue };
            let members = self.members.of(index).iter().filter(|member| !member.trails());
            to.extend(members.map(|member| (io.id(member.key()), rooms.len())));
            places.insert(room, rooms.len());
            rooms.push((room, held));
        }
        to.sort_unstable();
    }

    /// Sends the beat that is on its way to those before `done`; of all rooms, or of one.
    fn send_slice(&mut self, io: &mut Io<Peer>, done: usize, only: Option<RoomId>) {
        if self.beat.done == done {
            return;
        }
        self.send_replies(io);
        let mut beat = std::mem::take(&mut self.beat);
        // A frame of each segment of each room, made for the first that gets it.
        let mut frames: HashMap<(usize, usize), FrameId> = HashMap::new();
        let mut behind = Vec::new();
        for (id, of) in &beat.to[beat.done..done] {
            let (room, held) = &mut beat.rooms[*of];
            if only.is_some_and(|only| only != *room) || io.peer_of(*id).is_none() {
                continue;
            }
            // Whoever has left, and who has fallen behind since, gets none of it.
            let key = id.key;
            let Some(index) = self.members.index_of(*room) else { continue };
            let Some(place) = io.peer(key).place_in(index) else { continue };
            let member = self.members.of(index)[place as usize];
            if member.trails() {
                continue;
            }
            for (nth, segment) in held.segments.iter().enumerate() {
                let is_sender = segment.kind.excluded.is_some_and(|sender| sender.connection == *id);
                if is_sender || !held.is_for(key, nth) {
                    continue;
                }
                // Who has not even taken the last beat gets this one from the history.
                if segment.first > 0 && segment.room.is_feed() && member.recovers() && io.has_backlog(key) {
                    behind.push((key, index, segment.first - 1));
                    break;
                }
                let frame = *frames.entry((*of, nth)).or_insert_with(|| {
                    let frame = io.frame(TEXT, segment.messages, &segment.pushes);
                    if segment.first > 0 {
                        io.mark(frame, Mark { of: room.0, at: segment.first });
                    }
                    frame
                });
                io.queue(key, frame);
                held.delivered += u64::from(segment.messages);
            }
            if io.flush_if_large() {
                frames.clear();
            }
        }
        match only {
            Some(only) => {
                if let Some(held) = beat.held(only).map(std::mem::take) {
                    self.count_beat(io, only, &held);
                }
            }
            None => beat.done = done,
        }
        self.beat = beat;
        for (key, index, at) in behind {
            self.miss_beat(io, key, index, at);
        }
    }

    /// Sends what is on its way or held of `room`.
    pub(super) fn send_held(&mut self, io: &mut Io<Peer>, room: RoomId) {
        // Nearly always both are empty: nothing is looked up then, for each batch of each room.
        if !self.beat.is_over() && self.beat.held(room).is_some_and(|held| !held.segments.is_empty()) {
            self.send_slice(io, self.beat.to.len(), Some(room));
        }
        if self.held.is_empty() {
            return;
        }
        let Some(mut held) = self.held.remove(&room) else { return };
        self.send_replies(io);
        let segments = std::mem::take(&mut held.segments);
        for (nth, segment) in segments.into_iter().enumerate() {
            self.deliver(io, &segment, |key| held.is_for(key, nth));
            self.batches.recycle(segment.pushes);
        }
    }

    /// Takes note that `key` is a live member of `room` from here on, which gets nothing that is held.
    pub(super) fn welcome(&mut self, io: &mut Io<Peer>, key: Key, room: RoomId) {
        self.send_batch_of(io, room);
        if let Some(held) = self.held.get_mut(&room) {
            held.welcome(key);
        }
        if let Some(held) = self.beat.held(room) {
            held.welcome(key);
        }
    }

    /// Judges anew whether `room`, whose members have changed, is in feed mode.
    pub(super) fn judge_feed(&self, io: &mut Io<Peer>, room: &Arc<Room>) {
        let options = self.shared.options(room.namespace);
        if options.member_cap == 0 || options.over_cap != OverCap::Feed {
            return;
        }
        if let Some(is_feed) = room.judge_feed(options.member_cap) {
            io.stats().feed_switches.add(1);
            let mode = if is_feed { "feed" } else { "live" };
            tracing::info!(room = &*room.name, cap = options.member_cap, mode, "a room changed its delivery");
        }
    }

    /// Whether a push to this audience of `room` waits for a beat.
    pub(super) fn is_on_beat(room: &Room, audience: Audience) -> bool {
        audience == Audience::Everyone && room.is_feed()
    }
}
