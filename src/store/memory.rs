//! Rooms that live as long as this process, at most.
//!
//! [`Memory`] has the semantics of a store without a disk. What it holds is bounded in bytes: the
//! room that was out of use for longest is dropped whole, and is a new stream with a new epoch when
//! it is used again, so a reader sees that its place in the old one means nothing any more.
//!
//! Invariant: rooms take at most three quarters of `bytes_max` and cursors at most one quarter,
//! but for the one that is being used.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use hashlink::LruCache;

use super::resident::{ROOM_BYTES, Resident};
use super::stream::Stream;
use super::{Epoch, Position, Publication, Range, Store, StoreError, Version};
use crate::hub::Retention;

/// Bookkeeping of one cursor beside its names: hash table, list and position. Rounded up.
const CURSOR_BYTES: usize = 128;

/// Streams looked at by one call of `sweep`.
const SWEEP_ROOMS_MAX: usize = 256;

/// Rooms in memory.
pub struct Memory {
    rooms: Resident<Room>,
    cursors: LruCache<(Box<str>, Box<str>), Position>,
    cursors_bytes: usize,
    cursors_bytes_max: usize,
    epochs: Epochs,
}

/// A room, and how its namespace last kept it.
struct Room {
    stream: Stream,
    keep: Retention,
}

/// Gives epochs: random, and never twice.
pub(super) struct Epochs {
    random: RandomState,
    given: u64,
}

impl Epochs {
    pub(super) fn new() -> Epochs {
        Epochs { random: RandomState::new(), given: 0 }
    }

    pub(super) fn next(&mut self) -> Epoch {
        self.given += 1;
        Epoch::new(self.random.hash_one(self.given))
    }
}

impl Memory {
    /// A store without rooms that holds at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Memory {
        Memory {
            rooms: Resident::new(bytes_max - bytes_max / 4),
            cursors: LruCache::new_unbounded(),
            cursors_bytes: 0,
            cursors_bytes_max: bytes_max / 4,
            epochs: Epochs::new(),
        }
    }

    /// Bytes that rooms and cursors take.
    pub fn bytes(&self) -> usize {
        self.rooms.bytes() + self.cursors_bytes
    }

    /// The stream of `room`; one that is forgotten is dropped, and made anew if `make`.
    fn enter(&mut self, room: &str, keep: &Retention, now_ms: u64, make: bool) -> Option<&mut Stream> {
        let forgotten = self.rooms.peek(room).is_some_and(|room| room.stream.is_forgotten(keep, now_ms));
        if forgotten {
            self.drop_room(room);
        }
        if !self.rooms.contains(room) {
            if !make {
                return None;
            }
            let stream = Stream::new(self.epochs.next(), now_ms);
            self.rooms.insert(room.into(), Room { stream, keep: *keep }, ROOM_BYTES + room.len());
        }
        let room = self.rooms.get(room)?;
        room.keep = *keep;
        Some(&mut room.stream)
    }

    fn drop_room(&mut self, name: &str) {
        if let Some(room) = self.rooms.remove(name) {
            self.rooms.adjust(ROOM_BYTES + name.len() + room.stream.recent.bytes(), 0);
        }
    }

    /// Drops the rooms that were out of use for longest until the rest fits.
    fn shrink(&mut self) {
        while let Some((name, room)) = self.rooms.pop_surplus(|_| true) {
            self.rooms.adjust(ROOM_BYTES + name.len() + room.stream.recent.bytes(), 0);
        }
    }
}

impl Store for Memory {
    fn position(&mut self, room: &str, keep: &Retention, now_ms: u64) -> Result<Position, StoreError> {
        let stream = self.enter(room, keep, now_ms, true).expect("made");
        stream.note(keep, now_ms);
        let position = stream.position();
        self.shrink();
        Ok(position)
    }

    fn peek(&mut self, room: &str, keep: &Retention, now_ms: u64) -> Result<Option<Position>, StoreError> {
        Ok(self.enter(room, keep, now_ms, false).map(|stream| stream.position()))
    }

    fn append(
        &mut self,
        room: &str,
        keep: &Retention,
        now_ms: u64,
        body: &Bytes,
        version: Option<&Version>,
    ) -> Result<Option<Position>, StoreError> {
        let stream = self.enter(room, keep, now_ms, true).expect("made");
        stream.note(keep, now_ms);
        if let Some(version) = version {
            if !stream.admits(version) {
                return Ok(None);
            }
            stream.version = Some(Box::new(version.clone()));
        }
        let before = stream.recent.bytes();
        if stream.is_dropped(keep, now_ms) {
            stream.clear();
        }
        stream.push(now_ms, body.clone());
        stream.trim(keep, 1);
        let (position, after) = (stream.position(), stream.recent.bytes());
        self.rooms.adjust(before, after);
        self.shrink();
        Ok(Some(position))
    }

    fn read(
        &mut self,
        room: &str,
        keep: &Retention,
        now_ms: u64,
        range: Range,
    ) -> Result<Vec<Publication>, StoreError> {
        let Some(stream) = self.enter(room, keep, now_ms, false) else {
            return Ok(Vec::new());
        };
        stream.note(keep, now_ms);
        let wanted = stream.wanted(keep, now_ms, range);
        let collect = |wanted| stream.recent.collect(stream.top, wanted, None, range.reverse);
        Ok(range.within_bytes(wanted.map_or_else(Vec::new, collect)))
    }

    fn clear(&mut self, room: &str, keep: &Retention, now_ms: u64) -> Result<(), StoreError> {
        if let Some(stream) = self.enter(room, keep, now_ms, false) {
            stream.note(keep, now_ms);
            let before = stream.recent.bytes();
            stream.clear();
            self.rooms.adjust(before, 0);
        }
        Ok(())
    }

    fn cursor(&mut self, user: &str, room: &str) -> Result<Option<Position>, StoreError> {
        Ok(self.cursors.get(&(Box::from(user), Box::from(room))).copied())
    }

    fn set_cursor(
        &mut self,
        user: &str,
        room: &str,
        _keep: &Retention,
        cursor: Position,
    ) -> Result<(), StoreError> {
        if self.cursors.insert((user.into(), room.into()), cursor).is_none() {
            self.cursors_bytes += CURSOR_BYTES + user.len() + room.len();
        }
        while self.cursors_bytes > self.cursors_bytes_max && self.cursors.len() > 1 {
            if let Some(((user, room), _)) = self.cursors.remove_lru() {
                self.cursors_bytes -= CURSOR_BYTES + user.len() + room.len();
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Looks at the rooms that were out of use for longest, and frees what they no longer keep.
    fn sweep(&mut self, now_ms: u64) -> Result<bool, StoreError> {
        let mut freed = false;
        for _ in 0..SWEEP_ROOMS_MAX {
            let Some((name, room)) = self.rooms.peek_oldest() else {
                return Ok(false);
            };
            if room.stream.is_forgotten(&room.keep, now_ms) {
                let name = name.clone();
                self.drop_room(&name);
                freed = true;
                continue;
            }
            let dropped = room.stream.is_dropped(&room.keep, now_ms);
            if !dropped {
                return Ok(freed);
            }
            // To the other end, so that the next one is seen; its own use is noted in the stream.
            let name = name.clone();
            let room = self.rooms.get(&name).expect("it is there");
            let before = room.stream.recent.bytes();
            room.stream.clear();
            self.rooms.adjust(before, 0);
            freed = true;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Durability;

    const KEEP: Retention =
        Retention { size: 10, ttl_ms: 1_000, meta_ttl_ms: 10_000, durability: Durability::Memory };
    const ALL: Range = Range { since: None, limit: usize::MAX, bytes_max: usize::MAX, reverse: false };

    fn append(store: &mut Memory, room: &str, now_ms: u64) -> Position {
        let body = Bytes::from_static(&[b'x'; 500]);
        store.append(room, &KEEP, now_ms, &body, None).unwrap().unwrap()
    }

    #[test]
    fn the_room_out_of_use_for_longest_goes_and_comes_back_with_a_new_epoch() {
        let mut store = Memory::new(40_000);
        let first = append(&mut store, "first", 0);
        let kept = append(&mut store, "kept", 0);
        for room in 0..100 {
            append(&mut store, &room.to_string(), 0);
            assert_eq!(store.peek("kept", &KEEP, 0).unwrap(), Some(kept));
            assert!(store.bytes() <= 40_000, "{}", store.bytes());
        }
        assert_eq!(store.peek("first", &KEEP, 0).unwrap(), None);
        let again = append(&mut store, "first", 0);
        assert_ne!(again.epoch, first.epoch);
        assert_eq!(again.offset, 1);
    }

    #[test]
    fn what_is_dropped_by_window_age_and_clearing_is_not_counted_any_more() {
        let mut store = Memory::new(1 << 20);
        append(&mut store, "room", 0);
        let one = store.bytes();
        for now_ms in 0..50 {
            append(&mut store, "room", now_ms);
        }
        let full = store.bytes();
        assert_eq!(store.read("room", &KEEP, 50, ALL).unwrap().len(), 10);
        assert!(full < one * 10);
        store.clear("room", &KEEP, 50).unwrap();
        append(&mut store, "room", 50);
        assert_eq!(store.bytes(), one);
        assert!(!store.sweep(1_049).unwrap());
        assert_eq!(store.bytes(), one);
        store.sweep(1_050).unwrap();
        assert!(store.bytes() < one - 500);
        store.sweep(100_000).unwrap();
        assert_eq!(store.bytes(), 0);
    }

    #[test]
    fn cursors_are_bounded_and_the_one_out_of_use_for_longest_goes() {
        let mut store = Memory::new(8_000);
        let cursor = Position { epoch: Epoch::new(1), offset: 3 };
        for user in 0..100 {
            store.set_cursor(&user.to_string(), "room", &KEEP, cursor).unwrap();
            assert_eq!(store.cursor("0", "room").unwrap(), Some(cursor));
            assert!(store.bytes() <= 2_000);
        }
        assert_eq!(store.cursor("1", "room").unwrap(), None);
        assert_eq!(store.cursor("99", "room").unwrap(), Some(cursor));
    }
}
