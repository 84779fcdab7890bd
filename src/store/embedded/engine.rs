//! The engine, open: fjall with the four keyspaces of `record.rs`, and how it is configured.
//!
//! Bounds, in bytes:
//! - memory: each keyspace has at most four memtables (one active, three waiting), and the engine
//!   stops taking more before the fourth waits; blocks that were read share one cache;
//! - start-up: only journals are read, and there are at most [`JOURNALS_BYTES_MAX`] of them and the
//!   one that is being written.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fjall::compaction::Leveled;
use fjall::config::{BlockSizePolicy, FilterPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::super::StoreError;
use super::fault::{damaged, engine_error, io_error};
use super::record::DROPPED_KEY;
use super::trim::{Filters, Trim};

/// Size at which the memtable of messages becomes a file.
const MESSAGES_MEMTABLE_BYTES: u64 = 16 * 1024 * 1024;

/// The same for the other keyspaces.
const OTHERS_MEMTABLE_BYTES: u64 = 8 * 1024 * 1024;

/// Closed journals that may wait for a keyspace that is written little.
const JOURNALS_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Files that are merged into one are at most so large.
const TABLE_BYTES: u64 = 32 * 1024 * 1024;

/// A block of messages: a read of ten messages of 200 bytes is one block, mostly.
const BLOCK_BYTES: u32 = 8 * 1024;

/// Longest wait until the engine has let go of its files after it was closed.
const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// Longest wait until everything is in files when the store is closed: what is not is replayed.
const FLUSH_WAIT: Duration = Duration::from_secs(2);

/// Longest wait of one commit for the engine's background work.
const BACKLOG_WAIT: Duration = Duration::from_secs(30);

/// Which keyspace an operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    Rooms,
    Messages,
    Due,
    Cursors,
}

/// A write that waits for its commit. No key is in one commit twice.
#[derive(Debug)]
pub(super) enum Op {
    Insert(Space, Vec<u8>, Vec<u8>),
    Remove(Space, Vec<u8>),
}

impl Op {
    /// Bytes of key and value.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Op::Insert(_, key, value) => key.len() + value.len(),
            Op::Remove(_, key) => key.len(),
        }
    }
}

/// Why the engine's background work does not catch up.
pub(super) enum Backlog {
    /// It is too slow; nothing is lost.
    Slow(StoreError),
    /// It has ended; the engine has to be opened anew.
    Failed(StoreError),
}

/// The engine, open.
pub(super) struct Engine {
    dir: PathBuf,
    db: Database,
    pub(super) rooms: Keyspace,
    pub(super) messages: Keyspace,
    pub(super) due: Keyspace,
    pub(super) cursors: Keyspace,
    pub(super) trim: Arc<Trim>,
    /// The count of dropped entries that was written down when the engine was opened.
    pub(super) dropped: u64,
}

fn options(memtable_bytes: u64) -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(memtable_bytes)
        .manual_journal_persist(true)
        .compaction_strategy(Arc::new(Leveled::default().with_table_target_size(TABLE_BYTES)))
}

impl Engine {
    /// Opens the engine in `dir`, or creates it. Reads its journals and nothing else.
    pub(super) fn open(dir: &Path, block_cache_bytes: u64) -> Result<Engine, StoreError> {
        // Damaged files are mostly refused, but not all of them, and a panic would not say where.
        catch_unwind(AssertUnwindSafe(|| Engine::open_files(dir, block_cache_bytes))).unwrap_or_else(|_| {
            Err(damaged(dir.display(), "open the store", "files that do not fit together"))
        })
    }

    fn open_files(dir: &Path, block_cache_bytes: u64) -> Result<Engine, StoreError> {
        let failed = |error| engine_error(dir, "open the store", &error);
        let trim = Arc::<Trim>::default();
        let filters = Arc::new(Filters(trim.clone()));
        let db = Database::builder(dir)
            .cache_size(block_cache_bytes)
            .max_journaling_size(JOURNALS_BYTES_MAX)
            .manual_journal_persist(true)
            // One is enough, and the second would spin while the first merges files.
            .worker_threads(1)
            .with_compaction_filter_factories(Arc::new(move |keyspace| {
                (keyspace == "messages").then(|| filters.clone() as _)
            }))
            .open()
            .map_err(failed)?;
        let rooms = db.keyspace("rooms", || options(OTHERS_MEMTABLE_BYTES)).map_err(failed)?;
        let messages = db
            .keyspace("messages", || {
                // Messages are read by range only, which no filter helps.
                options(MESSAGES_MEMTABLE_BYTES)
                    .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
                    .filter_policy(FilterPolicy::disabled())
            })
            .map_err(failed)?;
        let due = db
            .keyspace("due", || options(OTHERS_MEMTABLE_BYTES).filter_policy(FilterPolicy::disabled()))
            .map_err(failed)?;
        let cursors = db.keyspace("cursors", || options(OTHERS_MEMTABLE_BYTES)).map_err(failed)?;
        let dropped = rooms.get(DROPPED_KEY).map_err(failed)?;
        let dropped = dropped.and_then(|count| count.first_chunk().copied()).map_or(0, u64::from_le_bytes);
        // Last, because from here on the engine has to be closed, not just dropped.
        trim.begin(rooms.clone());
        Ok(Engine { dir: dir.to_owned(), db, rooms, messages, due, cursors, trim, dropped })
    }

    /// What the engine answered, as an error of the store.
    pub(super) fn fault(&self, what: &str, error: &fjall::Error) -> StoreError {
        engine_error(&self.dir, what, error)
    }

    /// The number that the next batch gets.
    pub(super) fn next_batch(&self) -> u64 {
        self.db.seqno()
    }

    /// Makes files of everything that is in memory, and waits for that, but not for long; whether all
    /// of it is in files. Nothing may be written meanwhile.
    pub(super) fn flush(&self) -> bool {
        let began = Instant::now();
        let spaces = [&self.rooms, &self.messages, &self.due, &self.cursors];
        for space in spaces {
            if let Err(error) = space.rotate_memtable() {
                tracing::warn!("{}", self.fault("make files of what is in memory", &error));
                return false;
            }
        }
        while spaces.iter().any(|space| space.sealed_memtable_count() > 0) {
            // The second tells that the background work has ended.
            if began.elapsed() > FLUSH_WAIT || self.db.persist(PersistMode::Buffer).is_err() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Bytes of all files.
    pub(super) fn disk_space(&self) -> Result<u64, StoreError> {
        self.db.disk_space().map_err(|error| self.fault("measure the store", &error))
    }

    fn space(&self, space: Space) -> &Keyspace {
        match space {
            Space::Rooms => &self.rooms,
            Space::Messages => &self.messages,
            Space::Due => &self.due,
            Space::Cursors => &self.cursors,
        }
    }

    /// Writes all of `ops` or nothing, and waits for the disk if `sync`.
    pub(super) fn write(&self, ops: Vec<Op>, sync: bool) -> Result<(), StoreError> {
        // `fdatasync` is enough: it writes a file's length too if that is needed to read the data.
        let mode = if sync { PersistMode::SyncData } else { PersistMode::Buffer };
        let mut batch =
            fjall::OwnedWriteBatch::with_capacity(self.db.clone(), ops.len()).durability(Some(mode));
        for op in ops {
            match op {
                Op::Insert(space, key, value) => batch.insert(self.space(space), key, value),
                Op::Remove(space, key) => batch.remove(self.space(space), key),
            }
        }
        batch.commit().map_err(|error| self.fault("write a batch", &error))
    }

    /// Waits while the engine's background work is far behind. The engine would do that itself, but
    /// for ever, if that work had failed.
    pub(super) fn wait_for_backlog(&self) -> Result<(), Backlog> {
        let began = Instant::now();
        let spaces = [&self.rooms, &self.messages, &self.due, &self.cursors];
        while spaces.iter().any(|space| space.sealed_memtable_count() >= 3 || space.l0_table_count() >= 24) {
            self.db
                .persist(PersistMode::Buffer)
                .map_err(|error| Backlog::Failed(self.fault("write in the background", &error)))?;
            if began.elapsed() > BACKLOG_WAIT {
                return Err(Backlog::Slow(StoreError::Io(format!(
                    "cannot write in {}: the disk has been too slow for {} s; needed: a disk that keeps up; \
                     see `iostat -x`",
                    self.dir.display(),
                    BACKLOG_WAIT.as_secs(),
                ))));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Waits until everything that was written is on the disk.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.db.persist(PersistMode::SyncAll).map_err(|error| self.fault("flush the journal", &error))
    }

    /// Closes the engine, whatever state it is in, and waits until it has let go of its files.
    pub(super) fn close(self) -> Result<(), StoreError> {
        let Engine { dir, db, rooms, messages, due, cursors, trim, .. } = self;
        trim.end();
        drop((rooms, messages, due, cursors));
        drop(db);
        wait_until_let_go(&dir)
    }
}

/// The engine's threads end a moment after it was closed, and the last of them writes what was left
/// in a journal's buffer. What is done with journals from here on must come after that.
fn wait_until_let_go(dir: &Path) -> Result<(), StoreError> {
    let began = Instant::now();
    while holds_journal(dir).map_err(|error| io_error(dir, "list open files", &error))? {
        if began.elapsed() > CLOSE_WAIT {
            let text = format!("cannot close the store in {}: a write is stuck; see `dmesg`", dir.display());
            return Err(StoreError::Io(text));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Fails if the engine that was closed still holds a journal in `dir`.
pub(super) fn check_let_go(dir: &Path) -> Result<(), StoreError> {
    if holds_journal(dir).map_err(|error| io_error(dir, "list open files", &error))? {
        return Err(StoreError::Io(format!(
            "cannot go on in {}: a write is stuck; see `dmesg`",
            dir.display()
        )));
    }
    Ok(())
}

/// Whether this process has a journal in `dir` open, or may write to one.
fn holds_journal(dir: &Path) -> std::io::Result<bool> {
    // A server has very many descriptors, and no other engine.
    if !has_worker()? {
        return Ok(false);
    }
    let dir = fs::canonicalize(dir)?;
    for entry in fs::read_dir("/proc/self/fd")? {
        // A descriptor may be closed while the list is read.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        if target.parent() == Some(&dir) && target.extension().is_some_and(|extension| extension == "jnl") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a thread of an engine runs in this process.
fn has_worker() -> std::io::Result<bool> {
    for thread in fs::read_dir("/proc/self/task")? {
        // A thread may end while the list is read.
        let Ok(name) = fs::read(thread?.path().join("comm")) else { continue };
        if name.starts_with(b"fjall:worker") {
            return Ok(true);
        }
    }
    Ok(false)
}
