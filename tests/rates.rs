//! Rates and sizes that clients are held to: publish and subscribe floods, and long publications.
//!
//! A burst is one frame, whose commands have one now: no bucket fills meanwhile, so counts are exact.

pub mod common;

use std::time::Instant;

use common::{Client, PATIENCE, Server};
use serde_json::{Value, json};

/// Sends `commands` in one frame and returns the error codes of their replies; 0 is success.
fn burst(client: &mut Client, commands: impl Iterator<Item = Value>) -> Vec<u64> {
    let commands: Vec<_> = commands.map(|command| command.to_string()).collect();
    client.send(commands.join("\n"));
    let mut codes = Vec::new();
    while codes.len() < commands.len() {
        let answer = client.receive();
        if answer.get("push").is_none() {
            codes.push(answer["error"]["code"].as_u64().unwrap_or(0));
        }
    }
    codes
}

fn publishes(channel: &str, count: u64) -> impl Iterator<Item = Value> + '_ {
    (1..=count)
        .map(move |number| json!({ "id": 1000 + number, "publish": { "channel": channel, "data": number } }))
}

fn succeeded(codes: &[u64]) -> usize {
    assert!(codes.iter().all(|code| [0, 111].contains(code)), "{codes:?}");
    codes.iter().filter(|code| **code == 0).count()
}

#[test]
fn one_connection_publishes_a_second_s_worth_at_once_and_others_are_not_held_back() {
    let server = Server::start("client.publishes_per_second = 5");
    let mut flooding = server.client();
    // Commands of one frame have one now: none of them finds the bucket fuller than the first did.
    let codes = burst(&mut flooding, publishes("room", 50));
    assert_eq!(succeeded(&codes), 5, "{codes:?}");
    assert_eq!(codes[..5], [0; 5], "the first ones are let through");
    server.client().publish("room", json!("another connection"));
    assert_eq!(server.metric("throng_publishes_limited_total"), 45);
}

#[test]
fn a_client_that_was_held_back_may_go_on_later() {
    let server = Server::start("client.publishes_per_second = 20");
    let mut client = server.client();
    assert_eq!(succeeded(&burst(&mut client, publishes("room", 40))), 20);
    // Tries until it is let through, as the SDKs do: the bucket fills by itself.
    let deadline = Instant::now() + PATIENCE;
    while burst(&mut client, publishes("room", 1)) != [0] {
        assert!(Instant::now() < deadline, "it is held back for good");
    }
}

#[test]
fn a_room_takes_a_second_s_worth_from_all_its_publishers_and_other_rooms_go_on() {
    let server = Server::with_shards(
        "[[channel.namespaces]]\nname = 'chat'\npublishes_per_second = 3\n[[channel.namespaces]]\nname = 'free'",
        2,
    );
    let mut clients: Vec<_> = (0..8).map(|_| server.client()).collect();
    let mut member = server.client();
    member.subscribe("chat:1");
    let through: usize =
        clients.iter_mut().map(|client| succeeded(&burst(client, publishes("chat:1", 20)))).sum();
    // Eight bursts take some time, in which the bucket fills at 3 a second.
    assert!((3..80).contains(&through), "{through} of 160");
    for _ in 0..through {
        member.next_data("chat:1");
    }
    assert_eq!(succeeded(&burst(&mut clients[0], publishes("chat:2", 20))), 3, "a room of its own bucket");
    assert_eq!(succeeded(&burst(&mut clients[0], publishes("free:1", 20))), 20);
}

#[test]
fn a_room_with_history_is_held_to_its_rate_too_even_without_members() {
    let server = Server::start(
        "[channel.without_namespace]\nhistory_size = 100\nhistory_ttl = '60s'\npublishes_per_second = 4",
    );
    let mut client = server.client();
    assert_eq!(succeeded(&burst(&mut client, publishes("room", 30))), 4);
    let history = client.succeed("history", json!({ "channel": "room", "limit": -1 }));
    assert_eq!(history["publications"].as_array().unwrap().len(), 4);
}

#[test]
fn a_connection_that_subscribes_too_often_is_told_so_and_loses_nothing_it_has() {
    let server = Server::start("client.subscribes_per_second = 6");
    let mut client = server.client();
    let commands = (0..20)
        .map(|number| json!({ "id": 100 + number, "subscribe": { "channel": format!("room{number}") } }));
    assert_eq!(succeeded(&burst(&mut client, commands)), 6);
    server.client().publish("room5", json!("here"));
    assert_eq!(client.next_data("room5"), "here");
    assert_eq!(server.metric("throng_subscribes_limited_total"), 14);
}

#[test]
fn data_longer_than_the_namespace_allows_are_refused_and_those_that_fit_are_sent() {
    let server = Server::start("[[channel.namespaces]]\nname = 'chat'\ndata_bytes_max = 10");
    let mut client = server.client();
    client.subscribe("chat:1");
    let long = json!({ "channel": "chat:1", "data": "123456789" });
    client.fail("publish", long, 106, "limit exceeded");
    client.publish("chat:1", json!("12345678"));
    assert_eq!(client.next_data("chat:1"), "12345678");
    server.client().publish("other", json!("123456789"));
}
