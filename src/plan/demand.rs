//! What the load asks of all nodes together.

use serde::Serialize;

use super::capacity::Resource;
use super::decimal::{Decimal, MILLION};
use super::inputs::Load;

/// Longest payload of a TCP segment in bytes: an Ethernet frame of 1,500 less the headers of IPv4 (20)
/// and TCP (20) with its timestamps (12).
const SEGMENT_BYTES_MAX: u128 = 1_500 - 20 - 20 - 12;

/// What each TCP segment costs on the wire beside its payload, in bytes: those 52 of IPv4 and TCP, and
/// 38 of Ethernet (preamble 8, header 14, checksum 4, gap 12).
pub const WIRE_BYTES_PER_SEGMENT: u128 = 20 + 20 + 12 + 38;

/// What the load asks for, rounded up to whole numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Demand {
    /// Connections of all users.
    pub connections: Option<u128>,
    /// Members of the room of a publish, on average.
    pub mean_room_size: Option<Decimal>,
    /// Writes to sockets that one publish becomes, on average.
    pub writes_per_publish: Option<Decimal>,
    /// Writes to sockets per second.
    pub writes_per_second: Option<u128>,
    /// Bytes on the wire of one of them.
    pub wire_bytes_per_write: Option<u128>,
    /// Bytes on the wire per second.
    pub egress_bytes_per_second: Option<u128>,
}

impl Demand {
    /// The demand of `load`, which has been checked.
    pub(super) fn of(load: &Load) -> Self {
        let has_rooms = !load.rooms.is_empty();
        // Of the others each is as likely to be connected; the sender is, and gets nothing.
        let receivers = load.weighed_members(u64::from(load.excludes_sender)) * load.active.millionths();
        let writes_per_second = load
            .publishes_per_second
            .filter(|_| has_rooms)
            .map(|rate| (rate.millionths() * receivers).div_ceil(MILLION.pow(3)));
        let wire_bytes_per_write = load.message_bytes.map(wire_bytes);
        Self {
            connections: load.connections(),
            mean_room_size: load.mean_room_size(),
            writes_per_publish: has_rooms.then(|| Decimal::from_millionths(receivers.div_ceil(MILLION))),
            writes_per_second,
            wire_bytes_per_write,
            egress_bytes_per_second: writes_per_second
                .zip(wire_bytes_per_write)
                .map(|(writes, bytes)| writes * bytes),
        }
    }

    /// What is asked of `resource`, in its unit.
    pub fn of_resource(&self, resource: Resource) -> Option<u128> {
        if resource.is_of_writes() { self.writes_per_second } else { self.connections }
    }
}

/// Bytes on the wire of one message of `message_bytes`, sent by itself: the frame's header (RFC 6455
/// §5.2, without a mask), and for each TCP segment the headers of TCP, IPv4 and Ethernet.
pub fn wire_bytes(message_bytes: u64) -> u128 {
    let header_bytes = match message_bytes {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    };
    let frame_bytes = u128::from(message_bytes) + header_bytes;
    frame_bytes + frame_bytes.div_ceil(SEGMENT_BYTES_MAX) * WIRE_BYTES_PER_SEGMENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Inputs, RoomShare};

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text, 1, 1).unwrap()
    }

    fn demand(change: impl FnOnce(&mut Load)) -> Demand {
        let mut load = Inputs::default().load;
        change(&mut load);
        Demand::of(&load)
    }

    #[test]
    fn a_write_on_the_wire_is_frame_segments_and_their_headers() {
        assert_eq!(wire_bytes(100), 100 + 2 + 90);
        assert_eq!(wire_bytes(126), 126 + 4 + 90);
        assert_eq!(wire_bytes(1_444), 1_448 + 90);
        assert_eq!(wire_bytes(1_445), 1_449 + 180);
        assert_eq!(wire_bytes(1 << 30), (1 << 30) + 10 + 741_535 * 90);
    }

    #[test]
    fn a_distribution_weighs_sizes_by_their_publishes() {
        let room = |members, share: &str| RoomShare { members, share: decimal(share) };
        let demand = demand(|load| {
            load.rooms = vec![room(10, "0.7"), room(500, "0.25"), room(5_000, "0.05")];
            load.publishes_per_second = Some(decimal("100"));
            load.active = decimal("0.5");
            load.excludes_sender = true;
        });
        assert_eq!(demand.mean_room_size, Some(decimal("382")));
        assert_eq!(demand.writes_per_publish, Some(decimal("190.5")));
        assert_eq!(demand.writes_per_second, Some(19_050));
    }

    #[test]
    fn a_sender_that_is_alone_or_almost_reaches_nobody_or_almost() {
        let alone = demand(|load| {
            (load.rooms, load.excludes_sender) = (vec![RoomShare::all(1)], true);
            load.publishes_per_second = Some(Decimal::ONE);
        });
        assert_eq!(alone.writes_per_second, Some(0));
        let pair = demand(|load| {
            (load.rooms, load.excludes_sender) = (vec![RoomShare::all(2)], true);
            load.active = decimal("0.4");
        });
        assert_eq!(pair.writes_per_publish, Some(decimal("0.4")));
    }

    #[test]
    fn what_is_not_told_is_absent() {
        let nothing = demand(|_| {});
        assert_eq!((nothing.connections, nothing.writes_per_second), (None, None));
        let users = demand(|load| (load.users, load.sessions_per_user) = (Some(3), decimal("1.5")));
        assert_eq!(users.connections, Some(5), "4.5 connections are 5");
    }
}
