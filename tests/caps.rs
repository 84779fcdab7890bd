//! Rooms with more members than their cap: refused, or delivered to on a beat.
//!
//! A beat of a minute stands for "not yet": what arrives in such a test arrives because the room is live.

pub mod common;

use common::{Client, Server};
use serde_json::{Value, json};

/// `cap` members; `chat` rooms go over to feed delivery with beats of `interval_ms`.
fn feed(cap: u32, interval_ms: u32) -> String {
    format!(
        "[[channel.namespaces]]\nname = 'chat'\njoin_leave = true\nforce_push_join_leave = true\n\
         member_cap = {cap}\nover_cap = 'feed'\nfeed_interval_ms = {interval_ms}\n"
    )
}

/// Clients that are members of `room`, which is in feed mode for them.
fn members(server: &Server, room: &str, count: usize) -> Vec<Client> {
    let members = (0..count).map(|_| {
        let mut client = server.client();
        client.subscribe(room);
        client
    });
    members.collect()
}

/// The numbers that `client` gets from `room` until it has `last`; joins and leaves are passed over.
fn numbers(client: &mut Client, room: &str, last: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        let push = client.receive();
        assert_eq!(push["push"]["channel"], room, "{push}");
        numbers.extend(push["push"]["pub"]["data"].as_u64());
    }
    numbers
}

#[test]
fn a_full_room_refuses_one_more_until_one_leaves() {
    let server = Server::start("[[channel.namespaces]]\nname = 'chat'\nmember_cap = 2\n");
    let mut inside = members(&server, "chat:a", 2);
    let mut outside = server.client();
    outside.fail("subscribe", json!({ "channel": "chat:a" }), 106, "limit exceeded");
    outside.subscribe("chat:b");
    inside[0].unsubscribe("chat:a");
    outside.subscribe("chat:a");
    inside[0].fail("subscribe", json!({ "channel": "chat:a" }), 106, "limit exceeded");
    inside[1].publish("chat:a", json!("two"));
    assert_eq!(outside.next_data("chat:a"), "two");
}

#[test]
fn exactly_as_many_are_let_in_as_there_are_places_however_many_come_at_once() {
    for history in
        ["", "history_size = 10\nhistory_ttl = '60s'\ndurability = 'memory'\nforce_recovery = true\n"]
    {
        let config = format!("[[channel.namespaces]]\nname = 'chat'\nmember_cap = 10\n{history}");
        let server = Server::with_shards(&config, 3);
        let let_in: usize = std::thread::scope(|threads| {
            let threads: Vec<_> = (0..30)
                .map(|_| {
                    threads.spawn(|| {
                        let mut client = server.client();
                        let reply = client.call(json!({ "subscribe": { "channel": "chat:a" } }));
                        let is_in = reply.get("subscribe").is_some();
                        assert!(is_in || reply["error"]["code"] == 106, "{reply}");
                        (client, is_in)
                    })
                })
                .collect();
            let clients: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            clients.iter().filter(|(_, is_in)| *is_in).count()
        });
        assert_eq!(let_in, 10);
        // All have gone: nobody's place is kept.
        server.wait_for("nobody", |metrics| metrics.sum("throng_connections") == 0);
        members(&server, "chat:a", 10);
    }
}

#[test]
fn members_of_a_feed_get_everything_once_and_in_order_from_every_shard() {
    let history = "history_size = 500\nhistory_ttl = '60s'\ndurability = 'memory'\nforce_recovery = true\n";
    for history in ["", history] {
        let server = Server::with_shards(&format!("{}{history}", feed(3, 20)), 2);
        let mut clients = members(&server, "chat:a", 8);
        let mut publisher = server.client();
        for number in 1..=200 {
            publisher.publish("chat:a", json!(number));
        }
        for client in &mut clients {
            assert_eq!(numbers(client, "chat:a", 200), (1..=200).collect::<Vec<_>>());
        }
        assert_eq!(server.metric("throng_feed_switches_total"), 1);
    }
}

#[test]
fn a_beat_is_one_frame_however_many_messages_it_brings() {
    let server = Server::start(&feed(1, 300));
    let mut clients = members(&server, "chat:a", 3);
    let mut publisher = server.client();
    let frame_of = |client: &mut Client| -> Vec<Value> {
        let frame = client.next_frame();
        frame.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let mut frames = 0;
    let mut got = 0;
    // In two messages of the publisher, so that a turn, and with it a beat, is between some of them.
    for numbers in [1..=25, 26..=50] {
        let publishes = numbers.map(|number| {
            json!({ "id": number, "publish": { "channel": "chat:a", "data": number } }).to_string()
        });
        publisher.send(publishes.collect::<Vec<_>>().join("\n"));
        (0..25).for_each(|_| drop(publisher.receive()));
    }
    while got < 50 {
        got += frame_of(&mut clients[2]).iter().filter(|line| line["push"].get("pub").is_some()).count();
        frames += 1;
    }
    assert!(frames <= 2, "{frames} frames for 50 messages");
}

#[test]
fn a_feed_holds_messages_for_its_beat_tells_no_joins_and_sends_them_when_it_is_live_again() {
    let server = Server::start(&feed(10, 60_000));
    let mut clients = members(&server, "chat:a", 11);
    assert_eq!(server.metric("throng_feed_switches_total"), 1);
    let mut publisher = server.client();
    publisher.publish("chat:a", json!(1));
    // A newcomer gets nothing that came before it, and nobody hears of it.
    let mut newcomer = server.client();
    newcomer.subscribe("chat:a");
    publisher.publish("chat:a", json!(2));
    let mut first = clients.remove(0);
    for _ in 0..3 {
        clients.pop().unwrap().unsubscribe("chat:a");
    }
    // Nine are left, a tenth below the cap: what comes now is delivered, behind what was held.
    publisher.publish("chat:a", json!(3));
    assert_eq!(numbers(&mut newcomer, "chat:a", 3), [2, 3]);
    let mut told = Vec::new();
    while told.last() != Some(&json!(3)) {
        let push = first.receive()["push"].take();
        let kind = ["join", "leave"].into_iter().find(|kind| push.get(kind).is_some());
        told.push(kind.map_or_else(|| push["pub"]["data"].clone(), |kind| json!(kind)));
    }
    // Itself and those that came up to the cap, and then only the one whose leaving ended the feed.
    let joins = vec![json!("join"); 10];
    assert_eq!(told, [joins, vec![json!(1), json!(2), json!("leave"), json!(3)]].concat());
    assert_eq!(server.metric("throng_feed_switches_total"), 2);
    assert_eq!(server.log().matches("a room changed its delivery").count(), 2);
}

#[test]
fn a_sender_that_is_excluded_does_not_get_its_own_message_from_a_feed() {
    let server = Server::start(&format!("{}exclude_sender = true\n", feed(2, 20)));
    let mut clients = members(&server, "chat:a", 3);
    clients[0].publish("chat:a", json!(1));
    clients[1].publish("chat:a", json!(2));
    clients[2].publish("chat:a", json!(3));
    assert_eq!(numbers(&mut clients[0], "chat:a", 3), [2, 3]);
    assert_eq!(numbers(&mut clients[1], "chat:a", 3), [1, 3]);
    assert_eq!(numbers(&mut clients[2], "chat:a", 2), [1, 2]);
}

#[test]
fn a_beat_that_takes_many_turns_reaches_each_who_is_there_once_whoever_comes_and_goes_meanwhile() {
    const MESSAGES: u64 = 60;
    let history = "history_size = 1000\nhistory_ttl = '60s'\ndurability = 'memory'\nforce_recovery = true\n";
    let server = Server::start(&format!("{}{history}", feed(3, 10)));
    // More than two turns' worth.
    let mut clients = members(&server, "chat:a", 1_200);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut publisher = server.client();
            (1..=MESSAGES).for_each(|number| publisher.publish("chat:a", json!(number)));
        });
        for _ in 0..4 {
            threads.spawn(|| {
                let mut client = server.client();
                let mut at = 0;
                while at < MESSAGES {
                    // What comes from here on, and nothing from before, until it leaves.
                    at = client.subscribe("chat:a")["offset"].as_u64().unwrap_or(0);
                    while at < MESSAGES {
                        let push = client.receive();
                        at += 1;
                        assert_eq!(push["push"]["pub"]["offset"], at, "{push}");
                        if at % 3 == 0 {
                            break;
                        }
                    }
                    client.command(json!({ "unsubscribe": { "channel": "chat:a" } }));
                    // What is still on its way, and nothing behind the reply.
                    while client.receive().get("unsubscribe").is_none() {}
                }
            });
        }
    });
    for client in &mut clients {
        assert_eq!(numbers(client, "chat:a", MESSAGES), (1..=MESSAGES).collect::<Vec<_>>());
    }
}
