//! What one node takes, by resource, and which of them decides.

use std::cmp::Ordering;
use std::fmt::{self, Display};

use serde::Serialize;

use super::decimal::MILLION;
use super::demand::{Demand, wire_bytes};
use super::inputs::Inputs;
use super::refusal::Refusal;
use super::text::{bytes, grouped};

/// Bytes per second in a millionth of a Gbit/s.
const BYTES_PER_MICRO_GBIT: u128 = 1_000 / 8;

/// What a node can run out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// Memory for connections.
    Memory,
    /// Descriptors for connections.
    Descriptors,
    /// Deliveries per second, which the processors allow.
    Deliveries,
    /// Bytes per second that its network sends.
    Egress,
}

/// What one resource of a node allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// Which.
    pub resource: Resource,
    /// What a node takes, after headroom and rounded down: connections, or writes per second.
    pub per_node: u128,
    /// The same without headroom.
    pub without_headroom: u128,
    /// What is asked of all nodes, in the same unit.
    pub demand: Option<u128>,
    /// Nodes that it takes.
    pub nodes: Option<u128>,
}

impl Resource {
    /// It limits writes per second; the others limit connections.
    pub fn is_of_writes(self) -> bool {
        matches!(self, Self::Deliveries | Self::Egress)
    }

    /// The option that sets it.
    pub fn option(self) -> &'static str {
        match self {
            Self::Memory => "--memory",
            Self::Descriptors => "--descriptors",
            Self::Deliveries => "--deliveries-per-second",
            Self::Egress => "--egress-gbit",
        }
    }

    /// That it decides, as a sentence: `memory binds`, `descriptors bind`.
    pub fn binds(self) -> String {
        match self {
            Self::Memory | Self::Egress => format!("{self} binds"),
            Self::Descriptors | Self::Deliveries => format!("{self} bind"),
        }
    }

    /// What it limits.
    pub fn unit(self) -> &'static str {
        if self.is_of_writes() { "writes/s" } else { "connections" }
    }
}

impl Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Descriptors => "descriptors",
            Self::Deliveries => "deliveries",
            Self::Egress => "egress",
        })
    }
}

impl Limit {
    /// The same limit for another demand.
    pub(super) fn with(&self, demand: Option<u128>) -> Self {
        Self { demand, nodes: demand.map(|demand| demand.div_ceil(self.per_node)), ..self.clone() }
    }
}

/// A resource of a node: how much there is of it, and how much one connection or write takes.
struct Stock {
    resource: Resource,
    amount: u128,
    of_one: u128,
    /// What is said if a headroom's rest is not enough for one.
    unit: fn(u128) -> String,
}

fn stocks(inputs: &Inputs) -> Vec<Stock> {
    let node = &inputs.node;
    let plain =
        |resource, amount: u64| Stock { resource, amount: u128::from(amount), of_one: 1, unit: grouped };
    let memory = node.memory_bytes.map(|memory_bytes| Stock {
        of_one: u128::from(node.bytes_per_connection),
        unit: bytes,
        ..plain(Resource::Memory, memory_bytes)
    });
    let egress = node.egress_gbit_per_second.zip(inputs.load.message_bytes);
    let egress = egress.map(|(gbit, message_bytes)| Stock {
        resource: Resource::Egress,
        amount: gbit.millionths() * BYTES_PER_MICRO_GBIT,
        of_one: wire_bytes(message_bytes),
        unit: |amount| format!("{} per second", bytes(amount)),
    });
    let descriptors = node.descriptors.map(|amount| plain(Resource::Descriptors, amount));
    let deliveries = node.deliveries_per_second.map(|amount| plain(Resource::Deliveries, amount));
    [memory, descriptors, deliveries, egress].into_iter().flatten().collect()
}

/// The limits of every resource that was given.
///
/// # Errors
///
/// One does not allow a single connection or write, by which no number of nodes would be enough.
pub(super) fn limits(inputs: &Inputs, demand: &Demand) -> Result<Vec<Limit>, Refusal> {
    let used = MILLION - inputs.fleet.headroom.millionths();
    let limits = stocks(inputs).into_iter().map(|stock| {
        let Stock { resource, amount, of_one, unit } = stock;
        let per_node = amount * used / (MILLION * of_one);
        if per_node == 0 {
            let left = unit(amount * used / MILLION);
            let why = format!("{left} are left after headroom, and one takes {}", unit(of_one));
            return Err(Refusal::NotOne { resource, why });
        }
        let limit =
            Limit { resource, per_node, without_headroom: amount / of_one, demand: None, nodes: None };
        Ok(limit.with(demand.of_resource(resource)))
    });
    limits.collect()
}

/// The resource that a load presses hardest: of which it asks the largest part of a node's limit.
pub(super) fn binding(limits: &[Limit]) -> Option<Resource> {
    let pressed = limits.iter().filter_map(|limit| Some((limit.resource, limit.demand?, limit.per_node)));
    // Of equals the first; demands of 0 press nothing.
    let pressed = pressed.filter(|(_, demand, _)| *demand > 0);
    let hardest = pressed.reduce(|one, other| {
        if compare((other.1, other.2), (one.1, one.2)) == Ordering::Greater { other } else { one }
    });
    hardest.map(|(resource, ..)| resource)
}

/// Compares two fractions whose divisors are not 0, without the products that could overflow.
fn compare(one: (u128, u128), other: (u128, u128)) -> Ordering {
    let wholes = (one.0 / one.1).cmp(&(other.0 / other.1));
    let rests = (one.0 % one.1, other.0 % other.1);
    match (wholes, rests) {
        (Ordering::Equal, (0, 0)) => Ordering::Equal,
        (Ordering::Equal, (0, _)) => Ordering::Less,
        (Ordering::Equal, (_, 0)) => Ordering::Greater,
        // Of two rests below 1 the greater has the smaller reciprocal.
        (Ordering::Equal, (rest, other_rest)) => compare((other.1, other_rest), (one.1, rest)),
        (unequal, _) => unequal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Decimal, Plan, RoomShare};

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text, 1, 1).unwrap()
    }

    #[test]
    fn memory_and_descriptors_limit_connections_and_the_smaller_one_counts() {
        let mut inputs = Inputs::default();
        inputs.node.memory_bytes = Some(28 << 30);
        inputs.node.bytes_per_connection = 20 << 10;
        inputs.node.descriptors = Some(1_000_000);
        let plan = Plan::new(inputs).unwrap();
        assert_eq!(plan.limits[0].per_node, 1_468_006);
        let limit = plan.node_limit(false).unwrap();
        assert_eq!((limit.resource, limit.per_node), (Resource::Descriptors, 1_000_000));
        assert_eq!((plan.binding, plan.node_limit(true), &plan.nodes), (None, None, &None));
    }

    #[test]
    fn egress_limits_writes_by_what_they_are_on_the_wire() {
        let mut inputs = Inputs::default();
        inputs.load.message_bytes = Some(100);
        inputs.load.rooms = vec![RoomShare::all(1_000)];
        inputs.load.publishes_per_second = Some(decimal("2000"));
        inputs.node.egress_gbit_per_second = Some(decimal("1.5"));
        let plan = Plan::new(inputs).unwrap();
        // 187,500,000 bytes per second at 192 each.
        assert_eq!(plan.limits[0].per_node, 976_562);
        assert_eq!(plan.limits[0].nodes, Some(3));
        assert_eq!(plan.demand.egress_bytes_per_second, Some(384_000_000));
    }

    #[test]
    fn a_node_that_takes_not_even_one_is_refused() {
        let mut inputs = Inputs::default();
        inputs.node.memory_bytes = Some(8 << 10);
        inputs.fleet.headroom = decimal("0.75");
        assert_eq!(
            Plan::new(inputs).unwrap_err().to_string(),
            "--memory: a node does not take even one connection: 2 KiB are left after headroom, and one takes \
             4,054 B"
        );
        let mut inputs = Inputs::default();
        inputs.load.message_bytes = Some(1 << 30);
        inputs.node.egress_gbit_per_second = Some(Decimal::ONE);
        let said = Plan::new(inputs).unwrap_err().to_string();
        assert!(
            said.starts_with("--egress-gbit: a node does not take even one write per second: "),
            "{said}"
        );
    }

    #[test]
    fn the_hardest_pressed_resource_binds_even_if_others_need_as_many_nodes() {
        let mut inputs = Inputs::default();
        inputs.load.users = Some(95);
        inputs.node.memory_bytes = Some(4_054 * 10);
        inputs.node.descriptors = Some(11);
        let plan = Plan::new(inputs.clone()).unwrap();
        assert_eq!(plan.limits.iter().map(|limit| limit.nodes).collect::<Vec<_>>(), [Some(10), Some(9)]);
        assert_eq!(plan.binding, Some(Resource::Memory));
        inputs.load.users = Some(10);
        assert_eq!(Plan::new(inputs).unwrap().binding, Some(Resource::Memory), "both need one node");
    }

    #[test]
    fn fractions_are_compared_without_overflow() {
        let large = u128::MAX;
        assert_eq!(compare((large, large - 1), (large - 1, large - 2)), Ordering::Less);
        assert_eq!(compare((1, 3), (2, 6)), Ordering::Equal);
        assert_eq!(compare((1, large), (1, large - 1)), Ordering::Less);
        assert_eq!(compare((7, 2), (3, 1)), Ordering::Greater);
        assert_eq!(compare((3, 1), (7, 2)), Ordering::Less);
    }
}
