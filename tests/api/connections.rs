//! Subscribing and unsubscribing the connections of a user.

use serde_json::{Value, json};

use crate::caller::{config, fail, publish, server, succeed};
use crate::common::{Client, Server, now_s};

/// Six connections of `user`, of which at least two are on different shards.
fn connections(server: &Server, user: &str) -> Vec<Client> {
    let clients = (0..12).map(|_| server.client_as(user)).collect();
    let used = server.metrics().by_shard("throng_connections").into_iter().filter(|count| *count > 0).count();
    assert!(used > 1, "all clients came to one shard");
    clients
}

fn subscribe(server: &Server, request: Value) {
    assert_eq!(succeed(server, "subscribe", request), json!({}));
}

fn clients_in(server: &Server, channel: &str) -> u64 {
    let stats = succeed(server, "presence_stats", json!({ "channel": channel }));
    stats["num_clients"].as_u64().unwrap()
}

#[test]
fn all_connections_of_a_user_are_subscribed_when_the_call_is_answered() {
    let server = server(3);
    let mut theirs = connections(&server, "42");
    let mut other = server.client_as("43");
    other.subscribe("live:room");
    subscribe(&server, json!({ "user": "42", "channel": "live:room", "data": { "welcome": true } }));
    succeed(&server, "publish", json!({ "channel": "live:room", "data": 1 }));
    for client in &mut theirs {
        let push = json!({ "channel": "live:room", "subscribe": { "data": { "welcome": true } } });
        assert_eq!(client.receive(), json!({ "push": push }));
        assert_eq!(client.next_data("live:room"), 1);
        client.fail("subscribe", json!({ "channel": "live:room" }), 105, "already subscribed");
    }
    assert_eq!(other.next_data("live:room"), 1);
    // Once more changes nothing, and nobody is told.
    subscribe(&server, json!({ "user": "42", "channel": "live:room" }));
    succeed(&server, "publish", json!({ "channel": "live:room", "data": 2 }));
    assert_eq!(theirs[0].next_data("live:room"), 2);
}

#[test]
fn one_connection_is_found_by_its_client_id() {
    let server = server(3);
    let mut theirs = connections(&server, "42");
    let id = theirs[3].id().to_owned();
    subscribe(&server, json!({ "user": "42", "client": id, "channel": "room" }));
    assert_eq!(theirs[3].receive()["push"]["channel"], "room");
    assert_eq!(clients_in(&server, "room"), 1);
    let id = theirs[4].id().to_owned();
    subscribe(&server, json!({ "client": id, "channel": "room" }));
    assert_eq!(theirs[4].receive()["push"]["channel"], "room");
    let mut anonymous = server.client();
    subscribe(&server, json!({ "client": anonymous.id(), "channel": "room" }));
    assert_eq!(anonymous.receive()["push"]["channel"], "room");
    assert_eq!(clients_in(&server, "room"), 3);
    // A user and a client that do not belong together are nobody; so is one that is not there.
    for nobody in [
        json!({ "user": "43", "client": id, "channel": "room" }),
        json!({ "user": "43", "channel": "room" }),
        json!({ "client": "00000000-0000-4000-8000-000000000000", "channel": "room" }),
        json!({ "client": "no id", "channel": "room" }),
        json!({ "user": "42", "session": "of another transport", "channel": "room" }),
    ] {
        subscribe(&server, nobody);
    }
    assert_eq!(clients_in(&server, "room"), 3);
}

#[test]
fn a_room_with_history_tells_where_it_is_and_brings_what_was_missed() {
    let config = config().replace("allow_recovery", "force_recovery");
    let server = Server::start(&config);
    let mut client = server.client_as("42");
    for number in 1..=3 {
        publish(&server, "room", json!(number));
    }
    let epoch = succeed(&server, "history", json!({ "channel": "room" }))["epoch"].take();
    let since = json!({ "offset": 1, "epoch": epoch });
    subscribe(&server, json!({ "user": "42", "channel": "room", "recover_since": since }));
    publish(&server, "room", json!(4));
    let subscribed = json!({ "recoverable": true, "positioned": true, "epoch": epoch, "offset": 1 });
    assert_eq!(client.receive(), json!({ "push": { "channel": "room", "subscribe": subscribed } }));
    for number in 2..=4 {
        let publication = json!({ "data": number, "offset": number });
        assert_eq!(client.receive(), json!({ "push": { "channel": "room", "pub": publication } }));
    }
    // Whoever comes from another stream starts where the room is.
    let since = json!({ "offset": 1, "epoch": "another!" });
    subscribe(&server, json!({ "user": "42", "channel": "other", "recover_since": since }));
    let push = client.receive();
    assert_eq!((&push["push"]["channel"], push["push"]["subscribe"].get("offset")), (&json!("other"), None));
}

#[test]
fn options_of_the_room_are_overridden_for_one_subscription() {
    let server = server(1);
    let mut hidden = server.client_as("42");
    let mut listed = server.client_as("43");
    let off = json!({ "presence": { "value": false }, "force_recovery": { "value": true } });
    subscribe(&server, json!({ "user": "42", "channel": "room", "override": off }));
    subscribe(&server, json!({ "user": "43", "channel": "room", "info": { "role": "guest" } }));
    assert_eq!(hidden.receive()["push"]["subscribe"]["recoverable"], true);
    assert_eq!(listed.receive()["push"]["subscribe"].get("recoverable"), None);
    let id = listed.id();
    let expected = json!({ id: { "user": "43", "client": id, "chan_info": { "role": "guest" } } });
    assert_eq!(succeed(&server, "presence", json!({ "channel": "room" }))["presence"], expected);
}

#[test]
fn nobody_gets_more_subscriptions_than_a_connection_may_have() {
    let server = Server::start(&format!("client.channel_limit = 2\n{}", config()));
    let mut client = server.client_as("42");
    client.subscribe("live:own");
    subscribe(&server, json!({ "user": "42", "channel": "live:a" }));
    let more = json!({ "user": "42", "channel": "live:b" });
    fail(&server, "subscribe", more.clone(), 106, "limit exceeded");
    fail(&server, "subscribe", json!({ "user": "42", "channel": "room" }), 106, "limit exceeded");
    client.fail("subscribe", json!({ "channel": "live:b" }), 106, "limit exceeded");
    client.unsubscribe("live:own");
    subscribe(&server, more);
}

#[test]
fn a_subscription_that_is_over_ends_the_connection_so_that_it_comes_back_without_it() {
    let settings = "client.ping_interval_ms = 200\nclient.pong_timeout_ms = 100\nclient.expired_sub_close_delay_ms = 0\n";
    let server = Server::start(&format!("{settings}{}", config()));
    let mut client = server.upgrade_on("/connection/websocket?cf_ws_frame_ping_pong=true", &[]);
    let token = crate::common::token(&json!({ "sub": "42" }));
    client.connect(json!({ "token": token }));
    subscribe(&server, json!({ "user": "42", "channel": "live:room", "expire_at": now_s() + 1 }));
    assert_eq!(client.receive()["push"]["channel"], "live:room");
    loop {
        match client.next_message() {
            tungstenite::Message::Ping(_) => {}
            tungstenite::Message::Close(Some(frame)) => {
                assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3006, "subscription expired"));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_application_ends_subscriptions_whoever_made_them() {
    let server = server(3);
    let mut theirs = connections(&server, "42");
    let mut other = server.client_as("43");
    other.subscribe("room");
    for (nth, client) in theirs.iter_mut().enumerate() {
        if nth % 2 == 0 {
            client.subscribe("room");
        }
    }
    subscribe(&server, json!({ "user": "42", "channel": "room" }));
    assert_eq!(clients_in(&server, "room"), 13);
    assert_eq!(succeed(&server, "unsubscribe", json!({ "user": "42", "channel": "room" })), json!({}));
    assert_eq!(clients_in(&server, "room"), 1);
    for (nth, client) in theirs.iter_mut().enumerate() {
        if nth % 2 == 1 {
            assert_eq!(client.receive()["push"]["channel"], "room");
        }
        let ended = json!({ "code": 2000, "reason": "server unsubscribe" });
        assert_eq!(client.receive(), json!({ "push": { "channel": "room", "unsubscribe": ended } }));
        client.subscribe("room");
    }
    // Who is no member, or not there, is done with.
    for nobody in [json!({ "user": "42", "channel": "live:a" }), json!({ "user": "44", "channel": "room" })] {
        assert_eq!(succeed(&server, "unsubscribe", nobody), json!({}));
    }
}

#[test]
fn whom_or_where_must_be_said() {
    let server = server(1);
    let _client = server.client();
    for method in ["subscribe", "unsubscribe"] {
        fail(&server, method, json!({ "channel": "room" }), 107, "bad request");
        fail(&server, method, json!({ "user": "", "client": null, "channel": "room" }), 107, "bad request");
        fail(&server, method, json!({ "user": "42" }), 107, "bad request");
        fail(&server, method, json!({ "user": "42", "channel": "nowhere:a" }), 102, "unknown channel");
        fail(&server, method, json!({ "user": 42, "channel": "room" }), 107, "bad request");
    }
    for wrong in [
        json!({ "expire_at": now_s() - 1 }),
        json!({ "expire_at": -1 }),
        json!({ "b64data": "nonsense" }),
        json!({ "b64info": "!" }),
        json!({ "data": "x".repeat(65_536) }),
        json!({ "override": { "presence": true } }),
        json!({ "recover_since": { "offset": -1 } }),
    ] {
        let mut request = json!({ "user": "42", "channel": "room" });
        request.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        fail(&server, "subscribe", request, 107, "bad request");
    }
}
