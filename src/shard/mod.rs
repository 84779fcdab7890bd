//! A shard: one thread, one `mio::Poll`, its own listeners, slab of connections, timer wheel and
//! inbox. The only module that names mio.
//!
//! A shard runs in turns. A turn polls, reads what became readable, accepts a bounded batch, takes
//! in the inbox and the timers, lets the service send what it held back, and writes once to every
//! connection that has output.
//!
//! Invariants:
//! - a turn is bounded in events, accepted connections, bytes read (of one connection and of all),
//!   inbox messages and timers; what is left over makes the next poll return at once;
//! - nothing here blocks, takes a lock, or allocates for a delivered message.
//!
//! Absent on purpose: what messages mean. That is the `Service`.

mod addresses;
mod admission;
mod clock;
mod door;
mod drain;
pub mod inbox;
mod io;
pub mod message;
pub mod output;
mod read;
mod service;
pub mod settings;
mod shed;
mod stats;
mod times;
mod total;
pub mod wheel;
mod write;

use std::io::Result;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};
use slab::Slab;

use crate::conn::{ConnectionId, Phase};
use crate::host::listen::Listeners;
use crate::host::memory;

use admission::Admission;
use clock::Clock;
use door::Door;
use drain::Drain;
use inbox::{Receiver, Sender, inbox};
use io::connection_id;
use message::Message;
use output::Output;
use read::Reader;
use wheel::Wheel;

pub use admission::Gate;
pub use io::{Conn, Io};
pub use output::FrameId;
pub use service::Service;
pub use settings::Settings;
pub use stats::{CLOSE_CODES, Counter, SlowReason, Stats};
pub use times::{TIME_BUCKETS, Times, bucket_end_us, percentile_us};
pub use total::Total;

/// Token of the inbox's waker; no connection and no listener has it.
const WAKER: Token = Token(usize::MAX);

/// Readiness events taken in one turn: two or three milliseconds of a storm's connects, behind which what was
/// published waits.
/// Source: docs/PERFORMANCE.md, "A storm".
const EVENTS_MAX: usize = 128;

/// Inbox messages taken in one turn.
const INBOX_BATCH: usize = 4096;

/// Timers taken in one turn. Pings of one tick leave in such batches, so that nobody waits behind all of
/// them, and a pong that comes at once finds its socket still in the processor's cache.
/// Source: docs/PERFORMANCE.md, "A heartbeat".
const TIMER_BATCH: usize = 16;

/// How often backlogs are checked for progress, at most.
const STALL_CHECK_MS: u64 = 250;

/// How long a shard that has memory to give back waits for a turn in which nothing happens.
const SETTLE_MS: u64 = 500;

/// A shard gives memory back once its connections fell below this part of what they were.
const SHRINK_PART: usize = 2;

/// Connections below which a fall is not worth giving memory back for.
const SHRINK_MIN: usize = 256;

/// The parts of a shard that must exist before its thread: with private descriptor tables every
/// waker has to be open before the first table is copied.
#[derive(Debug)]
pub struct Seat<E> {
    poll: Poll,
    receiver: Receiver<Message<E>>,
}

impl<E> Seat<E> {
    /// A poll and its inbox; `inbox_bytes_max` is when the inbox calls itself full.
    ///
    /// # Errors
    ///
    /// Descriptors or memory ran out.
    pub fn new(inbox_bytes_max: usize) -> Result<(Self, Sender<Message<E>>)> {
        let poll = Poll::new()?;
        let (sender, receiver) = inbox(Waker::new(poll.registry(), WAKER)?, inbox_bytes_max);
        Ok((Seat { poll, receiver }, sender))
    }

    /// The next message of the inbox, in place of the shard.
    #[cfg(test)]
    pub(crate) fn next_message(&self) -> Option<Message<E>> {
        self.receiver.pop()
    }
}

/// A shard that serves `S`.
#[derive(Debug)]
pub struct Shard<S: Service> {
    poll: Poll,
    events: Events,
    receiver: Receiver<Message<S::Event>>,
    io: Io<S::Peer>,
    service: S,
    door: Door,
    reader: Reader,
    drain: Option<Drain>,
    /// The shard was told to end.
    is_over: bool,
    /// Keys whose timer fired in this turn.
    due: Vec<u32>,
    /// Generation of the next connection.
    generation: u32,
    stalls_checked_at_ms: u64,
    /// Most connections since memory was last given back.
    peak: usize,
    /// Connections that `Stats::total` was told of.
    counted: usize,
}

impl<S: Service> Shard<S> {
    /// A shard that accepts from `listeners`. To be called on the shard's own thread, after its
    /// descriptor table is its own.
    ///
    /// # Errors
    ///
    /// Descriptors or memory ran out.
    pub fn open(
        seat: Seat<S::Event>,
        listeners: Listeners,
        settings: Settings,
        stats: Arc<Stats>,
        service: S,
    ) -> Result<Self> {
        let registry = seat.poll.registry().try_clone()?;
        let door = Door::open(listeners, &registry, &stats)?;
        let clock = Clock::new();
        Ok(Shard {
            poll: seat.poll,
            events: Events::with_capacity(EVENTS_MAX),
            receiver: seat.receiver,
            io: Io {
                connections: Slab::new(),
                output: Output::default(),
                wheel: Wheel::new(clock.now_ms()),
                clock,
                registry,
                settings,
                stats,
                admission: Admission::default(),
                ended: Vec::new(),
                dead: Vec::new(),
                backlogged: Vec::new(),
                alarm_at_ms: None,
                overfull: Vec::new(),
                awaited: Vec::new(),
                writing: Vec::new(),
            },
            service,
            door,
            reader: Reader::new(),
            drain: None,
            is_over: false,
            due: Vec::with_capacity(TIMER_BATCH),
            generation: 0,
            stalls_checked_at_ms: 0,
            peak: 0,
            counted: 0,
        })
    }

    /// The same shard, which lets clients in as all that have this `gate` do together. Without, it has a
    /// gate of its own.
    #[must_use]
    pub fn behind(mut self, gate: Arc<Gate>) -> Self {
        self.io.admission.gate = gate;
        self
    }

    /// Runs until the shard was told to end.
    ///
    /// # Errors
    ///
    /// The poll itself failed, which is a broken invariant of the process, not of a connection.
    pub fn run(mut self) -> Result<()> {
        while !self.is_over {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        let timeout = self.timeout();
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        self.io.clock.turn();
        self.io.stats.turns.add(1);
        self.take_events();
        self.accept();
        self.count();
        self.take_inbox();
        self.take_timers();
        if let Some(drain) = &mut self.drain {
            drain.advance(&mut self.io);
        }
        self.finish();
        self.count();
        if self.events.is_empty() {
            self.settle();
        }
        Ok(())
    }

    /// How long the poll may sleep.
    fn timeout(&self) -> Option<Duration> {
        let now_ms = self.io.clock.now_ms();
        let door_waits = self.door.is_ready(now_ms) || self.door.may_open(self.io.connections.len(), now_ms);
        if door_waits || self.reader.has_more() || !self.receiver.is_empty() {
            return Some(Duration::ZERO);
        }
        let stalls = (!self.io.backlogged.is_empty()).then_some(STALL_CHECK_MS);
        let door = self.door.retry_at_ms().map(|at_ms| at_ms.saturating_sub(now_ms));
        let drain = self.drain.as_ref().and_then(Drain::step_ms);
        let settle = self.should_shrink().then_some(SETTLE_MS);
        let alarm = self.io.alarm_at_ms.map(|at_ms| at_ms.saturating_sub(now_ms));
        let wheel = self.io.wheel.next_ms(now_ms);
        let next = [wheel, alarm, stalls, door, drain, settle].into_iter().flatten().min();
        next.map(Duration::from_millis)
    }

    fn take_events(&mut self) {
        self.reader.begin(&mut self.io, &mut self.service);
        for event in &self.events {
            if event.token() == WAKER {
                self.receiver.begin();
            } else if !self.door.event(event.token()) {
                let id = connection_id(event.token());
                if event.is_writable() && is_current(&self.io, id) {
                    self.io.write_backlog(id.key);
                }
                if (event.is_readable() || event.is_read_closed() || event.is_error())
                    && is_current(&self.io, id)
                {
                    self.reader.read(&mut self.io, &mut self.service, id, event.is_read_closed());
                }
            }
        }
    }

    fn accept(&mut self) {
        let Io { connections, registry, settings, stats, clock, wheel, admission, .. } = &mut self.io;
        let now_ms = clock.now_ms();
        self.door.reopen(connections.len(), now_ms, registry, settings, stats);
        if !self.door.is_ready(now_ms) {
            return;
        }
        let generation = &mut self.generation;
        self.door.accept(connections.len(), now_ms, settings, stats, |socket, peer| {
            let origin = match admission.enter(&settings.admission, peer, clock) {
                Ok(origin) => origin,
                Err(refusal) => {
                    stats.refusals.count(refusal);
                    admission::turn_away(&socket, refusal);
                    return Ok(false);
                }
            };
            let entry = connections.vacant_entry();
            let id = ConnectionId { key: entry.key() as u32, generation: *generation };
            *generation = generation.wrapping_add(1);
            if let Err(error) = io::register(registry, &socket, id) {
                admission.leave(origin, now_ms);
                return Err(error);
            }
            entry.insert(Conn::new(socket, id.generation, S::Peer::default()));
            admission.keep(id.key, origin);
            wheel.set(id.key, now_ms, settings.upgrade_timeout_ms.into());
            Ok(true)
        });
        stats.connections.set(connections.len() as u64);
        self.peak = self.peak.max(connections.len());
    }

    /// Tells `Stats::total` how many connections there are.
    fn count(&mut self) {
        let connections = self.io.connections.len();
        if connections != self.counted {
            self.io.stats.total.change(self.counted, connections);
            self.counted = connections;
        }
    }

    fn take_inbox(&mut self) {
        for _ in 0..INBOX_BATCH {
            let Some(message) = self.receiver.pop() else { return };
            self.io.stats.inbox_messages.add(1);
            match message {
                Message::Service(event) => self.service.event(&mut self.io, event),
                Message::Probe { number } => self.io.stats.probe.set(number),
                Message::Retire => self.retire(),
                Message::Drain { over_ms } => self.drain = Some(Drain::new(&mut self.io, over_ms)),
                Message::Resume => self.resume(),
                Message::End => self.is_over = true,
            }
        }
    }

    /// Accepts nobody any more, but for those who wait for it already: to shut a socket resets them.
    fn retire(&mut self) {
        self.door.hurry();
        // A storm that brings more than this while it is taken in is not waited for.
        let Settings { socket, accept_batch, .. } = &self.io.settings;
        let turns = socket.listen_backlog as usize / (*accept_batch).max(1) + 2;
        for _ in 0..turns {
            if !self.door.is_ready(self.io.clock.now_ms()) {
                break;
            }
            self.accept();
        }
        self.door.retire(&self.io.registry, &self.io.settings, &self.io.stats);
        self.io.stats.is_retired.set(1);
    }

    /// Goes on as before a drain.
    fn resume(&mut self) {
        if self.io.stats.is_retired.get() == 0 {
            return;
        }
        self.drain = None;
        self.io.stats.drain_total.set(0);
        self.io.stats.drain_closed.set(0);
        self.door.restore();
        self.accept();
        self.io.stats.is_retired.set(0);
    }

    fn take_timers(&mut self) {
        let now_ms = self.io.clock.now_ms();
        self.io.wheel.expire(now_ms, TIMER_BATCH, &mut self.due);
        for key in self.due.drain(..) {
            if self.io.wheel.is_set(key) {
                // Another timer's doing ended this connection, which has its close timeout now.
                continue;
            }
            match self.io.connections[key as usize].phase {
                Phase::Open => self.service.timer(&mut self.io, key),
                Phase::Upgrading => self.reader.time_out(&mut self.io, key),
                Phase::Closing | Phase::Finishing | Phase::Lingering => self.io.fail(key),
                Phase::Dead => {}
            }
        }
        if self.io.alarm_at_ms.take_if(|at_ms| *at_ms <= now_ms).is_some() {
            self.service.alarm(&mut self.io);
        }
        if now_ms >= self.stalls_checked_at_ms + STALL_CHECK_MS {
            self.stalls_checked_at_ms = now_ms;
            self.io.close_stalled();
        }
    }

    /// Ends the turn: tells the service of ended connections, which may send to others, and writes,
    /// which may end more, until both are done.
    fn finish(&mut self) {
        loop {
            while let Some((key, reason)) = self.io.ended.pop() {
                self.io.stats.closes.count(reason.code());
                self.service.closed(&mut self.io, key, reason);
            }
            self.service.turn_end(&mut self.io);
            self.io.flush();
            self.shed();
            self.tell_written();
            if self.io.ended.is_empty() && self.io.output.dirty().is_empty() {
                break;
            }
        }
        while let Some(key) = self.io.dead.pop() {
            self.reader.forget(key);
            self.io.remove(key);
        }
    }

    /// A turn in which nothing happened: gives memory back if far fewer connections are left.
    fn settle(&mut self) {
        self.io.output.shrink();
        if self.should_shrink() {
            self.io.shrink();
            self.service.shrink();
            self.reader.shrink();
            memory::trim();
            self.peak = self.io.connections.len();
        }
    }

    /// Whether so many connections have gone that their memory should go too.
    fn should_shrink(&self) -> bool {
        self.peak >= SHRINK_MIN && self.io.connections.len() < self.peak / SHRINK_PART
    }
}

/// Whether `id` still names a connection that can be served.
fn is_current<P>(io: &Io<P>, id: ConnectionId) -> bool {
    let connection = io.connections.get(id.key as usize);
    connection
        .is_some_and(|connection| connection.generation == id.generation && connection.phase != Phase::Dead)
}
