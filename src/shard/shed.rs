//! What is done about connections that read more slowly than they are sent to.
//!
//! Two bounds, of what waits for one connection and of what waits for all, are kept at the end of each
//! turn: there the service is asked first what a connection can do without. Within a turn, where
//! the service is at work, the sum is kept as well, and one connection may have twice its bound.

use std::collections::{BinaryHeap, HashSet};

use crate::conn::{CloseReason, ConnectionId, Key, NO_OUTPUT, Phase};
use crate::protocol::code::Disconnect;
use crate::shard::{Io, Service, Shard, SlowReason};

impl<P> Io<P> {
    /// Whether something waits for connection `key` to read.
    pub fn has_backlog(&self, key: Key) -> bool {
        self.connections[key as usize].backlog.is_some()
    }

    /// Whether something waits for connection `key`, or is queued for it in this turn.
    pub fn is_behind(&self, key: Key) -> bool {
        let connection = &self.connections[key as usize];
        connection.backlog.is_some() || connection.pending != NO_OUTPUT
    }

    /// What the marked frames that wait for connection `key` to read are of, each once.
    pub fn marked_waiting(&self, key: Key) -> HashSet<u64> {
        self.connections[key as usize].backlog.as_ref().map(|backlog| backlog.marked()).unwrap_or_default()
    }

    /// Drops the frames of `of` that wait for connection `key`, but for one that is half way out.
    /// Returns where the first of them stands; `None` if nothing was dropped.
    pub fn drop_waiting(&mut self, key: Key, of: u64) -> Option<u64> {
        let backlog = self.connections[key as usize].backlog.as_mut()?;
        self.stats.backlog_bytes.subtract(backlog.held_bytes() as u64);
        let first = backlog.drop_marked(of);
        self.stats.backlog_bytes.add(backlog.held_bytes() as u64);
        first
    }

    /// Has `Service::written` called once everything that is queued for connection `key` is written.
    pub fn tell_when_written(&mut self, key: Key) {
        let id = self.id(key);
        let connection = &mut self.connections[key as usize];
        if !connection.is_awaited {
            connection.is_awaited = true;
            self.awaited.push(id);
        }
    }

    /// A connection that is to be told of and has nothing waiting. One that has is looked at again when
    /// that is written.
    fn next_written(&mut self) -> Option<Key> {
        let mut unwritten = Vec::new();
        let mut next = None;
        while let Some(id) = self.awaited.pop() {
            let Some(connection) = self.connections.get_mut(id.key as usize) else { continue };
            let is_open = connection.generation == id.generation && connection.phase == Phase::Open;
            if !is_open || connection.backlog.is_some() {
                continue;
            }
            if connection.pending != NO_OUTPUT {
                // It is written in this turn, and looked at again then.
                unwritten.push(id);
                continue;
            }
            connection.is_awaited = false;
            next = Some(id.key);
            break;
        }
        self.awaited.append(&mut unwritten);
        next
    }

    /// The next connection for which more waits than may.
    fn next_overfull(&mut self) -> Option<ConnectionId> {
        while let Some(id) = self.overfull.pop() {
            if self.waiting_for(id) > self.settings.backlog_bytes_max && self.is_open(id.key) {
                return Some(id);
            }
        }
        None
    }

    /// What waits for connection `id`, in bytes that it costs; 0 once it is gone.
    fn waiting_for(&self, id: ConnectionId) -> usize {
        let connection = self.connections.get(id.key as usize);
        let backlog = connection.filter(|connection| connection.generation == id.generation);
        backlog.and_then(|connection| connection.backlog.as_ref()).map_or(0, |backlog| backlog.held_bytes())
    }

    /// Whether more waits for all connections together than may.
    fn is_too_much(&self) -> bool {
        self.stats.backlog_bytes.get() > self.settings.backlog_total_bytes_max as u64
    }

    /// Keeps the bounds within a turn, without the service.
    pub(super) fn shed_most(&mut self) {
        let far_over = self.settings.backlog_bytes_max.saturating_mul(2);
        let mut overfull = std::mem::take(&mut self.overfull);
        overfull.retain(|id| {
            let goes = self.waiting_for(*id) > far_over;
            if goes {
                self.close_slow(id.key, SlowReason::Backlog);
            }
            !goes
        });
        overfull.append(&mut self.overfull);
        self.overfull = overfull;
        if self.is_too_much() {
            let mut worst = self.worst_first();
            while self.is_too_much()
                && let Some((_, id)) = worst.pop()
            {
                self.close_slow(id.key, SlowReason::Budget);
            }
        }
    }

    /// Ends a connection for which more waits than may: with 3008, or at once if it had ended already.
    fn close_slow(&mut self, key: Key, reason: SlowReason) {
        if self.is_open(key) {
            self.stats.slow_closes.count(reason);
            self.close(key, CloseReason::Disconnect(Disconnect::Slow));
        } else {
            self.fail(key);
        }
    }

    /// The connections with a backlog, ending ones among them, by its size: the largest goes first when
    /// all together are too much.
    fn worst_first(&self) -> BinaryHeap<(usize, ConnectionId)> {
        self.backlogged.iter().map(|id| (self.waiting_for(*id), *id)).filter(|(held, _)| *held > 0).collect()
    }

    /// Closes connections whose backlog made no progress within the write timeout.
    pub(super) fn close_stalled(&mut self) {
        let (now_ms, timeout_ms) = (self.clock.now_ms(), u64::from(self.settings.write_timeout_ms));
        let mut backlogged = std::mem::take(&mut self.backlogged);
        backlogged.retain(|id| {
            if !self.holds_backlog(*id) {
                return false;
            }
            let stalled = |io: &Self| {
                let connection = &io.connections[id.key as usize];
                let backlog = connection.backlog.as_ref().filter(|_| connection.phase == Phase::Open);
                backlog.is_some_and(|backlog| now_ms.saturating_sub(backlog.progressed_at_ms()) >= timeout_ms)
            };
            if stalled(self) {
                // Linux tells that a socket is writable only once a third of its buffer is free, so a
                // slow but steady reader shows only in what the socket takes.
                self.write_backlog(id.key);
                if stalled(self) {
                    self.stats.write_timeout_closes.add(1);
                    self.close(id.key, CloseReason::Disconnect(Disconnect::WriteError));
                }
            }
            self.holds_backlog(*id)
        });
        backlogged.append(&mut self.backlogged);
        self.backlogged = backlogged;
    }

    /// Whether `id` is there and has a backlog; one that has none is not listed any more.
    fn holds_backlog(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get_mut(id.key as usize) else { return false };
        if connection.generation != id.generation {
            return false;
        }
        connection.is_listed = connection.backlog.is_some() && connection.phase != Phase::Dead;
        connection.is_listed
    }
}

impl<S: Service> Shard<S> {
    /// Tells the service of those who have read what waited for them, if it wants to know.
    pub(super) fn tell_written(&mut self) {
        while let Some(key) = self.io.next_written() {
            self.service.written(&mut self.io, key);
        }
    }

    /// Has those for whom too much waits do with less, if the service can, else without us. Then the same
    /// with those for whom most waits, while all together are too much.
    pub(super) fn shed(&mut self) {
        while let Some(id) = self.io.next_overfull() {
            self.relieve(id, SlowReason::Backlog);
        }
        if self.io.is_too_much() {
            let mut worst = self.io.worst_first();
            while self.io.is_too_much()
                && let Some((_, id)) = worst.pop()
            {
                self.relieve(id, SlowReason::Budget);
            }
        }
    }

    /// Has `id` do with less, or closes it.
    fn relieve(&mut self, id: ConnectionId, reason: SlowReason) {
        let before = self.io.waiting_for(id);
        if self.io.is_open(id.key) {
            self.service.overfull(&mut self.io, id.key);
        }
        let after = self.io.waiting_for(id);
        if after == before || after > self.io.settings.backlog_bytes_max {
            self.io.close_slow(id.key, reason);
        }
    }
}
