//! A shard's connections and what its service can do with them.
//!
//! Everything a service sends is queued and leaves at the end of the turn, one write for each
//! connection; only what the kernel refuses then is kept as that connection's backlog.
//!
//! Invariants:
//! - a connection is in `ended` exactly once in its life, when it leaves `Phase::Open`;
//! - `stats.backlog_bytes` is the sum of all backlogs;
//! - a socket is registered for writability exactly while its connection has a backlog.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use slab::Slab;

use crate::conn::{Backlog, CloseReason, Connection, ConnectionId, Key, Mark, NO_OUTPUT, Phase};
use crate::shard::admission::Admission;
use crate::shard::clock::Clock;
use crate::shard::output::{FrameId, Output};
use crate::shard::wheel::Wheel;
use crate::shard::write::{drain_backlog, write_frames};
use crate::shard::{Settings, Stats};
use crate::wire::{Control, OpCode, Refusal, frame};

/// A connection as shards keep it.
pub type Conn<P> = Connection<TcpStream, P>;

/// A shard's connections and what its service can do with them.
#[derive(Debug)]
pub struct Io<P> {
    pub(super) connections: Slab<Conn<P>>,
    pub(super) output: Output,
    pub(super) wheel: Wheel,
    pub(super) clock: Clock,
    pub(super) registry: Registry,
    pub(super) settings: Settings,
    pub(super) stats: Arc<Stats>,
    pub(super) admission: Admission,
    /// Connections that left `Phase::Open` and of which the service was not told yet.
    pub(super) ended: Vec<(Key, CloseReason)>,
    /// Connections whose slot is to be freed.
    pub(super) dead: Vec<Key>,
    /// Connections that had a backlog when last looked at.
    pub(super) backlogged: Vec<ConnectionId>,
    /// When the service's alarm goes off.
    pub(super) alarm_at_ms: Option<u64>,
    /// Connections for which more waits than may, as of their last write.
    pub(super) overfull: Vec<ConnectionId>,
    /// Connections that may have nothing waiting any more, which the service wants to know.
    pub(super) awaited: Vec<ConnectionId>,
    /// The frames of the connection that is being written to.
    pub(super) writing: Vec<FrameId>,
}

/// The token under which a connection's socket is registered.
pub(super) fn token(id: ConnectionId) -> Token {
    Token((id.generation as usize) << 32 | id.key as usize)
}

/// The connection that an event's token names.
pub(super) fn connection_id(token: Token) -> ConnectionId {
    ConnectionId { key: token.0 as u32, generation: (token.0 >> 32) as u32 }
}

/// Watches a new connection's socket, edge-triggered, for what it can read.
pub(super) fn register(registry: &Registry, socket: &TcpStream, id: ConnectionId) -> io::Result<()> {
    registry.register(&mut SourceFd(&socket.as_raw_fd()), token(id), Interest::READABLE)
}

impl<P> Io<P> {
    /// The service's state of connection `key`.
    ///
    /// # Panics
    ///
    /// If there is no such connection: a service forgets a key when it is told that it `closed`.
    pub fn peer(&mut self, key: Key) -> &mut P {
        &mut self.connections[key as usize].peer
    }

    /// The service's state of connection `id`, if it is still open.
    pub fn peer_of(&mut self, id: ConnectionId) -> Option<&mut P> {
        let connection = self.connections.get_mut(id.key as usize)?;
        (connection.generation == id.generation && connection.phase == Phase::Open)
            .then_some(&mut connection.peer)
    }

    /// What names connection `key` even after its key was given to another.
    pub fn id(&self, key: Key) -> ConnectionId {
        ConnectionId { key, generation: self.connections[key as usize].generation }
    }

    /// Whether what is sent to `key` still has a chance to arrive.
    pub fn is_open(&self, key: Key) -> bool {
        self.connections.get(key as usize).is_some_and(|connection| connection.phase == Phase::Open)
    }

    /// A number above every key, for whoever looks at all connections; not all below it are taken.
    pub fn keys_end(&self) -> Key {
        self.connections.capacity() as Key
    }

    /// Milliseconds since the shard started, as of this turn.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// When this turn began.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Seconds since 1970, as of this turn.
    pub fn unix_s(&self) -> i64 {
        self.clock.unix_s()
    }

    /// The shard's counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Encodes one frame that can be queued for any number of connections in this turn.
    /// `messages` is how many messages of the service it holds.
    pub fn frame(&mut self, opcode: OpCode, messages: u32, payload: &[u8]) -> FrameId {
        self.output.frame(messages, |bytes| frame::write_frame(bytes, opcode, payload))
    }

    /// Marks `frame`, made in this turn, so that those who wait for it can do without: see
    /// `Service::overfull`.
    pub fn mark(&mut self, frame: FrameId, mark: Mark) {
        self.output.mark(frame, mark);
    }

    /// Takes note that `messages` that were published at `since` are queued for all who get them, so that the
    /// time until they are written is counted.
    pub fn published(&mut self, since: Instant, messages: u32) {
        self.output.published(since, messages);
    }

    /// Queues `frame`, made in this turn, for connection `key`. What an ended connection is sent is dropped.
    pub fn queue(&mut self, key: Key, frame: FrameId) {
        let connection = &mut self.connections[key as usize];
        if connection.phase == Phase::Open {
            self.output.queue(key, &mut connection.pending, frame);
        }
    }

    /// Sends one message to connection `key`.
    pub fn send(&mut self, key: Key, opcode: OpCode, payload: &[u8]) {
        if self.is_open(key) {
            let frame = self.frame(opcode, 1, payload);
            self.queue(key, frame);
            self.flush_if_large();
        }
    }

    /// Writes what has gathered if it is so much that it should not wait for the turn's end. Returns whether it
    /// was; then frames that were made before cannot be queued any more.
    pub fn flush_if_large(&mut self) -> bool {
        let is_large = self.output.is_large();
        if is_large {
            self.flush();
            self.shed_most();
        }
        is_large
    }

    /// Fires `Service::timer` for `key` after `after_ms`, at most one tick (128 ms) late and at
    /// most `wheel::HORIZON_MS` from now, in place of the timer it had. A connection that has ended
    /// keeps its close timeout.
    pub fn set_timer(&mut self, key: Key, after_ms: u64) {
        if self.is_open(key) {
            self.wheel.set(key, self.clock.now_ms(), after_ms);
        }
    }

    /// Has `Service::alarm` called once, at `at_ms` of `now_ms` or before.
    pub fn wake_by(&mut self, at_ms: u64) {
        self.alarm_at_ms = Some(self.alarm_at_ms.map_or(at_ms, |set_ms| set_ms.min(at_ms)));
    }

    /// Takes the timer of `key` away.
    pub fn clear_timer(&mut self, key: Key) {
        if self.is_open(key) {
            self.wheel.cancel(key);
        }
    }

    /// Ends connection `key`: sends a close frame behind what is queued already (or instead of it,
    /// see `CloseReason::drops_backlog`) and waits a while for the peer's. Does nothing if it
    /// has ended already.
    pub fn close(&mut self, key: Key, reason: CloseReason) {
        self.close_saying(key, reason, reason.text());
    }

    /// The same with another text for the peer, of at most `limits::CLOSE_REASON_BYTES_MAX`.
    pub fn close_saying(&mut self, key: Key, reason: CloseReason, text: &str) {
        let connection = &mut self.connections[key as usize];
        if connection.phase != Phase::Open {
            return;
        }
        if reason == CloseReason::Gone {
            self.bury(key);
        } else {
            if reason.drops_backlog() {
                connection.pending = NO_OUTPUT;
                if let Some(backlog) = &mut connection.backlog {
                    self.stats.backlog_bytes.subtract(backlog.held_bytes() as u64);
                    backlog.drop_unstarted();
                    self.stats.backlog_bytes.add(backlog.held_bytes() as u64);
                }
            }
            let frame = match reason {
                CloseReason::Peer(1005) => self
                    .output
                    .frame(0, |bytes| frame::write_header(bytes, OpCode::Control(Control::Close), 0)),
                _ => self.output.frame(0, |bytes| frame::write_close(bytes, reason.code(), text)),
            };
            self.output.queue(key, &mut connection.pending, frame);
            connection.phase = match reason {
                CloseReason::Peer(_) => Phase::Finishing,
                // Where the next frame begins is not known any more, so neither is a close frame.
                CloseReason::Protocol(_) => Phase::Lingering,
                _ => Phase::Closing,
            };
            self.wheel.set(key, self.clock.now_ms(), self.settings.close_timeout_ms.into());
        }
        self.ended.push((key, reason));
    }

    /// Answers a request that is not an upgrade we serve; the socket is closed once the answer is
    /// written and the peer has closed, or after the close timeout.
    pub(super) fn refuse(&mut self, key: Key, refusal: Refusal) {
        self.stats.refusals.count(refusal);
        self.answer_upgrade(key, |out| refusal.write_response(out));
        self.connections[key as usize].phase = Phase::Lingering;
        self.wheel.set(key, self.clock.now_ms(), self.settings.close_timeout_ms.into());
    }

    /// Queues the raw bytes of an HTTP answer. Before a connection is open nothing else is sent.
    pub(super) fn answer_upgrade(&mut self, key: Key, encode: impl FnOnce(&mut Vec<u8>)) {
        let frame = self.output.frame(0, encode);
        self.output.queue(key, &mut self.connections[key as usize].pending, frame);
    }

    /// Ends a connection whose socket is of no use any more, whatever its phase.
    pub(super) fn fail(&mut self, key: Key) {
        let connection = &mut self.connections[key as usize];
        match connection.phase {
            Phase::Open => self.close(key, CloseReason::Gone),
            Phase::Dead => {}
            Phase::Upgrading => {
                self.stats.upgrades_abandoned.add(1);
                self.bury(key);
            }
            _ => self.bury(key),
        }
    }

    /// Marks a connection as dead and forgets what it was still to be sent.
    fn bury(&mut self, key: Key) {
        let connection = &mut self.connections[key as usize];
        connection.phase = Phase::Dead;
        self.dead.push(key);
        if let Some(backlog) = connection.backlog.take() {
            self.stats.backlog_bytes.subtract(backlog.held_bytes() as u64);
            // The peer takes nothing: with a normal close the kernel would keep these bytes for minutes.
            // An error means that the socket is gone already.
            let _ = socket2::SockRef::from(&connection.socket).set_linger(Some(std::time::Duration::ZERO));
        }
    }

    /// The peer has said its last word. A connection that ended before is closed once the peer was
    /// told what is queued for it; one that is open or not upgraded yet is of no use any more.
    pub(super) fn finish(&mut self, key: Key) {
        let connection = &mut self.connections[key as usize];
        let is_ending = matches!(connection.phase, Phase::Closing | Phase::Lingering | Phase::Finishing);
        if is_ending && (connection.pending != NO_OUTPUT || connection.backlog.is_some()) {
            connection.phase = Phase::Finishing;
        } else {
            self.fail(key);
        }
    }

    /// Frees the slot of a connection that is dead.
    pub(super) fn remove(&mut self, key: Key) {
        self.wheel.cancel(key);
        self.connections.remove(key as usize);
        self.admission.forget(key, self.clock.now_ms());
        self.stats.connections.set(self.connections.len() as u64);
    }

    /// Gives back memory that connections which are gone needed. Nothing is queued.
    pub(super) fn shrink(&mut self) {
        self.connections.shrink_to_fit();
        let keys = self.connections.iter().next_back().map_or(0, |(key, _)| key + 1);
        self.wheel.shrink(keys);
        self.admission.shrink(keys);
        self.output = Output::default();
        self.ended.shrink_to_fit();
        self.dead = Vec::new();
        self.writing = Vec::new();
        self.backlogged.shrink_to_fit();
    }

    /// Writes what this turn queued, one write for each connection. Whoever has too much waiting then
    /// is in `overfull`.
    pub(super) fn flush(&mut self) {
        let (mut messages, mut writes) = (0, 0);
        for index in 0..self.output.dirty().len() {
            let key = self.output.dirty()[index];
            let Some(connection) = self.connections.get_mut(key as usize) else { continue };
            let pending = std::mem::replace(&mut connection.pending, NO_OUTPUT);
            if pending == NO_OUTPUT || connection.phase == Phase::Dead {
                continue;
            }
            self.writing.clear();
            self.writing.extend(self.output.frames_of(pending));
            messages +=
                self.writing.iter().map(|frame| u64::from(self.output.messages_of(*frame))).sum::<u64>();
            let (done, offset) = if connection.backlog.is_some() {
                (0, 0)
            } else {
                match write_frames(&connection.socket, &self.output, &self.writing, &mut writes) {
                    Ok(done) => done,
                    Err(_) => {
                        self.fail(key);
                        continue;
                    }
                }
            };
            if done < self.writing.len() {
                self.keep(key, done, offset);
            } else {
                self.written_out(key);
            }
        }
        self.stats.deliveries.add(messages);
        self.stats.writes.add(writes);
        self.output.tell_times(&self.stats.publish_times);
        self.output.clear();
    }

    /// Keeps the frames `writing[done..]`, the first of them from `offset` on, as the backlog of
    /// `key`, which is overfull if that passes its bound.
    fn keep(&mut self, key: Key, done: usize, offset: usize) {
        let connection = &mut self.connections[key as usize];
        let id = ConnectionId { key, generation: connection.generation };
        let is_new = connection.backlog.is_none();
        let backlog = connection.backlog.get_or_insert_with(|| Box::new(Backlog::new(self.clock.now_ms())));
        let before = backlog.held_bytes();
        for (index, frame) in self.writing[done..].iter().enumerate() {
            let mark = self.output.mark_of(*frame);
            backlog.push(self.output.keep(*frame), mark, if index == 0 { offset } else { 0 });
        }
        self.stats.backlog_bytes.add((backlog.held_bytes() - before) as u64);
        let is_over = backlog.held_bytes() > self.settings.backlog_bytes_max;
        if is_over && connection.phase == Phase::Open {
            self.overfull.push(id);
        }
        if is_new {
            if !connection.is_listed {
                connection.is_listed = true;
                self.backlogged.push(id);
            }
            self.watch(key, Interest::READABLE | Interest::WRITABLE);
        }
    }

    /// Writes the backlog of `key` as far as the socket takes it.
    pub(super) fn write_backlog(&mut self, key: Key) {
        let connection = &mut self.connections[key as usize];
        let Some(backlog) = &mut connection.backlog else { return };
        let before = backlog.held_bytes();
        let result = drain_backlog(&connection.socket, backlog, self.clock.now_ms(), &self.stats);
        let is_empty = backlog.held_bytes() == 0;
        self.stats.backlog_bytes.subtract((before - backlog.held_bytes()) as u64);
        match result {
            Err(_) => self.fail(key),
            Ok(()) if is_empty => {
                connection.backlog = None;
                if connection.is_awaited {
                    self.awaited.push(ConnectionId { key, generation: connection.generation });
                }
                self.watch(key, Interest::READABLE);
                self.written_out(key);
            }
            Ok(()) => {}
        }
    }

    /// Everything for `key` was written: goes on with a connection that waited for just that.
    fn written_out(&mut self, key: Key) {
        let connection = &mut self.connections[key as usize];
        match connection.phase {
            Phase::Finishing => self.fail(key),
            // An error means that the peer is gone already, which the next read tells.
            Phase::Lingering => drop(connection.socket.shutdown(Shutdown::Write)),
            _ => {}
        }
    }

    /// Changes what the socket of `key` is watched for. Without memory for that the connection ends.
    fn watch(&mut self, key: Key, interest: Interest) {
        let connection = &self.connections[key as usize];
        let id = ConnectionId { key, generation: connection.generation };
        let descriptor = connection.socket.as_raw_fd();
        if self.registry.reregister(&mut SourceFd(&descriptor), token(id), interest).is_err() {
            self.fail(key);
        }
    }
}
