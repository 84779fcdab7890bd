//! What the threads of a fleet share: orders to the workers, totals back, and what they note to the scenario.
//!
//! Counters are atomics that each worker adds to once per batch of events, not once per message. Orders are
//! flags that only ever rise; whoever raises one wakes the workers.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::SeqCst};

/// What the workers are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Open connections and answer pings.
    Open = 0,
    /// Publish, but keep no times.
    WarmUp = 1,
    /// Publish and keep times.
    Measure = 2,
    /// Finish the round under way and start no other.
    Drain = 3,
    /// Close everything and end.
    Close = 4,
    /// The same without farewell: resets instead of FINs, and no TIME_WAIT stays behind.
    Reset = 5,
}

/// What the chosen connections are told, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Order {
    /// Stop reading.
    Stall = 1,
    /// Drop, all at once.
    Drop = 1 << 1,
    /// Come back.
    Return = 1 << 2,
    /// Read again.
    Wake = 1 << 3,
    /// Nothing more is published: say who has all of it.
    Judge = 1 << 4,
    /// Leave and join the room, again and again.
    Bounce = 1 << 5,
    /// Stop that: be where one is to stay.
    Settle = 1 << 6,
    /// Say when all are gone: for all connections, where ends are noted.
    TellGone = 1 << 7,
}

/// What reaches the scenario's thread.
#[derive(Debug, PartialEq, Eq)]
pub enum Notice {
    /// One worker's connections are all whole or failed.
    Opened,
    /// The last round has reached every member, or one thread's last publishes are answered.
    Drained,
    /// One worker has dropped its chosen connections.
    Dropped,
    /// Every connection of one worker has ended, after [`Order::TellGone`].
    Gone,
    /// One worker's bouncing connections have said their last.
    Settled,
    /// The user asked to stop (SIGINT or SIGTERM).
    Interrupted,
}

/// Totals over all workers.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that became whole.
    pub whole: AtomicU64,
    /// Connections that ended before they were whole.
    pub failed: AtomicU64,
    /// Connections that were whole and that the server ended.
    pub dropped: AtomicU64,
    /// Pings received, each answered.
    pub pings: AtomicU64,
    /// Messages received.
    pub messages: AtomicU64,
    /// Reads that brought bytes.
    pub reads: AtomicU64,
    /// Bytes read.
    pub read_bytes: AtomicU64,
    /// Replies with an error to commands after the greeting.
    pub refusals: AtomicU64,
    /// Publishes sent.
    pub published: AtomicU64,
    /// The count of messages at which the publisher goes on.
    pub goal: AtomicU64,
    /// Chosen connections that are whole again after they were told to return.
    pub back: AtomicU64,
    /// Tries of theirs that failed.
    pub failed_tries: AtomicU64,
    /// Lines that told who joined or left.
    pub comings: AtomicU64,
    /// Frames that had such lines.
    pub coming_frames: AtomicU64,
    /// Good replies to commands after the greeting.
    pub replies: AtomicU64,
    /// Subscriptions that the server ended, each asked for again.
    pub rejoins: AtomicU64,
    /// Times that a connection left its room.
    pub leaves: AtomicU64,
    /// Times that one joined it again.
    pub joins: AtomicU64,
    /// Chosen connections that lack something of what was published.
    pub behind: AtomicU64,
    orders: AtomicU32,
    phase: AtomicU8,
}

impl Counters {
    /// The present phase's number; compare with `Phase as u8`.
    pub fn phase(&self) -> u8 {
        self.phase.load(SeqCst)
    }

    /// Goes on to `phase`.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, SeqCst);
    }

    /// Gives `order`.
    pub(super) fn order(&self, order: Order) {
        self.orders.fetch_or(order as u32, SeqCst);
    }

    /// True once `order` was given.
    pub fn is_ordered(&self, order: Order) -> bool {
        self.orders.load(SeqCst) & order as u32 != 0
    }
}
