//! Time and chance as a shard sees them: read once a turn, so that a turn has one "now".

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

/// When the first shard started.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Time and chance as a shard sees them.
#[derive(Debug)]
pub(super) struct Clock {
    /// When the turn began.
    now: Instant,
    now_ms: u64,
    unix_s: i64,
    random: u64,
}

impl Clock {
    /// A clock whose time goes on from that of the other shards' clocks.
    pub(super) fn new() -> Self {
        let random = RandomState::new().hash_one(0) | 1;
        let mut clock = Clock { now: *STARTED, now_ms: u64::MAX, unix_s: 0, random };
        clock.turn();
        clock
    }

    /// Begins a turn.
    pub(super) fn turn(&mut self) {
        self.now = Instant::now();
        let now_ms = self.now.saturating_duration_since(*STARTED).as_millis() as u64;
        // Of the turns within a millisecond one asks what day it is.
        if now_ms == self.now_ms {
            return;
        }
        self.now_ms = now_ms;
        // A clock before 1970 counts as 1970: every token with a `nbf` is refused then.
        self.unix_s = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs() as i64);
    }

    /// When the turn began.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// Milliseconds since the first shard started, by one clock for all shards.
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Seconds since 1970.
    pub(super) fn unix_s(&self) -> i64 {
        self.unix_s
    }

    /// The next number of a xorshift sequence (Marsaglia 2003, "Xorshift RNGs", triple 13, 7, 17).
    pub(super) fn random(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 32) as u32
    }
}
