//! Rooms in memory, bounded in bytes: the one that was out of use for longest goes first.
//!
//! A room tells how many bytes it takes when it enters and by [`Resident::adjust`] whenever that
//! changes; the sum is this file's only knowledge of what a room is.
//!
//! Names are chosen by clients, so they are hashed with a random key.

use std::hash::RandomState;
use std::sync::Arc;

use hashlink::LruCache;

/// What a room takes beside its name and its publications: its state, the name's counters, the
/// list's links, the hash table at its emptiest and the smallest queue. Rounded up.
pub(super) const ROOM_BYTES: usize = 400;

/// Rooms by name, in the order of their use.
pub(super) struct Resident<V> {
    rooms: LruCache<Arc<str>, V, RandomState>,
    bytes: usize,
    bytes_max: usize,
}

impl<V> Resident<V> {
    pub(super) fn new(bytes_max: usize) -> Resident<V> {
        let rooms = LruCache::with_hasher(usize::MAX, RandomState::new());
        Resident { rooms, bytes: 0, bytes_max }
    }

    /// Bytes that all rooms take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.rooms.len()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.rooms.contains_key(name)
    }

    /// The room, as used now.
    pub(super) fn get(&mut self, name: &str) -> Option<&mut V> {
        self.rooms.get_mut(name)
    }

    /// The room, and no use of it.
    pub(super) fn peek(&self, name: &str) -> Option<&V> {
        self.rooms.peek(name)
    }

    /// The room, to change it, and no use of it.
    pub(super) fn peek_mut(&mut self, name: &str) -> Option<&mut V> {
        self.rooms.peek_mut(name)
    }

    /// Bytes that each room may take if all are to stay, once there is little space left for more.
    ///
    /// Many rooms that are published to in turn then keep fewer publications each. Otherwise the room
    /// that goes would be the very one that is needed next, and each publish would read it from the disk.
    pub(super) fn share(&self) -> Option<usize> {
        let is_tight = self.bytes > self.bytes_max - self.bytes_max / 8;
        is_tight.then(|| self.bytes_max / 8 * 7 / self.rooms.len().max(1))
    }

    /// Adds a room that takes `bytes`.
    pub(super) fn insert(&mut self, name: Arc<str>, room: V, bytes: usize) {
        self.bytes += bytes;
        self.rooms.insert(name, room);
    }

    /// Removes a room; the caller adjusts the bytes.
    pub(super) fn remove(&mut self, name: &str) -> Option<V> {
        self.rooms.remove(name)
    }

    /// A room that took `before` bytes takes `after` now.
    pub(super) fn adjust(&mut self, before: usize, after: usize) {
        self.bytes = self.bytes + after - before;
    }

    /// The room that was out of use for longest.
    pub(super) fn peek_oldest(&self) -> Option<(&Arc<str>, &V)> {
        self.rooms.iter().next()
    }

    /// Removes the room that was out of use for longest if there are too many bytes, it is not the
    /// only one, and it `may_go`; the caller adjusts the bytes.
    pub(super) fn pop_surplus(&mut self, may_go: impl Fn(&V) -> bool) -> Option<(Arc<str>, V)> {
        if self.bytes <= self.bytes_max || self.rooms.len() < 2 || !may_go(self.peek_oldest()?.1) {
            return None;
        }
        self.rooms.remove_lru()
    }

    /// Keeps the rooms that `stays` tells, of which each takes what `bytes` says.
    pub(super) fn retain(&mut self, stays: impl Fn(&V) -> bool, bytes: impl Fn(&V) -> usize) {
        self.rooms.retain(|_, room| stays(room));
        self.bytes = self.rooms.iter().map(|(_, room)| bytes(room)).sum();
    }
}
