//! What is staged, how it is committed, and what follows when that fails.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::stats::add;
use super::super::{Position, StoreError};
use super::engine::{self, Backlog, Engine, Op, Space};
use super::fault::io_error;
use super::room::Room;
use super::{Embedded, block_cache_bytes, journal, record};

/// Time between two attempts to open the engine anew. Tests do not wait.
const RETRY: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_secs(1) };

/// What waits for the next commit.
pub(super) struct Staged {
    /// Names this commit; a room tells by it whether something of it is staged.
    pub(super) round: u64,
    ops: Vec<Op>,
    publications: u64,
    /// Rooms whose records are to be written: once each, as they are at the commit.
    records: Vec<Arc<str>>,
    pub(super) cursors: HashMap<Vec<u8>, Position>,
    /// A room of `fsync` durability is in it.
    pub(super) sync: bool,
    /// The time of the last call that had one.
    pub(super) now_ms: u64,
}

impl Default for Staged {
    fn default() -> Self {
        Staged {
            round: 1,
            ops: Vec::new(),
            publications: 0,
            records: Vec::new(),
            cursors: HashMap::new(),
            sync: false,
            now_ms: 0,
        }
    }
}

impl Staged {
    /// Stages a publication of `room`.
    pub(super) fn message(&mut self, room: &mut Room, offset: u64, op: Op) {
        if room.staged.0 != self.round {
            room.staged = (self.round, offset);
        }
        self.publications += 1;
        self.ops.push(op);
    }

    /// Stages that the record of `room` is written.
    pub(super) fn record(&mut self, room: &mut Room) {
        if room.staged.0 != self.round {
            room.staged = (self.round, room.stream.top + 1);
        }
        if !room.dirty {
            room.dirty = true;
            self.records.push(room.name.clone());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.records.is_empty() && self.cursors.is_empty()
    }

    /// Begins the next round with nothing.
    fn clear(&mut self) {
        *self = Staged { round: self.round + 1, now_ms: self.now_ms, ..Staged::default() };
    }
}

/// Stages the record of `room`, and its entry in `due` where that moves.
pub(super) fn write_record(ops: &mut Vec<Op>, room: &mut Room, now_ms: u64) {
    let due_ms = match room.due_ms {
        Some(due_ms) if !room.is_due_earlier(now_ms) => due_ms,
        written => {
            let due_ms = room.wanted_due_ms(now_ms);
            ops.extend(written.map(|written| Op::Remove(Space::Due, record::due_key(written, &room.name))));
            ops.push(Op::Insert(Space::Due, record::due_key(due_ms, &room.name), Vec::new()));
            due_ms
        }
    };
    room.due_ms = Some(due_ms);
    room.dirty = false;
    ops.push(Op::Insert(Space::Rooms, record::room_key(&room.name), room.record(due_ms).encode()));
}

impl Embedded {
    /// Makes everything staged durable, or fails and drops it.
    pub(super) fn commit_staged(&mut self) -> Result<(), StoreError> {
        if let Some(error) = self.doomed.take() {
            return Err(self.fail(error));
        }
        if self.staged.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.check_space(self.options.disk_free_bytes_min) {
            return Err(self.refuse(error));
        }
        let mut ops = std::mem::take(&mut self.staged.ops);
        for name in std::mem::take(&mut self.staged.records) {
            let room = self.rooms.peek_mut(&name).expect("a staged room stays in memory");
            write_record(&mut ops, room, self.staged.now_ms);
        }
        for (key, cursor) in self.staged.cursors.drain() {
            ops.push(Op::Insert(Space::Cursors, key, record::cursor_value(cursor).to_vec()));
        }
        let (sync, publications) = (self.staged.sync, self.staged.publications);
        self.write(ops, sync)?;
        add(&self.stats.publications, publications);
        self.stats.batch_max.fetch_max(publications, Ordering::Relaxed);
        self.staged.clear();
        Ok(())
    }

    /// Writes a batch. Whatever fails here drops what is staged.
    pub(super) fn write(&mut self, ops: Vec<Op>, sync: bool) -> Result<(), StoreError> {
        let engine = self.engine()?;
        match engine.wait_for_backlog() {
            Ok(()) => {}
            Err(Backlog::Slow(error)) => return Err(self.refuse(error)),
            Err(Backlog::Failed(error)) => return Err(self.fail(error)),
        }
        let bytes: usize = ops.iter().map(Op::bytes).sum();
        let first = engine.next_batch();
        let written = engine.write(ops, sync);
        #[cfg(test)]
        let written = written.and_then(|()| self.inject());
        if let Err(error) = written {
            self.broken.cut_from = Some(first);
            return Err(self.fail(error));
        }
        self.broken.committed = first;
        if sync {
            self.broken.synced = first;
        }
        add(&self.stats.commits, 1);
        add(&self.stats.fsyncs, u64::from(sync));
        add(&self.stats.written_bytes, bytes as u64);
        Ok(())
    }

    /// Fails if less than `bytes_min` bytes are free on the disk.
    pub(super) fn check_space(&self, bytes_min: u64) -> Result<(), StoreError> {
        let disk = nix::sys::statvfs::statvfs(&self.dir)
            .map_err(|errno| io_error(&self.dir, "ask for free space", &errno.into()))?;
        let free = disk.blocks_available().saturating_mul(disk.fragment_size());
        if free >= bytes_min {
            return Ok(());
        }
        Err(StoreError::Full(format!(
            "no space for {}: found: {free} bytes free; needed: {bytes_min} (`disk_free_bytes_min`); free some, \
             the store goes on by itself",
            self.dir.display()
        )))
    }

    /// Drops what is staged; nothing of it was written, and the engine goes on.
    fn refuse(&mut self, error: StoreError) -> StoreError {
        add(&self.stats.commits_failed, 1);
        let round = self.staged.round;
        self.rooms.retain(|room| room.staged.0 != round, |room| room.bytes());
        self.staged.clear();
        error
    }

    /// Drops everything in memory and closes the engine: what is on the disk is not known any more.
    pub(super) fn fail(&mut self, error: StoreError) -> StoreError {
        tracing::error!("the store failed and is opened anew: {error}");
        add(&self.stats.commits_failed, 1);
        self.rooms.retain(|_| false, |room| room.bytes());
        self.staged.clear();
        self.broken.why = error.clone();
        // At once, but not again and again.
        self.broken.retry_at = self.broken.tried_at.map_or_else(Instant::now, |at| at + RETRY);
        if let Some(engine) = self.engine.take() {
            self.reclaim.end(&engine.trim);
            if let Err(error) = engine.close() {
                tracing::error!("{error}");
            }
        }
        // The journals are cut; that is not to be taken for damage.
        if let Err(error) = self.session.begin() {
            tracing::error!("{error}");
        }
        // At once, so that a process that ends now leaves no batch that was refused.
        if let Err(error) = self.retire_journals() {
            tracing::error!("{error}");
        }
        error
    }

    /// Cuts the batch that failed out of the journals, and ends them; whether acknowledged batches are gone.
    fn retire_journals(&mut self) -> Result<bool, StoreError> {
        let db = self.dir.join("db");
        engine::check_let_go(&db)?;
        let cut_from = self.broken.cut_from.unwrap_or(u64::MAX);
        let last = journal::retire(&db, cut_from, self.broken.synced)?;
        Ok(last.is_some_and(|last| last < self.broken.committed))
    }

    /// Opens the engine anew if it is closed; fails if that fails, or was tried just now.
    pub(super) fn ready(&mut self) -> Result<(), StoreError> {
        if self.engine.is_some() {
            return Ok(());
        }
        let now = Instant::now();
        if now < self.broken.retry_at {
            return Err(self.broken.why.clone());
        }
        self.broken.tried_at = Some(now);
        match self.reopen() {
            Ok(engine) => {
                self.reclaim.begin(engine.dropped);
                tracing::warn!("the store in {} is open again", self.dir.display());
                add(&self.stats.reopened, 1);
                self.engine = Some(engine);
                self.broken.cut_from = None;
                Ok(())
            }
            Err(error) => {
                self.broken.why = error.clone();
                self.broken.retry_at = now + RETRY;
                Err(error)
            }
        }
    }

    fn reopen(&mut self) -> Result<Engine, StoreError> {
        self.check_space(self.options.disk_free_bytes_min)?;
        if self.retire_journals()? {
            tracing::error!(
                "messages of `os` durability that were acknowledged are gone; their rooms begin new epochs"
            );
            self.session.lose()?;
        }
        let engine = Engine::open(&self.dir.join("db"), block_cache_bytes(self.options))?;
        self.session.go_on()?;
        Ok(engine)
    }

    /// Fails if a test asked for that: the batch is written, and is to be found nowhere afterwards.
    #[cfg(test)]
    fn inject(&mut self) -> Result<(), StoreError> {
        match &mut self.fail_after {
            Some(0) => {
                self.fail_after = None;
                Err(StoreError::Io("a test wanted this to fail".into()))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}
