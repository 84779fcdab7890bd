//! Several shards are one server: rooms, presence and users span them, and only shards that have
//! members of a room are told of it.
//!
//! The kernel chooses the shard of a connection, so these tests connect until every shard has one.

pub mod common;

use std::collections::BTreeSet;

use common::{Client, Server, WITH_TOKENS, token};
use serde_json::{Value, json};

const INBOX: &str = "throng_inbox_messages_total";

/// `per_shard` clients of each of the server's shards, by shard.
fn spread(
    server: &Server,
    shards: usize,
    per_shard: usize,
    connect: impl Fn() -> Client,
) -> Vec<Vec<Client>> {
    let mut clients: Vec<Vec<Client>> = (0..shards).map(|_| Vec::new()).collect();
    let mut before = server.metrics().by_shard("throng_accepts_total");
    assert_eq!(before.len(), shards);
    // A shard is chosen by a hash of the ports: to miss one this often is as good as impossible.
    for _ in 0..100 * shards * per_shard {
        let client = connect();
        let after = server.metrics().by_shard("throng_accepts_total");
        let shard = (0..shards).find(|shard| after[*shard] > before[*shard]).unwrap();
        before = after;
        if clients[shard].len() < per_shard {
            clients[shard].push(client);
        }
        if clients.iter().all(|clients| clients.len() == per_shard) {
            return clients;
        }
    }
    panic!("the kernel leaves a shard out");
}

fn presence_server(shards: usize) -> Server {
    Server::with_shards(
        &format!(
            "{WITH_TOKENS}[channel.without_namespace]\npresence = true\nallow_presence_for_client = true\n\
             allow_subscribe_for_client = true\nallow_publish_for_client = true\njoin_leave = true"
        ),
        shards,
    )
}

#[test]
fn every_member_gets_every_publication_once_and_each_publishers_in_order() {
    let server = Server::with_shards("", 4);
    let mut clients: Vec<_> = spread(&server, 4, 2, || server.client()).into_iter().flatten().collect();
    clients.iter_mut().for_each(|client| drop(client.subscribe("room")));
    let publishers = clients.len();
    let each = 50;
    for n in 0..each {
        for (publisher, client) in clients.iter_mut().enumerate() {
            client.command(json!({ "publish": { "channel": "room", "data": [publisher, n] } }));
        }
    }
    for client in &mut clients {
        let mut next = vec![0; publishers];
        let mut replies = 0;
        while replies < each || next.iter().any(|next| *next < each) {
            let line = client.receive();
            if line["publish"].is_object() {
                replies += 1;
                continue;
            }
            let data = &line["push"]["pub"]["data"];
            let publisher = data[0].as_u64().unwrap_or_else(|| panic!("{line}")) as usize;
            assert_eq!(data[1], next[publisher], "of publisher {publisher}");
            next[publisher] += 1;
        }
    }
    // Nothing came twice: the next thing that anyone gets is this.
    clients[0].publish("room", json!("end"));
    for client in &mut clients {
        assert_eq!(client.next_data("room"), "end");
    }
}

#[test]
fn a_publish_reaches_only_shards_that_have_members() {
    let server = Server::with_shards("", 3);
    let mut clients = spread(&server, 3, 1, || server.client());
    clients[1][0].subscribe("room");
    let before = server.metrics().by_shard(INBOX);
    for n in 0..10 {
        clients[0][0].publish("room", json!(n));
        assert_eq!(clients[1][0].next_data("room"), n);
    }
    clients[2][0].publish("nobody", json!(1));
    let grown = |after: Vec<u64>| -> Vec<u64> {
        after.iter().zip(&before).map(|(after, before)| after - before).collect()
    };
    // A message for each publish, as each was a turn of its own; none for the sender's own shard.
    assert_eq!(grown(server.metrics().by_shard(INBOX)), [0, 10, 0]);

    clients[1][0].unsubscribe("room");
    clients[2][0].subscribe("room");
    clients[0][0].publish("room", json!("moved"));
    assert_eq!(clients[2][0].next_data("room"), "moved");
    assert_eq!(grown(server.metrics().by_shard(INBOX)), [0, 10, 1]);

    // A publish to members in the publisher's own shard alone reaches no other.
    clients[2][0].publish("room", json!("own"));
    assert_eq!(clients[2][0].next_data("room"), "own");
    assert_eq!(grown(server.metrics().by_shard(INBOX)), [0, 10, 1]);
}

#[test]
fn a_burst_crosses_to_another_shard_in_few_messages() {
    let server = Server::with_shards("", 2);
    let mut clients = spread(&server, 2, 1, || server.client());
    clients[1][0].subscribe("room");
    let before = server.metrics().by_shard(INBOX)[1];
    let commands: Vec<_> = (1..=500)
        .map(|n| json!({ "id": n, "publish": { "channel": "room", "data": n } }).to_string())
        .collect();
    clients[0][0].send(commands.join("\n"));
    for n in 1..=500 {
        assert_eq!(clients[1][0].next_data("room"), n);
    }
    let messages = server.metrics().by_shard(INBOX)[1] - before;
    assert!(messages <= 10, "{messages} messages for one frame of publishes");
}

#[test]
fn presence_and_its_stats_gather_over_the_shards() {
    let server = presence_server(3);
    // User 42 in every shard, and one more in each.
    let mut clients = spread(&server, 3, 1, || server.client_as("42"));
    let others = spread(&server, 3, 1, || server.client_as("43"));
    clients.extend(others);
    let mut clients: Vec<_> = clients.into_iter().flatten().collect();
    let mut outsider = server.client_as("44");
    clients.iter_mut().for_each(|client| drop(client.subscribe("room")));
    let everyone: BTreeSet<_> = clients.iter().map(|client| client.id().to_owned()).collect();
    for client in clients.iter_mut().chain([&mut outsider]) {
        let listed = client.succeed("presence", json!({ "channel": "room" }));
        let members = listed["presence"].as_object().unwrap();
        assert_eq!(members.keys().cloned().collect::<BTreeSet<_>>(), everyone);
        assert!(members.iter().all(|(id, info)| info["client"] == **id));
        let stats = client.succeed("presence_stats", json!({ "channel": "room" }));
        assert_eq!(stats, json!({ "num_clients": 6, "num_users": 2 }));
    }
    for client in &mut clients[3..] {
        client.unsubscribe("room");
    }
    let stats = outsider.succeed("presence_stats", json!({ "channel": "room" }));
    assert_eq!(stats, json!({ "num_clients": 3, "num_users": 1 }));
}

#[test]
fn answers_keep_their_ids_when_many_questions_cross_at_once() {
    let server = presence_server(2);
    let mut clients = spread(&server, 2, 1, || server.client_as("42"));
    let (asker, rest) = clients.split_first_mut().unwrap();
    let asker = &mut asker[0];
    rest[0][0].subscribe("room");
    let commands: Vec<_> = (100..116)
        .map(|id| {
            let method = if id % 2 == 0 { "presence" } else { "presence_stats" };
            let channel = if id % 3 == 0 { "nobody" } else { "room" };
            json!({ "id": id, method: { "channel": channel } }).to_string()
        })
        .collect();
    asker.send(commands.join("\n"));
    let mut replies: Vec<_> = (0..16).map(|_| asker.receive()).collect();
    replies.sort_by_key(|reply| reply["id"].as_u64());
    for (reply, id) in replies.iter().zip(100_u64..) {
        assert_eq!(reply["id"], id);
        let members = if id % 3 == 0 { 0 } else { 1 };
        match id % 2 {
            0 => assert_eq!(reply["presence"]["presence"].as_object().unwrap().len(), members, "{reply}"),
            _ => assert_eq!(reply["presence_stats"]["num_clients"], members, "{reply}"),
        }
    }
}

#[test]
fn too_many_questions_at_once_are_a_temporary_error() {
    let server = presence_server(2);
    let mut clients = spread(&server, 2, 1, || server.client_as("42"));
    clients[1][0].subscribe("room");
    let asker = &mut clients[0][0];
    // In one frame: no answer of the other shard can come between them.
    let commands: Vec<_> =
        (100..117).map(|id| json!({ "id": id, "presence": { "channel": "room" } }).to_string()).collect();
    asker.send(commands.join("\n"));
    let refused = json!({ "code": 111, "message": "too many requests", "temporary": true });
    assert_eq!(asker.receive(), json!({ "id": 116, "error": refused }));
    for id in 100..116 {
        let answer = asker.receive();
        assert_eq!(answer["id"], id);
        assert_eq!(answer["presence"]["presence"].as_object().unwrap().len(), 1, "{answer}");
    }
    asker.succeed("presence", json!({ "channel": "room" }));
}

#[test]
fn an_asker_that_goes_away_before_its_answer_harms_nobody() {
    let server = presence_server(2);
    let mut clients = spread(&server, 2, 1, || server.client_as("42"));
    clients[1][0].subscribe("room");
    for _ in 0..20 {
        let mut asker = server.client_as("42");
        asker.send("{\"id\":2,\"presence\":{\"channel\":\"room\"}}\nnonsense");
    }
    server.wait_for("the askers to be gone", |metrics| metrics.sum("throng_connections") == 2);
    for client in clients.iter_mut().flatten() {
        let stats = client.succeed("presence_stats", json!({ "channel": "room" }));
        assert_eq!(stats, json!({ "num_clients": 1, "num_users": 1 }));
    }
}

#[test]
fn joins_and_leaves_cross_the_shards() {
    let server = presence_server(2);
    let mut clients = spread(&server, 2, 1, || server.client_as("42"));
    let (first, second) = clients.split_at_mut(1);
    let (ann, bob) = (&mut first[0][0], &mut second[0][0]);
    ann.succeed("subscribe", json!({ "channel": "room", "join_leave": true }));
    assert_eq!(ann.receive()["push"]["join"]["info"]["client"], ann.id());
    bob.subscribe("room");
    assert_eq!(ann.receive()["push"]["join"]["info"]["client"], bob.id());
    bob.publish("room", json!("between"));
    assert_eq!(ann.next_data("room"), "between");
    assert_eq!(bob.next_data("room"), "between");
    bob.unsubscribe("room");
    assert_eq!(ann.receive()["push"]["leave"]["info"]["client"], bob.id());
    bob.subscribe("room");
    assert_eq!(ann.receive()["push"]["join"]["info"]["client"], bob.id());
    bob.send("nonsense");
    assert_eq!(ann.receive()["push"]["leave"]["info"]["client"], bob.id());
}

#[test]
fn only_the_publisher_itself_is_left_out_in_whatever_shard_the_others_are() {
    let server = Server::with_shards("channel.without_namespace.exclude_sender = true", 2);
    let mut clients: Vec<_> = spread(&server, 2, 2, || server.client()).into_iter().flatten().collect();
    clients.iter_mut().for_each(|client| drop(client.subscribe("room")));
    for (publisher, client) in clients.iter_mut().enumerate() {
        client.publish("room", json!(publisher));
    }
    // A client's publish reply may come before or behind what others publish, but it was waited for.
    for (me, client) in clients.iter_mut().enumerate() {
        let mut got: Vec<Value> = (0..3).map(|_| client.next_data("room")).collect();
        got.sort_by_key(Value::as_u64);
        let others: Vec<_> = (0..4).filter(|publisher| *publisher != me).collect();
        assert_eq!(json!(got), json!(others));
    }
}

#[test]
fn a_room_that_everyone_left_can_be_entered_again_from_any_shard() {
    let server = Server::with_shards("", 2);
    let mut clients = spread(&server, 2, 1, || server.client());
    for round in 0..20 {
        let (member, publisher) = (round % 2, (round + 1) % 2);
        clients[member][0].subscribe("room");
        clients[publisher][0].publish("room", json!(round));
        assert_eq!(clients[member][0].next_data("room"), round);
        clients[member][0].unsubscribe("room");
    }
}

#[test]
fn a_user_is_one_user_in_all_shards() {
    let server = Server::with_shards(&format!("{WITH_TOKENS}client.user_connection_limit = 4"), 2);
    let _held: Vec<_> = (0..4).map(|_| server.client_as("42")).collect();
    for _ in 0..6 {
        let mut client = server.upgrade();
        client.command(json!({ "connect": { "token": token(&json!({ "sub": "42" })) } }));
        client.expect_close(3504, "connection limit");
    }
}
