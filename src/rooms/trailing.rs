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
//! Who falls behind again soon after it had caught up waits before it reads, longer each time, and
//! is closed with 3008 in the end (`falls`). It may as well have been told to subscribe anew in between.
//!
//! What a sender excluded from itself comes back to it this way, as it does by recovery; what was
//! published without history does not come.
//!
//! Invariant: a member has `trails` exactly while it has a `Trail`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::conn::{CloseReason, ConnectionId, Key, Mark};
use crate::hub::{RoomId, RoomIndex, Slow};
use crate::protocol::{Disconnect, ErrorCode};
use crate::rooms::falls::Falls;
use crate::rooms::pending::What;
use crate::rooms::{Peer, Reply, Rooms, TEXT};
use crate::shard::{Io, SlowReason};
use crate::store::{Ask, Request};

/// Most publications in one part.
const PART_PUBLICATIONS: usize = 1_000;

/// Time until a part is asked for again that the committer did not answer.
const RETRY_MS: u64 = 500;

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
    /// Where members began that had something waiting then, which may be of an earlier membership.
    joined_at: HashMap<Key, Vec<(RoomIndex, u64)>>,
    /// Who asks, again or after a wait, and when.
    later: BinaryHeap<Reverse<(u64, ConnectionId)>>,
    falls: Falls,
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

    /// Forgets everything of a membership that has ended.
    pub(super) fn leave(&mut self, key: Key, room: RoomIndex) {
        self.forget(key, room);
        if let Some(joined) = self.joined_at.get_mut(&key) {
            joined.retain(|(other, _)| *other != room);
        }
    }

    /// Forgets a connection that has ended.
    pub(super) fn end(&mut self, key: Key) {
        self.of.remove(&key);
        self.joined_at.remove(&key);
        self.falls.end(key);
    }

    /// Gives back memory.
    pub(super) fn shrink(&mut self) {
        self.of.shrink_to_fit();
        self.joined_at.shrink_to_fit();
        self.later.shrink_to_fit();
        self.falls.shrink();
    }
}

impl Rooms {
    /// Has a client for whom too much waits do without what it can get from the history.
    pub(super) fn relieve(&mut self, io: &mut Io<Peer>, key: Key) {
        let has_trails = self.trailing.of.contains_key(&key);
        let mut fell = false;
        for of in io.marked_waiting(key) {
            let index = self.members.index_of(RoomId(of));
            let place = index.and_then(|index| Some((index, io.peer(key).place_in(index)?)));
            let Some((index, place)) = place else {
                // It has left the room since, and wants none of it.
                io.drop_waiting(key, of);
                continue;
            };
            let room = self.members.room(index);
            let member = self.members.of(index)[place as usize];
            let may_trail = self.shared.options(room.namespace).slow == Slow::Recover
                || room.is_feed()
                || member.trails();
            if may_trail
                && member.recovers()
                && let Some(first) = io.drop_waiting(key, of)
            {
                // One that trails some rooms may come to trail its others too, which is no new fall.
                fell |= !has_trails || member.trails();
                // Some of it may be of an earlier membership.
                let joined = self.trailing.joined_at.get(&key).into_iter().flatten();
                let joined_at = joined.filter(|(room, _)| *room == index).map(|(_, at)| *at).max();
                self.trail(io, key, index, joined_at.unwrap_or(0).max(first - 1));
            }
        }
        if fell {
            self.fall(io, key);
        }
    }

    /// Takes note that `key` fell behind: it waits before it reads the history, or is closed if it fell
    /// too often. `false` if it is closed.
    fn fall(&mut self, io: &mut Io<Peer>, key: Key) -> bool {
        let times = self.trailing.falls.fall(key, io.now_ms());
        let times_max = self.shared.settings.slow_recoveries_max;
        let stays = times_max == 0 || times <= times_max;
        if stays {
            self.ask_later(io, key, self.trailing.falls.reads_at_ms(key));
        } else {
            io.stats().slow_closes.count(SlowReason::Behind);
            io.close(key, CloseReason::Disconnect(Disconnect::Slow));
        }
        stays
    }

    /// A member that had not taken the last beat of the room at `index` gets this one, and what comes, from the
    /// history: everything behind `at`.
    pub(super) fn miss_beat(&mut self, io: &mut Io<Peer>, key: Key, index: RoomIndex, at: u64) {
        self.trail(io, key, index, at);
        self.trailing.falls.miss(key, io.now_ms());
        self.ask_later(io, key, self.trailing.falls.reads_at_ms(key));
    }

    /// `key` may have come to the end of the last of the rooms that it trailed.
    pub(super) fn may_be_live(&mut self, io: &mut Io<Peer>, key: Key) {
        if !self.trailing.of.contains_key(&key)
            && let Some(at_ms) = self.trailing.falls.caught_up(key, io.now_ms())
        {
            io.wake_by(at_ms);
        }
    }

    /// Takes note that `key`, which has something waiting, is a member from `at` of the room's stream on.
    pub(super) fn note_join(&mut self, io: &mut Io<Peer>, key: Key, index: RoomIndex, at: u64) {
        if io.is_behind(key) {
            self.trailing.joined_at.entry(key).or_default().push((index, at));
            io.tell_when_written(key);
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

    /// The client has taken what waited for it: asks for the next part of one room that it trails, so
    /// that no more than a part waits for it.
    pub(super) fn catch_up(&mut self, io: &mut Io<Peer>, key: Key) {
        self.trailing.joined_at.remove(&key);
        let Some(trails) = self.trailing.of.get_mut(&key) else { return };
        if trails.iter().any(|trail| trail.is_asked) || self.trailing.falls.reads_at_ms(key) > io.now_ms() {
            return;
        }
        // The one that has waited longest: the last that got a part goes behind the others.
        trails.rotate_left(1);
        let Some(trail) = trails.first_mut() else { return };
        trail.is_asked = true;
        let (index, number, since) = (trail.room, trail.number, trail.at);
        let bytes_max = self.shared.settings.answer_bytes_max / 2;
        let room = self.members.room(index).clone();
        let stream = Self::stream(&room.name, self.shared.options(room.namespace));
        let request = Request::Missed { since, limit: PART_PUBLICATIONS, bytes_max };
        if self.ask(io, key, 0, Ask::Of(stream, request), false, What::Missed(index, number)).is_err() {
            self.retry_later(io, key, index);
        }
    }

    /// Has a part be asked for again, by a committer that has less to do.
    fn retry_later(&mut self, io: &mut Io<Peer>, key: Key, index: RoomIndex) {
        if let Some(trail) = self.trailing.find(key, index) {
            trail.is_asked = false;
            self.ask_later(io, key, io.now_ms() + RETRY_MS);
        }
    }

    /// Has `key` ask for what it gets next at `at_ms`, if that is not now.
    fn ask_later(&mut self, io: &mut Io<Peer>, key: Key, at_ms: u64) {
        if at_ms > io.now_ms() {
            self.trailing.later.push(Reverse((at_ms, io.id(key))));
            io.wake_by(at_ms);
        }
    }

    /// Asks what is due, and forgives those who have kept up for a while.
    pub(super) fn ask_due(&mut self, io: &mut Io<Peer>) {
        let now_ms = io.now_ms();
        if let Some(at_ms) = self.trailing.falls.forgive(now_ms) {
            io.wake_by(at_ms);
        }
        while let Some(Reverse((at_ms, connection))) = self.trailing.later.peek().copied() {
            if at_ms > now_ms {
                return io.wake_by(at_ms);
            }
            self.trailing.later.pop();
            if io.peer_of(connection).is_some() {
                io.tell_when_written(connection.key);
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
            // It has left this room, and may trail others, whose turn it is now.
            return io.tell_when_written(key);
        };
        trail.is_asked = false;
        let missed = match answer {
            Ok(Reply::Missed(missed)) => missed,
            Err(ErrorCode::UnrecoverablePosition) => {
                // Not all of it is kept any more.
                if self.fall(io, key) {
                    self.begin_anew(io, key, index);
                    io.tell_when_written(key);
                }
                return;
            }
            // The committer has too much to do, or its disk hangs.
            Ok(_) | Err(_) => return self.retry_later(io, key, index),
        };
        let first = trail.at + 1;
        if missed.messages > 0 {
            trail.at = missed.last;
            let frame = io.frame(TEXT, missed.messages, &missed.pushes);
            let of = self.members.room(index).id.0;
            io.mark(frame, Mark { of, at: first });
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
            self.may_be_live(io, key);
        }
        // For the next part of this room or of another.
        io.tell_when_written(key);
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
