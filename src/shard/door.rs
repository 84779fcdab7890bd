//! The listeners of one shard: accepting in bounded batches, closing when full.
//!
//! Every shard has its own `SO_REUSEPORT` listener for each address, so the kernel spreads new
//! connections over the shards that listen. A full shard closes its listeners: the kernel then
//! hands new connections to the others, and nobody queues for a shard that will not take them.
//!
//! Invariants:
//! - running out of descriptors or memory never spins: the doors stay shut for `RETRY_MS`;
//! - after a shard was full its doors open only below `reopen_below`, so it does not flap.

use std::io;
use std::net::{SocketAddr, TcpStream};

use mio::net::TcpListener;
use mio::{Interest, Registry, Token};

use crate::host::listen;
use crate::shard::{Settings, Stats};

/// Time until a shard that ran out of descriptors or memory tries again.
const RETRY_MS: u64 = 1_000;

/// A full shard opens again when this part of its places is free.
const REOPEN_FREE_PART: usize = 50;

/// Token of the first listener; the others count down from it. No connection has it: keys are
/// below 2³¹.
const LISTENER: usize = usize::MAX - 1;

/// The listeners of one shard.
#[derive(Debug)]
pub(super) struct Door {
    addresses: Vec<SocketAddr>,
    /// Empty while the door is shut.
    listeners: Vec<TcpListener>,
    /// Listeners that may have more connections waiting: edge-triggered readiness is told once.
    ready: Vec<usize>,
    /// While shut because the shard was full: below how many connections to open again.
    reopen_below: usize,
    /// While shut because something ran out: when to try again.
    retry_at_ms: u64,
    /// Shut for good: the shard drains.
    is_retired: bool,
}

impl Door {
    /// Opens listeners on `addresses`, whose ports are all known.
    ///
    /// # Errors
    ///
    /// An address could not be bound.
    pub(super) fn open(
        addresses: Vec<SocketAddr>,
        registry: &Registry,
        settings: &Settings,
        stats: &Stats,
    ) -> io::Result<Self> {
        let mut door = Door {
            addresses,
            listeners: Vec::new(),
            ready: Vec::new(),
            reopen_below: 0,
            retry_at_ms: 0,
            is_retired: false,
        };
        door.listen(registry, settings, stats)?;
        Ok(door)
    }

    fn listen(&mut self, registry: &Registry, settings: &Settings, stats: &Stats) -> io::Result<()> {
        let mut listeners = Vec::with_capacity(self.addresses.len());
        for (index, address) in self.addresses.iter().enumerate() {
            let mut listener = TcpListener::from_std(listen::listener(*address, &settings.socket)?);
            registry.register(&mut listener, Token(LISTENER - index), Interest::READABLE)?;
            listeners.push(listener);
        }
        self.listeners = listeners;
        stats.listening.set(1);
        Ok(())
    }

    /// Takes note of an event; `false` if the token is not a listener's.
    pub(super) fn event(&mut self, token: Token) -> bool {
        let index = LISTENER.wrapping_sub(token.0);
        if index >= self.addresses.len() {
            return false;
        }
        if index < self.listeners.len() && !self.ready.contains(&index) {
            self.ready.push(index);
        }
        true
    }

    /// Whether connections may be waiting that no further event will tell of.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When to call `reopen` again, if the door is shut and time alone may open it.
    pub(super) fn retry_at_ms(&self) -> Option<u64> {
        (self.listeners.is_empty() && !self.is_retired && self.reopen_below == 0).then_some(self.retry_at_ms)
    }

    /// Accepts up to `room` connections, and no more than a batch, calling `admit` with each.
    /// `held` is how many connections the shard has.
    pub(super) fn accept(
        &mut self,
        held: usize,
        now_ms: u64,
        settings: &Settings,
        stats: &Stats,
        mut admit: impl FnMut(TcpStream) -> io::Result<()>,
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
            match self.listeners[index].accept().and_then(|(socket, _)| admit(TcpStream::from(socket))) {
                Ok(()) => {
                    held += 1;
                    batch -= 1;
                    stats.accepts.add(1);
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
                // The connection was gone before it was accepted; the next one may be fine.
                Err(_) => batch -= 1,
            }
        }
    }

    fn shut(&mut self, reopen_below: usize, stats: &Stats) {
        self.listeners.clear();
        self.ready.clear();
        self.reopen_below = reopen_below;
        stats.listening.set(0);
    }

    /// Whether the door is shut and `reopen` would try to open it. No event tells of that: the
    /// connections whose places became free are gone.
    pub(super) fn may_open(&self, held: usize, now_ms: u64) -> bool {
        let is_time =
            if self.reopen_below > 0 { held < self.reopen_below } else { now_ms >= self.retry_at_ms };
        self.listeners.is_empty() && !self.is_retired && is_time
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
        if let Err(error) = self.listen(registry, settings, stats) {
            tracing::warn!(%error, "cannot listen again; next try in {RETRY_MS} ms");
            self.reopen_below = 0;
            self.retry_at_ms = now_ms + RETRY_MS;
        }
    }

    /// Shuts the door for good.
    pub(super) fn retire(&mut self, stats: &Stats) {
        self.shut(0, stats);
        self.is_retired = true;
    }
}
