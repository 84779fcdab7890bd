//! What both stores know of a room's stream while it is in memory, and what follows from it: which
//! publications still count, which version comes too late, and when all of it is forgotten.
//!
//! Invariants:
//! - `floor <= top`; publications up to `floor` are gone for good, those above it up to `top` are kept
//!   somewhere, though [`Stream::wanted`] may already hide them;
//! - what is hidden by age never comes back: the next publication raises `floor` over it.
//!
//! A stream's last use is *noted* with a granularity of an eighth of `meta_ttl_ms`, so that a use
//! is a write at most so often. A stream therefore lives at least `meta_ttl_ms` after its last use,
//! and at most nine eighths of that.
//!
//! Absent on purpose: the disk, the clock and random numbers.

use bytes::Bytes;

use super::recent::Recent;
use super::{Epoch, Position, Range, Version};
use crate::hub::Retention;

/// A stream of one room.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) epoch: Epoch,
    /// Number of the last publication that is gone for good.
    pub(super) floor: u64,
    /// Number of the last publication.
    pub(super) top: u64,
    /// When `top` was published; 0 if nothing was.
    pub(super) published_ms: u64,
    /// When the stream was last noted as used.
    pub(super) noted_ms: u64,
    /// The last version that was published. Boxed, because few rooms have one.
    pub(super) version: Option<Box<Version>>,
    /// Publications in memory.
    pub(super) recent: Recent,
}

/// Time for which `keep` holds a stream without use: never less than its publications live.
fn meta_ttl_ms(keep: &Retention) -> u64 {
    keep.meta_ttl_ms.max(keep.ttl_ms)
}

/// Uses closer together than this are noted once.
fn note_ms(keep: &Retention) -> u64 {
    meta_ttl_ms(keep) / 8
}

/// Publications by which a window may be too long before `floor` follows it.
fn slack(keep: &Retention) -> u64 {
    u64::from(keep.size).clamp(16, 1024)
}

impl Stream {
    /// A stream in which nothing was published.
    pub(super) fn new(epoch: Epoch, now_ms: u64) -> Stream {
        Stream {
            epoch,
            floor: 0,
            top: 0,
            published_ms: 0,
            noted_ms: now_ms,
            version: None,
            recent: Recent::default(),
        }
    }

    pub(super) fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.top }
    }

    fn used_ms(&self) -> u64 {
        self.noted_ms.max(self.published_ms)
    }

    /// When the stream will be forgotten if it is not used any more.
    pub(super) fn forgotten_ms(&self, keep: &Retention) -> u64 {
        self.used_ms().saturating_add(meta_ttl_ms(keep)).saturating_add(note_ms(keep))
    }

    /// Whether it was out of use for so long that a new one takes its place.
    pub(super) fn is_forgotten(&self, keep: &Retention, now_ms: u64) -> bool {
        now_ms >= self.forgotten_ms(keep)
    }

    /// Notes a use; whether that has to be written down.
    pub(super) fn note(&mut self, keep: &Retention, now_ms: u64) -> bool {
        let due = now_ms >= self.used_ms().saturating_add(note_ms(keep).max(1));
        if due {
            self.noted_ms = now_ms;
        }
        due
    }

    /// When the publications that are kept now are all dropped; `None` if there are none.
    pub(super) fn dropped_ms(&self, keep: &Retention) -> Option<u64> {
        (self.floor < self.top).then(|| self.published_ms.saturating_add(keep.ttl_ms))
    }

    /// Whether all publications are dropped by their age.
    pub(super) fn is_dropped(&self, keep: &Retention, now_ms: u64) -> bool {
        self.dropped_ms(keep).is_some_and(|ms| now_ms >= ms)
    }

    /// Number of the last publication that nobody gets any more.
    fn hidden(&self, keep: &Retention, now_ms: u64) -> u64 {
        if self.is_dropped(keep, now_ms) {
            return self.top;
        }
        self.floor.max(self.top.saturating_sub(u64::from(keep.size)))
    }

    /// First and last number of the publications that `range` asks for and that are still kept.
    pub(super) fn wanted(&self, keep: &Retention, now_ms: u64, range: Range) -> Option<(u64, u64)> {
        let least = self.hidden(keep, now_ms) + 1;
        let limit = u64::try_from(range.limit).unwrap_or(u64::MAX);
        let (first, last) = if range.reverse {
            let last = range.since.map_or(self.top, |since| since.saturating_sub(1).min(self.top));
            (least.max(last.saturating_add(1).saturating_sub(limit)), last)
        } else {
            let first = least.max(range.since.unwrap_or(0).saturating_add(1));
            (first, self.top.min(first.saturating_add(limit).saturating_sub(1)))
        };
        (limit > 0 && first <= last).then_some((first, last))
    }

    /// Whether a publication of this version does not come too late.
    pub(super) fn admits(&self, version: &Version) -> bool {
        self.version.as_ref().is_none_or(|last| last.epoch != version.epoch || last.number < version.number)
    }

    /// All publications are gone for good; how many there were.
    pub(super) fn clear(&mut self) -> u64 {
        let gone = self.top - self.floor;
        self.floor = self.top;
        self.recent.clear();
        gone
    }

    /// Appends a publication. Those that are dropped by then are to be cleared before.
    pub(super) fn push(&mut self, now_ms: u64, body: Bytes) -> u64 {
        self.top += 1;
        self.published_ms = now_ms;
        self.recent.push(body);
        self.top
    }

    /// Raises `floor` to the window's lower end if that is far enough above it: at least
    /// `slack_max`, or what the window's size allows. How many publications are gone by that.
    pub(super) fn trim(&mut self, keep: &Retention, slack_max: u64) -> u64 {
        let below = self.top.saturating_sub(u64::from(keep.size));
        let gone = below.saturating_sub(self.floor);
        if gone == 0 || gone < slack(keep).min(slack_max) {
            return 0;
        }
        self.floor = below;
        self.recent.drop_below(self.top, below + 1);
        gone
    }
}
