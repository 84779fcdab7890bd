//! Both stores against a model that keeps everything in a list: what they answer is the same,
//! whatever happens in which order, and after the one on the disk is opened anew.

use std::collections::HashMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::scratch::Scratch;
use super::{Embedded, EmbeddedOptions, Epoch, Memory, Position, Range, Store, Version};
use crate::hub::{Durability, Retention};

const ROOMS: [&str; 3] = ["a", "b", "ab"];

/// How the rooms are kept; small, so that everything happens.
const KEEP: [Retention; 3] = [
    Retention { size: 4, ttl_ms: 1_000, meta_ttl_ms: 8_000, durability: Durability::Fsync },
    Retention { size: 40, ttl_ms: 50_000, meta_ttl_ms: 80_000, durability: Durability::Os },
    Retention { size: 1_000, ttl_ms: 500_000, meta_ttl_ms: 10, durability: Durability::Os },
];

#[derive(Debug, Clone)]
enum Step {
    Position(usize),
    Peek(usize),
    Append(usize, usize),
    Versioned(usize, u64, u8),
    Read(usize, Range),
    Clear(usize),
    Cursor(usize, u64),
    Commit,
    Sweep,
    Wait(u64),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let room = 0..ROOMS.len();
    let since = prop_oneof![Just(None), (0u64..40).prop_map(Some), Just(Some(u64::MAX))];
    let limit = prop_oneof![0usize..6, Just(300), Just(usize::MAX)];
    let bytes = prop_oneof![0usize..200, Just(usize::MAX)];
    let step = prop_oneof![
        2 => room.clone().prop_map(Step::Position),
        1 => room.clone().prop_map(Step::Peek),
        8 => (room.clone(), 0usize..60).prop_map(|(room, len)| Step::Append(room, len)),
        1 => (room.clone(), 1u64..5, 0u8..2).prop_map(|(room, number, epoch)| Step::Versioned(room, number, epoch)),
        8 => (room.clone(), since, limit, bytes, any::<bool>()).prop_map(
            |(room, since, limit, bytes_max, reverse)| {
                Step::Read(room, Range { since, limit, bytes_max, reverse })
            }
        ),
        1 => room.clone().prop_map(Step::Clear),
        1 => (room, 0u64..9).prop_map(|(room, offset)| Step::Cursor(room, offset)),
        4 => Just(Step::Commit),
        2 => Just(Step::Sweep),
        2 => prop_oneof![0u64..900, 900u64..20_000, 20_000u64..700_000].prop_map(Step::Wait),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..120)
}

/// One room as it has to be.
#[derive(Debug, Default)]
struct Model {
    bodies: Vec<Bytes>,
    floor: u64,
    published_ms: u64,
    used_ms: u64,
    version: Option<Version>,
}

impl Model {
    fn top(&self) -> u64 {
        self.bodies.len() as u64
    }

    /// What is kept, as offsets.
    fn kept(&self, keep: &Retention, now_ms: u64) -> Vec<u64> {
        let old = now_ms >= self.published_ms + keep.ttl_ms;
        let least = self.floor.max(self.top().saturating_sub(u64::from(keep.size)));
        if old { Vec::new() } else { (least + 1..=self.top()).collect() }
    }

    fn read(&self, keep: &Retention, now_ms: u64, range: Range) -> Vec<(u64, Bytes)> {
        let mut offsets = self.kept(keep, now_ms);
        let since = range.since;
        if range.reverse {
            offsets.reverse();
            offsets.retain(|offset| since.is_none_or(|since| *offset < since));
        } else {
            offsets.retain(|offset| since.is_none_or(|since| *offset > since));
        }
        offsets.truncate(range.limit);
        let body = |offset: u64| self.bodies[offset as usize - 1].clone();
        let mut bytes = 0;
        let over = offsets.iter().position(|offset| {
            bytes += body(*offset).len();
            bytes > range.bytes_max
        });
        offsets.truncate(over.map_or(offsets.len(), |over| over.max(1)));
        offsets.into_iter().map(|offset| (offset, body(offset))).collect()
    }
}

/// A store with what the model needs beside it.
struct Judged<S> {
    store: S,
    epochs: HashMap<usize, Epoch>,
}

impl<S: Store> Judged<S> {
    fn position(&mut self, room: usize, position: Position, offset: u64, is_new: bool) {
        let before = self.epochs.insert(room, position.epoch);
        assert_eq!(position.offset, offset);
        assert_eq!(before != Some(position.epoch), is_new, "epoch of {}", ROOMS[room]);
    }
}

fn check<S: Store>(store: S, steps: &[Step], mut reopen: impl FnMut(S) -> S) {
    let mut judged = Judged { store, epochs: HashMap::new() };
    let mut models: HashMap<usize, Model> = HashMap::new();
    let mut cursors = HashMap::new();
    let mut now_ms = 1_000_000;
    for step in steps {
        // A stream lives between one and nine eighths of its time after its last use; the steps
        // avoid the time between, where it depends on what was noted.
        for (room, keep) in KEEP.iter().enumerate() {
            let meta_ms = keep.meta_ttl_ms.max(keep.ttl_ms);
            if let Some(model) = models.get(&room) {
                let unused_ms = now_ms - model.used_ms;
                if (meta_ms..meta_ms + meta_ms / 4).contains(&unused_ms) {
                    now_ms += meta_ms;
                }
            }
        }
        for (room, keep) in KEEP.iter().enumerate() {
            let meta_ms = keep.meta_ttl_ms.max(keep.ttl_ms);
            if models.get(&room).is_some_and(|model| now_ms - model.used_ms >= meta_ms) {
                models.remove(&room);
            }
        }
        match *step {
            Step::Position(room) => {
                let position = judged.store.position(ROOMS[room], &KEEP[room], now_ms).unwrap();
                let is_new = !models.contains_key(&room);
                let model = models.entry(room).or_default();
                model.used_ms = now_ms;
                judged.position(room, position, model.top(), is_new);
            }
            Step::Peek(room) => {
                let position = judged.store.peek(ROOMS[room], &KEEP[room], now_ms).unwrap();
                let expected = models.get(&room).map(|model| (judged.epochs[&room], model.top()));
                assert_eq!(position.map(|position| (position.epoch, position.offset)), expected);
            }
            Step::Append(room, _) | Step::Versioned(room, ..) => {
                let is_new = !models.contains_key(&room);
                let model = models.entry(room).or_default();
                let (len, version) = match *step {
                    Step::Append(_, len) => (len, None),
                    Step::Versioned(_, number, epoch) => {
                        (3, Some(Version { number, epoch: epoch.to_string().into() }))
                    }
                    _ => unreachable!("one of the two"),
                };
                let body = Bytes::from(format!("{:?}:{}", model.top() + 1, "x".repeat(len)));
                let keep = &KEEP[room];
                let position =
                    judged.store.append(ROOMS[room], keep, now_ms, &body, version.as_ref()).unwrap();
                model.used_ms = now_ms;
                let late = match (&version, &model.version) {
                    (Some(new), Some(last)) => new.epoch == last.epoch && new.number <= last.number,
                    _ => false,
                };
                assert_eq!(position.is_none(), late);
                if let Some(position) = position {
                    model.floor = model.kept(keep, now_ms).first().map_or(model.top(), |first| first - 1);
                    model.bodies.push(body);
                    model.published_ms = now_ms;
                    model.version = version.or(model.version.take());
                    judged.position(room, position, model.top(), is_new);
                } else if is_new {
                    unreachable!("a new stream has no version");
                }
            }
            Step::Read(room, range) => {
                let publications = judged.store.read(ROOMS[room], &KEEP[room], now_ms, range).unwrap();
                let publications: Vec<_> =
                    publications.into_iter().map(|one| (one.offset, one.body)).collect();
                let expected = models.get_mut(&room).map_or_else(Vec::new, |model| {
                    model.used_ms = now_ms;
                    model.read(&KEEP[room], now_ms, range)
                });
                assert_eq!(publications, expected);
            }
            Step::Clear(room) => {
                judged.store.clear(ROOMS[room], &KEEP[room], now_ms).unwrap();
                if let Some(model) = models.get_mut(&room) {
                    model.used_ms = now_ms;
                    model.floor = model.top();
                }
            }
            Step::Cursor(room, offset) => {
                assert_eq!(judged.store.cursor("7", ROOMS[room]).unwrap(), cursors.get(&room).copied());
                let cursor = Position { epoch: Epoch::new(offset), offset };
                judged.store.set_cursor("7", ROOMS[room], &KEEP[room], cursor).unwrap();
                cursors.insert(room, cursor);
            }
            Step::Commit => judged.store.commit().unwrap(),
            Step::Sweep => {
                judged.store.commit().unwrap();
                while judged.store.sweep(now_ms).unwrap() {}
            }
            Step::Wait(ms) => now_ms += ms,
            Step::Reopen => {
                judged.store.commit().unwrap();
                judged.store = reopen(judged.store);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_store_in_memory_answers_as_the_model(steps in steps()) {
        check(Memory::new(1 << 20), &steps, |store| store);
    }

    #[test]
    fn a_store_on_the_disk_answers_as_the_model_also_after_it_is_opened_anew(
        steps in steps(),
        cache_bytes_max in prop_oneof![Just(0usize), Just(2_000), Just(1 << 20)],
    ) {
        let scratch = Scratch::new("agreement");
        let options = EmbeddedOptions { cache_bytes_max, disk_free_bytes_min: 0 };
        let open = || Embedded::open(scratch.path(), options).unwrap();
        check(open(), &steps, |store| {
            drop(store);
            open()
        });
    }
}
