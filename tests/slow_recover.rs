//! `slow = "recover"`: a member that reads too slowly gets everything, in order and once, as fast as it
//! reads, and notices nothing.
//!
//! Buffers are small, so that the bounds are reached soon.

pub mod common;
pub mod hostile;

use common::{Client, PATIENCE, Server};
use hostile::{Raw, text};
use serde_json::{Value, json};

/// 64 KiB may wait for one; `kept` rooms recover, `plain` ones do not.
const CONFIG: &str = "socket.send_buffer_bytes = 4096\n\
    socket.receive_buffer_bytes = 65536\n\
    limits.message_bytes_max = 8192\n\
    limits.backlog_bytes_max = 65536\n\
    limits.write_timeout_ms = 60000\n\
    [[channel.namespaces]]\nname = 'kept'\nhistory_size = 1000\nhistory_ttl = '60s'\ndurability = 'memory'\n\
    allow_recovery = true\nslow = 'recover'\npresence = true\n\
    [[channel.namespaces]]\nname = 'plain'\n";

/// Connections that were closed because they fell behind again and again.
const BEHIND: &str = "throng_slow_closes_total{reason=\"behind\"}";

/// A client whose receive buffer is as small as Linux makes it, and that reads when it is told to.
struct Reader {
    raw: Raw,
    /// Offset of the last publication it has.
    offset: u64,
}

impl Reader {
    fn connect(server: &Server) -> Reader {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(2_048).unwrap();
        socket.connect(&server.address().into()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut raw = Raw::over(socket.into());
        raw.connect();
        Reader { raw, offset: 0 }
    }

    /// Sends a command.
    fn send(&mut self, command: &Value) {
        self.raw.send(text(&command.to_string()));
    }

    /// Everything in the next frame.
    fn read(&mut self) -> Vec<Value> {
        match self.raw.next_frame() {
            Some((1, frame)) => {
                let text = String::from_utf8(frame).unwrap();
                text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Takes note of a publication, which must be the next one.
    fn take(&mut self, publication: &Value) {
        self.offset += 1;
        assert_eq!(publication["offset"], self.offset);
        assert_eq!(publication["data"]["number"], self.offset);
    }

    /// Subscribes to a room that has no publications yet.
    fn subscribe(&mut self, channel: &str) {
        self.send(&json!({ "id": 9, "subscribe": { "channel": channel, "recoverable": true } }));
        let reply = self.read().swap_remove(0);
        assert_eq!(reply["subscribe"]["recoverable"], true, "{reply}");
    }

    /// Reads until it has the publication `last` of `channel`; returns what else came.
    fn read_until(&mut self, channel: &str, last: u64) -> Vec<Value> {
        let mut others = Vec::new();
        while self.offset < last {
            for message in self.read() {
                if message["push"]["channel"] == channel && message["push"].get("pub").is_some() {
                    self.take(&message["push"]["pub"]);
                } else {
                    others.push(message);
                }
            }
        }
        others
    }

    /// Reads until it is closed, with `code`.
    fn read_to_the_close(&mut self, code: u16) {
        loop {
            match self.raw.next_frame() {
                Some((1, _)) => {}
                Some((8, payload)) => return assert_eq!(payload[..2], code.to_be_bytes()),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Publishes message `number`, of about 4 KB.
fn publish(publisher: &mut Client, number: u64) {
    publish_to(publisher, "kept:room", number);
}

fn publish_to(publisher: &mut Client, channel: &str, number: u64) {
    publisher.publish(channel, json!({ "number": number, "fill": "x".repeat(4_000) }));
}

/// Publishes from message `from` on until the server counted `count` of `metric`; returns the next number.
fn publish_until(server: &Server, publisher: &mut Client, from: u64, metric: &str, count: u64) -> u64 {
    for number in from..from + 10_000 {
        if server.metric(metric) >= count {
            return number;
        }
        publish(publisher, number);
    }
    panic!("10,000 messages were not enough");
}

#[test]
fn a_slow_member_gets_everything_once_and_in_order_and_is_live_again_in_the_end() {
    let server = Server::start(CONFIG);
    let mut slow = Reader::connect(&server);
    slow.subscribe("kept:room");
    let mut publisher = server.client();
    let mut next = 1;
    for time in 1..=3 {
        next = publish_until(&server, &mut publisher, next, "throng_slow_recoveries_total", time);
        // It is far behind now: what it trails by is more than one part.
        for number in next..next + 30 {
            publish(&mut publisher, number);
        }
        next += 30;
        let others = slow.read_until("kept:room", next - 1);
        assert!(others.is_empty(), "{others:?}");
        publish(&mut publisher, next);
        next += 1;
        slow.read_until("kept:room", next - 1);
    }
    let metrics = server.metrics();
    assert_eq!((metrics.closes(3008), metrics.sum("throng_connections")), (0, 2));
    server.wait_for("nothing waiting", |metrics| metrics.sum("throng_backlog_bytes") == 0);
}

#[test]
fn a_member_that_reads_while_others_publish_gets_no_gap_and_no_duplicate() {
    const MESSAGES: u64 = 600;
    let server = Server::with_shards(CONFIG, 2);
    let mut readers: Vec<_> = (0..6).map(|_| Reader::connect(&server)).collect();
    for reader in &mut readers {
        reader.subscribe("kept:room");
    }
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut publisher = server.client();
            (1..=MESSAGES).for_each(|number| publish(&mut publisher, number));
        });
        for reader in &mut readers {
            threads.spawn(|| {
                // Until the first of them trails nobody reads, and then everybody does.
                server.wait_for("one who trails", |metrics| metrics.get("throng_slow_recoveries_total") > 0);
                let others = reader.read_until("kept:room", MESSAGES);
                assert!(others.is_empty(), "{others:?}");
            });
        }
    });
    assert_eq!(server.metrics().closes(3008), 0);
}

#[test]
fn replies_and_other_rooms_are_not_dropped_with_a_room() {
    let server = Server::start(CONFIG);
    let mut slow = Reader::connect(&server);
    slow.send(&json!({ "id": 2, "subscribe": { "channel": "plain:room" } }));
    slow.read();
    slow.subscribe("kept:room");
    let mut publisher = server.client();
    let next = publish_until(&server, &mut publisher, 1, "throng_backlog_bytes{shard=\"0\"}", 20_000);
    slow.send(&json!({ "id": 3, "presence_stats": { "channel": "kept:room" } }));
    publisher.publish("plain:room", json!("keep me"));
    let next = publish_until(&server, &mut publisher, next, "throng_slow_recoveries_total", 1);
    let others = slow.read_until("kept:room", next - 1);
    let told: Vec<_> = others.iter().filter(|message| message["id"] == 3).collect();
    assert_eq!(told.len(), 1, "{others:?}");
    assert_eq!(told[0]["presence_stats"]["num_clients"], 1);
    let kept: Vec<_> = others.iter().filter(|message| message["push"]["channel"] == "plain:room").collect();
    assert_eq!(kept.len(), 1, "{others:?}");
    assert_eq!(kept[0]["push"]["pub"]["data"], "keep me");
}

#[test]
fn a_member_that_trails_by_more_than_is_kept_begins_anew() {
    let server = Server::start(&CONFIG.replace("history_size = 1000", "history_size = 3"));
    let mut slow = Reader::connect(&server);
    slow.subscribe("kept:room");
    let mut publisher = server.client();
    let next = publish_until(&server, &mut publisher, 1, "throng_slow_recoveries_total", 1);
    (next..next + 5).for_each(|number| publish(&mut publisher, number));
    let ended = loop {
        let mut messages = slow.read();
        match messages.iter().position(|message| message["push"].get("unsubscribe").is_some()) {
            Some(at) => break messages.swap_remove(at),
            None => messages.iter().for_each(|message| slow.take(&message["push"]["pub"])),
        }
    };
    assert_eq!(ended["push"]["unsubscribe"]["code"], 2500);
    assert_eq!(ended["push"]["channel"], "kept:room");
}

#[test]
fn a_member_that_falls_behind_again_and_again_goes_in_the_end() {
    let server = Server::start(&format!("client.slow_recoveries_max = 3\n{CONFIG}"));
    let mut slow = Reader::connect(&server);
    let mut spared = server.client();
    slow.subscribe("kept:room");
    spared.subscribe("kept:other");
    let mut publisher = server.client();
    let mut next = 1;
    for time in 1..=3 {
        next = publish_until(&server, &mut publisher, next, "throng_slow_recoveries_total", time);
        assert!(slow.read_until("kept:room", next - 1).is_empty());
        // What comes behind what it has read, it gets as it comes.
        server.wait_for("nothing waiting", |metrics| metrics.sum("throng_backlog_bytes") == 0);
    }
    assert_eq!(server.metrics().closes(3008), 0);
    publish_until(&server, &mut publisher, next, BEHIND, 1);
    let metrics = server.metrics();
    assert_eq!((metrics.closes(3008), metrics.slow_closes("backlog")), (1, 0));
    slow.read_to_the_close(3008);
    publisher.publish("kept:other", json!("go on"));
    assert_eq!(spared.next_data("kept:other"), "go on");
}

#[test]
fn a_member_that_subscribes_anew_again_and_again_goes_in_the_end() {
    let config = CONFIG.replace("history_size = 1000", "history_size = 3");
    let server = Server::start(&format!("client.slow_recoveries_max = 5\n{config}"));
    let mut slow = Reader::connect(&server);
    slow.subscribe("kept:room");
    let mut publisher = server.client();
    let mut next = 1;
    for time in 1..=3 {
        next = publish_until(&server, &mut publisher, next, "throng_slow_recoveries_total", time);
        // More than is kept.
        (next..next + 5).for_each(|number| publish(&mut publisher, number));
        next += 5;
        if time == 3 {
            break;
        }
        // As an SDK does it: it subscribes again as soon as it is told to, and goes on from what it is told.
        while !slow.read().iter().any(|message| message["push"]["unsubscribe"]["code"] == 2500) {}
        let subscribe = json!({ "channel": "kept:room", "recoverable": true, "recover": true, "offset": 1 });
        slow.send(&json!({ "id": 9, "subscribe": subscribe }));
        let reply = slow.read().swap_remove(0);
        assert_eq!(reply["subscribe"]["recovered"], Value::Null, "{reply}");
    }
    // It fell behind three times, and the third time that it would be told is the sixth.
    slow.read_to_the_close(3008);
    let metrics = server.metrics();
    assert_eq!((metrics.closes(3008), metrics.get(BEHIND)), (1, 1));
}

#[test]
fn a_slow_member_may_leave_and_come_back() {
    let server = Server::start(CONFIG);
    let mut slow = Reader::connect(&server);
    slow.subscribe("kept:room");
    let mut publisher = server.client();
    let next = publish_until(&server, &mut publisher, 1, "throng_slow_recoveries_total", 1);
    slow.send(&json!({ "id": 4, "unsubscribe": { "channel": "kept:room" } }));
    slow.send(&json!({ "id": 5, "subscribe": { "channel": "kept:room", "recoverable": true } }));
    let subscribed = loop {
        if let Some(reply) = slow.read().into_iter().find(|message| message["id"] == 5) {
            break reply;
        }
    };
    assert_eq!(subscribed["subscribe"]["offset"], next - 1);
    slow.offset = next - 1;
    publish(&mut publisher, next);
    let others = slow.read_until("kept:room", next);
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn when_all_together_are_too_much_the_worst_does_with_less_if_it_can_and_nobody_is_closed() {
    let bounds = "limits.backlog_bytes_max = 240000\nlimits.backlog_total_bytes_max = 262144";
    let server = Server::start(&CONFIG.replace("limits.backlog_bytes_max = 65536", bounds));
    let mut worst = Reader::connect(&server);
    worst.subscribe("kept:room");
    let mut other = Reader::connect(&server);
    other.send(&json!({ "id": 2, "subscribe": { "channel": "plain:room" } }));
    other.read();
    let mut publisher = server.client();
    let next = publish_until(&server, &mut publisher, 1, "throng_backlog_bytes{shard=\"0\"}", 150_000);
    let mut published = 0;
    while server.metric("throng_slow_recoveries_total") == 0 {
        published += 1;
        publish_to(&mut publisher, "plain:room", published);
    }
    assert!(worst.read_until("kept:room", next - 1).is_empty());
    let mut heard = 0;
    while heard < published {
        heard += other.read().len() as u64;
    }
    assert_eq!(server.metrics().closes(3008), 0);
}

#[test]
fn a_slow_member_that_cannot_recover_is_closed() {
    let server = Server::start(CONFIG);
    let mut slow = Reader::connect(&server);
    slow.send(&json!({ "id": 2, "subscribe": { "channel": "kept:room" } }));
    slow.read();
    let mut publisher = server.client();
    publish_until(&server, &mut publisher, 1, "throng_slow_closes_total{reason=\"backlog\"}", 1);
    assert_eq!(server.metric("throng_slow_recoveries_total"), 0);
    assert_eq!(server.metrics().closes(3008), 1);
}

#[test]
fn a_member_that_never_reads_again_does_not_stay() {
    let server = Server::start(&CONFIG.replace("write_timeout_ms = 60000", "write_timeout_ms = 200"));
    let mut slow = Reader::connect(&server);
    slow.subscribe("kept:room");
    let mut publisher = server.client();
    for number in 1..=40 {
        publish(&mut publisher, number);
    }
    server.wait_for("the close", |metrics| metrics.closes(3009) == 1);
}

#[test]
fn what_waits_of_a_room_that_was_left_does_not_count_for_the_next_one() {
    let server = Server::start(CONFIG);
    for (left, next) in [("kept:left", "kept:other"), ("kept:room", "kept:room")] {
        let mut slow = Reader::connect(&server);
        let mut publisher = server.client();
        slow.subscribe(left);
        let mut published = 0;
        while server.metrics().sum("throng_backlog_bytes") < 20_000 {
            published += 1;
            publish_to(&mut publisher, left, published);
        }
        // What the new membership begins with.
        let joined = if next == left { published } else { 0 };
        let heard = server.metric("throng_messages_in_total");
        slow.send(&json!({ "id": 4, "unsubscribe": { "channel": left } }));
        slow.send(&json!({ "id": 5, "subscribe": { "channel": next, "recoverable": true } }));
        server.wait_for("both commands to be heard", |metrics| {
            metrics.get("throng_messages_in_total") == heard + 2
        });
        // A room in memory: its stream is asked for and answered in an instant, and this comes behind it.
        publisher.succeed("history", json!({ "channel": next }));
        let recoveries = server.metric("throng_slow_recoveries_total");
        let mut last = joined;
        while server.metric("throng_slow_recoveries_total") == recoveries {
            last += 1;
            publish_to(&mut publisher, next, last);
        }
        // Everything of the new membership, once and in order; nothing of the old one behind its reply.
        let mut is_in = false;
        let mut got = joined;
        while got < last {
            for message in slow.read() {
                is_in |= message["id"] == 5;
                if is_in && message["push"]["channel"] == next {
                    got += 1;
                    assert_eq!(message["push"]["pub"]["offset"], got, "behind {joined}");
                }
            }
        }
    }
}

#[test]
fn a_member_of_many_rooms_that_trails_all_of_them_gets_all_of_those_it_stays_in() {
    const ROOMS: usize = 20;
    let server = Server::start(CONFIG);
    for left in [0, 10] {
        let mut slow = Reader::connect(&server);
        let mut publisher = server.client();
        let room = |room: usize| format!("kept:{left}-{room}");
        for index in 0..ROOMS {
            slow.subscribe(&room(index));
        }
        for number in 1..=12 {
            for index in 0..ROOMS {
                publish_to(&mut publisher, &room(index), number);
            }
        }
        // Among them are those whose next part is being asked for.
        let commands: Vec<_> = (0..left)
            .map(|index| json!({ "id": 4, "unsubscribe": { "channel": room(index) } }).to_string())
            .collect();
        if left > 0 {
            slow.raw.send(text(&commands.join("\n")));
        }
        let mut got = [0; ROOMS];
        while got[left..].iter().any(|got| *got < 12) {
            for message in slow.read() {
                let Some(channel) = message["push"]["channel"].as_str() else { continue };
                let index: usize = channel.split_once('-').unwrap().1.parse().unwrap();
                got[index] += 1;
                assert_eq!(message["push"]["pub"]["offset"], got[index], "{channel}");
            }
        }
    }
    assert_eq!(server.metrics().closes(3008), 0);
}
