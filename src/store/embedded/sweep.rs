//! Does what is due: drops messages that are too old, and forgets rooms that nobody uses.
//!
//! A room has one entry in `due`, at a time before which nothing has to happen. When that time
//! comes the room is looked at: its messages are dropped, or it is forgotten, or the entry moves to
//! when that will be so. A busy room is therefore looked at once per `ttl_ms`.

use super::super::StoreError;
use super::super::stats::add;
use super::commit::write_record;
use super::engine::{Op, Space};
use super::{Embedded, record};

/// Entries that one call works off.
const SWEEP_ENTRIES_MAX: usize = 256;

impl Embedded {
    /// Works off some of what is due at `now_ms`; whether there is more.
    pub(super) fn sweep_due(&mut self, now_ms: u64) -> Result<bool, StoreError> {
        if self.doomed.is_some() {
            return Ok(false);
        }
        let engine = self.engine.as_ref().ok_or_else(|| StoreError::Io(self.broken.why.clone()))?;
        let fault = |error| engine.fault("read what is due", &error);
        self.reclaim.look(engine);
        self.stats.freed.store(engine.trim.freed(), std::sync::atomic::Ordering::Relaxed);
        let mut entries = Vec::new();
        for entry in engine.due.range(..now_ms.saturating_add(1).to_be_bytes()).take(SWEEP_ENTRIES_MAX) {
            entries.push(entry.key().map_err(fault)?);
        }
        add(&self.stats.reads, 1);
        add(&self.stats.read_bytes, entries.iter().map(|key| key.len() as u64).sum());
        let more = entries.len() == SWEEP_ENTRIES_MAX;
        let mut ops = Vec::new();
        ops.extend(self.reclaim.mark().map(record::dropped_op));
        let mut sync = false;
        for key in entries {
            match record::split_due_key(&key) {
                Some((due_ms, name)) => sync |= self.sweep_room(&mut ops, due_ms, name, now_ms)?,
                None => ops.push(Op::Remove(Space::Due, key.to_vec())),
            }
        }
        if ops.is_empty() {
            // All of them wait for a commit.
            return Ok(false);
        }
        self.write_apart(ops, sync)?;
        Ok(more)
    }

    /// Stages in `ops` what is due for a room; whether it must be on the disk before it is seen.
    fn sweep_room(
        &mut self,
        ops: &mut Vec<Op>,
        due_ms: u64,
        name: &str,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let mut loaded = None;
        let round = self.staged.round;
        if !self.rooms.contains(name) {
            loaded = self.load(name)?;
        }
        let room = match &mut loaded {
            Some(room) => room,
            None => match self.rooms.peek_mut(name) {
                Some(room) if room.staged.0 == round => return Ok(false),
                Some(room) => room,
                None => {
                    ops.push(Op::Remove(Space::Due, record::due_key(due_ms, name)));
                    return Ok(false);
                }
            },
        };
        if room.due_ms != Some(due_ms) {
            ops.push(Op::Remove(Space::Due, record::due_key(due_ms, name)));
            return Ok(false);
        }
        let keep = room.keep;
        if room.stream.is_forgotten(&keep, now_ms) {
            ops.push(Op::Remove(Space::Due, record::due_key(due_ms, name)));
            ops.push(Op::Remove(Space::Rooms, record::room_key(name)));
            let bytes = room.bytes();
            self.reclaim.drop_entries(room.stream.clear() + 1);
            if loaded.is_none() {
                self.rooms.remove(name);
                self.rooms.adjust(bytes, 0);
            }
            return Ok(true);
        }
        let before = room.bytes();
        let gone = if room.stream.is_dropped(&keep, now_ms) { room.stream.clear() } else { 0 };
        self.reclaim.drop_entries(gone);
        // Moves the entry, whose time has come.
        room.due_ms = None;
        ops.push(Op::Remove(Space::Due, record::due_key(due_ms, name)));
        write_record(ops, room, now_ms);
        let after = room.bytes();
        if loaded.is_none() {
            self.rooms.adjust(before, after);
        }
        Ok(gone > 0)
    }

    /// Writes a batch beside what is staged, which stays so: if this fails, the next commit does.
    fn write_apart(&mut self, ops: Vec<Op>, sync: bool) -> Result<(), StoreError> {
        if self.staged.is_empty() {
            return self.write(ops, sync);
        }
        let engine = self.engine()?;
        let first = engine.next_batch();
        if let Err(error) = engine.write(ops, sync) {
            let text = error.to_string();
            self.broken.cut_from = Some(first);
            self.doomed = Some(error);
            return Err(StoreError::Io(text));
        }
        self.broken.committed = first;
        if sync {
            self.broken.synced = first;
        }
        Ok(())
    }
}
