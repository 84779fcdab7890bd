//! Becoming and ceasing to be a member of a room.

pub mod common;

use common::{Server, WITH_TOKENS};
use serde_json::json;

#[test]
fn a_plain_subscription_and_its_end_are_answered_by_empty_objects() {
    let server = Server::start("");
    let mut client = server.client();
    client.send(r#"{"id":2,"subscribe":{"channel":"room"}}"#);
    assert_eq!(client.next_frame(), r#"{"id":2,"subscribe":{}}"#);
    client.send(r#"{"id":3,"unsubscribe":{"channel":"room"}}"#);
    assert_eq!(client.next_frame(), r#"{"id":3,"unsubscribe":{}}"#);
}

#[test]
fn what_a_newer_sdk_sends_along_is_ignored() {
    let server = Server::start("");
    let mut client = server.client();
    for (channel, more) in [
        ("flag-1", json!({ "flag": 1 })),
        ("flag-3", json!({ "flag": 3 })),
        ("delta", json!({ "delta": "fossil" })),
        ("asks", json!({ "positioned": true, "recoverable": true, "join_leave": true })),
        ("fields", json!({ "tf": { "op": "eq" }, "profile": "p", "dict": [[]], "data": { "a": 1 } })),
        ("nulls", json!({ "token": null, "recover": null, "epoch": null, "offset": null, "flag": null })),
    ] {
        let mut request = more;
        request["channel"] = channel.into();
        assert_eq!(client.succeed("subscribe", request), json!({}), "{channel}");
    }
}

#[test]
fn a_delta_encoding_that_nobody_knows_breaks_the_protocol() {
    let server = Server::start("");
    let mut client = server.client();
    client.send(r#"{"id":2,"subscribe":{"channel":"room","delta":"vcdiff"}}"#);
    client.expect_close(3501, "bad request");
}

#[test]
fn a_second_subscription_to_the_same_room_is_refused_until_the_first_has_ended() {
    let server = Server::start("");
    let mut client = server.client();
    client.subscribe("room");
    client.fail("subscribe", json!({ "channel": "room" }), 105, "already subscribed");
    client.unsubscribe("room");
    client.subscribe("room");
}

#[test]
fn one_more_room_than_the_limit_is_refused_until_another_is_left() {
    let server = Server::start("client.channel_limit = 2");
    let mut client = server.client();
    client.subscribe("a");
    client.subscribe("b");
    client.fail("subscribe", json!({ "channel": "c" }), 106, "limit exceeded");
    client.unsubscribe("a");
    client.subscribe("c");
}

#[test]
fn the_limit_is_128_rooms_by_default() {
    let server = Server::start("");
    let mut client = server.client();
    let commands: Vec<_> = (2..=129)
        .map(|id| json!({ "id": id, "subscribe": { "channel": format!("room-{id}") } }).to_string())
        .collect();
    client.send(commands.join("\n"));
    for id in 2..=129 {
        assert_eq!(client.receive(), json!({ "id": id, "subscribe": {} }));
    }
    let reply = client.call(json!({ "subscribe": { "channel": "one-more" } }));
    assert_eq!(reply["error"]["code"], 106);
}

#[test]
fn a_name_that_is_too_long_or_not_ascii_is_a_bad_request() {
    let server = Server::start("");
    let mut client = server.client();
    client.subscribe(&"x".repeat(255));
    for name in [&"x".repeat(256), "grüße", "日本"] {
        client.fail("subscribe", json!({ "channel": name }), 107, "bad request");
        client.fail("publish", json!({ "channel": name, "data": 1 }), 107, "bad request");
        client.fail("presence", json!({ "channel": name }), 107, "bad request");
        client.fail("presence_stats", json!({ "channel": name }), 107, "bad request");
        client.fail("history", json!({ "channel": name }), 107, "bad request");
    }
    let short = Server::start("channel.max_length = 4");
    let mut client = short.client();
    client.subscribe("four");
    client.fail("subscribe", json!({ "channel": "five5" }), 107, "bad request");
}

#[test]
fn an_unknown_namespace_is_an_unknown_channel_for_every_command_but_unsubscribe() {
    let server = Server::start("");
    let mut client = server.client();
    for channel in ["nobody:knows", ":", ":x", "$nobody:knows", "Room:7", "a:b:c"] {
        client.fail("subscribe", json!({ "channel": channel }), 102, "unknown channel");
        client.fail("publish", json!({ "channel": channel, "data": 1 }), 102, "unknown channel");
        client.fail("presence", json!({ "channel": channel }), 102, "unknown channel");
        client.fail("presence_stats", json!({ "channel": channel }), 102, "unknown channel");
        client.fail("history", json!({ "channel": channel }), 102, "unknown channel");
        client.unsubscribe(channel);
    }
}

#[test]
fn a_command_about_no_channel_breaks_the_protocol() {
    let server = Server::start("");
    for method in
        ["subscribe", "unsubscribe", "publish", "presence", "presence_stats", "history", "sub_refresh"]
    {
        for request in [json!({}), json!({ "channel": "" }), json!({ "channel": null })] {
            let mut client = server.client();
            client.command(json!({ method: request }));
            client.expect_close(3501, "bad request");
        }
    }
}

#[test]
fn leaving_a_room_that_one_is_not_in_succeeds() {
    let server = Server::start("");
    let mut client = server.client();
    client.unsubscribe("never-been-there");
    client.subscribe("room");
    client.unsubscribe("room");
    client.unsubscribe("room");
    client.unsubscribe(&"x".repeat(300));
    client.unsubscribe("grüße");
}

#[test]
fn subscribing_is_refused_where_nothing_allows_it() {
    let server = Server::start(WITH_TOKENS);
    server.client().fail("subscribe", json!({ "channel": "room" }), 103, "permission denied");
    server.client_as("42").fail("subscribe", json!({ "channel": "room" }), 103, "permission denied");
}

#[test]
fn without_history_a_recovery_is_echoed_and_nothing_is_recovered() {
    let server = Server::start("");
    let mut client = server.client();
    client.send(r#"{"id":2,"subscribe":{"channel":"room","recover":true,"epoch":"e","offset":10,"flag":1}}"#);
    assert_eq!(client.next_frame(), r#"{"id":2,"subscribe":{"was_recovering":true}}"#);
    let refusing = json!({ "channel": "other", "recover": true, "offset": 10, "flag": 3 });
    client.fail("subscribe", refusing, 112, "unrecoverable position");
    // The refused one is not a member.
    client.subscribe("other");
}

#[test]
fn a_subscription_of_another_type_is_not_available() {
    let server = Server::start("");
    let mut client = server.client();
    for kind in 1..=4 {
        client.fail("subscribe", json!({ "channel": "room", "type": kind }), 108, "not available");
    }
    assert_eq!(client.succeed("subscribe", json!({ "channel": "room", "type": 0 })), json!({}));
}

#[test]
fn subscribes_and_unsubscribes_in_flight_are_handled_in_order() {
    let server = Server::start("");
    let mut client = server.client();
    let mut commands = Vec::new();
    for id in (2..202).step_by(2) {
        commands.push(json!({ "id": id, "subscribe": { "channel": "room" } }).to_string());
        commands.push(json!({ "id": id + 1, "unsubscribe": { "channel": "room" } }).to_string());
    }
    // Half of them in one frame, half in a frame each.
    client.send(commands[..100].join("\n"));
    commands[100..].iter().for_each(|command| client.send(command.clone()));
    for id in (2..202).step_by(2) {
        assert_eq!(client.receive(), json!({ "id": id, "subscribe": {} }));
        assert_eq!(client.receive(), json!({ "id": id + 1, "unsubscribe": {} }));
    }
    client.subscribe("room");
}

#[test]
fn an_unsubscribe_right_behind_the_connect_is_answered() {
    let server = Server::start("");
    let mut client = server.upgrade();
    client.send(
        "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}\n\
         {\"id\":3,\"unsubscribe\":{\"channel\":\"a\"}}",
    );
    assert_eq!(client.receive()["id"], 1);
    assert_eq!(client.receive(), json!({ "id": 2, "subscribe": {} }));
    assert_eq!(client.receive(), json!({ "id": 3, "unsubscribe": {} }));
}

#[test]
fn a_member_gets_what_is_published_from_its_subscribe_to_its_unsubscribe() {
    let server = Server::start("");
    let mut member = server.client();
    let mut publisher = server.client();
    publisher.publish("room", json!("before"));
    member.subscribe("marks");
    member.subscribe("room");
    publisher.publish("room", json!("during"));
    assert_eq!(member.next_data("room"), "during");
    member.unsubscribe("room");
    publisher.publish("room", json!("after"));
    publisher.publish("marks", json!("mark"));
    assert_eq!(member.next_data("marks"), "mark");
    member.subscribe("room");
    publisher.publish("room", json!("again"));
    assert_eq!(member.next_data("room"), "again");
}

#[test]
fn a_subscribe_reply_comes_before_what_is_published_in_the_same_frame() {
    let server = Server::start("");
    let mut client = server.client();
    client.send(
        "{\"id\":2,\"publish\":{\"channel\":\"room\",\"data\":\"early\"}}\n\
         {\"id\":3,\"subscribe\":{\"channel\":\"room\"}}\n\
         {\"id\":4,\"publish\":{\"channel\":\"room\",\"data\":\"late\"}}\n\
         {\"id\":5,\"unsubscribe\":{\"channel\":\"room\"}}\n\
         {\"id\":6,\"publish\":{\"channel\":\"room\",\"data\":\"too late\"}}\n\
         {\"id\":7,\"rpc\":{\"method\":\"end\"}}",
    );
    let mut ids = Vec::new();
    let mut published = Vec::new();
    while ids.last() != Some(&7) {
        let next = client.receive();
        match next["id"].as_u64() {
            Some(id) => ids.push(id),
            None => {
                assert!(ids.contains(&3), "{next} came before the subscribe reply");
                assert!(!ids.contains(&5), "{next} came behind the unsubscribe reply");
                published.push(next["push"]["pub"]["data"].clone());
            }
        }
    }
    assert_eq!(ids, [2, 3, 4, 5, 6, 7]);
    assert_eq!(published, ["late"]);
}
