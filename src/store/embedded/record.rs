//! How rooms, publications, expiries and cursors are written in the engine's keyspaces.
//!
//! | keyspace | key | value |
//! | --- | --- | --- |
//! | `rooms` | name | [`Record`] |
//! | `messages` | name, epoch, offset | when it was published, body |
//! | `due` | when, name | nothing |
//! | `cursors` | user, name | epoch, offset |
//!
//! `rooms` also has the count that `reclaim.rs` goes on with, under a name of no bytes.
//!
//! Names and users are led by their length (u16), so none is the beginning of another's key. Numbers
//! in keys are big-endian, so they sort; numbers in values are little-endian. A message's key is
//! written once and never again, because the epoch is part of it: a message may therefore be
//! destroyed without a tombstone, and a new epoch hides all of the old one at once.
//!
//! A change here is a new `FORMAT` in `session.rs`.

use super::super::{Epoch, Position, Version};
use super::engine::{Op, Space};
use crate::hub::{Durability, Retention};

/// Longest name of a room or user. A key has at most 65,535 bytes, and a cursor's has two names.
pub(super) const NAME_BYTES_MAX: usize = 32_000;

/// Bytes of a message's key behind the name.
pub(super) const PLACE_BYTES: usize = 16;

/// Bytes of a message's value before its body.
pub(super) const STAMP_BYTES: usize = 8;

/// What is written of a room. Not rewritten by an ordinary publish: `top` and `published_ms` are
/// what they were at some time, and the messages above `top` tell the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) epoch: Epoch,
    pub(super) floor: u64,
    pub(super) top: u64,
    pub(super) published_ms: u64,
    pub(super) noted_ms: u64,
    /// The room's namespace when the record was written.
    pub(super) keep: Retention,
    /// The time of its one entry in `due`.
    pub(super) due_ms: u64,
    /// Losses that had been seen when the epoch began; see `session.rs`.
    pub(super) losses: u64,
    pub(super) version: Option<Box<Version>>,
}

/// Bytes of a record before the version's epoch.
const RECORD_BYTES: usize = 1 + 1 + 8 + 8 * 4 + 4 + 8 * 5;

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RECORD_BYTES + 16);
        bytes.push(u8::from(self.version.is_some()));
        bytes.push(match self.keep.durability {
            Durability::Fsync => 0,
            Durability::Os => 1,
            Durability::Memory => 2,
        });
        bytes.extend_from_slice(self.epoch.as_str().as_bytes());
        for number in [self.floor, self.top, self.published_ms, self.noted_ms] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.keep.size.to_le_bytes());
        let version = self.version.as_ref().map_or(0, |version| version.number);
        for number in [self.keep.ttl_ms, self.keep.meta_ttl_ms, self.due_ms, self.losses, version] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        if let Some(version) = &self.version {
            bytes.extend_from_slice(version.epoch.as_bytes());
        }
        bytes
    }

    /// The record in `bytes`; `None` if they are not one.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Record> {
        let bytes = &mut bytes;
        let [has_version, durability] = take::<2>(bytes)?;
        let durability = match durability {
            0 => Durability::Fsync,
            1 => Durability::Os,
            2 => Durability::Memory,
            _ => return None,
        };
        let epoch = Epoch::from_text(take(bytes)?)?;
        let [floor, top, published_ms, noted_ms] = numbers(bytes)?;
        let size = u32::from_le_bytes(take(bytes)?);
        let [ttl_ms, meta_ttl_ms, due_ms, losses, number] = numbers(bytes)?;
        let version = match has_version {
            0 => None,
            _ => Some(Box::new(Version { number, epoch: std::str::from_utf8(bytes).ok()?.into() })),
        };
        let keep = Retention { size, ttl_ms, meta_ttl_ms, durability };
        let record = Record { epoch, floor, top, published_ms, noted_ms, keep, due_ms, losses, version };
        (floor <= top).then_some(record)
    }

    /// Epoch and floor of the record in `bytes`: all that a compaction asks for.
    pub(super) fn decode_floor(mut bytes: &[u8]) -> Option<([u8; 8], u64)> {
        take::<2>(&mut bytes)?;
        Some((take(&mut bytes)?, u64::from_le_bytes(take(&mut bytes)?)))
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

fn numbers<const N: usize>(bytes: &mut &[u8]) -> Option<[u64; N]> {
    let mut all = [0; N];
    for number in &mut all {
        *number = u64::from_le_bytes(take(bytes)?);
    }
    Some(all)
}

fn name_len(name: &str) -> [u8; 2] {
    u16::try_from(name.len()).expect("names are at most NAME_BYTES_MAX long").to_be_bytes()
}

/// The key of a room.
pub(super) fn room_key(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(2 + name.len());
    key.extend_from_slice(&name_len(name));
    key.extend_from_slice(name.as_bytes());
    key
}

/// The key of a message.
pub(super) fn message_key(name: &str, epoch: Epoch, offset: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(2 + name.len() + PLACE_BYTES);
    key.extend_from_slice(&name_len(name));
    key.extend_from_slice(name.as_bytes());
    key.extend_from_slice(epoch.as_str().as_bytes());
    key.extend_from_slice(&offset.to_be_bytes());
    key
}

/// Room's key, epoch and offset in a message's key.
pub(super) fn split_message_key(key: &[u8]) -> Option<(&[u8], [u8; 8], u64)> {
    let (rest, offset) = key.split_last_chunk::<8>()?;
    let (room, epoch) = rest.split_last_chunk::<8>()?;
    Some((room, *epoch, u64::from_be_bytes(*offset)))
}

/// The value of a message.
pub(super) fn message_value(published_ms: u64, body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(STAMP_BYTES + body.len());
    value.extend_from_slice(&published_ms.to_le_bytes());
    value.extend_from_slice(body);
    value
}

/// When a message was published, and its body.
pub(super) fn split_message_value(mut value: &[u8]) -> Option<(u64, &[u8])> {
    let published_ms = u64::from_le_bytes(take(&mut value)?);
    Some((published_ms, value))
}

/// The key of a room's entry in `due`.
pub(super) fn due_key(due_ms: u64, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(8 + name.len());
    key.extend_from_slice(&due_ms.to_be_bytes());
    key.extend_from_slice(name.as_bytes());
    key
}

/// Time and room of an entry in `due`.
pub(super) fn split_due_key(mut key: &[u8]) -> Option<(u64, &str)> {
    let due_ms = u64::from_be_bytes(take(&mut key)?);
    Some((due_ms, std::str::from_utf8(key).ok()?))
}

/// The key in `rooms` of the count of dropped entries; no room has it, because none is without a name.
pub(super) const DROPPED_KEY: [u8; 2] = [0, 0];

/// Writes the count of dropped entries.
pub(super) fn dropped_op(count: u64) -> Op {
    Op::Insert(Space::Rooms, DROPPED_KEY.to_vec(), count.to_le_bytes().to_vec())
}

/// The key of a cursor.
pub(super) fn cursor_key(user: &str, room: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(2 + user.len() + room.len());
    key.extend_from_slice(&name_len(user));
    key.extend_from_slice(user.as_bytes());
    key.extend_from_slice(room.as_bytes());
    key
}

/// The value of a cursor.
pub(super) fn cursor_value(cursor: Position) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(cursor.epoch.as_str().as_bytes());
    value[8..].copy_from_slice(&cursor.offset.to_le_bytes());
    value
}

/// The cursor in a value.
pub(super) fn decode_cursor(mut value: &[u8]) -> Option<Position> {
    let epoch = Epoch::from_text(take(&mut value)?)?;
    Some(Position { epoch, offset: u64::from_le_bytes(take(&mut value)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(version: Option<Version>) -> Record {
        Record {
            epoch: Epoch::new(7),
            floor: 3,
            top: 9,
            published_ms: 11,
            noted_ms: 12,
            keep: Retention { size: 5, ttl_ms: 6, meta_ttl_ms: 7, durability: Durability::Os },
            due_ms: 13,
            losses: 14,
            version: version.map(Box::new),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_none_that_is_cut_off() {
        for version in [None, Some(Version { number: 8, epoch: "".into() })] {
            let record = record(version);
            let bytes = record.encode();
            assert_eq!(bytes.len(), RECORD_BYTES);
            assert_eq!(Record::decode(&bytes), Some(record));
            assert_eq!(Record::decode_floor(&bytes).unwrap().1, 3);
            assert!((0..bytes.len()).all(|len| Record::decode(&bytes[..len]).is_none()));
        }
        let versioned = record(Some(Version { number: 8, epoch: "deploy-1".into() }));
        assert_eq!(Record::decode(&versioned.encode()), Some(versioned));
    }

    #[test]
    fn keys_give_back_what_they_were_made_of_and_offsets_sort() {
        let epoch = Epoch::new(7);
        let key = message_key("room", epoch, 300);
        let (room, found, offset) = split_message_key(&key).unwrap();
        assert_eq!((room, &found[..]), (&*room_key("room"), epoch.as_str().as_bytes()));
        assert_eq!(offset, 300);
        assert!(message_key("room", epoch, 255) < key);
        assert!(!key.starts_with(&room_key("roo")));
        assert_eq!(split_due_key(&due_key(5, "room")), Some((5, "room")));
        let cursor = Position { epoch, offset: 4 };
        assert_eq!(decode_cursor(&cursor_value(cursor)), Some(cursor));
    }
}
