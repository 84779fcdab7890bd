//! What a plan is made from: the load, one node, and the fleet of them.

use serde::Serialize;

use super::capacity::Limit;
use super::decimal::{Decimal, MILLION};
use super::quantity::{self, Quantity};
use super::refusal::Refusal;
use super::text::{bytes, grouped};
use crate::limits::{BACKLOG_BYTES_MAX, KERNEL_BYTES_PER_CONNECTION, USER_BYTES_PER_CONNECTION};

/// What the users do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Users connected at once.
    pub users: Option<u64>,
    /// Connections of each, on average.
    pub sessions_per_user: Decimal,
    /// Publishes per second over all rooms.
    pub publishes_per_second: Option<Decimal>,
    /// Sizes of the rooms that are published to; the shares are of the publishes and sum up to 1.
    pub rooms: Vec<RoomShare>,
    /// Fraction of a room's members that are connected when it is published to.
    pub active: Decimal,
    /// The publisher is a member of the room and does not get its own message.
    pub excludes_sender: bool,
    /// Payload of the WebSocket message that a member gets, in bytes, the protocol's envelope included.
    pub message_bytes: Option<u64>,
}

/// Rooms of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RoomShare {
    /// Members. One is a subscription of one connection.
    pub members: u64,
    /// Share of the publishes that go to such rooms.
    pub share: Decimal,
}

impl RoomShare {
    /// All rooms are of that size.
    pub const fn all(members: u64) -> Self {
        Self { members, share: Decimal::ONE }
    }
}

/// What one node has for its connections and what it was seen to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Memory for connections, in bytes.
    pub memory_bytes: Option<u64>,
    /// Memory of one connection in bytes, the kernel's and the process's.
    pub bytes_per_connection: u64,
    /// Descriptors for connections, over all descriptor tables of the server.
    pub descriptors: Option<u64>,
    /// Deliveries per second, each of which is a write to a socket.
    pub deliveries_per_second: Option<u64>,
    /// What its network takes, in Gbit/s.
    pub egress_gbit_per_second: Option<Decimal>,
}

/// How many nodes there are or shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fleet {
    /// Fraction of every limit that is kept free.
    pub headroom: Decimal,
    /// Nodes that may fail at once while the others carry everything.
    pub survive: u64,
    /// The nodes needed are multiplied by this.
    pub redundancy: Decimal,
    /// Nodes that there are.
    pub nodes: Option<u64>,
}

/// Everything that a plan is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inputs {
    /// What the users do.
    pub load: Load,
    /// What one node takes.
    pub node: Node,
    /// How many of them.
    pub fleet: Fleet,
}

impl Default for Inputs {
    /// Nothing asked for and nothing known but what a connection costs in this build: one session per
    /// user, everybody active, no headroom and no redundancy.
    fn default() -> Self {
        Self {
            load: Load {
                users: None,
                sessions_per_user: Decimal::ONE,
                publishes_per_second: None,
                rooms: Vec::new(),
                active: Decimal::ONE,
                excludes_sender: false,
                message_bytes: None,
            },
            node: Node {
                memory_bytes: None,
                bytes_per_connection: KERNEL_BYTES_PER_CONNECTION + USER_BYTES_PER_CONNECTION,
                descriptors: None,
                deliveries_per_second: None,
                egress_gbit_per_second: None,
            },
            fleet: Fleet { headroom: Decimal::ZERO, survive: 0, redundancy: Decimal::ONE, nodes: None },
        }
    }
}

impl Inputs {
    /// Whether all of it can be, and can be true together.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        self.check_ranges()?;
        let (load, node, fleet) = (&self.load, &self.node, &self.fleet);
        if load.publishes_per_second.is_some() && load.rooms.is_empty() {
            return Err(Refusal::Lacks {
                option: quantity::PUBLISHES_PER_SECOND.option,
                lacking: "--room-sizes",
            });
        }
        if load.excludes_sender && load.rooms.is_empty() {
            return Err(Refusal::Lacks { option: "--exclude-sender", lacking: "--room-sizes" });
        }
        if node.egress_gbit_per_second.is_some() && load.message_bytes.is_none() {
            return Err(Refusal::Lacks { option: quantity::EGRESS_GBIT.option, lacking: "--message-bytes" });
        }
        let is_node_known = node.memory_bytes.is_some()
            || node.descriptors.is_some()
            || node.deliveries_per_second.is_some()
            || node.egress_gbit_per_second.is_some();
        if load.users.is_none() && load.rooms.is_empty() && !is_node_known {
            return Err(Refusal::Nothing);
        }
        self.check_rooms()?;
        if let Some(nodes) = fleet.nodes
            && fleet.survive >= nodes
        {
            return Err(Refusal::AllFail { nodes, survive: fleet.survive });
        }
        Ok(())
    }

    fn check_ranges(&self) -> Result<(), Refusal> {
        let (load, node, fleet) = (&self.load, &self.node, &self.fleet);
        let whole = Decimal::whole;
        let mut given: Vec<(Quantity, Option<Decimal>)> = vec![
            (quantity::USERS, load.users.map(whole)),
            (quantity::SESSIONS_PER_USER, Some(load.sessions_per_user)),
            (quantity::PUBLISHES_PER_SECOND, load.publishes_per_second),
            (quantity::ACTIVE, Some(load.active)),
            (quantity::MESSAGE_BYTES, load.message_bytes.map(whole)),
            (quantity::MEMORY, node.memory_bytes.map(whole)),
            (quantity::BYTES_PER_CONNECTION, Some(whole(node.bytes_per_connection))),
            (quantity::DESCRIPTORS, node.descriptors.map(whole)),
            (quantity::DELIVERIES_PER_SECOND, node.deliveries_per_second.map(whole)),
            (quantity::EGRESS_GBIT, node.egress_gbit_per_second),
            (quantity::HEADROOM, Some(fleet.headroom)),
            (quantity::SURVIVE, Some(whole(fleet.survive))),
            (quantity::REDUNDANCY, Some(fleet.redundancy)),
            (quantity::NODES, fleet.nodes.map(whole)),
        ];
        for room in &load.rooms {
            given.push((quantity::ROOM_SIZE, Some(whole(room.members))));
            given.push((quantity::ROOM_SHARE, Some(room.share)));
        }
        for (quantity, number) in given {
            if let Some(given) = number {
                quantity.check(given).map_err(|accepted| Refusal::Range {
                    option: quantity.option,
                    given,
                    accepted,
                })?;
            }
        }
        Ok(())
    }

    fn check_rooms(&self) -> Result<(), Refusal> {
        let load = &self.load;
        let shares = load.rooms.iter().fold(0, |sum: u128, room| sum.saturating_add(room.share.millionths()));
        if !load.rooms.is_empty() && shares != MILLION {
            return Err(Refusal::Shares { sum: Decimal::from_millionths(shares) });
        }
        let Some(connections) = load.connections() else { return Ok(()) };
        let largest = load.rooms.iter().map(|room| room.members).max().unwrap_or(0);
        if u128::from(largest) * load.active.millionths() > connections * MILLION {
            return Err(Refusal::Crowd { members: largest, active: load.active, connections });
        }
        Ok(())
    }

    /// What to doubt or to add.
    pub(super) fn notes(&self, limits: &[Limit]) -> Vec<String> {
        let (load, node, fleet) = (&self.load, &self.node, &self.fleet);
        let mut notes = Vec::new();
        let has_limit = |of_writes| limits.iter().any(|limit| limit.resource.is_of_writes() == of_writes);
        if load.users.is_some() && !has_limit(false) {
            notes.push(
                "nodes are not counted by connections: that needs --memory or --descriptors".to_owned(),
            );
        }
        if load.publishes_per_second.is_some() && !has_limit(true) {
            notes.push(
                "nodes are not counted by writes: that needs --deliveries-per-second (the answer of `throng \
                 bench ceiling`, or its file in --from) or --egress-gbit"
                    .to_owned(),
            );
        }
        let is_loaded = load.users.is_some() || !load.rooms.is_empty();
        for limit in limits.iter().filter(|limit| is_loaded && limit.demand.is_none()) {
            let lacking = if limit.resource.is_of_writes() { "--publishes-per-second" } else { "--users" };
            notes.push(format!("nodes are not counted by {}: that needs {lacking}", limit.resource));
        }
        if limits.iter().any(|limit| limit.demand.is_some()) {
            if fleet.headroom == Decimal::ZERO {
                notes.push(
                    "nothing is kept free for spikes: --headroom 0.3 keeps 30 % of every limit".to_owned(),
                );
            }
            if fleet.survive == 0 && fleet.redundancy == Decimal::ONE {
                notes.push("no node may fail: --survive 1 adds what carries the load of one".to_owned());
            }
        }
        if node.bytes_per_connection < KERNEL_BYTES_PER_CONNECTION {
            notes.push(format!(
                "{} per connection is less than the {} that the kernel alone was seen to take for an idle one",
                bytes(u128::from(node.bytes_per_connection)),
                bytes(u128::from(KERNEL_BYTES_PER_CONNECTION)),
            ));
        }
        if let Some(message_bytes) = load.message_bytes
            && message_bytes > BACKLOG_BYTES_MAX as u64
        {
            notes.push(format!(
                "a message of {} bytes is larger than a connection's backlog ({} by default): its members are \
                 closed as slow",
                grouped(u128::from(message_bytes)),
                bytes(BACKLOG_BYTES_MAX as u128),
            ));
        }
        notes
    }
}

impl Load {
    /// Members of the room of a publish, on average.
    pub fn mean_room_size(&self) -> Option<Decimal> {
        (!self.rooms.is_empty()).then(|| Decimal::from_millionths(self.weighed_members(0)))
    }

    /// Members of the room of a publish without `less` of them, on average and in millionths.
    pub(super) fn weighed_members(&self, less: u64) -> u128 {
        self.rooms.iter().map(|room| u128::from(room.members - less) * room.share.millionths()).sum()
    }

    /// Connections of all users, rounded up.
    pub(super) fn connections(&self) -> Option<u128> {
        let connections = |users| (u128::from(users) * self.sessions_per_user.millionths()).div_ceil(MILLION);
        self.users.map(connections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    fn refused(change: impl FnOnce(&mut Inputs)) -> String {
        let mut inputs = Inputs::default();
        inputs.load.users = Some(1_000);
        inputs.load.rooms = vec![RoomShare::all(10)];
        inputs.node.descriptors = Some(100);
        change(&mut inputs);
        Plan::new(inputs).unwrap_err().to_string()
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_what_was_given() {
        let half = Decimal::from_millionths(MILLION / 2);
        for (said, expected) in [
            (
                refused(|inputs| inputs.load.rooms = vec![RoomShare { members: 10, share: half }]),
                "--room-sizes: the shares sum up to 0.5, and all publishes are 1",
            ),
            (
                refused(|inputs| inputs.load.rooms = vec![RoomShare::all(1_001)]),
                "--room-sizes: 1,001 members of which a fraction of 1 (--active) is connected are more than \
                 the 1,000 connections of all users (--users × --sessions-per-user)",
            ),
            (
                refused(|inputs| (inputs.fleet.nodes, inputs.fleet.survive) = (Some(3), 3)),
                "--survive 3: of 3 nodes (--nodes) none would be left",
            ),
            (
                refused(|inputs| inputs.node.egress_gbit_per_second = Some(half)),
                "--egress-gbit says nothing without --message-bytes",
            ),
            (
                refused(|inputs| {
                    inputs.load.publishes_per_second = Some(half);
                    inputs.load.rooms.clear();
                }),
                "--publishes-per-second says nothing without --room-sizes",
            ),
        ] {
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused_whoever_asks() {
        let said = refused(|inputs| inputs.load.active = Decimal::whole(2));
        assert!(said.starts_with("--active: 2 was given; accepted: numbers from more than 0 to 1"), "{said}");
        let said = refused(|inputs| inputs.load.users = Some(u64::MAX));
        assert!(said.starts_with("--users: 18,446,744,073,709,551,615 was given; accepted: whole"), "{said}");
        assert!(
            refused(|inputs| inputs.fleet.headroom = Decimal::ONE).starts_with("--headroom: 1 was given")
        );
        assert_eq!(Plan::new(Inputs::default()), Err(Refusal::Nothing));
    }

    #[test]
    fn a_plan_without_headroom_or_with_an_impossible_connection_says_so() {
        let mut inputs = Inputs::default();
        inputs.load.users = Some(1_000);
        inputs.node.descriptors = Some(100);
        inputs.node.bytes_per_connection = 100;
        inputs.load.message_bytes = Some(2 << 20);
        let notes = Plan::new(inputs.clone()).unwrap().notes.join("\n");
        for part in
            ["--headroom 0.3", "--survive 1", "less than the 3,894 B", "larger than a connection's backlog"]
        {
            assert!(notes.contains(part), "{part} is missing in\n{notes}");
        }
        inputs.fleet.headroom = Decimal::from_millionths(1);
        inputs.fleet.survive = 1;
        let notes = Plan::new(inputs).unwrap().notes.join("\n");
        assert!(!notes.contains("--headroom") && !notes.contains("--survive"), "{notes}");
    }
}
