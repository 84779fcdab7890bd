//! Timers of one shard: a wheel with coarse ticks, one timer per connection.
//!
//! A timer costs 8 bytes and no allocation: the wheel's slots are doubly linked lists through an
//! array that runs beside the slab, so setting, moving and cancelling are O(1).
//!
//! Invariants:
//! - a key is in at most one slot's list, and `occupied` has the bit of exactly the non-empty slots
//!   and `words` that of exactly the words of `occupied` that are not zero;
//! - a timer never fires early, but for one near the horizon that was set while the wheel was behind,
//!   which may by as much; and at most one tick late as far as the wheel is concerned.
//!
//! Absent on purpose: the clock (milliseconds arrive as arguments) and what a timer is for.

/// Length of a tick in milliseconds: pings, close and upgrade deadlines need no finer one.
pub const TICK_MS: u64 = 128;

/// Slots of the wheel; a power of two.
const SLOTS: u64 = 4096;

/// Longest time a timer can be set for, in milliseconds (about 8.7 minutes). A longer one fires
/// then, and whoever set it sets the rest.
pub const HORIZON_MS: u64 = (SLOTS - 2) * TICK_MS;

/// Words of the bitmap of slots.
const WORDS: usize = SLOTS as usize / 64;

// One word says which of them are not zero.
const _: () = assert!(WORDS == u64::BITS as usize);

/// End of a list.
const NIL: u32 = u32::MAX;
/// A `prev` with this bit names the slot whose head the node is; without it, a node.
const HEAD: u32 = 1 << 31;

#[derive(Debug, Clone, Copy)]
struct Node {
    next: u32,
    /// The node before, or `HEAD | slot`, or `NIL` when the timer is not set.
    prev: u32,
}

/// The wheel. See the top of the file.
#[derive(Debug)]
pub struct Wheel {
    heads: Box<[u32]>,
    occupied: [u64; WORDS],
    words: u64,
    nodes: Vec<Node>,
    /// The last tick whose timers were taken.
    tick: u64,
}

impl Wheel {
    /// A wheel without timers; `now_ms` is where its time starts.
    pub fn new(now_ms: u64) -> Self {
        Wheel {
            heads: vec![NIL; SLOTS as usize].into(),
            occupied: [0; WORDS],
            words: 0,
            nodes: Vec::new(),
            tick: now_ms / TICK_MS,
        }
    }

    /// Sets the timer of `key` to fire once `after_ms` (at most `HORIZON_MS`) passed since `now_ms`,
    /// in place of the one it had.
    pub fn set(&mut self, key: u32, now_ms: u64, after_ms: u64) {
        self.cancel(key);
        if self.nodes.len() <= key as usize {
            self.nodes.resize(key as usize + 1, Node { next: NIL, prev: NIL });
        }
        let due =
            (now_ms + after_ms.min(HORIZON_MS)).div_ceil(TICK_MS).clamp(self.tick + 1, self.tick + SLOTS - 1);
        let slot = (due % SLOTS) as u32;
        let head = self.heads[slot as usize];
        self.nodes[key as usize] = Node { next: head, prev: HEAD | slot };
        if head != NIL {
            self.nodes[head as usize].prev = key;
        }
        self.heads[slot as usize] = key;
        self.occupied[slot as usize / 64] |= 1 << (slot % 64);
        self.words |= 1 << (slot / 64);
    }

    /// Takes the timer of `key` away, if it has one.
    pub fn cancel(&mut self, key: u32) {
        let Some(&Node { next, prev }) = self.nodes.get(key as usize) else { return };
        if prev == NIL {
            return;
        }
        if next != NIL {
            self.nodes[next as usize].prev = prev;
        }
        if prev & HEAD == 0 {
            self.nodes[prev as usize].next = next;
        } else {
            let slot = prev & !HEAD;
            self.heads[slot as usize] = next;
            if next == NIL {
                self.vacate(slot as usize);
            }
        }
        self.nodes[key as usize] = Node { next: NIL, prev: NIL };
    }

    /// Whether `key` has a timer.
    pub fn is_set(&self, key: u32) -> bool {
        self.nodes.get(key as usize).is_some_and(|node| node.prev != NIL)
    }

    /// Appends keys whose time came to `due`, until it has `due_max`, and takes their timers away. While
    /// there are more, [`Wheel::next_ms`] is 0.
    pub fn expire(&mut self, now_ms: u64, due_max: usize, due: &mut Vec<u32>) {
        let now = now_ms / TICK_MS;
        // After a stall longer than the wheel every slot is due once.
        self.tick = self.tick.max(now.saturating_sub(SLOTS));
        while self.tick < now {
            let slot = ((self.tick + 1) % SLOTS) as usize;
            while self.heads[slot] != NIL {
                if due.len() >= due_max {
                    return;
                }
                let key = self.heads[slot];
                self.cancel(key);
                due.push(key);
            }
            self.tick += 1;
        }
    }

    /// Milliseconds from `now_ms` until the next timer can fire; `None` without timers.
    pub fn next_ms(&self, now_ms: u64) -> Option<u64> {
        let first = ((self.tick + 1) % SLOTS) as usize;
        let slot = self.next_slot(first)? as u64;
        let ticks = (slot + SLOTS - first as u64) % SLOTS + 1;
        Some(((self.tick + ticks) * TICK_MS).saturating_sub(now_ms))
    }

    /// The first slot with timers from slot `first` on, around the wheel.
    fn next_slot(&self, first: usize) -> Option<usize> {
        let word = first / 64;
        let bits = self.occupied[word] & u64::MAX << (first % 64);
        if bits != 0 {
            return Some(word * 64 + bits.trailing_zeros() as usize);
        }
        // The words behind this one, and in the end this one again: what it has lies before `first`.
        let later = self.words.rotate_right(word as u32 + 1);
        if later == 0 {
            return None;
        }
        let word = (word + 1 + later.trailing_zeros() as usize) % WORDS;
        Some(word * 64 + self.occupied[word].trailing_zeros() as usize)
    }

    /// Notes that `slot` has no timers any more.
    fn vacate(&mut self, slot: usize) {
        let word = slot / 64;
        self.occupied[word] &= !(1 << (slot % 64));
        if self.occupied[word] == 0 {
            self.words &= !(1 << word);
        }
    }

    /// Frees the room of timers that no connection needs any more: keys from `keys` on.
    pub fn shrink(&mut self, keys: usize) {
        debug_assert!(self.nodes.iter().skip(keys).all(|node| node.prev == NIL));
        self.nodes.truncate(keys);
        self.nodes.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expired(wheel: &mut Wheel, now_ms: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.expire(now_ms, usize::MAX, &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn a_timer_fires_within_a_tick_of_its_time_and_once() {
        let mut wheel = Wheel::new(1_000);
        wheel.set(3, 1_000, 500);
        assert!(expired(&mut wheel, 1_499).is_empty());
        assert_eq!(expired(&mut wheel, 1_500 + TICK_MS), [3]);
        assert!(expired(&mut wheel, 100_000).is_empty());
    }

    #[test]
    fn a_batch_leaves_the_rest_due_at_once_and_nothing_fires_twice() {
        let mut wheel = Wheel::new(0);
        for key in 0..10 {
            wheel.set(key, 0, 1_000 + u64::from(key % 2) * TICK_MS);
        }
        let (mut all, mut due) = (Vec::new(), Vec::new());
        while wheel.next_ms(2_000) == Some(0) {
            wheel.expire(2_000, 3, &mut due);
            assert!((1..=3).contains(&due.len()));
            // One that is cancelled, or set again, before its turn does not fire.
            wheel.cancel(0);
            if wheel.is_set(9) {
                wheel.set(9, 2_000, 1_000);
            }
            all.append(&mut due);
        }
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(expired(&mut wheel, 3_200), [9]);
    }

    #[test]
    fn setting_again_moves_a_timer_and_cancelling_removes_it() {
        let mut wheel = Wheel::new(0);
        for key in 0..5 {
            wheel.set(key, 0, 1_000);
        }
        wheel.set(2, 0, 5_000);
        wheel.cancel(0);
        wheel.cancel(4);
        wheel.cancel(4);
        wheel.cancel(77);
        assert!(wheel.is_set(2) && !wheel.is_set(4) && !wheel.is_set(77));
        assert_eq!(expired(&mut wheel, 1_200), [1, 3]);
        assert_eq!(expired(&mut wheel, 5_200), [2]);
        assert_eq!(wheel.next_ms(5_200), None);
    }

    #[test]
    fn a_time_beyond_the_horizon_fires_at_the_horizon() {
        let mut wheel = Wheel::new(0);
        wheel.set(1, 0, u64::from(u32::MAX));
        assert!(expired(&mut wheel, HORIZON_MS - TICK_MS).is_empty());
        assert_eq!(expired(&mut wheel, HORIZON_MS + TICK_MS), [1]);
    }

    #[test]
    fn after_a_stall_longer_than_the_wheel_everything_due_fires() {
        let mut wheel = Wheel::new(0);
        wheel.set(1, 0, 10);
        wheel.set(2, 0, HORIZON_MS);
        assert_eq!(expired(&mut wheel, 10 * HORIZON_MS), [1, 2]);
        wheel.set(3, 10 * HORIZON_MS, 10);
        assert_eq!(expired(&mut wheel, 10 * HORIZON_MS + 2 * TICK_MS), [3]);
    }

    #[test]
    fn the_next_time_is_never_late_and_leads_to_a_firing() {
        // A fixed linear congruential sequence: the same timers in every run.
        let mut wheel = Wheel::new(0);
        let (mut now, mut seed, mut fired) = (0_u64, 1_u64, 0);
        for key in 0..500 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            wheel.set(key, now, (seed >> 33) % HORIZON_MS);
        }
        while let Some(wait_ms) = wheel.next_ms(now) {
            now += wait_ms;
            let due = expired(&mut wheel, now).len();
            assert!(due > 0, "woke at {now} for nothing");
            fired += due;
        }
        assert_eq!(fired, 500);
    }

    #[test]
    fn a_lone_timer_is_found_wherever_in_the_wheel_it_lies() {
        for start in [0, 1, 62, 63, 64, 100, SLOTS - 65, SLOTS - 1, SLOTS, 5 * SLOTS + 17] {
            for ticks in [1, 2, 62, 63, 64, 65, 128, SLOTS / 2, SLOTS - 64, SLOTS - 2] {
                let now_ms = start * TICK_MS;
                let mut wheel = Wheel::new(now_ms);
                wheel.set(7, now_ms, ticks * TICK_MS);
                assert_eq!(wheel.next_ms(now_ms), Some(ticks * TICK_MS), "{ticks} ticks from {start}");
                assert_eq!(expired(&mut wheel, now_ms + ticks * TICK_MS), [7]);
                assert_eq!(wheel.next_ms(now_ms), None, "{ticks} ticks from {start}");
            }
        }
    }
}
