//! The rooms of the whole server: name to room, and which shards have members of it.
//!
//! A room exists while any shard has members of it. A publisher looks a room up without a lock
//! and reads its shards; only the first member of a room in a shard and the last one take a lock.
//!
//! Invariants:
//! - a shard's bit is set before its first member is told that it is subscribed, so whoever
//!   publishes after that reaches it;
//! - ids are never used twice, so a message for a room that ended reaches nobody.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::hub::Census;
use crate::protocol::quote;

/// Locks that joining and leaving are spread over, by name.
const LOCKS: usize = 64;

/// What names a room between threads. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RoomId(pub u64);

/// A room, shared by the shards that have members of it.
#[derive(Debug)]
pub struct Room {
    /// See `RoomId`.
    pub id: RoomId,
    /// The name as clients say it.
    pub name: Box<str>,
    /// The name as JSON writes it, quotes included.
    pub quoted: Box<str>,
    /// Which namespace's options it has, an index the service gave.
    pub namespace: u16,
    /// Members in all shards together.
    pub clients: AtomicU32,
    /// Who presence shows, where members can be asked for. A pointer, because most rooms have none.
    census: OnceLock<Box<Mutex<Census>>>,
    /// What the room gets is delivered on a beat.
    is_feed: AtomicBool,
    /// What tells the stream that the members follow from another of the same name; 0 if none does.
    /// Only whoever tells them where the stream is reads or writes it.
    pub stream: AtomicU64,
    /// A bit for each shard that has members.
    shards: Box<[AtomicU64]>,
}

impl Room {
    /// Shards that have members, as of now.
    pub fn shards(&self) -> impl Iterator<Item = usize> {
        self.shards.iter().enumerate().flat_map(|(index, word)| {
            let mut bits = word.load(Ordering::Acquire);
            std::iter::from_fn(move || {
                let bit = bits.checked_sub(1).map(|_| bits.trailing_zeros() as usize)?;
                bits &= bits - 1;
                Some(index * 64 + bit)
            })
        })
    }

    /// Takes a place for one more member, unless `cap` members have one; a cap of 0 is none.
    pub fn enter(&self, cap: u32) -> bool {
        let more = |clients| (cap == 0 || clients < cap).then_some(clients + 1);
        self.clients.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Who presence shows. Locked for as long as it takes to count one.
    pub fn census(&self) -> MutexGuard<'_, Census> {
        self.census.get_or_init(Box::default).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what the room gets is delivered on a beat.
    pub fn is_feed(&self) -> bool {
        self.is_feed.load(Ordering::Relaxed)
    }

    /// Goes over to feed mode above `cap` members, and back once a tenth of them has gone, one at least,
    /// so that it does not flap. Tells the one caller who changed it what it is now.
    pub fn judge_feed(&self, cap: u32) -> Option<bool> {
        let clients = self.clients.load(Ordering::Relaxed);
        let is_feed = self.is_feed();
        let becomes = if is_feed { clients > cap - (cap / 10).max(1) } else { clients > cap };
        let is_ours = becomes != is_feed
            && self.is_feed.compare_exchange(is_feed, becomes, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        is_ours.then_some(becomes)
    }

    fn is_empty(&self) -> bool {
        self.shards.iter().all(|word| word.load(Ordering::Acquire) == 0)
    }
}

/// A room in the set, found by its name.
#[derive(Debug)]
struct ByName(Arc<Room>);

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}
impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}
impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}
impl Eq for ByName {}

/// The rooms of the whole server.
#[derive(Debug)]
pub struct Directory {
    rooms: papaya::HashSet<ByName, RandomState>,
    hasher: RandomState,
    locks: [Mutex<()>; LOCKS],
    next_id: AtomicU64,
    shard_words: usize,
}

impl Directory {
    /// A directory without rooms for `shards` shards.
    pub fn new(shards: usize) -> Self {
        Directory {
            rooms: papaya::HashSet::with_hasher(RandomState::new()),
            hasher: RandomState::new(),
            locks: std::array::from_fn(|_| Mutex::new(())),
            next_id: AtomicU64::new(1),
            shard_words: shards.div_ceil(64),
        }
    }

    /// The room `name`, if it has members anywhere. Takes no lock.
    pub fn find(&self, name: &str) -> Option<Arc<Room>> {
        self.rooms.pin().get(name).map(|room| Arc::clone(&room.0))
    }

    /// Calls `each` with every room, in no order. Rooms that come or go meanwhile may be left out.
    pub fn for_each(&self, mut each: impl FnMut(&Room)) {
        self.rooms.pin().iter().for_each(|room| each(&room.0));
    }

    /// Takes note that `shard` has a member of the room `name`, which it had not.
    pub fn enter(&self, name: &str, namespace: u16, shard: usize) -> Arc<Room> {
        let _lock = self.lock(name);
        let room = self.find(name).unwrap_or_else(|| {
            let room = Arc::new(Room {
                id: RoomId(self.next_id.fetch_add(1, Ordering::Relaxed)),
                name: name.into(),
                quoted: quote(name),
                namespace,
                clients: AtomicU32::new(0),
                census: OnceLock::new(),
                is_feed: AtomicBool::new(false),
                stream: AtomicU64::new(0),
                shards: (0..self.shard_words).map(|_| AtomicU64::new(0)).collect(),
            });
            self.rooms.pin().insert(ByName(Arc::clone(&room)));
            room
        });
        room.shards[shard / 64].fetch_or(1 << (shard % 64), Ordering::AcqRel);
        room
    }

    /// Takes note that `shard` has no member of `room` any more.
    pub fn leave(&self, room: &Room, shard: usize) {
        let _lock = self.lock(&room.name);
        room.shards[shard / 64].fetch_and(!(1 << (shard % 64)), Ordering::AcqRel);
        if room.is_empty() {
            self.rooms.pin().remove(&*room.name);
        }
    }

    fn lock(&self, name: &str) -> MutexGuard<'_, ()> {
        let index = self.hasher.hash_one(name) as usize % LOCKS;
        // The lock guards no data of its own, and a panic ends the process anyway.
        self.locks[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_knows_exactly_the_shards_that_have_members() {
        let directory = Directory::new(100);
        let room = directory.enter("chat:a", 0, 3);
        directory.enter("chat:a", 0, 70);
        assert_eq!(room.shards().collect::<Vec<_>>(), [3, 70]);
        directory.leave(&room, 3);
        assert_eq!(directory.find("chat:a").unwrap().shards().collect::<Vec<_>>(), [70]);
    }

    #[test]
    fn a_room_ends_with_its_last_member_and_comes_back_as_another() {
        let directory = Directory::new(2);
        let first = directory.enter("a", 0, 1);
        directory.leave(&first, 1);
        assert!(directory.find("a").is_none());
        let second = directory.enter("a", 0, 1);
        assert_ne!(first.id, second.id);
    }

    #[test]
    fn every_room_is_walked_once() {
        let directory = Directory::new(2);
        for (name, shard) in [("a", 0), ("b", 1), ("a", 1)] {
            directory.enter(name, 0, shard);
        }
        let mut names = Vec::new();
        directory.for_each(|room| names.push(room.name.clone()));
        names.sort();
        assert_eq!(names, ["a".into(), "b".into()]);
    }

    #[test]
    fn joining_and_leaving_from_many_threads_loses_no_shard() {
        let directory = Directory::new(8);
        std::thread::scope(|scope| {
            for shard in 0..8 {
                let directory = &directory;
                scope.spawn(move || {
                    for _ in 0..500 {
                        let room = directory.enter("busy", 0, shard);
                        let found = directory.find("busy").expect("a shard is in it");
                        assert_eq!(found.id, room.id, "one name stands for two rooms");
                        assert!(found.shards().any(|other| other == shard));
                        directory.leave(&room, shard);
                    }
                });
            }
        });
        assert!(directory.find("busy").is_none());
    }
}
