//! One room in memory, and how it stands to what is written of it.

use std::sync::Arc;

use super::super::Epoch;
use super::super::resident::ROOM_BYTES;
use super::super::stream::Stream;
use super::record::Record;
use crate::hub::{Durability, Retention};

/// Time by which what is due may be done late: so many rooms are looked at again at most so often.
const DUE_LATE_MS: u64 = 10_000;

/// A room in memory.
pub(super) struct Room {
    pub(super) name: Arc<str>,
    pub(super) stream: Stream,
    /// The namespace as the room's record has it, or will have it.
    pub(super) keep: Retention,
    /// Losses that had been seen when the epoch began.
    pub(super) losses: u64,
    /// The time of the entry in `due` that is written; of one at most.
    pub(super) due_ms: Option<u64>,
    /// The record is to be written at the next commit.
    pub(super) dirty: bool,
    /// The last round in which anything was staged, and the first message of that.
    pub(super) staged: (u64, u64),
}

// With its name's allocation, its place in list and table and a queue of one, it fits what it is
// counted as.
const _: () = assert!(size_of::<Room>() <= ROOM_BYTES - 200);

impl Room {
    /// A room in which nothing was published.
    pub(super) fn new(name: Arc<str>, epoch: Epoch, keep: &Retention, losses: u64, now_ms: u64) -> Room {
        let stream = Stream::new(epoch, now_ms);
        Room { name, stream, keep: *keep, losses, due_ms: None, dirty: false, staged: (0, 0) }
    }

    /// The room that `record` tells of, without what was published since.
    pub(super) fn of_record(name: Arc<str>, record: Record) -> Room {
        let mut stream = Stream::new(record.epoch, record.noted_ms);
        stream.floor = record.floor;
        stream.top = record.top;
        stream.published_ms = record.published_ms;
        stream.version = record.version;
        Room {
            name,
            stream,
            keep: record.keep,
            losses: record.losses,
            due_ms: Some(record.due_ms),
            dirty: false,
            staged: (0, 0),
        }
    }

    /// What is to be written of the room, with its entry in `due` at `due_ms`.
    pub(super) fn record(&self, due_ms: u64) -> Record {
        Record {
            epoch: self.stream.epoch,
            floor: self.stream.floor,
            top: self.stream.top,
            published_ms: self.stream.published_ms,
            noted_ms: self.stream.noted_ms,
            keep: self.keep,
            due_ms,
            losses: self.losses,
            version: self.stream.version.clone(),
        }
    }

    /// Whether acknowledged messages of it may be gone, because the machine failed.
    pub(super) fn is_in_doubt(&self, losses: u64) -> bool {
        self.keep.durability != Durability::Fsync && self.losses != losses
    }

    /// When the room is to be looked at: its messages dropped, or the room forgotten.
    pub(super) fn wanted_due_ms(&self, now_ms: u64) -> u64 {
        let due_ms = self.stream.dropped_ms(&self.keep);
        due_ms.unwrap_or_else(|| self.stream.forgotten_ms(&self.keep)).max(now_ms.saturating_add(DUE_LATE_MS))
    }

    /// Whether the written entry in `due` comes too late, or is missing.
    pub(super) fn is_due_earlier(&self, now_ms: u64) -> bool {
        self.due_ms.is_none_or(|due_ms| due_ms > self.wanted_due_ms(now_ms))
    }

    /// Bytes that the room takes in memory.
    pub(super) fn bytes(&self) -> usize {
        let version = self.stream.version.as_ref().map_or(0, |version| 32 + version.epoch.len());
        ROOM_BYTES + self.name.len() + version + self.stream.recent.bytes()
    }
}
