//! Clients that do not read: each is closed once what waits for it passes a bound, and nobody else
//! misses a message or waits for it.
//!
//! Send and receive buffers are small, so that the kernel holds little and the bounds are reached soon.

pub mod common;
pub mod hostile;

use std::net::TcpStream;

use common::{Client, PATIENCE, Server};
use hostile::process::memory_bytes;
use hostile::{Neighbour, PING, Raw, close, masked, text};
use serde_json::json;

/// Small buffers in the kernel, and small bounds: 64 KiB for one, 256 KiB for all.
const SMALL: &str = "socket.send_buffer_bytes = 4096\n\
    socket.receive_buffer_bytes = 65536\n\
    limits.message_bytes_max = 8192\n\
    limits.backlog_bytes_max = 65536\n\
    limits.backlog_total_bytes_max = 262144\n\
    limits.write_timeout_ms = 60000\n";

/// A payload of about 4 KB that says which message it is.
fn payload(number: u64) -> serde_json::Value {
    json!({ "number": number, "fill": "x".repeat(4_000) })
}

/// A connection whose receive buffer is as small as Linux makes it.
fn narrow(server: &Server) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    // Before the connection is made, else it is too late for the window.
    socket.set_recv_buffer_size(2_048).unwrap();
    socket.connect(&server.address().into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// A member of `channel` that reads nothing beyond its subscribe reply until the test says so.
fn deaf_member(server: &Server, channel: &str) -> Raw {
    let mut raw = Raw::over(narrow(server));
    raw.connect();
    raw.send(text(&json!({ "id": 2, "subscribe": { "channel": channel } }).to_string()));
    assert_eq!(raw.reply(), r#"{"id":2,"subscribe":{}}"#);
    raw
}

/// Publishes from message `from` on until `enough`; returns the number of the message after the last.
fn publish_until(publisher: &mut Client, channel: &str, from: u64, enough: impl Fn() -> bool) -> u64 {
    for number in from..from + 10_000 {
        if enough() {
            return number;
        }
        publisher.publish(channel, payload(number));
    }
    panic!("10,000 messages were not enough");
}

/// Reads what came for a member that was closed with `code`: the messages without a gap, from `from`
/// on, and then the close frame. Returns how many messages there were.
fn read_to_the_close(raw: &mut Raw, from: u64, code: u16) -> u64 {
    let mut number = from;
    loop {
        match raw.next_frame().expect("a close frame before the end") {
            (1, frame) => {
                for line in String::from_utf8(frame).unwrap().lines() {
                    let push: serde_json::Value = serde_json::from_str(line).unwrap();
                    assert_eq!(push["push"]["pub"]["data"], payload(number));
                    number += 1;
                }
            }
            (8, payload) => {
                assert_eq!(payload[..2], code.to_be_bytes());
                return number - from;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_member_that_never_reads_is_closed_and_the_room_misses_nothing() {
    let server = Server::start(SMALL);
    let mut deaf = deaf_member(&server, "room");
    let mut members: Vec<_> = (0..3).map(|_| server.client()).collect();
    members.iter_mut().for_each(|member| drop(member.subscribe("room")));
    let mut publisher = server.client();
    for number in 0..100 {
        publisher.publish("room", payload(number));
        for member in &mut members {
            assert_eq!(member.next_data("room"), payload(number));
        }
    }
    let metrics = server.metrics();
    assert_eq!((metrics.slow_closes("backlog"), metrics.closes(3008)), (1, 1));
    // It reads at last, in time: whole frames without a gap, and why there are no more.
    let heard = read_to_the_close(&mut deaf, 0, 3008);
    assert!((1..100).contains(&heard), "{heard} messages");
    deaf.send(close(3008));
    deaf.expect_end();
    server.wait_for("nothing waiting", |metrics| metrics.sum("throng_backlog_bytes") == 0);
}

#[test]
fn a_closed_member_that_never_reads_again_is_gone_after_the_close_timeout() {
    let server = Server::start(&format!("{SMALL}limits.close_timeout_ms = 200\n"));
    let _deaf = deaf_member(&server, "room");
    let mut publisher = server.client();
    let is_closed = || server.metrics().slow_closes("backlog") == 1;
    publish_until(&mut publisher, "room", 0, is_closed);
    server.wait_for("only the publisher left, and nothing waiting", |metrics| {
        metrics.sum("throng_connections") == 1 && metrics.sum("throng_backlog_bytes") == 0
    });
}

#[test]
fn a_member_that_reads_late_but_in_time_misses_nothing() {
    let server = Server::start(SMALL);
    let mut late = deaf_member(&server, "room");
    let mut publisher = server.client();
    let waits = || server.metrics().sum("throng_backlog_bytes") > 20_000;
    let mut published = publish_until(&mut publisher, "room", 0, waits);
    let mut heard = 0;
    for _ in 0..3 {
        while heard < published {
            let Some((1, frame)) = late.next_frame() else { panic!("a message was to come") };
            for line in String::from_utf8(frame).unwrap().lines() {
                let push: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(push["push"]["pub"]["data"], payload(heard));
                heard += 1;
            }
        }
        server.wait_for("nothing waiting", |metrics| metrics.sum("throng_backlog_bytes") == 0);
        published = publish_until(&mut publisher, "room", published, waits);
    }
    assert_eq!(server.metrics().closes(3008), 0);
}

#[test]
fn all_backlogs_together_are_bounded() {
    let server = Server::start(SMALL);
    // Each may have 64 KiB and all together 256 KiB, so not all ten can have 40,000 bytes.
    let deaf: Vec<_> = (0..10).map(|_| deaf_member(&server, "room")).collect();
    let mut hearing = server.client();
    hearing.subscribe("room");
    let mut publisher = server.client();
    let mut heard = 0;
    while server.metrics().closes(3008) == 0 {
        publisher.publish("room", payload(heard));
        assert_eq!(hearing.next_data("room"), payload(heard));
        heard += 1;
        let waiting = server.metrics().sum("throng_backlog_bytes");
        assert!(waiting <= 262_144 + 8_192 * 11, "{waiting} bytes wait");
        assert!(heard < 1_000, "1,000 messages were not enough");
    }
    let metrics = server.metrics();
    let closed = metrics.slow_closes("budget");
    assert_eq!(closed, metrics.closes(3008));
    assert!(closed < 10, "{closed} were closed where some would have done");
    drop(deaf);
    server.wait_for("nothing waiting", |metrics| metrics.sum("throng_backlog_bytes") == 0);
    publisher.publish("room", json!("go on"));
    assert_eq!(hearing.next_data("room"), "go on");
}

#[test]
fn the_one_for_whom_most_waits_goes_when_all_together_are_too_much() {
    // One may have nearly as much as all.
    let bounds = SMALL.replace("backlog_bytes_max = 65536", "backlog_bytes_max = 240000");
    let server = Server::start(&bounds);
    let mut worst = deaf_member(&server, "worst");
    let mut publisher = server.client();
    let waits = || server.metrics().sum("throng_backlog_bytes");
    publish_until(&mut publisher, "worst", 0, || waits() > 150_000);
    // Less than the rest waits for each of the others when that is used up, whoever came last.
    let mut others = [deaf_member(&server, "others"), deaf_member(&server, "others")];
    let published = publish_until(&mut publisher, "others", 0, || server.metrics().closes(3008) > 0);
    let metrics = server.metrics();
    assert_eq!((metrics.slow_closes("budget"), metrics.slow_closes("backlog")), (1, 0));
    read_to_the_close(&mut worst, 0, 3008);
    for other in &mut others {
        let mut heard = 0;
        while heard < published {
            let Some((1, frame)) = other.next_frame() else { panic!("a message was to come") };
            heard += String::from_utf8(frame).unwrap().lines().count() as u64;
        }
    }
}

#[test]
fn a_backlog_without_progress_is_closed_with_3009() {
    let config = SMALL.replace("write_timeout_ms = 60000", "write_timeout_ms = 200");
    let server = Server::start(&config);
    let mut neighbour = Neighbour::of(&server);
    let mut deaf = deaf_member(&server, "room");
    let mut publisher = server.client();
    // Enough to wait also after the kernel has taken what it can.
    publish_until(&mut publisher, "room", 0, || server.metrics().sum("throng_backlog_bytes") > 30_000);
    let metrics = server.wait_for("the close", |metrics| metrics.closes(3009) == 1);
    assert_eq!(metrics.get("throng_write_timeout_closes_total"), 1);
    assert_eq!(metrics.closes(3008), 0);
    read_to_the_close(&mut deaf, 0, 3009);
    deaf.send(close(3009));
    deaf.expect_end();
    neighbour.is_served();
    server.wait_for("nothing waiting", |metrics| metrics.sum("throng_backlog_bytes") == 0);
}

#[test]
fn a_client_that_never_reads_its_replies_is_closed_within_its_bound() {
    let server = Server::start(SMALL);
    let mut neighbour = Neighbour::of(&server);
    let commands = r#"{"id":1,"rpc":{}}"#.to_owned() + "\n";
    // Replies that are longer than their commands, and pongs, each a frame of two bytes.
    let floods = [text(&commands.repeat(400)), text(&commands), masked(PING, b"").repeat(1_000)];
    for (index, flood) in floods.iter().enumerate() {
        let mut raw = Raw::over(narrow(&server));
        raw.connect();
        let before = memory_bytes(server.pid());
        let closed = || server.metrics().slow_closes("backlog") == index as u64 + 1;
        let mut sent = 0;
        while !closed() {
            raw.send(flood);
            sent += flood.len();
            assert!(sent < 100 << 20, "flood {index} is not closed");
        }
        // Its backlog, the queue of it, and what one turn of the loop may put out.
        let grown = memory_bytes(server.pid()).saturating_sub(before);
        assert!(grown < 3 << 20, "{grown} bytes for flood {index}");
        raw.reset();
        neighbour.is_served();
    }
    assert_eq!(server.metrics().closes(3008), 3);
    server.wait_for("nothing waiting", |metrics| metrics.sum("throng_backlog_bytes") == 0);
}

#[test]
fn a_million_pongs_that_nobody_reads_stay_within_the_backlog() {
    // The default bound: 1 MiB of pongs of two bytes would be half a million frames.
    let server = Server::start("socket.send_buffer_bytes = 4096\nlimits.write_timeout_ms = 60000\n");
    let mut neighbour = Neighbour::of(&server);
    let mut raw = Raw::over(narrow(&server));
    raw.connect();
    let before = memory_bytes(server.pid());
    let pings = masked(PING, b"").repeat(10_000);
    for _ in 0..100 {
        raw.send(&pings);
    }
    neighbour.is_served();
    let grown = memory_bytes(server.pid()).saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes where 1 MiB may wait");
    neighbour.is_served();
}

#[test]
fn a_flood_takes_its_turn_like_everybody_else() {
    let server = Server::start("");
    let mut neighbour = Neighbour::of(&server);
    let command = text(r#"{"id":1,"rpc":{}}"#);
    let flood = command.repeat(20_000);
    let raw = Raw::connected(&server);
    let before = server.metrics();
    std::thread::scope(|scope| {
        let (mut writes, mut reads) = (raw.stream().try_clone().unwrap(), raw.stream().try_clone().unwrap());
        scope.spawn(move || while std::io::Write::write_all(&mut writes, &flood).is_ok() {});
        scope.spawn(move || drop(std::io::copy(&mut reads, &mut std::io::sink())));
        for _ in 0..30 {
            neighbour.is_served();
        }
        // On a busy machine its threads may not have had a turn yet.
        let flooded = before.get("throng_messages_in_total") + 1_000;
        server.wait_for("a flood", |metrics| metrics.get("throng_messages_in_total") > flooded);
        raw.stream().shutdown(std::net::Shutdown::Both).unwrap();
    });
    let after = server.metrics();
    let messages = after.get("throng_messages_in_total") - before.get("throng_messages_in_total");
    let turns = after.sum("throng_turns_total") - before.sum("throng_turns_total");
    // A connection is read one buffer in a turn, and one more that a short read came before.
    let messages_max = 2 * 128 * 1024 / command.len() as u64;
    assert!(messages <= turns * messages_max, "{messages} messages of the flood in {turns} turns");
}
