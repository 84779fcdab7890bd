//! Nodes: how many, what each carries, and what goes between them.

use serde::Serialize;

use super::capacity::Limit;
use super::decimal::{Decimal, MILLION};
use super::demand::Demand;
use super::inputs::{Fleet, Load};

/// Numbers of nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Nodes {
    /// Enough for the load, and at least one; absent if no limit meets a load.
    pub needed: Option<u128>,
    /// Enough with redundancy: the needed ones times the factor, or with those that may fail, whichever
    /// is more.
    pub with_redundancy: Option<u128>,
    /// How many there are, as given.
    pub given: Option<u64>,
    /// Whether as many as are needed with redundancy were given.
    pub is_enough: Option<bool>,
    /// How many run: the given ones, else those with redundancy.
    pub running: u128,
}

impl Nodes {
    pub(super) fn of(fleet: &Fleet, limits: &[Limit]) -> Option<Self> {
        let needed = limits.iter().filter_map(|limit| limit.nodes).max().map(|nodes| nodes.max(1));
        let with_redundancy = needed.map(|needed| {
            let multiplied = (needed * fleet.redundancy.millionths()).div_ceil(MILLION);
            multiplied.max(needed + u128::from(fleet.survive))
        });
        let given = fleet.nodes;
        Some(Self {
            needed,
            with_redundancy,
            given,
            is_enough: given.zip(with_redundancy).map(|(given, enough)| u128::from(given) >= enough),
            running: given.map(u128::from).or(with_redundancy)?,
        })
    }
}

/// What one node carries if all carry the same, rounded up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Connections.
    pub connections: Option<u128>,
    /// Writes to sockets per second.
    pub writes_per_second: Option<u128>,
    /// Bytes on the wire per second.
    pub egress_bytes_per_second: Option<u128>,
    /// Connections while as many nodes as may fail have failed.
    pub connections_after_failures: Option<u128>,
    /// Writes to sockets per second then.
    pub writes_per_second_after_failures: Option<u128>,
}

impl Share {
    /// What each of `running` nodes carries of `demand`, and each of those that are left when `survive`
    /// have failed, which are fewer.
    pub(super) fn of(demand: &Demand, running: u128, survive: u64) -> Self {
        let share = |amount: Option<u128>| amount.map(|amount| amount.div_ceil(running));
        let left = running - u128::from(survive);
        let share_of_left =
            |amount: Option<u128>| amount.filter(|_| survive > 0).map(|amount| amount.div_ceil(left));
        Self {
            connections: share(demand.connections),
            writes_per_second: share(demand.writes_per_second),
            egress_bytes_per_second: share(demand.egress_bytes_per_second),
            connections_after_failures: share_of_left(demand.connections),
            writes_per_second_after_failures: share_of_left(demand.writes_per_second),
        }
    }
}

/// What the nodes send one another. A publish goes to the bus once, and from it once to each node that
/// has members of the room, wherever it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bus {
    /// Nodes on it.
    pub nodes: u128,
    /// Deliveries to nodes for one publish, on average and at most: as many as there are nodes, or
    /// connected members.
    pub deliveries_per_publish: Decimal,
    /// Publishes to it per second.
    pub publishes_per_second: Option<Decimal>,
    /// Deliveries to nodes per second, rounded up.
    pub deliveries_per_second: Option<u128>,
}

impl Bus {
    /// What `nodes` nodes send one another; nothing, if there is one, or nothing is published.
    pub(super) fn of(load: &Load, nodes: u128) -> Option<Self> {
        if nodes < 2 || load.rooms.is_empty() {
            return None;
        }
        let reached: u128 = load
            .rooms
            .iter()
            .map(|room| {
                let members = u128::from(room.members) * load.active.millionths();
                members.min(nodes * MILLION) * room.share.millionths()
            })
            .sum();
        let per_second = |rate: Decimal| (rate.millionths() * reached).div_ceil(MILLION.pow(3));
        Some(Self {
            nodes,
            deliveries_per_publish: Decimal::from_millionths(reached.div_ceil(MILLION)),
            publishes_per_second: load.publishes_per_second,
            deliveries_per_second: load.publishes_per_second.map(per_second),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Inputs, Plan, RoomShare};

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text, 1, 1).unwrap()
    }

    /// The nodes for 10 M connections at 1 M each.
    fn nodes(change: impl FnOnce(&mut Fleet)) -> Nodes {
        let mut inputs = Inputs::default();
        inputs.load.users = Some(10_000_000);
        inputs.node.descriptors = Some(1_000_000);
        change(&mut inputs.fleet);
        Plan::new(inputs).unwrap().nodes.unwrap()
    }

    #[test]
    fn of_two_kinds_of_redundancy_the_one_that_asks_for_more_counts() {
        assert_eq!(nodes(|_| {}).with_redundancy, Some(10));
        assert_eq!(nodes(|fleet| fleet.survive = 2).with_redundancy, Some(12));
        assert_eq!(nodes(|fleet| fleet.redundancy = decimal("1.25")).with_redundancy, Some(13));
        let both = |survive| nodes(|fleet| (fleet.survive, fleet.redundancy) = (survive, decimal("2")));
        assert_eq!(both(3).with_redundancy, Some(20));
        assert_eq!(both(13).with_redundancy, Some(23));
    }

    #[test]
    fn nodes_that_are_given_are_judged_and_run() {
        let few = nodes(|fleet| (fleet.survive, fleet.nodes) = (1, Some(10)));
        assert_eq!((few.is_enough, few.running, few.with_redundancy), (Some(false), 10, Some(11)));
        let many = nodes(|fleet| (fleet.survive, fleet.nodes) = (1, Some(11)));
        assert_eq!((many.is_enough, many.running), (Some(true), 11));
    }

    #[test]
    fn after_failures_the_nodes_that_are_left_carry_everything() {
        let mut inputs = Inputs::default();
        inputs.load.users = Some(100);
        inputs.fleet.nodes = Some(4);
        assert_eq!(Plan::new(inputs.clone()).unwrap().per_node.unwrap().connections_after_failures, None);
        inputs.fleet.survive = 1;
        let share = Plan::new(inputs).unwrap().per_node.unwrap();
        assert_eq!((share.connections, share.connections_after_failures), (Some(25), Some(34)));
    }

    #[test]
    fn a_load_that_writes_nothing_still_takes_a_node() {
        let mut inputs = Inputs::default();
        inputs.load.rooms = vec![RoomShare::all(1)];
        inputs.load.excludes_sender = true;
        inputs.load.publishes_per_second = Some(Decimal::ONE);
        inputs.node.deliveries_per_second = Some(10);
        let plan = Plan::new(inputs).unwrap();
        assert_eq!((plan.nodes.unwrap().needed, plan.binding, plan.bus), (Some(1), None, None));
    }

    #[test]
    fn the_bus_reaches_no_more_nodes_than_a_room_has_connected_members() {
        let mut load = Inputs::default().load;
        load.publishes_per_second = Some(decimal("1000"));
        load.active = decimal("0.5");
        let half = decimal("0.5");
        load.rooms = vec![RoomShare { members: 5, share: half }, RoomShare { members: 500, share: half }];
        let bus = Bus::of(&load, 10).unwrap();
        assert_eq!(bus.deliveries_per_publish, decimal("6.25"));
        assert_eq!(bus.deliveries_per_second, Some(6_250));
        assert_eq!(Bus::of(&load, 1), None);
    }
}
