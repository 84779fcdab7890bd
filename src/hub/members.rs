//! The members that rooms have in one shard.
//!
//! A subscription is a reference at both ends: the room has the connection's key (4 bytes), the
//! connection has the room's index and its own place in the room's list (8 bytes). Leaving swaps
//! the last member into the gap, so it is O(1), and tells which member moved.
//!
//! Whoever is about to become a member holds the room open until it is one, so that what is published
//! meanwhile reaches the shard.
//!
//! Invariants:
//! - `by_id` has exactly the rooms of `rooms`, each with members or held open;
//! - `Room::clients` counts the members that all shards have.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use slab::Slab;

use crate::conn::Key;
use crate::hub::{Room, RoomId};

/// Index of a room among those that have members in the shard. Reused when the room has no more.
pub type RoomIndex = u32;

/// Set in a member that wants to be told who joins and leaves. Keys are below 2²⁸.
const WANTS_JOIN_LEAVE: u32 = 1 << 31;

/// Set in a member that follows the room's stream.
const FOLLOWS: u32 = 1 << 30;

/// Set in a member that may come back to where it is in the room's stream.
const RECOVERS: u32 = 1 << 29;

/// Set in a member that reads what it has not got yet from the history, and gets nothing as it comes.
const TRAILS: u32 = 1 << 28;

const FLAGS: u32 = WANTS_JOIN_LEAVE | FOLLOWS | RECOVERS | TRAILS;

/// One member: the connection's key, whether it wants join and leave pushes, and how it follows
/// the room's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member(u32);

impl Member {
    /// The member with connection `key`.
    pub fn new(key: Key, wants_join_leave: bool) -> Self {
        assert!(key & FLAGS == 0, "slab keys are below 2^28");
        Member(if wants_join_leave { key | WANTS_JOIN_LEAVE } else { key })
    }

    /// The same member, following the room's stream if `follows`.
    pub fn following(self, follows: bool) -> Self {
        Member(if follows { self.0 | FOLLOWS } else { self.0 })
    }

    /// The same member, able to come back to where it is if `recovers`.
    pub fn recovering(self, recovers: bool) -> Self {
        Member(if recovers { self.0 | RECOVERS } else { self.0 })
    }

    /// The member's connection.
    pub fn key(self) -> Key {
        self.0 & !FLAGS
    }

    /// Whether it may come back to where it is in the room's stream, and gets what it missed.
    pub fn recovers(self) -> bool {
        self.0 & RECOVERS != 0
    }

    /// Whether it knows where it is in the room's stream.
    pub fn follows(self) -> bool {
        self.0 & FOLLOWS != 0
    }

    /// Whether it gets what it missed from the history before anything that comes.
    pub fn trails(self) -> bool {
        self.0 & TRAILS != 0
    }

    /// Whether it is told who joins and leaves.
    pub fn wants_join_leave(self) -> bool {
        self.0 & WANTS_JOIN_LEAVE != 0
    }
}

/// Spreads room ids over a table. They are numbers that we count up, never chosen by a client, so
/// nothing keyed is needed: a multiplication by 2⁶⁴ over the golden ratio (Knuth, volume 3, 6.4).
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
    }
}

#[derive(Debug)]
struct LocalRoom {
    room: Arc<Room>,
    members: Vec<Member>,
    /// Connections that are about to become members.
    joining: u32,
    /// How often something of the room's stream came, modulo 2³².
    stream_events: u32,
}

/// The members that rooms have in one shard.
#[derive(Debug, Default)]
pub struct Members {
    rooms: Slab<LocalRoom>,
    by_id: HashMap<RoomId, RoomIndex, BuildHasherDefault<IdHasher>>,
}

impl Members {
    /// The index of a room that has members here.
    pub fn index_of(&self, id: RoomId) -> Option<RoomIndex> {
        self.by_id.get(&id).copied()
    }

    /// The room at `index`.
    pub fn room(&self, index: RoomIndex) -> &Arc<Room> {
        &self.rooms[index as usize].room
    }

    /// The members of the room at `index`.
    pub fn of(&self, index: RoomIndex) -> &[Member] {
        &self.rooms[index as usize].members
    }

    /// Makes room for the first member of `room` in this shard.
    pub fn open(&mut self, room: Arc<Room>) -> RoomIndex {
        let id = room.id;
        let index = self.rooms.insert(LocalRoom { room, members: Vec::new(), joining: 0, stream_events: 0 })
            as RoomIndex;
        let old = self.by_id.insert(id, index);
        assert!(old.is_none(), "a room is opened once");
        index
    }

    /// Holds the room open for one that is about to become a member.
    pub fn hold(&mut self, index: RoomIndex) {
        self.rooms[index as usize].joining += 1;
    }

    /// Ends a `hold`. If the room is not open for anybody else, it is closed and returned.
    pub fn release(&mut self, index: RoomIndex) -> Option<Arc<Room>> {
        self.rooms[index as usize].joining -= 1;
        self.close_if_empty(index)
    }

    /// Adds a member that has entered the room (`Room::enter`); returns its place in the room's list.
    pub fn add(&mut self, index: RoomIndex, member: Member) -> u32 {
        let local = &mut self.rooms[index as usize];
        local.members.push(member);
        local.members.len() as u32 - 1
    }

    /// Takes note that something of the room's stream came.
    pub fn count_stream(&mut self, index: RoomIndex) {
        let events = &mut self.rooms[index as usize].stream_events;
        *events = events.wrapping_add(1);
    }

    /// How often something of the room's stream came: two counts that differ have something between them.
    pub fn stream_events(&self, index: RoomIndex) -> u32 {
        self.rooms[index as usize].stream_events
    }

    /// Has the member at `place` trail the room, or not any more.
    pub fn set_trailing(&mut self, index: RoomIndex, place: u32, trails: bool) {
        let member = &mut self.rooms[index as usize].members[place as usize].0;
        *member = if trails { *member | TRAILS } else { *member & !TRAILS };
    }

    fn close_if_empty(&mut self, index: RoomIndex) -> Option<Arc<Room>> {
        let local = &self.rooms[index as usize];
        if !local.members.is_empty() || local.joining > 0 {
            return None;
        }
        let room = self.rooms.remove(index as usize).room;
        self.by_id.remove(&room.id);
        Some(room)
    }

    /// Removes the member at `place`. If another member took that place, returns it: its connection
    /// must be told. If the room is not open for anybody else, it is closed and returned as well.
    pub fn remove(&mut self, index: RoomIndex, place: u32) -> (Option<Member>, Option<Arc<Room>>) {
        let local = &mut self.rooms[index as usize];
        local.room.clients.fetch_sub(1, Ordering::Relaxed);
        let members = &mut local.members;
        members.swap_remove(place as usize);
        if members.is_empty() {
            return (None, self.close_if_empty(index));
        }
        if members.len() < members.capacity() / 4 {
            members.shrink_to(members.len() * 2);
        }
        (members.get(place as usize).copied(), None)
    }

    /// Gives back memory of rooms that are gone.
    pub fn shrink(&mut self) {
        self.rooms.shrink_to_fit();
        self.by_id.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Directory;

    #[test]
    fn leaving_moves_the_last_member_into_the_gap_and_says_so() {
        let directory = Directory::new(1);
        let mut members = Members::default();
        let index = members.open(directory.enter("a", 0, 0));
        for key in 10..14 {
            assert!(members.room(index).enter(0));
            members.add(index, Member::new(key, key == 13).following(key == 12));
        }
        let (moved, closed) = members.remove(index, 1);
        assert_eq!(moved.map(|member| (member.key(), member.wants_join_leave())), Some((13, true)));
        assert!(closed.is_none());
        assert_eq!(members.of(index).iter().map(|member| member.key()).collect::<Vec<_>>(), [10, 13, 12]);
        assert_eq!(
            members.of(index).iter().map(|member| member.follows()).collect::<Vec<_>>(),
            [false, false, true]
        );
        assert!(members.remove(index, 2).0.is_none(), "nobody moves when the last one leaves");
    }

    #[test]
    fn the_last_member_closes_the_room() {
        let directory = Directory::new(1);
        let room = directory.enter("a", 0, 0);
        let mut members = Members::default();
        let index = members.open(Arc::clone(&room));
        assert!(room.enter(1) && !room.enter(1));
        members.add(index, Member::new(1, false));
        assert_eq!(members.index_of(room.id), Some(index));
        let (_, closed) = members.remove(index, 0);
        assert_eq!(closed.map(|room| room.id), Some(room.id));
        assert_eq!(members.index_of(room.id), None);
    }

    #[test]
    fn a_room_stays_open_for_whoever_is_about_to_join() {
        let directory = Directory::new(1);
        let room = directory.enter("a", 0, 0);
        let mut members = Members::default();
        let index = members.open(Arc::clone(&room));
        members.hold(index);
        assert!(room.enter(1) && !room.enter(1));
        members.add(index, Member::new(1, false));
        assert!(members.remove(index, 0).1.is_none(), "another is joining");
        assert_eq!((members.index_of(room.id), room.clients.load(Ordering::Relaxed)), (Some(index), 0));
        assert_eq!(members.release(index).map(|room| room.id), Some(room.id));
        assert_eq!(members.index_of(room.id), None);
    }
}
