//! What one shard counts, readable from other threads at any time.
//!
//! A shard is the only writer of its `Stats`, so a count is a relaxed load and store, never a
//! locked instruction; a reader sees each number whole and at most one turn old.
//!
//! Absent on purpose: names for exposition and sums over shards. `control::metrics` has both.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::shard::{Times, Total};
use crate::wire::Refusal;

/// A number with one writer and any number of readers: a counter, or a gauge where it is set.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning shard may call it: two writers would lose counts.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    /// Subtracts `n` from a gauge. Only the owning shard may call it.
    pub fn subtract(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) - n, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The number as of the shard's last turn.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Close codes that are counted apart, ascending; any other code is counted under 0.
/// 1005 is a close frame without a code, 1006 a connection that ended without a close frame
/// (RFC 6455 §7.1.5); the 3000s are the client protocol's.
pub const CLOSE_CODES: [u16; 31] = [
    0, 1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009, 1011, 3000, 3001, 3004, 3005, 3006, 3008, 3009, 3010,
    3011, 3012, 3013, 3014, 3500, 3501, 3502, 3503, 3504, 3505, 3506, 3507, 3508,
];

/// Closes by code, in the order of `CLOSE_CODES`.
#[derive(Debug, Default)]
pub struct Closes([Counter; CLOSE_CODES.len()]);

impl Closes {
    /// Counts one ended connection under `code`.
    pub fn count(&self, code: u16) {
        self.0[CLOSE_CODES.binary_search(&code).unwrap_or(0)].add(1);
    }

    /// Every code with its count.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u64)> {
        CLOSE_CODES.iter().zip(&self.0).map(|(code, counter)| (*code, counter.get()))
    }
}

/// Reasons for refusing an upgrade that are counted apart: every label that a `Refusal` has.
const REFUSAL_LABELS: [&str; 15] = [
    "not_http",
    "bad_request",
    "origin",
    "not_found",
    "method",
    "timeout",
    "version",
    "too_long",
    "full",
    "connects",
    "memory",
    "address_connections",
    "address_connects",
    "proxy_header",
    "proxy_untrusted",
];

/// Refused upgrades and connections by reason, in the order of `REFUSAL_LABELS`.
#[derive(Debug, Default)]
pub struct Refusals([Counter; REFUSAL_LABELS.len()]);

impl Refusals {
    /// Counts one refused upgrade or connection.
    pub fn count(&self, refusal: Refusal) {
        let label = refusal.label();
        let index = REFUSAL_LABELS.iter().position(|known| *known == label);
        self.0[index.expect("every label is listed")].add(1);
    }

    /// Every reason's label with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REFUSAL_LABELS.iter().zip(&self.0).map(|(label, counter)| (*label, counter.get()))
    }
}

/// Why a connection is closed as too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowReason {
    /// More waited for it than may wait for one.
    Backlog,
    /// More waited for all of the shard than may, and most of that for it.
    Budget,
    /// It fell behind again and again, and could not keep up with its rooms (`rooms::trailing`).
    Behind,
}

impl SlowReason {
    /// Every reason, in the order of `SlowCloses`.
    const ALL: [SlowReason; 3] = [SlowReason::Backlog, SlowReason::Budget, SlowReason::Behind];

    /// The reason's name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            SlowReason::Backlog => "backlog",
            SlowReason::Budget => "budget",
            SlowReason::Behind => "behind",
        }
    }
}

/// Connections closed as too slow by reason, in the order of `SlowReason::ALL`.
#[derive(Debug, Default)]
pub struct SlowCloses([Counter; SlowReason::ALL.len()]);

impl SlowCloses {
    /// Counts one closed connection.
    pub fn count(&self, reason: SlowReason) {
        self.0[reason as usize].add(1);
    }

    /// Every reason's label with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        SlowReason::ALL.iter().zip(&self.0).map(|(reason, counter)| (reason.label(), counter.get()))
    }
}

/// Everything one shard counts.
#[derive(Debug, Default)]
pub struct Stats {
    /// Gauge: sockets the shard holds, in whatever phase.
    pub connections: Counter,
    /// Gauge: sockets the shard may hold.
    pub connections_max: Counter,
    /// Gauge: 1 while the shard's listeners are open, 0 while it is full or draining.
    pub listening: Counter,
    /// Accepted TCP connections.
    pub accepts: Counter,
    /// Failed accepts: descriptors or memory ran out (EMFILE, ENFILE, ENOMEM, ENOBUFS).
    pub accept_failures: Counter,
    /// Upgrades that succeeded.
    pub upgrades: Counter,
    /// Times that the shard left whoever came to the kernel's queue, because it accepts no more than so
    /// many in a second.
    pub accept_pauses: Counter,
    /// Upgrades that were refused, by reason, and connections that were refused when they came.
    pub refusals: Refusals,
    /// Connections that ended before their upgrade request was complete, without an answer.
    pub upgrades_abandoned: Counter,
    /// WebSocket connections that ended, by close code.
    pub closes: Closes,
    /// Connections closed as too slow, by reason.
    pub slow_closes: SlowCloses,
    /// Times that what waited for a member was dropped, for it to get that from the history.
    pub slow_recoveries: Counter,
    /// Connections closed because their backlog made no progress within the write timeout.
    pub write_timeout_closes: Counter,
    /// Data messages received from clients.
    pub messages_in: Counter,
    /// Messages handed to connections' sockets or backlogs: publications, replies, pings.
    pub deliveries: Counter,
    /// Write calls made; `deliveries / writes` is the coalescing ratio.
    pub writes: Counter,
    /// Gauge: memory of the backlogs that wait because their sockets were full (`Backlog::held_bytes`).
    pub backlog_bytes: Counter,
    /// Messages that arrived in the shard's inbox from other threads.
    pub inbox_messages: Counter,
    /// Publishes refused with error 111, and join and leave pushes not passed on, because a member
    /// shard's inbox was full.
    pub publishes_refused: Counter,
    /// Publish commands refused with error 111, because the connection or the room had too many.
    pub publishes_limited: Counter,
    /// Subscribe commands refused with error 111, because the connection sent too many.
    pub subscribes_limited: Counter,
    /// Times that a room went over to feed delivery, or back.
    pub feed_switches: Counter,
    /// Turns of the event loop.
    pub turns: Counter,
    /// Gauge: 1 between `Message::Retire` and `Message::Resume`.
    pub is_retired: Counter,
    /// Gauge: connections that there were when a drain began to close them; 0 without a drain.
    pub drain_total: Counter,
    /// Gauge: those of them whose turn has come: closed, or gone by themselves.
    pub drain_closed: Counter,
    /// From when a message was published to the last write of it here.
    pub publish_times: Times,
    /// Connections of all shards: the shards of a server have one together.
    pub total: Arc<Total>,
    /// Number of the last `Message::Probe` that was taken in; 0 for none.
    pub probe: Counter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_ascend_so_that_they_can_be_searched() {
        assert!(CLOSE_CODES.is_sorted());
    }

    #[test]
    fn every_refusal_is_counted_under_its_label() {
        use crate::wire::refusal::{Excess, Fault};
        let later = |excess| Refusal::Later { excess, retry_after_s: 1 };
        let refusals = Refusals::default();
        let all = [
            Refusal::BadRequest(Fault::NotHttp),
            Refusal::BadRequest(Fault::Host),
            Refusal::Origin,
            Refusal::NotFound,
            Refusal::Method,
            Refusal::Timeout,
            Refusal::Version,
            Refusal::TooLong,
            Refusal::Full,
            later(Excess::Connects),
            later(Excess::Memory),
            later(Excess::AddressConnections),
            later(Excess::AddressConnects),
            Refusal::BadRequest(Fault::ProxyMissing),
            Refusal::BadRequest(Fault::ProxyUntrusted),
        ];
        all.into_iter().for_each(|refusal| refusals.count(refusal));
        assert!(refusals.iter().all(|(_, count)| count == 1));
    }

    #[test]
    fn every_reason_for_a_slow_close_is_counted_under_its_label() {
        let closes = SlowCloses::default();
        for (index, reason) in SlowReason::ALL.into_iter().enumerate() {
            (0..=index).for_each(|_| closes.count(reason));
        }
        let counted: Vec<_> = closes.iter().collect();
        assert_eq!(counted, [("backlog", 1), ("budget", 2), ("behind", 3)]);
    }

    #[test]
    fn an_unknown_close_code_is_counted_under_zero() {
        let closes = Closes::default();
        closes.count(4999);
        closes.count(1006);
        let counted: Vec<_> = closes.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(0, 1), (1006, 1)]);
    }
}
