//! Durable rooms: what was published in them, in order, and what their users have read.
//!
//! A [`Store`] keeps a *stream* for every room that has a history: an epoch, which names this
//! instance of it, and publications numbered from 1 without holes. What is changed is staged and
//! seen by later reads at once; [`Store::commit`] makes everything staged durable together.
//!
//! [`Memory`] keeps streams in memory, [`Embedded`] on the disk. The [`committer`] is the one thread
//! that uses them: it orders publishers, readers and whoever joins, and tells shards in that order.
//!
//! Absent on purpose: JSON. A publication's body arrives encoded and is never looked into.

pub mod committer;
mod embedded;
mod memory;
mod op;
mod recent;
mod recovery;
mod resident;
mod stats;
mod stream;
mod types;
mod work;

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod scratch;

pub use committer::{Committer, Outlet};
pub use embedded::{Embedded, EmbeddedOptions};
pub use memory::Memory;
pub use op::{Answer, Ask, Request, Since, Stream, Unread};
pub use stats::StoreStats;
pub use types::{Epoch, Position, Publication, Range, StoreError, Version};

use crate::hub::Retention;

/// Keeps streams and read cursors. Used by one thread; time comes as an argument, in milliseconds of Unix time.
///
/// A room's or user's name is 1 to 32,000 bytes; `keep` is its namespace's, and may have been another
/// before. A stream is forgotten `meta_ttl_ms` after its last use, at the earliest, and at nine eighths
/// of that at the latest; never before its publications are dropped. Every call but `peek` and the
/// cursors' is a use.
///
/// # Errors
///
/// Each function fails with [`StoreError`] if the disk does not do what it should. Nothing of the
/// call has happened then; what was staged before is still staged, unless `commit` says otherwise.
pub trait Store: Send {
    /// Where the stream of `room` is. A room without a stream gets one at offset 0, which is staged.
    fn position(&mut self, room: &str, keep: &Retention, now_ms: u64) -> Result<Position, StoreError>;

    /// Where the stream of `room` is, if it has one; makes none, and is no use of it.
    fn peek(&mut self, room: &str, keep: &Retention, now_ms: u64) -> Result<Option<Position>, StoreError>;

    /// Stages a publication behind the last one of `room`; returns its position.
    ///
    /// With a `version`, a publication whose version is not above the last one of the same version
    /// epoch is dropped: `Ok(None)`.
    fn append(
        &mut self,
        room: &str,
        keep: &Retention,
        now_ms: u64,
        body: &bytes::Bytes,
        version: Option<&Version>,
    ) -> Result<Option<Position>, StoreError>;

    /// The publications of `room` that `range` names and that are still kept.
    fn read(
        &mut self,
        room: &str,
        keep: &Retention,
        now_ms: u64,
        range: Range,
    ) -> Result<Vec<Publication>, StoreError>;

    /// Stages that all publications of `room` are gone; its epoch and offset stay.
    fn clear(&mut self, room: &str, keep: &Retention, now_ms: u64) -> Result<(), StoreError>;

    /// How far `user` has read in `room`, as it was last set: the last publication that was read.
    fn cursor(&mut self, user: &str, room: &str) -> Result<Option<Position>, StoreError>;

    /// Stages how far `user` has read in `room`, as safely as `keep` asks.
    fn set_cursor(
        &mut self,
        user: &str,
        room: &str,
        keep: &Retention,
        cursor: Position,
    ) -> Result<(), StoreError>;

    /// Makes everything staged durable, all of it or nothing; as safely as the most demanding `keep` asks.
    ///
    /// # Errors
    ///
    /// Nothing that was staged since the last commit has happened, and no later call sees it.
    fn commit(&mut self) -> Result<(), StoreError>;

    /// Frees some of what is no longer kept; returns whether there is more to free right now. To be
    /// called about once a second, and again while it says so; takes milliseconds each time, and
    /// commits what it does itself, apart from what is staged. Best called right after `commit`.
    ///
    /// # Errors
    ///
    /// What is staged is still seen, but the next `commit` may fail because of this.
    fn sweep(&mut self, now_ms: u64) -> Result<bool, StoreError>;
}
