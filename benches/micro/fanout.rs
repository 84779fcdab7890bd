//! Fan-out of one frame to a room of 1,000, up to the socket: the member list, each connection's
//! output, and the walk that hands every connection its frames at the end of the turn.
//!
//! Absent on purpose: the event loop's own `Io`, which has a socket for every connection. What it does
//! between the member list and the write is done here with its parts: `Members`, the slab, `Output`.

use std::hint::black_box;

use slab::Slab;
use throng::conn::{Connection, NO_OUTPUT, Phase};
use throng::hub::{Directory, Members, RoomId};
use throng::rooms::Peer;
use throng::shard::output::Output;
use throng::wire::{Data, OpCode, frame};

use crate::bench::{Bench, elements};
use crate::encode::{data, publication};

/// Members of a room.
const MEMBERS: usize = 1_000;

/// As large as with a socket.
type Slim = Connection<std::num::NonZeroI32, Peer>;
const _: () = assert!(size_of::<Option<Slim>>() == 64);

/// What of a shard takes part in a fan-out.
struct Shard {
    members: Members,
    connections: Slab<Slim>,
    output: Output,
    rooms: Vec<RoomId>,
    /// The next room to publish to.
    next: usize,
}

impl Shard {
    /// A shard with `rooms` rooms. If they are `scattered`, a room's members are all over the slab, as
    /// they are when users come in no order.
    fn new(rooms: usize, scattered: bool) -> Self {
        let directory = Directory::new(1);
        let mut members = Members::default();
        let mut connections = Slab::new();
        let indices: Vec<_> =
            (0..rooms).map(|room| members.open(directory.enter(&format!("room-{room}"), 0, 0))).collect();
        for place in 0..rooms * MEMBERS {
            let socket = std::num::NonZeroI32::MIN;
            let mut connection = Slim::new(socket, place as u32, Peer::default());
            connection.phase = Phase::Open;
            let key = connections.insert(connection) as u32;
            // A fixed multiplicative hash: the same scatter in every run.
            let room = if scattered {
                (key.wrapping_mul(0x9E37_79B1) >> 8) as usize % rooms
            } else {
                place / MEMBERS
            };
            members.add(indices[room], throng::hub::Member::new(key, false));
        }
        let rooms = indices.iter().map(|index| members.room(*index).id).collect();
        Shard { members, connections, output: Output::default(), rooms, next: 0 }
    }

    /// Hands a frame with `pushes` to every member of the next room.
    fn queue(&mut self, pushes: &[u8]) {
        let room = self.rooms[self.next];
        self.next = (self.next + 1) % self.rooms.len();
        let index = self.members.index_of(room).expect("the room has members");
        let frame = self.output.frame(1, |out| frame::write_frame(out, OpCode::Data(Data::Text), pushes));
        for member in self.members.of(index) {
            let connection = &mut self.connections[member.key() as usize];
            if connection.phase == Phase::Open {
                self.output.queue(member.key(), &mut connection.pending, frame);
            }
        }
    }

    /// Walks what every connection has to be written; returns the bytes.
    fn flush(&mut self) -> usize {
        let mut bytes = 0;
        for index in 0..self.output.dirty().len() {
            let key = self.output.dirty()[index];
            let pending = std::mem::replace(&mut self.connections[key as usize].pending, NO_OUTPUT);
            for frame in self.output.frames_of(pending) {
                bytes += black_box(self.output.bytes_of(frame)).len();
            }
        }
        self.output.clear();
        bytes
    }
}

/// Runs the benches of this noun.
pub fn run(bench: &mut Bench) {
    let mut pushes = Vec::new();
    publication(&mut pushes, &mut Vec::new(), r#""chat:room-7""#, &data(64));
    for frames in [1, 16] {
        let name = format!("{frames} to 1,000 of 1,000");
        bench.work("fan-out", name, elements(frames * MEMBERS), Shard::new(1, false), |shard| {
            (0..frames).for_each(|_| shard.queue(black_box(&pushes)));
            shard.flush()
        });
    }
    for (where_, scattered) in [("in a row", false), ("scattered", true)] {
        let name = format!("1 to 1,000 of 1,000,000 {where_}");
        bench.work("fan-out", name, elements(MEMBERS), Shard::new(1_000, scattered), |shard| {
            shard.queue(black_box(&pushes));
            shard.flush()
        });
    }
}
