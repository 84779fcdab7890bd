//! What a store is asked, answered from memory where that has the answer.

use bytes::Bytes;

use super::super::stats::add;
use super::super::{Position, Publication, Range, Store, StoreError, Version};
use super::engine::{Op, Space};
use super::{Embedded, Enter, RECENT_COUNT_MAX, check_name, record};
use crate::hub::{Durability, Retention};

impl Store for Embedded {
    fn position(&mut self, room: &str, keep: &Retention, now_ms: u64) -> Result<Position, StoreError> {
        let room = self.enter(room, keep, now_ms, Enter::Make)?.expect("made");
        let position = room.stream.position();
        self.shrink();
        Ok(position)
    }

    fn peek(&mut self, room: &str, keep: &Retention, now_ms: u64) -> Result<Option<Position>, StoreError> {
        let position = self.enter(room, keep, now_ms, Enter::Peek)?.map(|room| room.stream.position());
        self.shrink();
        Ok(position)
    }

    fn append(
        &mut self,
        room: &str,
        keep: &Retention,
        now_ms: u64,
        body: &Bytes,
        version: Option<&Version>,
    ) -> Result<Option<Position>, StoreError> {
        let bytes_max = self.appended_bytes_max();
        self.enter(room, keep, now_ms, Enter::Make)?;
        let room = self.rooms.get(room).expect("entered");
        let before = room.bytes();
        let mut record = false;
        if let Some(version) = version {
            if !room.stream.admits(version) {
                return Ok(None);
            }
            room.stream.version = Some(Box::new(version.clone()));
            record = true;
        }
        let mut gone = if room.stream.is_dropped(keep, now_ms) { room.stream.clear() } else { 0 };
        let offset = room.stream.push(now_ms, body.clone());
        let key = record::message_key(&room.name, room.stream.epoch, offset);
        let op = Op::Insert(Space::Messages, key, record::message_value(now_ms, body));
        self.staged.message(room, offset, op);
        self.staged.sync |= keep.durability == Durability::Fsync;
        gone += room.stream.trim(keep, u64::MAX);
        self.reclaim.drop_entries(gone);
        if record || gone > 0 || room.is_due_earlier(now_ms) {
            self.staged.record(room);
        }
        let count_max = RECENT_COUNT_MAX.min(keep.size as usize);
        room.stream.recent.shorten(offset, count_max, bytes_max, room.staged.1);
        let (position, after) = (room.stream.position(), room.bytes());
        self.rooms.adjust(before, after);
        self.shrink();
        Ok(Some(position))
    }

    fn read(
        &mut self,
        room: &str,
        keep: &Retention,
        now_ms: u64,
        range: Range,
    ) -> Result<Vec<Publication>, StoreError> {
        let name = room;
        let bytes_max = self.recent_bytes_max();
        let Some(room) = self.enter(name, keep, now_ms, Enter::Use)? else {
            return Ok(Vec::new());
        };
        let top = room.stream.top;
        let Some(wanted) = room.stream.wanted(keep, now_ms, range) else {
            self.shrink();
            return Ok(Vec::new());
        };
        let Some(missing) = room.stream.recent.missing(top, wanted.0, wanted.1) else {
            let publications = room.stream.recent.collect(top, wanted, None, range.reverse);
            self.shrink();
            return Ok(range.within_bytes(publications));
        };
        if let Some(publications) = room.stream.recent.enough(top, wanted, range) {
            self.shrink();
            return Ok(publications);
        }
        let room = self.rooms.peek(name).expect("entered");
        let (part, bodies) = self.read_bodies(room, missing, range)?;
        // What was not read is not wanted: there are bytes enough before it.
        let wanted = match (part == missing, range.reverse) {
            (true, _) => wanted,
            (false, true) => (part.first, wanted.1),
            (false, false) => (wanted.0, part.last),
        };
        let room = self.rooms.get(name).expect("entered");
        let before = room.bytes();
        let recent = &mut room.stream.recent;
        let publications = recent.collect(top, wanted, Some((part, &bodies)), range.reverse);
        if bodies.iter().map(Bytes::len).sum::<usize>() <= bytes_max {
            let staged_from = if room.staged.0 == self.staged.round { room.staged.1 } else { top + 1 };
            recent.keep(top, part, &bodies);
            recent.shorten_tail(top, bytes_max, staged_from);
            recent.shorten(top, usize::MAX, bytes_max, staged_from);
        }
        let after = room.bytes();
        self.rooms.adjust(before, after);
        self.shrink();
        Ok(range.within_bytes(publications))
    }

    fn clear(&mut self, room: &str, keep: &Retention, now_ms: u64) -> Result<(), StoreError> {
        let Some(room) = self.enter(room, keep, now_ms, Enter::Use)? else {
            return Ok(());
        };
        let name = room.name.clone();
        let room = self.rooms.get(&name).expect("entered");
        let before = room.bytes();
        let gone = room.stream.clear();
        if gone > 0 {
            self.reclaim.drop_entries(gone);
            self.staged.sync |= keep.durability == Durability::Fsync;
            self.staged.record(room);
        }
        let after = room.bytes();
        self.rooms.adjust(before, after);
        Ok(())
    }

    fn cursor(&mut self, user: &str, room: &str) -> Result<Option<Position>, StoreError> {
        check_name(user)?;
        check_name(room)?;
        self.ready()?;
        let key = record::cursor_key(user, room);
        if let Some(cursor) = self.staged.cursors.get(&key) {
            return Ok(Some(*cursor));
        }
        let engine = self.engine()?;
        add(&self.stats.reads, 1);
        let value = engine.cursors.get(&key).map_err(|error| engine.fault("read a cursor", &error))?;
        add(&self.stats.read_bytes, value.as_ref().map_or(0, |value| value.len()) as u64);
        Ok(value.and_then(|value| record::decode_cursor(&value)))
    }

    fn set_cursor(
        &mut self,
        user: &str,
        room: &str,
        keep: &Retention,
        cursor: Position,
    ) -> Result<(), StoreError> {
        check_name(user)?;
        check_name(room)?;
        self.ready()?;
        self.staged.sync |= keep.durability == Durability::Fsync;
        self.staged.cursors.insert(record::cursor_key(user, room), cursor);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        let result = self.commit_staged();
        self.shrink();
        result
    }

    fn sweep(&mut self, now_ms: u64) -> Result<bool, StoreError> {
        self.ready()?;
        self.sweep_due(now_ms)
    }
}
