//! Frees messages that no room keeps, while the engine compacts them.
//!
//! A publish deletes nothing. Every now and then a room's floor rises in its record, and whenever
//! the engine merges files it asks here about each message: what is at or below its room's floor,
//! of another epoch, or of no room, is left out. There is no tombstone to write, store or merge.
//!
//! A message's key is written once, so leaving it out cannot bring an older one back. A floor
//! that reaches the room's last publication is durable before it is seen here: the number of
//! that publication is nowhere else then.

use std::cell::Cell;
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
    /// Ends the compactions of `reclaim.rs`. Never the engine's own: it would take that for a
    /// failure.
    given_up: AtomicBool,
    freed: AtomicU64,
}

thread_local! {
    /// Whether this thread's compactions may be given up.
    static RECLAIMING: Cell<bool> = const { Cell::new(false) };
}

/// Runs compactions that may be given up.
pub(super) fn reclaiming<T>(compact: impl FnOnce() -> T) -> T {
    RECLAIMING.set(true);
    let result = compact();
    RECLAIMING.set(false);
    result
}

impl Trim {
    /// From now on compactions free messages, by the records in `rooms`.
    pub(super) fn begin(&self, rooms: Keyspace) {
        *self.rooms.lock().unwrap_or_else(PoisonError::into_inner) = Some(rooms);
    }

    /// Ends all of it.
    pub(super) fn end(&self) {
        *self.rooms.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether compactions that may be given up are.
    pub(super) fn give_up(&self, given_up: bool) {
        self.given_up.store(given_up, Ordering::Relaxed);
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
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
        Box::new(Filter {
            trim: self.0.clone(),
            may_give_up: RECLAIMING.get(),
            rooms,
            room: Vec::new(),
            judged: Judged::Keep,
            freed: 0,
        })
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
    may_give_up: bool,
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
        if self.may_give_up && self.trim.is_given_up() {
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
