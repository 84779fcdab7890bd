//! Rooms on the disk, in an embedded engine (fjall): durable, and as many as the disk holds.
//!
//! What is promised:
//! - **Commit.** Everything staged becomes one batch of the engine's journal, which is applied whole
//!   or not at all. With a room of `fsync` durability in it, the commit returns when the
//!   journal is on the disk; otherwise when the operating system has it, so it survives the end of
//!   this process, but not that of the machine (`session.rs` tells what follows).
//! - **A commit that fails has not happened.** Its batch is cut out of the journal, and what memory
//!   knew is thrown away. After an `fsync` that failed, nobody knows which pages are on the disk,
//!   and another `fsync` would not tell; so the journal is never written again. The engine is
//!   opened anew: it replays that journal up to the last commit that succeeded, writes all of
//!   it to new files, and goes on in a new journal. Until that has worked, which is tried once
//!   a second, every call answers an error. Publishers were told of the failure, readers saw
//!   none of it, so its numbers may be given again.
//! - **A full disk.** Commits are refused while less than `disk_free_bytes_min` is free, before
//!   anything is written. Nothing is to be done but to free space.
//! - **A torn end of the journal** is what a process leaves that is killed while it writes. It was
//!   not acknowledged; it is cut off, with a warning.
//! - **Damage.** The engine has a checksum of every block and every batch. A room whose block is
//!   damaged answers errors, others go on, until the engine merges that block's file: it cannot, so
//!   commits fail from then on, and the log says what to do. A journal that is damaged before its
//!   end, so that acknowledged messages would be skipped, is an error at start that says what to do.
//!
//! Files: `format` and `session` (`session.rs`), `db/` (the engine's, `files.rs`). One that is missing
//! is an error at start.
//!
//! A room is in memory while it is used, with its recent publications; `resident.rs` bounds that.
//! Nothing is written per publish but the message. What has to happen later is in the keyspace
//! `due`, one entry a room (`sweep.rs`), and space is freed by compactions (`trim.rs`).

mod commit;
mod engine;
mod fault;
mod files;
mod journal;
mod operations;
mod reclaim;
mod record;
mod room;
mod session;
mod sweep;
mod trim;

#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::memory::Epochs;
use super::recent::Missing;
use super::resident::{ROOM_BYTES, Resident};
use super::stats::{StoreStats, add};
use super::{Range, StoreError};
use crate::hub::{Durability, Retention};
use commit::Staged;
use engine::Engine;
use fault::{damaged, io_error};
use reclaim::Reclaim;
use record::{NAME_BYTES_MAX, Record};
use room::Room;
use session::{Ended, Session};

/// Publications of one room that stay in memory: what one recovery may ask for, and some.
const RECENT_COUNT_MAX: usize = 512;

/// How an [`Embedded`] store uses memory and disk.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedOptions {
    /// Bytes of memory for rooms and their recent publications (three quarters), and for blocks of
    /// files (one quarter). The engine's write buffers, up to about 100 MiB, come on top.
    pub cache_bytes_max: usize,
    /// Free bytes of the disk below which nothing more is taken.
    pub disk_free_bytes_min: u64,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        EmbeddedOptions { cache_bytes_max: 64 << 20, disk_free_bytes_min: 64 << 20 }
    }
}

/// Rooms on the disk.
pub struct Embedded {
    dir: PathBuf,
    options: EmbeddedOptions,
    /// None after a failure, until it could be opened anew.
    engine: Option<Engine>,
    broken: Broken,
    session: Session,
    rooms: Resident<Room>,
    staged: Staged,
    /// What failed outside a commit while something was staged; the next commit fails of it.
    doomed: Option<StoreError>,
    epochs: Epochs,
    reclaim: Reclaim,
    stats: Arc<StoreStats>,
    /// Batches to write until one is said to have failed; afterwards, none.
    #[cfg(test)]
    fail_after: Option<u32>,
}

/// What is known of the failure that closed the engine.
struct Broken {
    why: StoreError,
    retry_at: Instant,
    /// When it was last tried to open it anew.
    tried_at: Option<Instant>,
    /// Number of the first batch that must not be replayed.
    cut_from: Option<u64>,
    /// A number that the last batch that was acknowledged has at least.
    committed: u64,
    /// The same for the last batch that was on the disk when it was acknowledged.
    synced: u64,
}

impl Broken {
    fn new() -> Broken {
        Broken {
            why: StoreError::Io(String::new()),
            retry_at: Instant::now(),
            tried_at: None,
            cut_from: None,
            committed: 0,
            synced: 0,
        }
    }
}

/// What a caller does with a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Enter {
    /// Looks; that is no use of the room.
    Peek,
    /// Uses it, if there is one.
    Use,
    /// Uses it, and makes one if there is none.
    Make,
}

impl Embedded {
    /// Opens the store in `dir`, or creates it there. The directory is this process's alone; who
    /// calls this has seen to that (`control::DataDir`).
    ///
    /// # Errors
    ///
    /// The directory cannot be written, is of another format, or is damaged. The text says which,
    /// and what to do.
    pub fn open(dir: &Path, options: EmbeddedOptions) -> Result<Embedded, StoreError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| io_error(dir, "create the directory", &error))?;
        let (session, ended) = Session::open(dir)?;
        let db = dir.join("db");
        if ended == Ended::Never {
            session.make()?;
            if db.exists() {
                fs::remove_dir_all(&db).map_err(|error| io_error(&db, "remove half a store", &error))?;
            }
        } else {
            files::check(&db, ended, session.noted())?;
            session.forget_lengths()?;
            journal::mend(&db, ended == Ended::Lost)?;
            session.begin()?;
        }
        let engine = Engine::open(&db, block_cache_bytes(options))?;
        // A journal that was written to is told from one that was emptied.
        engine.write(vec![record::dropped_op(engine.dropped)], true)?;
        session.go_on()?;
        let mut reclaim = Reclaim::default();
        reclaim.begin(engine.dropped);
        Ok(Embedded {
            dir: dir.to_owned(),
            options,
            engine: Some(engine),
            broken: Broken::new(),
            session,
            rooms: Resident::new(options.cache_bytes_max - options.cache_bytes_max / 4),
            staged: Staged::default(),
            doomed: None,
            epochs: Epochs::new(),
            reclaim,
            stats: Arc::default(),
            #[cfg(test)]
            fail_after: None,
        })
    }

    /// What the store did, for other threads to read.
    pub fn stats(&self) -> Arc<StoreStats> {
        self.stats.clone()
    }

    /// Bytes that the store's files take.
    ///
    /// # Errors
    ///
    /// The file system refuses to tell, or the engine is closed after a failure.
    pub fn disk_space(&mut self) -> Result<u64, StoreError> {
        self.ready()?;
        self.engine()?.disk_space()
    }

    fn engine(&self) -> Result<&Engine, StoreError> {
        self.engine.as_ref().ok_or_else(|| self.broken.why.clone())
    }

    /// The room as it is used now; `None` if there is none and none is to be made.
    fn enter(
        &mut self,
        name: &str,
        keep: &Retention,
        now_ms: u64,
        how: Enter,
    ) -> Result<Option<&mut Room>, StoreError> {
        check_name(name)?;
        self.ready()?;
        let losses = self.session.losses();
        let mut made = false;
        if !self.rooms.contains(name) {
            let room = match self.load(name)? {
                Some(room) => room,
                None if how != Enter::Make => return Ok(None),
                None => {
                    made = true;
                    Room::new(name.into(), self.epochs.next(), keep, losses, now_ms)
                }
            };
            let bytes = room.bytes();
            self.rooms.insert(room.name.clone(), room, bytes);
        }
        let room = self.rooms.get(name).expect("it is in memory");
        if room.is_in_doubt(losses) || room.stream.is_forgotten(keep, now_ms) {
            if how != Enter::Make {
                return Ok(None);
            }
            // The entry in `due` goes on to the new stream.
            let (before, due_ms) = (room.bytes(), room.due_ms);
            let (dirty, round) = (room.dirty, room.staged.0);
            *room = Room::new(room.name.clone(), self.epochs.next(), keep, losses, now_ms);
            room.due_ms = due_ms;
            (room.dirty, room.staged) = (dirty, (round, 1));
            self.rooms.adjust(before, ROOM_BYTES + name.len());
            made = true;
        }
        let room = self.rooms.get(name).expect("it is in memory");
        if how != Enter::Peek {
            let noted = room.stream.note(keep, now_ms);
            if made || noted || room.keep != *keep {
                // What was less durable before is made durable with the record, and a room that is
                // less durable from now on must say so before its first such message.
                self.staged.sync |= room.keep.durability != keep.durability;
                self.staged.sync |= made && keep.durability == Durability::Fsync;
                room.keep = *keep;
                self.staged.record(room);
            }
        }
        self.staged.now_ms = now_ms;
        Ok(self.rooms.get(name))
    }

    /// The room as it is written, with its last publication; `None` if there is none.
    fn load(&self, name: &str) -> Result<Option<Room>, StoreError> {
        let engine = self.engine()?;
        let fault = |error| engine.fault(&format!("read room {name:?}"), &error);
        add(&self.stats.reads, 1);
        let Some(record) = engine.rooms.get(record::room_key(name)).map_err(fault)? else {
            return Ok(None);
        };
        add(&self.stats.read_bytes, record.len() as u64);
        let Some(record) = Record::decode(&record) else {
            return Err(damaged(
                self.dir.display(),
                format!("read room {name:?}"),
                "a record of another form",
            ));
        };
        let mut room = Room::of_record(name.into(), record);
        let stream = &mut room.stream;
        if stream.floor < stream.top {
            let bound = record::message_key(name, stream.epoch, stream.top);
            if !engine.messages.contains_key(bound).map_err(fault)? {
                let found = format!("no publication {}, which its record tells of", stream.top);
                return Err(damaged(self.dir.display(), format!("read room {name:?}"), found));
            }
        }
        let above = record::message_key(name, stream.epoch, stream.top.saturating_add(1));
        let end = record::message_key(name, stream.epoch, u64::MAX);
        add(&self.stats.reads, 1);
        if let Some(last) = engine.messages.range(above..=end).next_back() {
            let (key, value) = last.into_inner().map_err(fault)?;
            add(&self.stats.read_bytes, (key.len() + value.len()) as u64);
            let (Some((_, _, offset)), Some((published_ms, body))) =
                (record::split_message_key(&key), record::split_message_value(&value))
            else {
                return Err(damaged(self.dir.display(), format!("read room {name:?}"), "a short message"));
            };
            stream.top = offset;
            stream.published_ms = published_ms;
            stream.recent.push(Bytes::copy_from_slice(body));
        }
        Ok(Some(room))
    }

    /// Bodies of `missing` from the disk, ascending, and which they are: those that `range` wants
    /// first, as many as it allows.
    fn read_bodies(
        &self,
        room: &Room,
        missing: Missing,
        range: Range,
    ) -> Result<(Missing, Vec<Bytes>), StoreError> {
        let engine = self.engine()?;
        let name = &*room.name;
        let key = |offset| record::message_key(name, room.stream.epoch, offset);
        let mut messages = engine.messages.range(key(missing.first)..=key(missing.last));
        let mut bodies = Vec::new();
        let (mut bytes, mut body_bytes) = (0, 0);
        let count = missing.last - missing.first + 1;
        while (bodies.len() as u64) < count && (bodies.is_empty() || body_bytes < range.bytes_max) {
            let passed = bodies.len() as u64;
            let expected = if range.reverse { missing.last - passed } else { missing.first + passed };
            let message = if range.reverse { messages.next_back() } else { messages.next() };
            let message = message.map(|message| message.into_inner()).transpose();
            let message = message.map_err(|error| engine.fault(&format!("read room {name:?}"), &error))?;
            let found = message.as_ref().and_then(|(key, value)| {
                let (_, _, offset) = record::split_message_key(key)?;
                let (_, body) = record::split_message_value(value)?;
                (offset == expected).then_some((key.len() + value.len(), body))
            });
            let Some((read_bytes, body)) = found else {
                let found = format!("no publication {expected}");
                return Err(damaged(self.dir.display(), format!("read room {name:?}"), found));
            };
            bytes += read_bytes;
            body_bytes += body.len();
            bodies.push(Bytes::copy_from_slice(body));
        }
        add(&self.stats.reads, 1);
        add(&self.stats.read_bytes, bytes as u64);
        let read = bodies.len() as u64;
        let part = if range.reverse {
            bodies.reverse();
            Missing { first: missing.last + 1 - read, ..missing }
        } else {
            Missing { last: missing.first + read - 1, ..missing }
        };
        Ok((part, bodies))
    }

    /// Bytes that the publications of a room may take in memory that is read from.
    fn recent_bytes_max(&self) -> usize {
        self.options.cache_bytes_max / 8
    }

    /// The same for a room that is published to, whose publications need not all be in memory.
    fn appended_bytes_max(&self) -> usize {
        let share = self.rooms.share().map(|share| share.saturating_sub(ROOM_BYTES));
        share.map_or(self.recent_bytes_max(), |share| share.min(self.recent_bytes_max()))
    }

    /// Drops the rooms that were out of use for longest, but none of which something is staged.
    fn shrink(&mut self) {
        let round = self.staged.round;
        while let Some((_, room)) = self.rooms.pop_surplus(|room| room.staged.0 != round) {
            self.rooms.adjust(room.bytes(), 0);
        }
        self.stats.rooms_resident.store(self.rooms.len() as u64, std::sync::atomic::Ordering::Relaxed);
        self.stats.resident_bytes.store(self.rooms.bytes() as u64, std::sync::atomic::Ordering::Relaxed);
    }
}

fn block_cache_bytes(options: EmbeddedOptions) -> u64 {
    (options.cache_bytes_max / 4) as u64
}

/// Names come from clients, whose limit is far lower; a longer one has no key.
fn check_name(name: &str) -> Result<(), StoreError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(StoreError::Io(format!(
            "cannot keep a name of {} bytes; needed: 1 to {NAME_BYTES_MAX}",
            name.len()
        )));
    }
    Ok(())
}

impl Drop for Embedded {
    /// Closes the store, and says that it was closed if everything is on the disk.
    fn drop(&mut self) {
        let Some(engine) = self.engine.take() else { return };
        self.reclaim.end(&engine.trim);
        let closed = engine.sync().and_then(|()| {
            let flushed = engine.flush();
            engine.close()?;
            if flushed {
                // A process that is killed from here on leaves shorter journals, and no damage.
                self.session.begin()?;
                journal::empty(&self.dir.join("db"))?;
            }
            self.session.end()
        });
        if let Err(error) = closed {
            tracing::error!("the store was not closed: {error}");
        }
    }
}

#[cfg(test)]
impl Embedded {
    /// Ends as a process does that is killed.
    fn kill(mut self) {
        let engine = self.engine.take().unwrap();
        self.reclaim.end(&engine.trim);
        engine.close().unwrap();
    }

    /// Bytes of the files of messages.
    fn tables_bytes(&self) -> u64 {
        self.engine.as_ref().unwrap().messages.disk_space()
    }
}
