//! What to change to need fewer nodes: the same arithmetic again with one input changed.
//!
//! Nothing is claimed that was not computed: a change is told with the nodes that a plan of the changed
//! inputs has, and not at all if these are not fewer.

use serde::Serialize;

use super::capacity::{self, Limit, Resource};
use super::decimal::{Decimal, MILLION};
use super::demand::{Demand, wire_bytes};
use super::fleet::Nodes;
use super::inputs::Inputs;
use super::text::{bytes, grouped};
use crate::limits::{KERNEL_BYTES_PER_CONNECTION, USER_BYTES_PER_CONNECTION};

/// One change and what comes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Nodes with it, redundancy included.
    pub nodes: u128,
    /// What is changed, in words that follow "with": `32 GiB of memory per node instead of 28 GiB`.
    pub how: String,
}

/// Changes of `inputs` that need fewer nodes, the limits of a node first.
pub(super) fn changes(
    inputs: &Inputs,
    demand: &Demand,
    limits: &[Limit],
    nodes: Option<&Nodes>,
) -> Vec<Change> {
    let Some(nodes) = nodes else { return Vec::new() };
    let (Some(needed), Some(now)) = (nodes.needed, nodes.with_redundancy) else { return Vec::new() };
    let binding = limits.iter().filter(|limit| limit.nodes == Some(needed)).map(|limit| limit.resource);
    let binding: Vec<_> = binding.collect();
    let mut found = Vec::new();
    if needed > 1 {
        // One fewer, half as many, and as many as there are.
        let given = nodes.given.and_then(|given| enough_for(inputs, u128::from(given)));
        let mut targets = vec![needed - 1, needed.div_ceil(2)];
        targets.extend(given.filter(|target| *target < needed));
        targets.sort_by(|one, other| other.cmp(one));
        targets.dedup();
        found.extend(targets.into_iter().map(|target| larger_nodes(inputs, limits, target)));
        found.push(at_best(inputs, limits, &binding));
        found.extend(lighter_connections(inputs, &binding));
        found.extend(fewer_writes(inputs, demand, &binding));
    }
    found.extend(less_reserve(inputs));
    let counted = found.into_iter().filter_map(|(changed, how)| {
        let nodes = nodes_of(&changed)?;
        (nodes < now).then_some(Change { nodes, how })
    });
    counted.collect()
}

/// An input changed, and how.
type Changed = (Inputs, String);

/// Nodes with redundancy of a plan, if there is one.
fn nodes_of(inputs: &Inputs) -> Option<u128> {
    inputs.check().ok()?;
    let limits = capacity::limits(inputs, &Demand::of(&inputs.load)).ok()?;
    Nodes::of(&inputs.fleet, &limits)?.with_redundancy
}

/// The largest number of needed nodes for which `given` ones are enough with redundancy.
fn enough_for(inputs: &Inputs, given: u128) -> Option<u128> {
    let fleet = &inputs.fleet;
    let by_factor = given * MILLION / fleet.redundancy.millionths();
    let by_failures = given.saturating_sub(u128::from(fleet.survive));
    Some(by_factor.min(by_failures)).filter(|needed| *needed > 0)
}

/// What each resource must be for the load to fit in `target` nodes.
fn larger_nodes(inputs: &Inputs, limits: &[Limit], target: u128) -> Changed {
    let mut changed = inputs.clone();
    let used = MILLION - inputs.fleet.headroom.millionths();
    let mut parts = Vec::new();
    for limit in limits.iter().filter(|limit| limit.nodes.is_some_and(|nodes| nodes > target)) {
        let per_node = limit.demand.unwrap_or(0).div_ceil(target);
        let amount = |of_one: u128| (per_node * of_one * MILLION).div_ceil(used);
        // What is beyond 64 bits is beyond every range, and refused as such.
        let whole = |amount: u128| u64::try_from(amount).unwrap_or(u64::MAX);
        let (node, load) = (&mut changed.node, &inputs.load);
        parts.push(match limit.resource {
            Resource::Memory => {
                let now = node.memory_bytes.unwrap_or(0);
                let memory_bytes = round_up_memory(amount(u128::from(node.bytes_per_connection)));
                node.memory_bytes = Some(whole(memory_bytes));
                format!("{} of memory per node instead of {}", bytes(memory_bytes), bytes(u128::from(now)))
            }
            Resource::Descriptors => {
                let now = node.descriptors.replace(whole(amount(1))).unwrap_or(0);
                format!("{} descriptors per node instead of {}", grouped(amount(1)), grouped(u128::from(now)))
            }
            Resource::Deliveries => {
                let now = node.deliveries_per_second.replace(whole(amount(1))).unwrap_or(0);
                let now = grouped(u128::from(now));
                format!("{} deliveries per second and node instead of {now}", grouped(amount(1)))
            }
            Resource::Egress => {
                let gbit = round_up_gbit(amount(wire_bytes(load.message_bytes.unwrap_or(0))));
                let now = node.egress_gbit_per_second.replace(gbit).unwrap_or(Decimal::ZERO);
                format!("{gbit} Gbit/s of egress per node instead of {now}")
            }
        });
    }
    (changed, parts.join(" and "))
}

/// `memory_bytes` rounded up to a tenth of a GiB, or to a MiB below one.
fn round_up_memory(memory_bytes: u128) -> u128 {
    let unit = if memory_bytes >= 1 << 30 { 1 << 30 } else { 10 << 20 };
    let tenths = (memory_bytes * 10).div_ceil(unit);
    // The tenths need not be a whole number of bytes. What is needed is one, so the rest may go.
    tenths * unit / 10
}

/// `bytes_per_second` as Gbit/s, rounded up to a tenth, or to a thousandth below 1.
fn round_up_gbit(bytes_per_second: u128) -> Decimal {
    let millionths = (bytes_per_second * 8).div_ceil(1_000);
    let unit = if millionths >= MILLION { MILLION / 10 } else { MILLION / 1_000 };
    Decimal::from_millionths(millionths.next_multiple_of(unit))
}

/// What the other resources allow if there were any amount of those that bind.
fn at_best(inputs: &Inputs, limits: &[Limit], binding: &[Resource]) -> Changed {
    let mut changed = inputs.clone();
    for resource in binding {
        match resource {
            Resource::Memory => changed.node.memory_bytes = None,
            Resource::Descriptors => changed.node.descriptors = None,
            Resource::Deliveries => changed.node.deliveries_per_second = None,
            Resource::Egress => changed.node.egress_gbit_per_second = None,
        }
    }
    let others: Vec<_> = limits.iter().filter(|limit| !binding.contains(&limit.resource)).cloned().collect();
    let next = capacity::binding(&others).map_or_else(String::new, |next| format!(": then {}", next.binds()));
    let names: Vec<_> = binding.iter().map(Resource::to_string).collect();
    (changed, format!("unlimited {}{next}", names.join(" and ")))
}

/// Fewer connections, or smaller ones.
fn lighter_connections(inputs: &Inputs, binding: &[Resource]) -> Vec<Changed> {
    let mut found = Vec::new();
    let per_connection = KERNEL_BYTES_PER_CONNECTION + USER_BYTES_PER_CONNECTION;
    let now = inputs.node.bytes_per_connection;
    if binding.contains(&Resource::Memory) && now > per_connection {
        let mut changed = inputs.clone();
        changed.node.bytes_per_connection = per_connection;
        let (idle, now) = (bytes(u128::from(per_connection)), bytes(u128::from(now)));
        found.push((
            changed,
            format!("{idle} per connection, which an idle one takes here, instead of {now}"),
        ));
    }
    let sessions = inputs.load.sessions_per_user;
    if binding.iter().any(|resource| !resource.is_of_writes()) && sessions > Decimal::ONE {
        let mut changed = inputs.clone();
        changed.load.sessions_per_user = Decimal::ONE;
        found.push((changed, format!("1 session per user instead of {sessions}")));
    }
    found
}

/// Fewer writes, or smaller ones.
fn fewer_writes(inputs: &Inputs, demand: &Demand, binding: &[Resource]) -> Vec<Changed> {
    let mut found = Vec::new();
    if !binding.iter().any(|resource| resource.is_of_writes()) {
        return found;
    }
    if let (Some(size), [first, others @ ..]) = (demand.mean_room_size, inputs.load.rooms.as_slice()) {
        let mut changed = inputs.clone();
        changed.load.rooms.iter_mut().for_each(|room| room.members = room.members.div_ceil(2));
        let how = if others.is_empty() {
            format!("rooms of {} instead of {size} members", grouped(u128::from(first.members.div_ceil(2))))
        } else {
            format!("rooms of half the size ({size} members on average now)")
        };
        found.push((changed, how));
    }
    if let Some(rate) = inputs.load.publishes_per_second {
        let mut changed = inputs.clone();
        changed.load.publishes_per_second = Some(Decimal::from_millionths(rate.millionths().div_ceil(2)));
        found.push((changed, "two messages conflated into one before they are delivered".to_owned()));
    }
    if !inputs.load.excludes_sender {
        let mut changed = inputs.clone();
        changed.load.excludes_sender = true;
        found.push((changed, "senders that do not get their own messages".to_owned()));
    }
    if let Some(now) = inputs.load.message_bytes.filter(|_| binding.contains(&Resource::Egress)) {
        let mut changed = inputs.clone();
        let half = now.div_ceil(2);
        changed.load.message_bytes = Some(half);
        let (half, now) = (bytes(u128::from(half)), bytes(u128::from(now)));
        found.push((changed, format!("messages of {half} instead of {now}")));
    }
    found
}

/// Less of what is kept for spikes and failures.
fn less_reserve(inputs: &Inputs) -> Vec<Changed> {
    let mut found = Vec::new();
    let fleet = &inputs.fleet;
    if fleet.headroom > Decimal::ZERO {
        let mut changed = inputs.clone();
        changed.fleet.headroom = Decimal::ZERO;
        found.push((changed, "no headroom, by which the first spike is too much".to_owned()));
    }
    if fleet.redundancy > Decimal::ONE {
        let mut changed = inputs.clone();
        changed.fleet.redundancy = Decimal::ONE;
        changed.fleet.survive = fleet.survive.max(1);
        let survive = changed.fleet.survive;
        found.push((changed, format!("--survive {survive} instead of --redundancy {}", fleet.redundancy)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Plan, RoomShare};

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text, 1, 1).unwrap()
    }

    fn told(inputs: &Inputs) -> Vec<String> {
        let changes = Plan::new(inputs.clone()).unwrap().changes;
        changes.into_iter().map(|change| format!("{}: {}", change.nodes, change.how)).collect()
    }

    /// 2,000 publishes per second to rooms of 150, of whom 0.4 are active, at 40,000 deliveries per node.
    fn busy_rooms() -> Inputs {
        let mut inputs = Inputs::default();
        inputs.load.publishes_per_second = Some(decimal("2000"));
        inputs.load.rooms = vec![RoomShare::all(150)];
        inputs.load.active = decimal("0.4");
        inputs.node.deliveries_per_second = Some(40_000);
        inputs
    }

    #[test]
    fn memory_that_binds_is_told_by_how_much_and_how_far_more_of_it_helps() {
        let mut inputs = Inputs::default();
        inputs.load.users = Some(12_000_000);
        inputs.load.sessions_per_user = decimal("1.5");
        inputs.node.memory_bytes = Some(28 << 30);
        inputs.node.bytes_per_connection = 20 << 10;
        inputs.node.descriptors = Some(2_000_000);
        assert_eq!(
            told(&inputs),
            [
                "12: 28.7 GiB of memory per node instead of 28 GiB",
                "7: 49.1 GiB of memory per node instead of 28 GiB and 2,571,429 descriptors per node instead of \
                 2,000,000",
                "9: unlimited memory: then descriptors bind",
                "9: 4,054 B per connection, which an idle one takes here, instead of 20 KiB",
                "9: 1 session per user instead of 1.5",
            ]
        );
    }

    #[test]
    fn deliveries_that_bind_are_answered_by_smaller_rooms_or_fewer_messages() {
        assert_eq!(
            told(&busy_rooms()),
            [
                "2: 60,000 deliveries per second and node instead of 40,000",
                "2: rooms of 75 instead of 150 members",
                "2: two messages conflated into one before they are delivered",
                // 119,200 writes are one node's less than 120,000, and not enough less.
            ]
        );
    }

    #[test]
    fn egress_that_binds_is_answered_by_smaller_messages_too() {
        let mut inputs = busy_rooms();
        inputs.node.deliveries_per_second = None;
        inputs.node.egress_gbit_per_second = Some(decimal("0.5"));
        inputs.load.message_bytes = Some(1_000);
        let told = told(&inputs);
        assert_eq!(told[0], "2: 0.526 Gbit/s of egress per node instead of 0.5");
        assert!(told.contains(&"2: messages of 500 B instead of 1,000 B".to_owned()), "{told:?}");
    }

    #[test]
    fn resources_that_bind_together_are_changed_together_and_given_nodes_are_aimed_at() {
        let mut inputs = busy_rooms();
        inputs.load.users = Some(3_000_000);
        inputs.node.descriptors = Some(1_000_000);
        inputs.fleet.redundancy = decimal("2");
        inputs.fleet.nodes = Some(2);
        assert_eq!(
            told(&inputs),
            [
                "4: 1,500,000 descriptors per node instead of 1,000,000 and 60,000 deliveries per second and \
                 node instead of 40,000",
                "2: 3,000,000 descriptors per node instead of 1,000,000 and 120,000 deliveries per second and \
                 node instead of 40,000",
                "4: --survive 1 instead of --redundancy 2",
            ]
        );
    }

    #[test]
    fn headroom_is_told_for_what_it_costs() {
        let mut inputs = busy_rooms();
        inputs.fleet.headroom = decimal("0.5");
        let told = told(&inputs);
        assert_eq!(told[0], "5: 48,000 deliveries per second and node instead of 40,000");
        assert_eq!(told[1], "3: 80,000 deliveries per second and node instead of 40,000");
        assert_eq!(told.last().unwrap(), "3: no headroom, by which the first spike is too much");
    }

    #[test]
    fn one_node_cannot_be_fewer() {
        let mut inputs = busy_rooms();
        inputs.node.deliveries_per_second = Some(120_000);
        assert_eq!(told(&inputs), [""; 0]);
    }
}
