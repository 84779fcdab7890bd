//! Gives space back to the disk when the engine would not by itself.
//!
//! Compactions leave out what is no longer kept (`trim.rs`), but the engine only compacts what is
//! written to. When it is quiet, or most of a large file is not kept any more, somebody has to
//! ask. So it is counted how many messages were dropped and how many of them compactions have left
//! out; once what is left over is half of what is in the files, all of them are merged in a
//! thread. Each byte that is copied then frees another.
//!
//! The count is written down by `sweep.rs` now and then, so that it survives the process roughly.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use fjall::Keyspace;

use super::engine::Engine;
use super::trim::{Trim, reclaiming};

/// Fewer dropped entries are not worth a merge.
const DROPPED_MIN: u64 = 10_000;

/// The merge is given up when so many files wait for the engine's own compactions.
const WAITING_TABLES_MAX: usize = 12;

/// What is dropped and not yet left out of the files.
#[derive(Debug, Default)]
pub(super) struct Reclaim {
    /// Entries that were dropped, without those that compactions have left out.
    dropped: u64,
    /// What of that was written down.
    marked: u64,
    /// Entries that compactions had left out when it was last looked.
    freed: u64,
    thread: Option<JoinHandle<()>>,
    /// Merges that were begun.
    merges: Arc<AtomicU64>,
}

impl Reclaim {
    /// Goes on with the count that was written down; the engine was just opened.
    pub(super) fn begin(&mut self, marked: u64) {
        *self = Reclaim { dropped: marked, marked, ..Reclaim::default() };
    }

    /// So many entries are no longer kept.
    pub(super) fn drop_entries(&mut self, entries: u64) {
        self.dropped += entries;
    }

    /// The count, if it differs much from what was written down.
    pub(super) fn mark(&mut self) -> Option<u64> {
        let far = self.dropped.abs_diff(self.marked) > 1_000 + self.marked / 8;
        far.then(|| {
            self.marked = self.dropped;
            self.dropped
        })
    }

    /// Begins to merge files if much of them is not kept. To be called about once a second.
    pub(super) fn look(&mut self, engine: &Engine) {
        let freed = engine.trim.freed();
        self.dropped = self.dropped.saturating_sub(freed - self.freed);
        self.freed = freed;
        let waiting = engine.messages.l0_table_count();
        if self.is_running() {
            engine.trim.give_up(waiting > WAITING_TABLES_MAX);
            return;
        }
        let entries = engine.messages.approximate_len() as u64;
        if self.dropped < DROPPED_MIN || self.dropped < entries / 2 || waiting > WAITING_TABLES_MAX / 2 {
            return;
        }
        // What the files do not have any more is not counted for ever.
        self.dropped = self.dropped.min(entries);
        let spaces = [&engine.messages, &engine.rooms, &engine.due].map(Keyspace::clone);
        let (trim, merges) = (engine.trim.clone(), self.merges.clone());
        trim.give_up(false);
        let thread = std::thread::Builder::new().name("throng:reclaim".into()).spawn(move || {
            merges.fetch_add(1, Ordering::Relaxed);
            merge(&spaces, &trim);
        });
        match thread {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => tracing::warn!("cannot start a thread to free space: {error}"),
        }
    }

    fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends a merge that runs; the engine is to be closed.
    pub(super) fn end(&mut self, trim: &Trim) {
        trim.give_up(true);
        self.wait();
    }

    /// Waits until no merge runs.
    pub(super) fn wait(&mut self) {
        if let Some(thread) = self.thread.take() {
            // It has nothing to say: a panic of the engine was reported where it happened.
            drop(thread.join());
        }
    }
}

fn merge(spaces: &[Keyspace], trim: &Trim) {
    for space in spaces {
        // The active memtable too, and the engine lets go of replaced files when one is closed.
        let merged = space
            .rotate_memtable()
            .and_then(|_| reclaiming(|| space.major_compact()))
            .and_then(|()| space.rotate_memtable());
        if let Err(error) = merged {
            if !trim.is_given_up() {
                tracing::warn!("cannot merge files of {} to free space: {error:?}", space.path().display());
            }
            return;
        }
    }
}
