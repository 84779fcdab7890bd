//! Frees messages that no room keeps, while the engine compacts them.
//!
//! A publish deletes nothing. Every now and then a room's floor rises in its record, and whenever
//! the engine merges files it asks here about each message: what is at or below its room's floor,
//! of another epoch, or of no room, is left out. There is no tombstone to write, store or merge.
//!
//! A message's key is written once, so leaving it out cannot bring an older one back. A floor
//! that reaches the room's last publication is durable before it is seen here: the number of
//! that publication is nowhere else then.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fjall::Keyspace;
use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};

use super::record::{Record, split_message_key};

/// What compactions and the store share.
#[derive(Default)]
pub(super) struct Trim {
    /// Where the records are. Set once the engine is open, and emptied to close it: the engine's
    /// configuration holds this, so that it would hold itself.
    rooms: Mutex<Option<Keyspace>>,
    /// Ends compactions that run, so that closing does not wait for them.
    closing: AtomicBool,
    freed: AtomicU64,
}

impl Trim {
    /// From now on compactions free messages, by the records in `rooms`.
    pub(super) fn begin(&self, rooms: Keyspace) {
        *self.rooms.lock().unwrap_or_else(PoisonError::into_inner) = Some(rooms);
    }

    /// Ends all of it.
    pub(super) fn end(&self) {
        self.closing.store(true, Ordering::Relaxed);
        *self.rooms.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Messages that were freed since the engine was opened.
    pub(super) fn freed(&self) -> u64 {
        self.freed.load(Ordering::Relaxed)
    }
}

/// Makes a filter for each compaction.
pub(super) struct Filters(pub(super) Arc<Trim>);

impl Factory for Filters {
    fn name(&self) -> &str {
        "trim"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        let rooms = self.0.rooms.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::new(Filter { trim: self.0.clone(), rooms, room: Vec::new(), judged: Judged::Keep, freed: 0 })
    }
}

/// What is to become of a room's messages.
enum Judged {
    /// The record is not to be had: all stay.
    Keep,
    /// There is no record.
    Gone,
    /// Those of this epoch above this floor stay.
    Above([u8; 8], u64),
}

/// One compaction: sees messages in the order of their keys, so each room's record is read once.
struct Filter {
    trim: Arc<Trim>,
    rooms: Option<Keyspace>,
    room: Vec<u8>,
    judged: Judged,
    freed: u64,
}

impl Filter {
    fn judge(&self, room: &[u8]) -> Judged {
        let Some(rooms) = &self.rooms else {
            return Judged::Keep;
        };
        match rooms.get(room) {
            Ok(Some(record)) => Record::decode_floor(&record)
                .map_or(Judged::Keep, |(epoch, floor)| Judged::Above(epoch, floor)),
            Ok(None) => Judged::Gone,
            Err(_) => Judged::Keep,
        }
    }
}

impl CompactionFilter for Filter {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        if self.trim.closing.load(Ordering::Relaxed) {
            // The files that are being merged stay as they are.
            return Err(std::io::Error::from(std::io::ErrorKind::Interrupted).into());
        }
        let Some((room, epoch, offset)) = split_message_key(item.key()) else {
            return Ok(Verdict::Keep);
        };
        if room != self.room {
            self.judged = self.judge(room);
            self.room.clear();
            self.room.extend_from_slice(room);
        }
        let stays = match &self.judged {
            Judged::Keep => true,
            Judged::Gone => false,
            Judged::Above(of, floor) => *of == epoch && offset > *floor,
        };
        if stays {
            return Ok(Verdict::Keep);
        }
        self.freed += 1;
        Ok(Verdict::Destroy)
    }

    fn finish(self: Box<Self>) {
        self.trim.freed.fetch_add(self.freed, Ordering::Relaxed);
    }
}
