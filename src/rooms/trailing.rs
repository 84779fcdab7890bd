//! Members that read more slowly than their rooms are published to, where the namespace says
//! `slow = "recover"`.
//!
//! When too much waits for such a member, what waits of the room is dropped, and the member trails the
//! room: it gets nothing as it comes, but reads the stream behind what it has, a part at a time and
//! the next when it has taken the last. Once it has come to the end it is a member like the others. The client
//! notices nothing, and costs what it reads: a part in memory, and a question to the committer for each.
//!
//! No gap and no duplicate: the committer's answer stands in the shard's inbox behind everything that the
//! stream had got, and before everything else; so a member whose last part ends at the stream's end goes
//! on with what comes next.
//!
//! Invariant: a member has `trails` exactly while it has a `Trail`.

use std::collections::HashMap;

use crate::conn::{Key, Mark};
use crate::hub::RoomIndex;
use crate::protocol::ErrorCode;
use crate::rooms::pending::What;
use crate::rooms::{Peer, Reply, Rooms, TEXT};
use crate::shard::Io;
use crate::store::{Ask, Request};

/// Most publications in one part.
const PART_PUBLICATIONS: usize = 1_000;

/// How far a member has come.
#[derive(Debug)]
struct Trail {
    room: RoomIndex,
    /// Offset of the last publication that is written to it or waits for it.
    at: u64,
    /// Tells this trail from an earlier one, whose answer may still come.
    number: u64,
    /// The next part is asked for.
    is_asked: bool,
}

/// The members of a shard that trail their rooms.
#[derive(Debug, Default)]
pub(super) struct Trailing {
    of: HashMap<Key, Vec<Trail>>,
    next_number: u64,
}

impl Trailing {
    fn find(&mut self, key: Key, room: RoomIndex) -> Option<&mut Trail> {
        self.of.get_mut(&key)?.iter_mut().find(|trail| trail.room == room)
    }

    /// Has `key` be at `at` of `room`, whatever it asked for before.
    fn set(&mut self, key: Key, room: RoomIndex, at: u64) {
        self.forget(key, room);
        self.next_number += 1;
        let number = self.next_number;
        self.of.entry(key).or_default().push(Trail { room, at, number, is_asked: false });
    }

    /// Forgets that `key` trails `room`, if it does.
    pub(super) fn forget(&mut self, key: Key, room: RoomIndex) {
        if let Some(trails) = self.of.get_mut(&key) {
            trails.retain(|trail| trail.room != room);
            if trails.is_empty() {
                self.of.remove(&key);
            }
        }
    }

    /// Gives back memory.
    pub(super) fn shrink(&mut self) {
        self.of.shrink_to_fit();
    }
}

impl Rooms {
    /// Has a client for whom too much waits do without what it can get from the history.
    pub(super) fn relieve(&mut self, io: &mut Io<Peer>, key: Key) {
        for index in io.marked_waiting(key) {
            let Some(place) = io.peer(key).place_in(index) else {
                // It has left the room since, and wants none of it.
                io.drop_waiting(key, index);
                continue;
            };
            if self.members.of(index)[place as usize].recovers()
                && let Some(first) = io.drop_waiting(key, index)
            {
                self.trail(io, key, index, first - 1);
            }
        }
    }

    /// Has a member of the room at `index` get what is behind `at` from the history.
    pub(super) fn trail(&mut self, io: &mut Io<Peer>, key: Key, index: RoomIndex, at: u64) {
        let Some(place) = io.peer(key).place_in(index) else { return };
        io.stats().slow_recoveries.add(1);
        self.members.set_trailing(index, place, true);
        self.trailing.set(key, index, at);
        io.tell_when_written(key);
    }

    /// The client has taken what waited for it: asks for the next part of each room that it trails.
    pub(super) fn catch_up(&mut self, io: &mut Io<Peer>, key: Key) {
        let Some(trails) = self.trailing.of.get_mut(&key) else { return };
        let mut asks = Vec::new();
        for trail in trails.iter_mut().filter(|trail| !trail.is_asked) {
            trail.is_asked = true;
            asks.push((trail.room, trail.number, trail.at));
        }
        let bytes_max = self.shared.settings.answer_bytes_max / 2;
        for (index, number, since) in asks {
            let room = self.members.room(index).clone();
            let stream = Self::stream(&room.name, self.shared.options(room.namespace));
            let request = Request::Missed { since, limit: PART_PUBLICATIONS, bytes_max };
            if self.ask(io, key, 0, Ask::Of(stream, request), false, What::Missed(index, number)).is_err() {
                self.begin_anew(io, key, index);
            }
        }
    }

    /// The committer has answered what a member that trails its room gets next.
    pub(super) fn missed(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        (index, number): (RoomIndex, u64),
        answer: Result<Reply, ErrorCode>,
    ) {
        let Some(trail) = self.trailing.find(key, index).filter(|trail| trail.number == number) else {
            return;
        };
        let Ok(Reply::Missed(missed)) = answer else {
            // Not all of it is kept any more, or the committer is overwhelmed.
            return self.begin_anew(io, key, index);
        };
        let first = trail.at + 1;
        trail.is_asked = false;
        if missed.messages > 0 {
            trail.at = missed.last;
            let frame = io.frame(TEXT, missed.messages, &missed.pushes);
            io.mark(frame, Mark { of: index, at: first });
            io.queue(key, frame);
        }
        if missed.messages == 0 || missed.last == missed.top {
            // What the room has in this turn, or holds for its beat, is in what the member got.
            let room = self.members.room(index).id;
            self.welcome(io, key, room);
            self.trailing.forget(key, index);
            if let Some(place) = io.peer(key).place_in(index) {
                self.members.set_trailing(index, place, false);
            }
        } else {
            io.tell_when_written(key);
        }
        io.flush_if_large();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_trails_each_room_by_itself_and_a_second_trail_is_another() {
        let mut trailing = Trailing::default();
        trailing.set(7, 1, 40);
        trailing.set(7, 2, 50);
        let first = trailing.find(7, 1).unwrap().number;
        trailing.find(7, 1).unwrap().is_asked = true;
        trailing.set(7, 1, 30);
        let trail = trailing.find(7, 1).unwrap();
        assert!(trail.number != first && trail.at == 30 && !trail.is_asked);
        assert!(trailing.find(8, 1).is_none());
        trailing.forget(7, 1);
        assert!(trailing.find(7, 1).is_none() && trailing.find(7, 2).is_some());
        trailing.forget(7, 2);
        assert!(trailing.of.is_empty());
    }
}
