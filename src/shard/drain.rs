//! Draining a shard: closing its connections spread over a time, so that the clients of a million
//! connections do not all come back to the next server in the same second.

use crate::conn::{CloseReason, Phase};
use crate::protocol::code::Disconnect;
use crate::shard::Io;
use crate::wire::Refusal;

/// Time between two steps of a drain.
const STEP_MS: u64 = 50;

/// A drain under way.
#[derive(Debug)]
pub(super) struct Drain {
    started_ms: u64,
    over_ms: u64,
    /// Connections there were when the drain began.
    total: usize,
    closed: usize,
    /// Where in the slab the next step goes on. Nothing is accepted any more, so one pass is enough.
    next_key: usize,
}

impl Drain {
    /// Begins to close all connections of `io` over `over_ms`.
    pub(super) fn new<P>(io: &Io<P>, over_ms: u64) -> Self {
        Drain { started_ms: io.now_ms(), over_ms, total: io.connections.len(), closed: 0, next_key: 0 }
    }

    /// Closes as many connections as the time that has passed asks for.
    pub(super) fn advance<P>(&mut self, io: &mut Io<P>) {
        let elapsed_ms = io.now_ms() - self.started_ms;
        let due = if elapsed_ms >= self.over_ms {
            usize::MAX
        } else {
            (self.total as u128 * u128::from(elapsed_ms) / u128::from(self.over_ms)) as usize
        };
        let end = io.connections.iter().next_back().map_or(0, |(key, _)| key + 1);
        while self.closed < due && self.next_key < end {
            let key = self.next_key;
            self.next_key += 1;
            if let Some(connection) = io.connections.get(key) {
                self.closed += 1;
                match connection.phase {
                    Phase::Open => io.close(key as u32, CloseReason::Disconnect(Disconnect::Shutdown)),
                    Phase::Upgrading => io.refuse(key as u32, Refusal::Full),
                    _ => {}
                }
            }
        }
    }

    /// Whether the shard can end: no connection is left.
    pub(super) fn is_done<P>(&self, io: &Io<P>) -> bool {
        io.connections.is_empty()
    }

    /// How long the shard may sleep between two steps.
    pub(super) fn step_ms(&self) -> u64 {
        STEP_MS
    }
}
