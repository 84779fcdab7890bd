//! The hottest rooms of the server, from what each shard counted.
//!
//! A count of a shard is never too small, so neither is the sum. A shard that has members of a room and no
//! counter for it may have delivered as much as its smallest counter says: that much is added, to the sum
//! and to what it may be too large by.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::snapshot;
use crate::hub::{Room, RoomId};
use crate::rooms::Heat;

/// Rooms that are shown.
const SHOWN_MAX: usize = 20;

/// One room, from all shards that count it.
struct Sum {
    room: Arc<Room>,
    deliveries: u64,
    error: u64,
    /// Shards that count it.
    shards: Vec<usize>,
}

/// The rooms with the most deliveries, the one that surely got most first. `heats` has what each shard
/// counted in the last `elapsed`, beside the shard's number.
pub(super) fn hottest(heats: &[(usize, Heat)], elapsed: Duration) -> Vec<snapshot::Room> {
    let mut sums: HashMap<RoomId, Sum> = HashMap::new();
    for (shard, heat) in heats {
        for hot in &heat.rooms {
            let new = || Sum { room: Arc::clone(&hot.room), deliveries: 0, error: 0, shards: Vec::new() };
            let sum = sums.entry(hot.room.id).or_insert_with(new);
            sum.deliveries += hot.deliveries;
            sum.error += hot.error;
            sum.shards.push(*shard);
        }
    }
    let rest_max: HashMap<usize, u64> = heats.iter().map(|(shard, heat)| (*shard, heat.rest_max)).collect();
    let mut sums: Vec<_> = sums.into_values().collect();
    for sum in &mut sums {
        let uncounted = sum.room.shards().filter(|shard| !sum.shards.contains(shard));
        let rest: u64 = uncounted.filter_map(|shard| rest_max.get(&shard)).sum();
        sum.deliveries += rest;
        sum.error += rest;
    }
    sums.sort_by_key(|sum| std::cmp::Reverse((sum.deliveries - sum.error, sum.deliveries, sum.room.id.0)));
    let seconds = elapsed.as_secs_f64().max(f64::EPSILON);
    let shown = sums.into_iter().take(SHOWN_MAX).map(|sum| snapshot::Room {
        name: sum.room.name.to_string(),
        members: sum.room.clients.load(Ordering::Relaxed).into(),
        deliveries: sum.deliveries as f64 / seconds,
        error: sum.error as f64 / seconds,
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Directory;
    use crate::rooms::HotRoom;

    #[test]
    fn counts_of_shards_are_added_and_a_shard_without_a_counter_adds_to_the_doubt() {
        let directory = Directory::new(3);
        let rooms = ["hot", "warm", "luke"].map(|name| {
            let room = directory.enter(name, 0, 0);
            directory.enter(name, 0, 1);
            room
        });
        rooms[0].clients.store(7, Ordering::Relaxed);
        let hot =
            |place: usize, deliveries, error| HotRoom { room: Arc::clone(&rooms[place]), deliveries, error };
        let heats = [
            (0, Heat { rooms: vec![hot(0, 100, 0), hot(1, 60, 0)], rest_max: 50 }),
            (1, Heat { rooms: vec![hot(0, 40, 2), hot(2, 90, 80)], rest_max: 30 }),
            // It has members of none of them.
            (2, Heat { rooms: Vec::new(), rest_max: 1_000 }),
        ];
        let shown = hottest(&heats, Duration::from_secs(2));
        let shown: Vec<_> =
            shown.iter().map(|room| (&*room.name, room.members, room.deliveries, room.error)).collect();
        assert_eq!(shown, [("hot", 7, 70.0, 1.0), ("warm", 0, 45.0, 15.0), ("luke", 0, 70.0, 65.0)]);
    }

    #[test]
    fn no_more_are_shown_than_an_operator_looks_at() {
        let directory = Directory::new(1);
        let rooms = (0..SHOWN_MAX as u64 + 5).map(|number| HotRoom {
            room: directory.enter(&format!("room{number}"), 0, 0),
            deliveries: number,
            error: 0,
        });
        let heat = Heat { rooms: rooms.collect(), rest_max: 0 };
        let shown = hottest(&[(0, heat)], Duration::from_secs(1));
        assert_eq!(shown.len(), SHOWN_MAX);
        assert_eq!((&*shown[0].name, shown[0].deliveries), ("room24", 24.0));
    }
}
