//! The timer wheel: timers set, moved, cancelled and fired.

use std::hint::black_box;

use throng::shard::wheel::{HORIZON_MS, TICK_MS, Wheel};

use crate::bench::{Bench, elements};

/// How long the timers of these benches are set for: between the default ping interval and twice that.
const AFTER_MS: u64 = 25_000;

/// A wheel, its time, and the key that is handled next.
struct State {
    wheel: Wheel,
    now_ms: u64,
    key: u32,
    due: Vec<u32>,
}

impl State {
    /// A wheel in which keys below `keys` have timers.
    fn new(keys: u32) -> Self {
        let mut state = State { wheel: Wheel::new(0), now_ms: 0, key: 1, due: Vec::new() };
        for key in 0..keys {
            state.wheel.set(key, 0, AFTER_MS + u64::from(key) % AFTER_MS);
        }
        state
    }

    /// Another of `keys` keys (a power of two): in no order, and the same ones in every run.
    fn next_key(&mut self, keys: u32) -> u32 {
        self.key = self.key.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.key >> 8) % keys
    }
}

/// Runs the benches of this noun.
pub fn run(bench: &mut Bench) {
    for (name, keys) in [("1,024", 1 << 10), ("1,048,576 scattered", 1 << 20)] {
        bench.work("wheel", format!("reschedule one of {name}"), elements(1), State::new(keys), |state| {
            let key = state.next_key(keys);
            state.wheel.set(key, state.now_ms, black_box(AFTER_MS + u64::from(key) % AFTER_MS));
        });
        bench.work(
            "wheel",
            format!("cancel and schedule one of {name}"),
            elements(1),
            State::new(keys),
            |state| {
                let key = state.next_key(keys);
                state.wheel.cancel(black_box(key));
                state.wheel.set(key, state.now_ms, black_box(AFTER_MS + u64::from(key) % AFTER_MS));
            },
        );
    }
    bench.prepared(
        "wheel",
        "tick with 1,000 due",
        elements(1_000),
        State::new(0),
        |state| {
            state.due.clear();
            (0..1_000).for_each(|key| state.wheel.set(key, state.now_ms, TICK_MS));
            state.now_ms += 2 * TICK_MS;
        },
        |state| state.wheel.expire(black_box(state.now_ms), usize::MAX, &mut state.due),
    );
    bench.work("wheel", "tick with none due", None, State::new(0), |state| {
        state.now_ms += TICK_MS;
        state.wheel.expire(black_box(state.now_ms), usize::MAX, &mut state.due);
    });
    bench.work("wheel", "turn within a tick", None, State::new(1_024), |state| {
        state.wheel.expire(black_box(state.now_ms), usize::MAX, &mut state.due);
    });
    let mut far = State::new(0);
    far.wheel.set(0, 0, HORIZON_MS);
    let waits = [("in 25 s", State::new(1_024)), ("at the horizon", far), ("with none", State::new(0))];
    for (name, state) in waits {
        bench.work("wheel", format!("next timer {name}"), None, state, |state| {
            state.wheel.next_ms(black_box(state.now_ms))
        });
    }
}
