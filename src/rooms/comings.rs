//! Who came and went, told once it has lasted: rooms whose namespace says `join_leave_debounce_ms`.
//!
//! A client that leaves and comes back within that time, or comes and leaves, is nothing to tell. What is
//! to be told waits in the shard of the client, and goes out a few times in that time, so that a storm
//! of joins is a few frames for each member and not one for each join.
//!
//! Invariant: a client has a `Change` exactly while what the members were told of it is not what it is, or
//! was not for long enough.

use std::collections::HashMap;
use std::sync::Arc;

use crate::conn::ConnectionId;
use crate::hub::{Room, RoomId};
use crate::rooms::{Audience, Peer, Rooms};
use crate::shard::Io;

/// How many times within the debounce changes are told: each is late by a part of it at most.
const STEPS: u64 = 4;

/// Something that the members were not told yet.
#[derive(Debug)]
struct Change {
    /// What the client is now; they were told the opposite.
    is_in: bool,
    since_ms: u64,
    /// What tells them.
    push: Box<[u8]>,
}

/// What the members of one room were not told yet.
#[derive(Debug)]
struct Changes {
    room: Arc<Room>,
    of: HashMap<ConnectionId, Change>,
    /// When to look for what has lasted long enough.
    due_ms: u64,
}

/// What rooms were not told yet.
#[derive(Debug, Default)]
pub(super) struct Comings {
    rooms: HashMap<RoomId, Changes>,
}

impl Comings {
    /// When `Rooms::tell_comings` has something to do next.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.rooms.values().map(|changes| changes.due_ms).min()
    }

    /// Takes note that `client` is in `room` now, or not any more, which `push` tells.
    /// Returns when to look whether that has lasted.
    fn note(&mut self, room: &Arc<Room>, client: ConnectionId, is_in: bool, now_ms: u64, push: &[u8]) -> u64 {
        let changes = self.rooms.entry(room.id).or_insert_with(|| Changes {
            room: Arc::clone(room),
            of: HashMap::new(),
            due_ms: now_ms + 1,
        });
        // Back to what the members were told.
        let is_undone = changes.of.remove(&client).is_some_and(|change| change.is_in != is_in);
        if !is_undone {
            changes.of.insert(client, Change { is_in, since_ms: now_ms, push: push.into() });
        }
        changes.due_ms
    }

    fn forget(&mut self, room: RoomId, client: ConnectionId) {
        if let Some(changes) = self.rooms.get_mut(&room) {
            changes.of.remove(&client);
        }
    }

    /// Takes what has lasted for `debounce_ms(room)`, of each room the oldest first.
    fn take_due(&mut self, now_ms: u64, debounce_ms: impl Fn(&Room) -> u64) -> Vec<(Arc<Room>, Box<[u8]>)> {
        let mut taken = Vec::new();
        self.rooms.retain(|_, changes| {
            if changes.due_ms > now_ms {
                return true;
            }
            let debounce_ms = debounce_ms(&changes.room);
            let has_lasted = |_: &ConnectionId, change: &mut Change| change.since_ms + debounce_ms <= now_ms;
            let mut lasting: Vec<_> = changes.of.extract_if(has_lasted).map(|(_, change)| change).collect();
            lasting.sort_by_key(|change| change.since_ms);
            taken.extend(lasting.into_iter().map(|change| (Arc::clone(&changes.room), change.push)));
            changes.due_ms = now_ms + (debounce_ms / STEPS).max(1);
            !changes.of.is_empty()
        });
        taken
    }
}

impl Rooms {
    /// Tells the members of `room` what is in `scratch` of `client`: that it is in the room, or not any more.
    pub(super) fn tell_coming(
        &mut self,
        io: &mut Io<Peer>,
        room: &Arc<Room>,
        client: ConnectionId,
        is_in: bool,
    ) {
        if room.is_feed() {
            // What was to be told of it before is not so any more.
            return self.comings.forget(room.id, client);
        }
        if self.shared.options(room.namespace).join_leave_debounce_ms == 0 {
            return self.push(io, room, Audience::JoinLeave, None);
        }
        let due_ms = self.comings.note(room, client, is_in, io.now_ms(), &self.scratch);
        io.wake_by(due_ms);
    }

    /// Tells what has lasted for long enough.
    pub(super) fn tell_comings(&mut self, io: &mut Io<Peer>) {
        let shared = Arc::clone(&self.shared);
        let debounce_ms = |room: &Room| u64::from(shared.options(room.namespace).join_leave_debounce_ms);
        for (room, push) in self.comings.take_due(io.now_ms(), debounce_ms) {
            if !room.is_feed() {
                self.scratch.clear();
                self.scratch.extend_from_slice(&push);
                self.push(io, &room, Audience::JoinLeave, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Directory;

    const ANN: ConnectionId = ConnectionId { key: 1, generation: 1 };
    const BOB: ConnectionId = ConnectionId { key: 2, generation: 2 };

    /// What is told at `now_ms` with a debounce of 100 ms.
    fn told(comings: &mut Comings, now_ms: u64) -> Vec<String> {
        let taken = comings.take_due(now_ms, |_| 100).into_iter();
        taken.map(|(_, push)| String::from_utf8(push.into()).unwrap()).collect()
    }

    #[test]
    fn what_lasts_is_told_in_order_and_what_does_not_is_not() {
        let room = Directory::new(1).enter("room", 0, 0);
        let mut comings = Comings::default();
        comings.note(&room, BOB, true, 0, b"bob came");
        comings.note(&room, ANN, true, 10, b"ann came");
        assert!(told(&mut comings, 50).is_empty());
        comings.note(&room, ANN, false, 60, b"ann left");
        comings.note(&room, ANN, true, 70, b"ann came again");
        assert_eq!(told(&mut comings, 169), ["bob came"]);
        assert!(comings.due_ms().is_some_and(|due_ms| due_ms <= 169 + 25));
        assert_eq!(told(&mut comings, 194), ["ann came again"]);
        assert_eq!(comings.due_ms(), None);
    }

    #[test]
    fn one_who_bounces_forever_is_never_told_of() {
        let room = Directory::new(1).enter("room", 0, 0);
        let mut comings = Comings::default();
        for bounce in 0..100 {
            comings.note(&room, ANN, false, bounce * 120, b"left");
            comings.note(&room, ANN, true, bounce * 120 + 60, b"came");
            assert!(told(&mut comings, bounce * 120 + 110).is_empty());
        }
        assert_eq!(comings.due_ms(), None);
        comings.note(&room, ANN, false, 20_000, b"left");
        assert_eq!(told(&mut comings, 20_100), ["left"]);
    }
}
