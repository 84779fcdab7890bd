//! Rooms with history: offsets, the history command, recovery, and what survives a restart.

pub mod common;

use common::{Client, Scratch, Server, WITH_TOKENS};
use serde_json::{Value, json};

/// Everybody may do anything, and rooms keep their last ten publications.
const KEPT: &str = "insecure = true\n[channel.without_namespace]\nhistory_size = 10\nhistory_ttl = '1h'\n\
                    force_recovery = true\n";

fn history(client: &mut Client, request: Value) -> Value {
    client.succeed("history", request)
}

fn offsets(publications: &Value) -> Vec<u64> {
    let list = publications["publications"].as_array().cloned().unwrap_or_default();
    list.iter().map(|publication| publication["offset"].as_u64().unwrap()).collect()
}

/// Publishes `count` numbers from 1 on.
fn publish(client: &mut Client, room: &str, count: u64) {
    for number in 1..=count {
        client.publish(room, json!(number));
    }
}

#[test]
fn publications_are_numbered_and_members_get_them_with_their_offsets() {
    let server = Server::start(KEPT);
    let mut member = server.client();
    let subscribed = member.subscribe("room");
    assert_eq!(subscribed["recoverable"], json!(true));
    assert_eq!(subscribed["positioned"], json!(true));
    assert_eq!(subscribed.get("offset"), None, "an offset of zero is left out");
    assert_eq!(subscribed["epoch"].as_str().unwrap().len(), 8);
    publish(&mut server.client(), "room", 3);
    for offset in 1..=3 {
        let publication = &member.receive()["push"]["pub"];
        assert_eq!((&publication["offset"], &publication["data"]), (&json!(offset), &json!(offset)));
    }
    assert_eq!(server.client().subscribe("room")["offset"], json!(3));
}

#[test]
fn history_is_read_from_both_ends_and_from_the_middle() {
    let server = Server::start(KEPT);
    let mut client = server.client();
    publish(&mut client, "room", 12);
    let all = history(&mut client, json!({ "channel": "room", "limit": -1 }));
    assert_eq!(offsets(&all), (3..=12).collect::<Vec<_>>(), "the window is the last ten");
    assert_eq!(all["offset"], json!(12));
    assert_eq!(all["publications"][0]["data"], json!(3));
    let position = history(&mut client, json!({ "channel": "room" }));
    assert_eq!(position, json!({ "publications": [], "epoch": all["epoch"], "offset": 12 }));
    for (request, expected) in [
        (json!({ "limit": 2 }), vec![3, 4]),
        (json!({ "limit": 2, "reverse": true }), vec![12, 11]),
        (json!({ "limit": 2, "since": { "offset": 7 } }), vec![8, 9]),
        (json!({ "limit": 2, "since": { "offset": 7 }, "reverse": true }), vec![6, 5]),
        (json!({ "limit": -1, "since": { "offset": 4, "epoch": all["epoch"] }, "reverse": true }), vec![3]),
        (json!({ "limit": 3, "since": { "offset": 1 } }), vec![3, 4, 5]),
        (json!({ "limit": 9, "since": { "offset": 12 } }), vec![]),
        (json!({ "limit": 9, "since": { "offset": 99 } }), vec![]),
    ] {
        let mut request = request;
        request["channel"] = json!("room");
        assert_eq!(offsets(&history(&mut client, request.clone())), expected, "{request}");
    }
}

#[test]
fn a_history_that_cannot_be_read_has_its_code() {
    let server = Server::start(&format!("{KEPT}[[channel.namespaces]]\nname = 'live'\n"));
    let mut client = server.client();
    client.publish("room", json!(1));
    for (request, code, message) in [
        (json!({ "channel": "live:a", "limit": 1 }), 108, "not available"),
        (json!({ "channel": "nowhere:a", "limit": 1 }), 102, "unknown channel"),
        (
            json!({ "channel": "room", "since": { "offset": 1, "epoch": "elsewher" } }),
            112,
            "unrecoverable position",
        ),
        (
            json!({ "channel": "room", "since": { "offset": 1, "epoch": "short" } }),
            112,
            "unrecoverable position",
        ),
        (
            json!({ "channel": "room", "limit": 1, "reverse": true, "since": { "offset": 0 } }),
            107,
            "bad request",
        ),
    ] {
        client.fail("history", request, code, message);
    }
    let strict = KEPT.replace("insecure = true\n", "");
    let server = Server::start(&format!("{WITH_TOKENS}{strict}allow_subscribe_for_client = true\n"));
    server.client_as("ann").fail("history", json!({ "channel": "room" }), 103, "permission denied");
}

#[test]
fn who_may_read_history_is_up_to_the_namespace() {
    let strict = KEPT.replace("insecure = true\n", "");
    let options = "allow_subscribe_for_client = true\nallow_history_for_subscriber = true\n";
    let server = Server::start(&format!("{WITH_TOKENS}{strict}{options}"));
    let mut ann = server.client_as("ann");
    ann.fail("history", json!({ "channel": "room" }), 103, "permission denied");
    ann.subscribe("room");
    history(&mut ann, json!({ "channel": "room" }));
}

/// Subscribes with a position; the result.
fn recover(client: &mut Client, offset: u64, epoch: &Value) -> Value {
    client
        .succeed("subscribe", json!({ "channel": "room", "recover": true, "offset": offset, "epoch": epoch }))
}

#[test]
fn a_client_that_comes_back_gets_exactly_what_it_missed() {
    let server = Server::start(KEPT);
    let epoch = server.client().subscribe("room")["epoch"].clone();
    publish(&mut server.client(), "room", 12);
    // Offsets 3 to 12 are kept.
    for (offset, expected) in [(2, (3..=12).collect()), (7, vec![8, 9, 10, 11, 12]), (12, vec![])] {
        let result = recover(&mut server.client(), offset, &epoch);
        assert_eq!(result["recovered"], json!(true), "from {offset}");
        assert_eq!(result["was_recovering"], json!(true));
        assert_eq!(result["offset"], json!(offset), "the client moves on as it reads");
        assert_eq!(offsets(&result), expected, "from {offset}");
    }
    for (offset, epoch) in [(1, &epoch), (0, &epoch), (13, &epoch), (7, &json!("elsewher"))] {
        let result = recover(&mut server.client(), offset, epoch);
        assert_eq!(result.get("recovered"), None, "from {offset}");
        assert_eq!(result["was_recovering"], json!(true));
        assert_eq!((result["offset"].as_u64(), result.get("publications")), (Some(12), None));
    }
    let any_epoch = recover(&mut server.client(), 11, &json!(""));
    assert_eq!(offsets(&any_epoch), [12]);
}

#[test]
fn a_client_that_rejects_what_is_not_recovered_gets_error_112_and_is_no_member() {
    let server = Server::start(KEPT);
    let mut client = server.client();
    publish(&mut client, "room", 12);
    let request = json!({ "channel": "room", "recover": true, "offset": 1, "flag": 2 });
    client.fail("subscribe", request, 112, "unrecoverable position");
    client.subscribe("room");
}

#[test]
fn more_than_the_limit_is_not_recovered() {
    let limited = KEPT.replacen("[channel", "client.recovery_max_publication_limit = 3\n[channel", 1);
    let server = Server::start(&limited);
    publish(&mut server.client(), "room", 5);
    assert_eq!(offsets(&recover(&mut server.client(), 2, &json!(""))), [3, 4, 5]);
    assert_eq!(recover(&mut server.client(), 1, &json!("")).get("recovered"), None);
}

#[test]
fn in_cache_mode_recovery_gives_the_latest_only() {
    let server = Server::start(&format!("{KEPT}force_recovery_mode = 'cache'\n"));
    publish(&mut server.client(), "room", 5);
    let result = recover(&mut server.client(), 1, &json!(""));
    assert_eq!((&result["recovered"], offsets(&result)), (&json!(true), vec![5]));
}

#[test]
fn commands_for_a_room_wait_until_the_client_has_joined_it() {
    let server = Server::start(KEPT);
    let mut client = server.client();
    let room = json!({ "channel": "room" });
    let commands = [
        json!({ "id": 10, "subscribe": room }),
        json!({ "id": 11, "unsubscribe": room }),
        json!({ "id": 12, "subscribe": room }),
        json!({ "id": 13, "subscribe": room }),
        json!({ "id": 14, "unsubscribe": room }),
        json!({ "id": 15, "unsubscribe": room }),
        json!({ "id": 16, "subscribe": room }),
    ];
    let lines: Vec<_> = commands.iter().map(Value::to_string).collect();
    client.send(lines.join("\n"));
    let answers: Vec<_> = (0..commands.len()).map(|_| client.receive()).collect();
    for (command, answer) in commands.iter().zip(&answers) {
        assert_eq!(answer["id"], command["id"], "answers come in order");
    }
    assert_eq!(answers[3]["error"]["code"], json!(105), "the second subscribe found the first");
    client.publish("room", json!("still a member"));
    assert_eq!(client.next_data("room"), json!("still a member"));
}

#[test]
fn a_client_that_ends_while_it_waits_leaves_nothing_behind() {
    let server = Server::start(KEPT);
    for _ in 0..50 {
        let mut client = server.client();
        client.send(r#"{"id":9,"subscribe":{"channel":"room"}}"#);
        drop(client);
    }
    let mut client = server.client();
    client.subscribe("room");
    client.publish("room", json!(1));
    assert_eq!(client.next_data("room"), json!(1));
    client.unsubscribe("room");
    server.wait_for("the others to be gone", |metrics| metrics.sum("throng_connections") == 1);
}

#[test]
fn a_publisher_that_is_excluded_does_not_get_what_it_published_on_any_shard() {
    let server = Server::with_shards(&format!("{KEPT}exclude_sender = true\n"), 3);
    let mut clients: Vec<_> = (0..6).map(|_| server.client()).collect();
    for client in &mut clients {
        client.subscribe("room");
    }
    for (number, publisher) in clients.iter_mut().enumerate() {
        publisher.publish("room", json!(number));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        for other in (0..6).filter(|other| *other != number) {
            assert_eq!(client.next_data("room"), json!(other));
        }
    }
}

#[test]
fn history_and_its_epoch_survive_a_restart() {
    let data = Scratch::new();
    let arguments = ["--data", data.path().to_str().unwrap()];
    let server = Server::with_arguments(KEPT, &arguments);
    let epoch = server.client().subscribe("room")["epoch"].clone();
    publish(&mut server.client(), "room", 12);
    server.signal("KILL");
    drop(server);
    let server = Server::with_arguments(KEPT, &arguments);
    let result = recover(&mut server.client(), 8, &epoch);
    assert_eq!((&result["recovered"], offsets(&result)), (&json!(true), vec![9, 10, 11, 12]));
    publish(&mut server.client(), "room", 1);
    assert_eq!(server.client().subscribe("room")["offset"], json!(13));
}

#[test]
fn a_storm_of_recoveries_reads_the_store_once() {
    let data = Scratch::new();
    let arguments = ["--data", data.path().to_str().unwrap()];
    let mut server = Server::with_arguments(KEPT, &arguments);
    let epoch = server.client().subscribe("room")["epoch"].clone();
    publish(&mut server.client(), "room", 10);
    server.signal("TERM");
    assert!(server.wait().success());
    let server = Server::with_arguments(KEPT, &arguments);
    assert_eq!(offsets(&recover(&mut server.client(), 0, &epoch)).len(), 10);
    let reads = server.metric("throng_store_reads_total");
    assert!(reads > 0, "the first had to come from the disk");
    for _ in 0..100 {
        assert_eq!(offsets(&recover(&mut server.client(), 0, &epoch)).len(), 10);
    }
    assert_eq!(server.metric("throng_store_reads_total"), reads);
}

#[test]
fn a_room_in_memory_recovers_too_and_begins_anew_after_a_restart() {
    let config = format!("{KEPT}durability = 'memory'\n");
    let data = Scratch::new();
    let arguments = ["--data", data.path().to_str().unwrap()];
    let server = Server::with_arguments(&config, &arguments);
    let epoch = server.client().subscribe("room")["epoch"].clone();
    publish(&mut server.client(), "room", 3);
    assert_eq!(offsets(&recover(&mut server.client(), 1, &epoch)), [2, 3]);
    drop(server);
    let server = Server::with_arguments(&config, &arguments);
    let result = recover(&mut server.client(), 1, &epoch);
    assert_eq!(result.get("recovered"), None);
    assert_ne!(result["epoch"], epoch);
}

#[test]
fn an_answer_is_never_longer_than_a_connection_can_take() {
    let server = Server::start(KEPT);
    let mut client = server.client();
    let epoch = client.subscribe("room")["epoch"].clone();
    client.unsubscribe("room");
    // Ten of these are more than half of a backlog.
    let long = "x".repeat(60_000);
    for _ in 0..10 {
        client.publish("room", json!(long));
    }
    let all = history(&mut client, json!({ "channel": "room", "limit": -1 }));
    assert_eq!(offsets(&all), (1..=8).collect::<Vec<_>>());
    let newest = history(&mut client, json!({ "channel": "room", "limit": -1, "reverse": true }));
    assert_eq!(offsets(&newest), (3..=10).rev().collect::<Vec<_>>());
    let rest = history(&mut client, json!({ "channel": "room", "limit": -1, "since": { "offset": 8 } }));
    assert_eq!(offsets(&rest), [9, 10]);
    assert_eq!(offsets(&recover(&mut server.client(), 2, &epoch)), (3..=10).collect::<Vec<_>>());
    assert_eq!(recover(&mut server.client(), 1, &epoch).get("recovered"), None, "it is told, not closed");
}

#[test]
fn a_client_has_a_bounded_number_of_questions_waiting() {
    let server = Server::start(KEPT);
    let mut client = server.client();
    client.publish("room", json!(1));
    let ask = |id: u32| json!({ "id": id, "history": { "channel": "room", "limit": 1 } }).to_string();
    client.send((1000..1400).map(ask).collect::<Vec<_>>().join("\n"));
    let answers: Vec<_> = (1000..1400).map(|_| client.receive()).collect();
    let refused = answers.iter().filter(|answer| answer["error"]["code"] == json!(111)).count();
    assert!((1..=400 - 128).contains(&refused), "{refused} refused");
    history(&mut client, json!({ "channel": "room" }));
}

#[test]
fn who_follows_a_stream_that_begins_anew_is_unsubscribed_and_who_does_not_goes_on() {
    // Rooms in memory are forgotten when others need it.
    let small = KEPT.replace("force_recovery = true", "durability = 'memory'\nallow_recovery = true");
    let server = Server::start(&small.replacen("[channel", "store.cache_bytes_max = 65536\n[channel", 1));
    let mut publisher = server.client();
    let mut follower = server.client();
    let first = follower.succeed("subscribe", json!({ "channel": "room", "recoverable": true }));
    let mut listener = server.client();
    assert_eq!(listener.subscribe("room"), json!({}));
    for room in 0..200 {
        publisher.publish(&format!("other-{room}"), json!("x".repeat(1_000)));
    }
    publisher.publish("room", json!("anew"));
    assert_eq!(listener.next_data("room"), json!("anew"));
    let push = &follower.receive()["push"];
    assert_eq!(push["unsubscribe"], json!({ "code": 2500, "reason": "insufficient state" }));
    let again = follower.succeed("subscribe", json!({ "channel": "room", "recoverable": true }));
    assert_ne!(again["epoch"], first["epoch"]);
}
