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

    /// Nodes that each resource needs if all publishes went to rooms of `room_size`, in the order of
    /// [`Plan::limits`]; absent for a resource without a load.
    pub fn nodes_at(&self, room_size: u64) -> Vec<Option<u128>> {
        let mut inputs = self.inputs.clone();
        inputs.load.rooms = vec![RoomShare::all(room_size)];
        let demand = Demand::of(&inputs.load);
        let nodes =
            |limit: &Limit| demand.of_resource(limit.resource).map(|demand| demand.div_ceil(limit.per_node));
        self.limits.iter().map(nodes).collect()
    }
}
