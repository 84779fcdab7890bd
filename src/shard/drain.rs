//! Draining a shard: closing its connections in random order, spread over a time, so that the clients of a
//! million connections do not all come back to the next server in the same second, and no room, address or
//! hour of arrival goes first.
//!
//! Invariant: while a drain is under way no connection is added, so a key that is still to be closed names the
//! connection that had it at the begin, or none. Whoever lets connections in again drops the drain first.

use crate::conn::{CloseReason, Key, Phase};
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
    /// Those whose turn has not come, the last first: 4 bytes for each.
    waiting: Vec<Key>,
}

impl Drain {
    /// Begins to close all connections of `io` over `over_ms`.
    pub(super) fn new<P>(io: &mut Io<P>, over_ms: u64) -> Self {
        let mut waiting: Vec<Key> = io.connections.iter().map(|(key, _)| key as Key).collect();
        shuffle(&mut waiting, || io.clock.random());
        io.stats.drain_total.set(waiting.len() as u64);
        io.stats.drain_closed.set(0);
        Drain { started_ms: io.now_ms(), over_ms, total: waiting.len(), waiting }
    }

    /// Closes those whose turn has come by now. Whoever left by itself has had its turn.
    pub(super) fn advance<P>(&mut self, io: &mut Io<P>) {
        let left = left(self.total, io.now_ms() - self.started_ms, self.over_ms);
        while self.waiting.len() > left
            && let Some(key) = self.waiting.pop()
        {
            match io.connections.get(key as usize).map(|connection| connection.phase) {
                Some(Phase::Open) => io.close(key, CloseReason::Disconnect(Disconnect::Shutdown)),
                Some(Phase::Upgrading) => io.refuse(key, Refusal::Full),
                _ => {}
            }
        }
        io.stats.drain_closed.set((self.total - self.waiting.len()) as u64);
    }

    /// How long the shard may sleep before the next step; `None` when all have had their turn.
    pub(super) fn step_ms(&self) -> Option<u64> {
        (!self.waiting.is_empty()).then_some(STEP_MS)
    }
}

/// How many of `total` shall be left after `elapsed_ms` of `over_ms`: evenly fewer, and none at the end.
fn left(total: usize, elapsed_ms: u64, over_ms: u64) -> usize {
    if elapsed_ms >= over_ms {
        return 0;
    }
    total - (total as u128 * u128::from(elapsed_ms) / u128::from(over_ms)) as usize
}

/// Brings `keys` into an order that `random` chooses (Fisher and Yates; Knuth, TAOCP 2, 3.4.2 P). Each of
/// `random`'s numbers is scaled to a place; for fewer than 2³² keys the bias is below what anybody sees.
fn shuffle(keys: &mut [Key], mut random: impl FnMut() -> u32) {
    for last in (1..keys.len()).rev() {
        let place = (u64::from(random()) * (last as u64 + 1)) >> 32;
        keys.swap(last, place as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::clock::Clock;

    #[test]
    fn evenly_fewer_are_left_and_none_at_the_end() {
        assert_eq!(
            [0, 1, 250, 500, 999].map(|elapsed_ms| left(1000, elapsed_ms, 1000)),
            [1000, 999, 750, 500, 1]
        );
        assert_eq!([left(1000, 1000, 1000), left(1000, 0, 0), left(3, 5000, 1000)], [0, 0, 0]);
        // One alone goes last, and a number that no product of 64 bits holds is no wall.
        assert_eq!([left(1, 999, 1000), left(usize::MAX, 1, 2)], [1, usize::MAX - usize::MAX / 2]);
    }

    #[test]
    fn a_shuffle_keeps_everybody_and_puts_anybody_anywhere() {
        const KEYS: usize = 8;
        let mut clock = Clock::new();
        let mut places = [[0_u32; KEYS]; KEYS];
        for _ in 0..8_000 {
            let mut keys: [Key; KEYS] = std::array::from_fn(|key| key as Key);
            shuffle(&mut keys, || clock.random());
            keys.iter().enumerate().for_each(|(place, key)| places[*key as usize][place] += 1);
            keys.sort_unstable();
            assert!(keys.iter().enumerate().all(|(key, found)| key == *found as usize));
        }
        // 1,000 are to be expected of each, with a deviation of 30: ten of it happen never.
        assert!(places.iter().flatten().all(|count| (700..1300).contains(count)), "{places:?}");
    }

    #[test]
    fn nobody_and_one_alone_need_no_order() {
        shuffle(&mut [], || panic!("nothing is to be chosen"));
        shuffle(&mut [7], || panic!("nothing is to be chosen"));
    }
}
