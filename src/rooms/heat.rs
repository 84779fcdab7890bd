//! Which rooms are delivered to most, while somebody looks: nobody does mostly, and then nothing is counted.
//!
//! The first question makes a shard count, from then on every question is answered with what came since the
//! last one, and `Event::HeatOff` makes it stop. It counts once for each batch, not for each member, in
//! `hub::Sketch`: a fixed number of counters, however many rooms there are.

use std::fmt;
use std::sync::Arc;

use crate::hub::{Room, RoomId, Sketch};
use crate::rooms::Rooms;

/// Rooms that have a counter, in each shard. A room that gets more than this part of all that a shard
/// delivers has one for certain.
const COUNTERS: usize = 128;

/// One room, as one shard knows it.
#[derive(Debug, Clone)]
pub struct HotRoom {
    /// The room.
    pub room: Arc<Room>,
    /// Messages that this shard handed to members of it, at most.
    pub deliveries: u64,
    /// By how much that may be too many.
    pub error: u64,
}

/// Which rooms one shard delivered to most since it was asked last.
#[derive(Debug, Clone, Default)]
pub struct Heat {
    /// The rooms, in no order.
    pub rooms: Vec<HotRoom>,
    /// What any other room of the shard got at most.
    pub rest_max: u64,
}

/// A question of the control plane for one shard, and how the answer is told.
pub struct HeatAsk(Box<dyn FnOnce(Heat) + Send>);

impl HeatAsk {
    /// A question whose answer goes to `tell`, on the shard's thread: it must be quick.
    pub(super) fn new(tell: impl FnOnce(Heat) + Send + 'static) -> Self {
        HeatAsk(Box::new(tell))
    }
}

impl fmt::Debug for HeatAsk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeatAsk")
    }
}

impl Rooms {
    /// Counts `deliveries` to members of `room` here, if somebody looks.
    pub(super) fn warm(&mut self, room: RoomId, deliveries: u64) {
        if let Some(heat) = &mut self.heat {
            heat.add(room.0, deliveries);
        }
    }

    /// Answers with what was counted since the last question, and counts from here on.
    pub(super) fn tell_heat(&mut self, ask: HeatAsk) {
        let sketch = self.heat.get_or_insert_with(|| Box::new(Sketch::new(COUNTERS)));
        // A room that has ended since has nobody who could be asked for its name.
        let rooms = sketch.iter().filter_map(|count| {
            let room = Arc::clone(self.members.room(self.members.index_of(RoomId(count.key))?));
            Some(HotRoom { room, deliveries: count.count, error: count.error })
        });
        let heat = Heat { rooms: rooms.collect(), rest_max: sketch.floor() };
        sketch.clear();
        (ask.0)(heat);
    }
}
