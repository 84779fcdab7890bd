//! What holds for all inputs in their ranges, and the smallest and largest of them.

use proptest::option;
use proptest::prelude::*;

use super::capacity::binding;
use super::decimal::MILLION;
use super::quantity::ROOM_SIZE_MAX;
use super::{Decimal, Fleet, Inputs, Load, Node, Plan, Resource, RoomShare};

/// From 1 to `max`, small and large numbers alike often.
fn up_to(max: u64) -> impl Strategy<Value = u64> {
    prop_oneof![Just(1), Just(max), 1..=max, 1..=max.min(1_000), 1..=max.min(10_000_000)]
}

fn decimals(from_millionths: u64, to_millionths: u64) -> impl Strategy<Value = Decimal> {
    let low = to_millionths.min(from_millionths + 3_000_000);
    let edges = prop_oneof![Just(from_millionths), Just(to_millionths)];
    prop_oneof![edges, from_millionths..=to_millionths, from_millionths..=low]
        .prop_map(|millionths| Decimal::from_millionths(u128::from(millionths)))
}

/// One room, or two with shares that sum up to 1.
fn rooms() -> impl Strategy<Value = Vec<RoomShare>> {
    let two = (up_to(1_000_000_000), up_to(1_000_000_000), 1..MILLION).prop_map(|(one, other, share)| {
        let room = |members, share| RoomShare { members, share: Decimal::from_millionths(share) };
        vec![room(one, share), room(other, MILLION - share)]
    });
    prop_oneof![up_to(1_000_000_000).prop_map(|members| vec![RoomShare::all(members)]), two]
}

fn load() -> impl Strategy<Value = Load> {
    (
        option::of(up_to(1_000_000_000_000)),
        decimals(1, 1_000_000_000),
        option::of(decimals(1, 1_000_000_000_000_000)),
        rooms(),
        decimals(1, 1_000_000),
        any::<bool>(),
        up_to(1 << 30),
    )
        .prop_map(
            |(users, sessions_per_user, publishes_per_second, rooms, active, excludes_sender, bytes)| Load {
                users,
                sessions_per_user,
                publishes_per_second,
                rooms,
                active,
                excludes_sender,
                message_bytes: Some(bytes),
            },
        )
}

fn node() -> impl Strategy<Value = Node> {
    (
        option::of(up_to(1 << 50)),
        up_to(1 << 30),
        option::of(up_to(1_000_000_000_000)),
        option::of(up_to(1_000_000_000_000)),
        option::of(decimals(1, 1_000_000_000_000)),
    )
        .prop_map(|(memory_bytes, bytes_per_connection, descriptors, deliveries_per_second, egress)| {
            Node {
                memory_bytes,
                bytes_per_connection,
                descriptors,
                deliveries_per_second,
                egress_gbit_per_second: egress,
            }
        })
}

fn inputs() -> impl Strategy<Value = Inputs> {
    let survive = prop_oneof![0..3_u64, 0..=1_000_000_u64];
    let headroom = prop_oneof![decimals(0, 500_000), decimals(0, 999_999)];
    // Contradictory ones have tests of their own.
    let nodes = option::of(up_to(999_000_000));
    let fleet = (headroom, survive, decimals(1_000_000, 100_000_000), nodes);
    (load(), node(), fleet).prop_map(|(load, node, (headroom, survive, redundancy, nodes))| Inputs {
        load,
        node,
        fleet: Fleet { headroom, survive, redundancy, nodes: nodes.map(|nodes| nodes + survive) },
    })
}

proptest! {
    #[test]
    fn nodes_are_enough_and_one_fewer_is_not(inputs in inputs()) {
        let Ok(plan) = Plan::new(inputs) else { return Ok(()) };
        for limit in &plan.limits {
            prop_assert!(limit.per_node > 0 && limit.per_node <= limit.without_headroom);
            if let (Some(demand), Some(nodes)) = (limit.demand, limit.nodes) {
                prop_assert!(nodes * limit.per_node >= demand);
                prop_assert!(nodes == 0 || (nodes - 1) * limit.per_node < demand);
            }
        }
        let most = plan.limits.iter().filter_map(|limit| limit.nodes).max();
        if let Some(nodes) = &plan.nodes {
            prop_assert_eq!(nodes.needed, most.map(|most| most.max(1)));
            if let (Some(needed), Some(with_redundancy)) = (nodes.needed, nodes.with_redundancy) {
                let fleet = &plan.inputs.fleet;
                prop_assert!(with_redundancy * MILLION >= needed * fleet.redundancy.millionths());
                prop_assert!(with_redundancy >= needed + u128::from(fleet.survive));
            }
        }
        if let Some(binding) = plan.binding {
            let limit = plan.limits.iter().find(|limit| limit.resource == binding).unwrap();
            prop_assert_eq!(limit.nodes, most);
        }
    }

    #[test]
    fn each_change_that_is_told_needs_fewer_nodes(inputs in inputs()) {
        let Ok(plan) = Plan::new(inputs) else { return Ok(()) };
        let now = plan.nodes.as_ref().and_then(|nodes| nodes.with_redundancy);
        for change in &plan.changes {
            prop_assert!(Some(change.nodes) < now && !change.how.is_empty());
        }
    }

    #[test]
    fn larger_rooms_never_need_fewer_nodes(inputs in inputs(), size in 1..ROOM_SIZE_MAX) {
        let Ok(plan) = Plan::new(inputs) else { return Ok(()) };
        for (small, large) in plan.limits_at(size).iter().zip(&plan.limits_at(size + 1)) {
            prop_assert!(small.nodes <= large.nodes, "{small:?} {large:?}");
        }
    }

    #[test]
    fn connections_decide_up_to_the_turn_and_writes_from_there(inputs in inputs(), size in up_to(ROOM_SIZE_MAX)) {
        let Ok(plan) = Plan::new(inputs) else { return Ok(()) };
        let (by_connections, by_writes) = plan.turn();
        let turn = by_connections.map_or(0, |(size, _)| size);
        let binding = binding(&plan.limits_at(size));
        if size <= turn {
            prop_assert_eq!(binding, by_connections.map(|(_, resource)| resource));
        } else if binding.is_some() {
            prop_assert!(binding.is_some_and(Resource::is_of_writes));
            prop_assert!(by_writes.is_some() || plan.inputs.load.excludes_sender && turn == 0);
        }
    }
}

#[test]
fn the_largest_of_everything_is_computed_and_told() {
    let mut inputs = Inputs::default();
    inputs.load.users = Some(1_000_000_000_000);
    inputs.load.sessions_per_user = Decimal::whole(1_000);
    inputs.load.publishes_per_second = Some(Decimal::whole(1_000_000_000));
    inputs.load.rooms = vec![RoomShare::all(1_000_000_000)];
    inputs.load.message_bytes = Some(1);
    inputs.node.deliveries_per_second = Some(1);
    inputs.node.descriptors = Some(1);
    inputs.fleet.redundancy = Decimal::whole(100);
    let plan = Plan::new(inputs).unwrap();
    let nodes = plan.nodes.as_ref().unwrap();
    assert_eq!((nodes.needed, nodes.with_redundancy), (Some(10_u128.pow(18)), Some(10_u128.pow(20))));
    assert!(serde_json::to_string(&plan).unwrap().contains("\"with_redundancy\":100000000000000000000"));
}
