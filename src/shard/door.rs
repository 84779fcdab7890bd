//! The listeners of one shard: accepting in bounded batches, shut when full.
//!
//! Every shard has its own `SO_REUSEPORT` listener for each address, so the kernel spreads new
//! connections over the shards that listen. A full shard's listeners stop listening: the kernel then
//! hands new connections to the others, and nobody queues for a shard that will not take them.
//!
//! They are not closed for that. Whoever started the process may hold copies of them (systemd does),
//! and a socket listens until its last copy is closed; `listen::suspend` takes all copies out at once.
//! To open again needs no descriptor.
//!
//! Invariants:
//! - inherited listeners listen when the shard is retired, so that the next server finds who waits;
//! - running out of descriptors or memory never spins: the doors stay shut for `RETRY_MS`;
//! - after a shard was full its doors open only below `reopen_below`, so it does not flap;
//! - a shard that accepts no more than so many in a second sleeps until it may accept some again. Meanwhile it
//!   listens: whoever comes waits in the kernel's queue. Those who have given up there are not counted.

use std::io;
use std::net::{IpAddr, TcpStream};

use mio::net::TcpListener;
use mio::{Interest, Registry, Token};

use crate::host;
use crate::host::listen::{self, Listeners};
use crate::hub::Bucket;
use crate::shard::{Settings, Stats};

/// Time until a shard that ran out of descriptors or memory tries again.
const RETRY_MS: u64 = 1_000;

/// A full shard opens again when this part of its places is free.
const REOPEN_FREE_PART: usize = 50;

/// A shard that has accepted all that it may goes on when as many may come in as in this part of a second:
/// the fewer, the more often it wakes.
const PAUSE_PART: u32 = 100;

/// Token of the first listener; the others count down from it. No connection has it: keys are
/// below 2³¹.
const LISTENER: usize = usize::MAX - 1;

/// The listeners of one shard.
#[derive(Debug)]
pub(super) struct Door {
    listeners: Vec<TcpListener>,
    /// How many there were at the start: no connection has one of their tokens.
    tokens: usize,
    are_inherited: bool,
    is_open: bool,
    /// Shut by a drain, which alone opens it again.
    is_retired: bool,
    /// The listeners are registered with the shard's poll.
    is_watched: bool,
    /// Listeners that may have more connections waiting: edge-triggered readiness is told once.
    ready: Vec<usize>,
    /// While shut because the shard was full: below how many connections to open again.
    reopen_below: usize,
    /// While shut because something ran out: when to try again.
    retry_at_ms: u64,
    /// Connections that may be accepted, if that is limited.
    pace: Bucket,
    /// While whoever comes is left to the kernel's queue: when to accept again.
    resume_at_ms: u64,
    /// Whoever waits is taken in at any pace: the sockets are about to be shut.
    is_hurried: bool,
}

impl Door {
    /// A door with `listeners`, which listen.
    ///
    /// # Errors
    ///
    /// The poll takes no more.
    pub(super) fn open(listeners: Listeners, registry: &Registry, stats: &Stats) -> io::Result<Self> {
        let Listeners { sockets, are_inherited } = listeners;
        let mut listeners = Vec::with_capacity(sockets.len());
        for (index, socket) in sockets.into_iter().enumerate() {
            let mut listener = TcpListener::from_std(socket);
            registry.register(&mut listener, Token(LISTENER - index), Interest::READABLE)?;
            listeners.push(listener);
        }
        stats.listening.set(1);
        Ok(Door {
            tokens: listeners.len(),
            listeners,
            are_inherited,
            is_open: true,
            is_retired: false,
            is_watched: true,
            ready: Vec::new(),
            reopen_below: 0,
            retry_at_ms: 0,
            pace: Bucket::default(),
            resume_at_ms: 0,
            is_hurried: false,
        })
    }

    /// Takes note of an event; `false` if the token is not a listener's.
    pub(super) fn event(&mut self, token: Token) -> bool {
        let index = LISTENER.wrapping_sub(token.0);
        if index >= self.tokens {
            return false;
        }
        // A listener that was shut tells of that, too.
        if self.is_open && !self.ready.contains(&index) {
            self.ready.push(index);
        }
        true
    }

    /// Whether connections may be waiting that no further event will tell of, and may be accepted.
    pub(super) fn is_ready(&self, now_ms: u64) -> bool {
        !self.ready.is_empty() && now_ms >= self.resume_at_ms
    }

    /// When to look at the door again, if it is shut and time alone may open it, or may accept again then.
    pub(super) fn retry_at_ms(&self) -> Option<u64> {
        if !self.ready.is_empty() {
            return Some(self.resume_at_ms);
        }
        (self.is_shut() && self.reopen_below == 0).then_some(self.retry_at_ms)
    }

    /// Accepts connections while there is room, and no more than a batch, calling `admit` with each and with
    /// who it is from; `admit` says whether it keeps it. `held` is how many connections the shard has.
    pub(super) fn accept(
        &mut self,
        held: usize,
        now_ms: u64,
        settings: &Settings,
        stats: &Stats,
        mut admit: impl FnMut(TcpStream, IpAddr) -> io::Result<bool>,
    ) {
        let mut held = held;
        let mut batch = settings.accept_batch;
        while let Some(index) = self.ready.last().copied() {
            if held >= settings.connections_max {
                let below = settings.connections_max - settings.connections_max / REOPEN_FREE_PART;
                self.shut(below.min(settings.connections_max - 1).max(1), stats);
                return;
            }
            if batch == 0 {
                return;
            }
            if self.is_paced_out(now_ms, settings, stats) {
                return;
            }
            let accepted =
                self.listeners[index].accept().map(|(socket, peer)| (TcpStream::from(socket), peer));
            if settings.admission.accepts_per_second > 0
                && let Ok((socket, _)) = &accepted
                && host::socket::has_hung_up(socket)
            {
                // It waited longer than its client did. Counted, a queue of such would keep out those who wait.
                batch -= 1;
                stats.accepts.add(1);
                stats.upgrades_abandoned.add(1);
                continue;
            }
            match accepted.and_then(|(socket, peer)| admit(socket, peer.ip())) {
                Ok(is_kept) => {
                    held += usize::from(is_kept);
                    batch -= 1;
                    stats.accepts.add(1);
                    self.pace.take(settings.admission.accepts_per_second, now_ms);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready.pop();
                }
                Err(error) if listen::ran_out(&error) => {
                    stats.accept_failures.add(1);
                    tracing::warn!(%error, held, "cannot accept; listeners shut for {RETRY_MS} ms");
                    self.shut(0, stats);
                    self.retry_at_ms = now_ms + RETRY_MS;
                    return;
                }
                // A server that has a copy and is full has taken the socket out of listening. This one has room.
                Err(error) if self.are_inherited && listen::is_suspended(&error) => {
                    self.ready.pop();
                    if let Err(error) = listen::resume(&self.listeners[index], &settings.socket) {
                        tracing::warn!(%error, "a socket that another server took out of listening stays so");
                    }
                }
                // The connection was gone before it was accepted; the next one may be fine.
                Err(_) => batch -= 1,
            }
        }
    }

    /// Whether no more connections may be accepted for a while, which then begins.
    fn is_paced_out(&mut self, now_ms: u64, settings: &Settings, stats: &Stats) -> bool {
        let per_second = settings.admission.accepts_per_second;
        if per_second == 0 || self.is_hurried || self.pace.tokens(per_second, now_ms) > 0 {
            return false;
        }
        let some = (per_second / PAUSE_PART).max(1);
        self.resume_at_ms = now_ms + self.pace.wait_ms(some, per_second, now_ms);
        stats.accept_pauses.add(1);
        true
    }

    fn shut(&mut self, reopen_below: usize, stats: &Stats) {
        self.suspend();
        self.is_open = false;
        self.ready.clear();
        self.reopen_below = reopen_below;
        stats.listening.set(0);
    }

    fn suspend(&self) {
        for listener in &self.listeners {
            match listen::suspend(listener) {
                // Whoever comes waits until this shard has a place.
                Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                    tracing::warn!(%error, "a full shard goes on listening");
                }
                _ => {}
            }
        }
    }

    /// Shut for a while, not by a drain.
    fn is_shut(&self) -> bool {
        !self.is_open && !self.is_retired
    }

    /// Whether the door is shut and `reopen` would try to open it. No event tells of that: the
    /// connections whose places became free are gone.
    pub(super) fn may_open(&self, held: usize, now_ms: u64) -> bool {
        let is_time =
            if self.reopen_below > 0 { held < self.reopen_below } else { now_ms >= self.retry_at_ms };
        self.is_shut() && is_time
    }

    /// Opens the door again if it is shut and may open.
    pub(super) fn reopen(
        &mut self,
        held: usize,
        now_ms: u64,
        registry: &Registry,
        settings: &Settings,
        stats: &Stats,
    ) {
        if !self.may_open(held, now_ms) {
            return;
        }
        match self.watch(registry).and_then(|()| self.resume(settings)) {
            Ok(()) => {
                self.is_open = true;
                stats.listening.set(1);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot listen again; next try in {RETRY_MS} ms");
                self.suspend();
                self.reopen_below = 0;
                self.retry_at_ms = now_ms + RETRY_MS;
            }
        }
    }

    fn resume(&self, settings: &Settings) -> io::Result<()> {
        self.listeners.iter().try_for_each(|listener| listen::resume(listener, &settings.socket))
    }

    /// Has every listener looked at, whether an event told of it or not, and at any pace: what is left to the
    /// kernel's queue when the sockets are shut is reset.
    pub(super) fn hurry(&mut self) {
        if self.is_open {
            self.is_hurried = true;
            self.resume_at_ms = 0;
            self.ready = (0..self.listeners.len()).collect();
        }
    }

    /// Shuts the door until `restore`. Inherited listeners are left as they came: they listen, and whoever
    /// waits there is the next server's, or this one's if the drain is taken back. A copy of them that is
    /// elsewhere must not wake this poll. Others are suspended; they keep their address.
    pub(super) fn retire(&mut self, registry: &Registry, settings: &Settings, stats: &Stats) {
        if self.are_inherited {
            // Shut by this server, or by another one that has copies.
            if let Err(error) = self.resume(settings) {
                tracing::warn!(%error, "an inherited socket does not listen any more");
            }
            if std::mem::take(&mut self.is_watched) {
                for listener in &mut self.listeners {
                    registry.deregister(listener).expect("what was registered is known to the poll");
                }
            }
        } else {
            self.suspend();
        }
        self.is_retired = true;
        self.ready.clear();
        self.is_open = false;
        stats.listening.set(0);
    }

    /// Has the next `reopen` open the door that `retire` has shut.
    pub(super) fn restore(&mut self) {
        self.is_retired = false;
        self.is_hurried = false;
        self.reopen_below = 0;
        self.retry_at_ms = 0;
    }

    /// Registers listeners that `retire` has taken away from the poll.
    fn watch(&mut self, registry: &Registry) -> io::Result<()> {
        if !self.is_watched {
            for (index, listener) in self.listeners.iter_mut().enumerate() {
                match registry.register(listener, Token(LISTENER - index), Interest::READABLE) {
                    // By a try before this one, which the next listener ended.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    result => result?,
                }
            }
            self.is_watched = true;
        }
        Ok(())
    }
}
