//! Capacity arithmetic: how many nodes a load takes, which resource decides it, and what would take
//! fewer.
//!
//! [`Inputs`] are checked and turned into a [`Plan`]; docs/PLANNING.md has the formulas and worked
//! examples. The way of a figure: `demand` (what the load asks for) → `capacity` (what one node takes,
//! by [`Resource`]) → `fleet` (nodes) → `advice` (the same again with one thing changed).
//!
//! Invariants:
//! - whole numbers only. A demand is rounded up and a limit down, once each and as the last step, so
//!   that no node too few and, by a rounding error such as 10.000000001, none too many is named;
//! - `nodes × limit ≥ demand > (nodes - 1) × limit` for every resource;
//! - inputs in the ranges of [`quantity`] never overflow; others are refused before anything is computed.
//!
//! Absent on purpose: floating point, and anything of this machine. What it holds is `doctor`'s business.

mod advice;
mod capacity;
mod decimal;
mod demand;
mod fleet;
mod inputs;
pub mod quantity;
mod refusal;
pub mod text;

#[cfg(test)]
mod properties;

use serde::Serialize;

use quantity::ROOM_SIZE_MAX;

pub use advice::Change;
pub use capacity::{Limit, Resource};
pub use decimal::Decimal;
pub use demand::{Demand, WIRE_BYTES_PER_SEGMENT, wire_bytes};
pub use fleet::{Bus, Nodes, Share};
pub use inputs::{Fleet, Inputs, Load, Node, RoomShare};
pub use refusal::Refusal;

/// The answer. What the inputs do not tell is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// What it was made from.
    pub inputs: Inputs,
    /// What the load asks of all nodes together.
    pub demand: Demand,
    /// What one node takes, by each resource that was given.
    pub limits: Vec<Limit>,
    /// The resource that decides the number of nodes; without a load to divide, none.
    pub binding: Option<Resource>,
    /// How many nodes that makes; absent if neither a number was given nor a limit meets a load.
    pub nodes: Option<Nodes>,
    /// What each of them carries.
    pub per_node: Option<Share>,
    /// What goes between them.
    pub bus: Option<Bus>,
    /// What to change to need fewer, the first most directly.
    pub changes: Vec<Change>,
    /// What to doubt or to add, as sentences.
    pub notes: Vec<String>,
}

impl Plan {
    /// The plan for `inputs`.
    ///
    /// # Errors
    ///
    /// The inputs are out of range, contradict each other, or say nothing to plan with.
    pub fn new(inputs: Inputs) -> Result<Self, Refusal> {
        inputs.check()?;
        let demand = Demand::of(&inputs.load);
        let limits = capacity::limits(&inputs, &demand)?;
        let binding = capacity::binding(&limits);
        let nodes = Nodes::of(&inputs.fleet, &limits);
        let running = nodes.as_ref().map(|nodes| nodes.running);
        Ok(Self {
            per_node: running.map(|running| Share::of(&demand, running, inputs.fleet.survive)),
            bus: running.and_then(|running| Bus::of(&inputs.load, running)),
            changes: advice::changes(&inputs, &demand, &limits, nodes.as_ref()),
            notes: inputs.notes(&limits),
            inputs,
            demand,
            limits,
            binding,
            nodes,
        })
    }

    /// The resource that decides how many connections (or, if `of_writes`, writes per second) a node
    /// takes, and that number.
    pub fn node_limit(&self, of_writes: bool) -> Option<&Limit> {
        let same = self.limits.iter().filter(|limit| limit.resource.is_of_writes() == of_writes);
        same.min_by_key(|limit| limit.per_node)
    }

    /// The limits if all publishes went to rooms of `room_size`, with the demands and nodes of that.
    pub fn limits_at(&self, room_size: u64) -> Vec<Limit> {
        let mut inputs = self.inputs.clone();
        inputs.load.rooms = vec![RoomShare::all(room_size)];
        let demand = Demand::of(&inputs.load);
        self.limits.iter().map(|limit| limit.with(demand.of_resource(limit.resource))).collect()
    }

    /// The largest room size for which a resource of connections decides, with that resource, and the
    /// resource of writes that decides from there on. Either is absent if there is no such size.
    pub fn turn(&self) -> (Option<(u64, Resource)>, Option<Resource>) {
        let binding = |size| capacity::binding(&self.limits_at(size));
        let is_of_connections = |size| binding(size).filter(|resource| !resource.is_of_writes());
        // Connections stay the same and writes grow with the rooms, so there is one turn at most.
        let (mut low, mut high) = (0, ROOM_SIZE_MAX + 1);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if is_of_connections(middle).is_some() { low = middle } else { high = middle }
        }
        let by_connections = Some(low).filter(|low| *low > 0).and_then(|low| Some((low, binding(low)?)));
        (by_connections, Some(high).filter(|high| *high <= ROOM_SIZE_MAX).and_then(binding))
    }
}
