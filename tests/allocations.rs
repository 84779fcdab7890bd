//! What the data plane allocates once it is warm: nothing for a delivery, nothing for a ping.
//!
//! Shards run in this process, on threads whose allocations are counted; the clients' are not.
//!
//! Absent on purpose: memory and time. This counts calls of the allocator and nothing else.

pub mod common;
pub mod hostile;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use common::PATIENCE;
use common::counting::count_into;
use hostile::{PING, Raw, masked, text};
use throng::host::descriptors;
use throng::host::listen::{self, Listeners};
use throng::rooms::{self, Links, Rooms, Shared};
use throng::shard::{Seat, Settings, Shard, Stats};
use throng::store::committer;

/// A shard of rooms on a thread that is counted. It lives as long as the process.
struct Counted {
    address: SocketAddr,
    allocations: &'static AtomicU64,
}

impl Counted {
    fn start(ping_interval_ms: u32, pong_timeout_ms: u32) -> Counted {
        descriptors::raise_limit().unwrap();
        let (address, _claim) = listen::claim(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let allocations: &AtomicU64 = Box::leak(Box::default());
        let settings =
            rooms::Settings { insecure: true, ping_interval_ms, pong_timeout_ms, ..Default::default() };
        let shared = Arc::new(Shared::new(settings, 1).unwrap());
        let (seat, inbox) = Seat::new(1 << 20).unwrap();
        // Nothing here has history, so nobody listens at the other end.
        let (committer, _) = committer::channel(1);
        let rooms = Rooms::new(shared, Links::new(0, Arc::from([inbox])), committer);
        let stats = Arc::new(Stats::default());
        let settings = Settings::default();
        let listeners = Listeners::open(&[address], &settings.socket).unwrap();
        let shard = Shard::open(seat, listeners, settings, stats, rooms).unwrap();
        thread::spawn(move || {
            count_into(Some(allocations));
            shard.run()
        });
        Counted { address, allocations }
    }

    fn client(&self) -> Raw {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut raw = Raw::over(stream);
        raw.connect();
        raw
    }

    fn members(&self, count: usize) -> Vec<Raw> {
        let mut members: Vec<_> = (0..count).map(|_| self.client()).collect();
        for member in &mut members {
            member.send(text(r#"{"id":2,"subscribe":{"channel":"room"}}"#));
            assert_eq!(member.reply(), r#"{"id":2,"subscribe":{}}"#);
        }
        members
    }

    /// Allocations of the shard while `work` runs.
    fn during(&self, work: impl FnOnce()) -> u64 {
        let before = self.allocations.load(Ordering::Relaxed);
        work();
        self.allocations.load(Ordering::Relaxed) - before
    }
}

/// Publishes `bursts` times `burst` messages, each burst in one message, and waits until every member
/// has them all.
fn publish(publisher: &mut Raw, members: &mut [Raw], bursts: usize, burst: usize) {
    let command = r#"{"id":3,"publish":{"channel":"room","data":{"text":"hello"}}}"#;
    let commands = text(&vec![command; burst].join("\n"));
    for _ in 0..bursts {
        publisher.send(&commands);
        for member in members.iter_mut() {
            let mut heard = 0;
            while heard < burst {
                heard += member.reply().lines().count();
            }
        }
        let mut answered = 0;
        while answered < burst {
            answered += publisher.reply().lines().count();
        }
    }
}

#[test]
fn deliveries_allocate_nothing_however_many_members_and_messages() {
    for members in [10, 1_000] {
        let server = Counted::start(0, 0);
        let mut publisher = server.client();
        let mut members = server.members(members);
        for burst in [1, 16, 200] {
            publish(&mut publisher, &mut members, 3, burst);
            let allocations = server.during(|| publish(&mut publisher, &mut members, 20, burst));
            assert_eq!(allocations, 0, "for 20 × {burst} messages to {} members", members.len());
        }
    }
}

#[test]
fn a_member_that_publishes_to_many_rooms_allocates_nothing() {
    let server = Counted::start(0, 0);
    let mut member = server.client();
    let rooms = 50;
    for room in 0..rooms {
        member.send(text(&format!(r#"{{"id":2,"subscribe":{{"channel":"room-{room}"}}}}"#)));
        assert_eq!(member.reply(), r#"{"id":2,"subscribe":{}}"#);
    }
    let commands: Vec<_> = (0..rooms)
        .map(|room| format!(r#"{{"id":3,"publish":{{"channel":"room-{room}","data":{room}}}}}"#))
        .collect();
    let commands = text(&commands.join("\n"));
    let mut publish = |times: usize| {
        for _ in 0..times {
            member.send(&commands);
            let mut came = 0;
            while came < 2 * rooms {
                came += member.reply().lines().count();
            }
        }
    };
    publish(3);
    assert_eq!(server.during(|| publish(20)), 0);
}

/// Publishes once, ends, and waits until every member has it, answering the pings that come before it.
fn publish_between_pings(mut publisher: Raw, members: &mut [Raw]) {
    publisher.send(text(r#"{"id":3,"publish":{"channel":"room","data":{"text":"hello"}}}"#));
    drop(publisher);
    for member in members {
        while member.reply() == "{}" {
            member.send(text("{}"));
        }
    }
}

#[test]
fn a_ping_and_its_pong_allocate_nothing() {
    let server = Counted::start(500, 499);
    let mut clients = server.members(10);
    // On a busy machine pings of several clients fall into one turn, as this does to all of them.
    publish_between_pings(server.client(), &mut clients);
    let mut beats = |times: usize| {
        thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(move || {
                    for _ in 0..times {
                        assert_eq!(client.reply(), "{}");
                        client.send(text("{}"));
                    }
                });
            }
        });
    };
    beats(2);
    assert_eq!(server.during(|| beats(3)), 0);
}

#[test]
fn a_clients_own_ping_is_answered_without_an_allocation() {
    let server = Counted::start(0, 0);
    let mut client = server.client();
    let ping = masked(PING, b"are you there?");
    let mut pings = |times: usize| {
        for _ in 0..times {
            client.send(&ping);
            assert_eq!(client.next_frame(), Some((10, b"are you there?".to_vec())));
        }
    };
    pings(3);
    assert_eq!(server.during(|| pings(50)), 0);
}

#[test]
fn the_count_is_not_blind() {
    let server = Counted::start(0, 0);
    let mut client = server.client();
    let enter = text(r#"{"id":2,"subscribe":{"channel":"a room of its own"}}"#);
    let allocations = server.during(|| {
        client.send(&enter);
        assert_eq!(client.reply(), r#"{"id":2,"subscribe":{}}"#);
    });
    assert!(allocations > 0, "a new room is made of nothing");
}
