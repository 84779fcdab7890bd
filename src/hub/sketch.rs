//! Which of very many keys have most, in a fixed amount of memory: the space-saving algorithm (Metwally,
//! Agrawal and El Abbadi 2005, "Efficient Computation of Frequent and Top-k Elements in Data Streams"),
//! with weights.
//!
//! A key that has no counter takes over the smallest one and what it says, so a count is never too small;
//! by how much it may be too large is kept beside it.
//!
//! Invariants, for every key and at any time:
//! - a key with a counter has had `count - error` at least and `count` at most;
//! - a key without one has had `floor` at most;
//! - `floor`, and so every error, is at most the sum of all weights by the number of counters.
//!
//! Absent on purpose: time. Whoever wants rates clears it.

use std::collections::HashMap;

/// What is known of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The key.
    pub key: u64,
    /// What it has had at most.
    pub count: u64,
    /// By how much that may be too large.
    pub error: u64,
}

/// Counters for the keys that have most.
#[derive(Debug)]
pub struct Sketch {
    /// A heap by `count`: no counter is larger than the two below it, at `2n + 1` and `2n + 2`.
    heap: Vec<u32>,
    counters: Vec<Counter>,
    /// Places in `counters`.
    by_key: HashMap<u64, u32>,
    capacity: usize,
}

#[derive(Debug)]
struct Counter {
    count: Count,
    /// Its place in the heap.
    at: usize,
}

impl Sketch {
    /// A sketch with room for `capacity` keys, one at least.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Sketch {
            heap: Vec::with_capacity(capacity),
            counters: Vec::with_capacity(capacity),
            by_key: HashMap::with_capacity(capacity),
            capacity,
        }
    }

    /// Adds `weight` to what `key` has had. Takes a time that grows with the logarithm of the capacity.
    pub fn add(&mut self, key: u64, weight: u64) {
        let place = match self.by_key.get(&key) {
            Some(place) => *place,
            None if self.counters.len() < self.capacity => self.begin(key),
            None => self.take_over(key),
        };
        let counter = &mut self.counters[place as usize];
        counter.count.count += weight;
        let at = counter.at;
        self.sink(at);
    }

    fn begin(&mut self, key: u64) -> u32 {
        let (place, at) = (self.counters.len() as u32, self.heap.len());
        self.counters.push(Counter { count: Count { key, count: 0, error: 0 }, at });
        self.heap.push(place);
        self.by_key.insert(key, place);
        self.rise(at);
        place
    }

    /// Gives the smallest counter to `key`.
    fn take_over(&mut self, key: u64) -> u32 {
        let place = self.heap[0];
        let count = &mut self.counters[place as usize].count;
        self.by_key.remove(&count.key);
        *count = Count { key, count: count.count, error: count.count };
        self.by_key.insert(key, place);
        place
    }

    /// What a key that has no counter has had at most.
    pub fn floor(&self) -> u64 {
        if self.counters.len() < self.capacity { 0 } else { self.count_at(0) }
    }

    /// The keys that have counters, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Count> {
        self.counters.iter().map(|counter| counter.count)
    }

    /// Forgets everything, and keeps the memory.
    pub fn clear(&mut self) {
        self.heap.clear();
        self.counters.clear();
        self.by_key.clear();
    }

    fn count_at(&self, at: usize) -> u64 {
        self.counters[self.heap[at] as usize].count.count
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        for at in [one, other] {
            self.counters[self.heap[at] as usize].at = at;
        }
    }

    /// Moves the counter at `at`, which may be too large for its place, down.
    fn sink(&mut self, mut at: usize) {
        loop {
            let below = 2 * at + 1..(2 * at + 3).min(self.heap.len());
            let Some(smaller) = below.min_by_key(|below| self.count_at(*below)) else { return };
            if self.count_at(at) <= self.count_at(smaller) {
                return;
            }
            self.swap(at, smaller);
            at = smaller;
        }
    }

    /// Moves the counter at `at`, which may be too small for its place, up.
    fn rise(&mut self, mut at: usize) {
        while at > 0 && self.count_at((at - 1) / 2) > self.count_at(at) {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(sketch: &Sketch) -> Vec<(u64, u64, u64)> {
        let mut counts: Vec<_> =
            sketch.iter().map(|Count { key, count, error }| (key, count, error)).collect();
        counts.sort_unstable();
        counts
    }

    #[test]
    fn with_room_for_all_every_count_is_exact() {
        let mut sketch = Sketch::new(3);
        for (key, weight) in [(7, 5), (8, 1), (7, 2), (9, 4)] {
            sketch.add(key, weight);
        }
        assert_eq!(counts(&sketch), [(7, 7, 0), (8, 1, 0), (9, 4, 0)]);
        assert_eq!(sketch.floor(), 1);
    }

    #[test]
    fn a_new_key_takes_over_the_smallest_counter_and_its_doubt() {
        let mut sketch = Sketch::new(2);
        for (key, weight) in [(1, 10), (2, 3), (3, 1)] {
            sketch.add(key, weight);
        }
        assert_eq!(counts(&sketch), [(1, 10, 0), (3, 4, 3)]);
        assert_eq!(sketch.floor(), 4);
        sketch.clear();
        sketch.add(4, 2);
        assert_eq!((counts(&sketch), sketch.floor()), (vec![(4, 2, 0)], 0));
    }

    proptest! {
        #[test]
        fn no_key_has_had_other_than_what_the_sketch_allows(
            capacity in 1_usize..20,
            // Keys of which the small ones come often, as rooms do.
            stream in prop::collection::vec(((0_u64..40, 0_u64..40).prop_map(|(a, b)| a * b / 8), 0_u64..50), 0..400),
        ) {
            let mut sketch = Sketch::new(capacity);
            let mut truth = HashMap::<u64, u64>::new();
            for (key, weight) in &stream {
                sketch.add(*key, *weight);
                *truth.entry(*key).or_default() += weight;
            }
            let total: u64 = truth.values().sum();
            let counted: HashMap<_, _> = sketch.iter().map(|count| (count.key, count)).collect();
            prop_assert!(counted.len() == truth.len().min(capacity));
            prop_assert!(sketch.floor() <= total / capacity as u64);
            prop_assert_eq!(sketch.iter().map(|count| count.count).sum::<u64>(), total);
            for (key, had) in truth {
                match counted.get(&key) {
                    Some(Count { count, error, .. }) => {
                        prop_assert!(count - error <= had && had <= *count);
                        prop_assert!(*error <= sketch.floor());
                    }
                    None => prop_assert!(had <= sketch.floor()),
                }
            }
        }
    }
}
