//! What an application asks while a client's own commands are under way: each is done, and what the
//! client hears of them stays in order. The rooms are on the disk, so that commands are under way for
//! as long as that takes.

use serde_json::{Value, json};

use crate::caller::{KEY, succeed};
use crate::common::{Client, Server, token};

/// How often each test tries to come at the right moment.
const ROUNDS: usize = 20;

fn server() -> Server {
    Server::start(&format!(
        "{}[http_api]\nkey = '{KEY}'\n\
         [channel.without_namespace]\npresence = true\nhistory_size = 10\nhistory_ttl = '1h'\n\
         allow_subscribe_for_client = true\nforce_recovery = true\n\
         [[channel.namespaces]]\nname = 'live'\nallow_subscribe_for_client = true\n\
         allow_publish_for_client = true\n",
        crate::common::WITH_TOKENS
    ))
}

/// Has `client` begin to subscribe to `channel`; returns when the server has seen it, and what came of it
/// if that is known already.
fn begin_to_subscribe(client: &mut Client, channel: &str) -> Option<Value> {
    client.send(format!(
        "{{\"id\":100,\"subscribe\":{{\"channel\":\"{channel}\"}}}}\n\
         {{\"id\":101,\"publish\":{{\"channel\":\"live:x\",\"data\":1}}}}"
    ));
    let first = client.receive();
    if first["id"] == 101 {
        return None;
    }
    assert_eq!(client.receive()["id"], 101);
    Some(first)
}

#[test]
fn a_client_that_is_connecting_hears_its_connect_reply_first_and_then_of_its_subscription() {
    let server = server();
    let mut were_subscribed = 0;
    for round in 0..ROUNDS {
        let mut client = server.upgrade();
        let user = format!("user{round}");
        let token = token(&json!({ "sub": user, "channels": [format!("own{round}")] }));
        client.command(json!({ "connect": { "token": token } }));
        let given = json!({ "user": user, "channel": "live:room" });
        assert_eq!(succeed(&server, "subscribe", given.clone()), json!({}));
        let reply = client.receive();
        assert!(reply["connect"]["subs"].is_object(), "{reply}");
        // It may have come before the server knew the user: then this one does it.
        let channels = succeed(&server, "channels", json!({ "pattern": "live:*" }));
        if channels["channels"].get("live:room").is_none() {
            succeed(&server, "subscribe", given);
        } else {
            were_subscribed += 1;
        }
        assert_eq!(client.receive()["push"]["subscribe"], json!({}));
        succeed(&server, "disconnect", json!({ "user": user }));
        client.expect_close(3503, "force disconnect");
    }
    assert!(were_subscribed > 0, "it never came while a client was connecting");
}

#[test]
fn a_subscription_that_is_under_way_is_ended_as_soon_as_it_is_there() {
    let server = server();
    let mut client = server.client_as("42");
    for round in 0..ROUNDS {
        let room = format!("room{round}");
        let begun = begin_to_subscribe(&mut client, &room);
        assert_eq!(succeed(&server, "unsubscribe", json!({ "user": "42", "channel": room })), json!({}));
        let stats = succeed(&server, "presence_stats", json!({ "channel": room }));
        assert_eq!(stats["num_clients"], 0);
        let reply = begun.unwrap_or_else(|| client.receive());
        assert_eq!(reply["subscribe"]["positioned"], true, "{reply}");
        assert_eq!(client.receive()["push"]["unsubscribe"]["code"], 2000);
    }
}

#[test]
fn a_subscription_that_is_under_way_is_not_made_twice() {
    let server = server();
    let mut client = server.client_as("42");
    for round in 0..ROUNDS {
        let room = format!("room{round}");
        let begun = begin_to_subscribe(&mut client, &room);
        assert_eq!(succeed(&server, "subscribe", json!({ "user": "42", "channel": room })), json!({}));
        let stats = succeed(&server, "presence_stats", json!({ "channel": room }));
        assert_eq!(stats["num_clients"], 1);
        let reply = begun.unwrap_or_else(|| client.receive());
        assert_eq!(reply["subscribe"]["positioned"], true, "{reply}");
        succeed(&server, "publish", json!({ "channel": room, "data": round }));
        assert_eq!(client.next_data(&room), round, "nothing came between");
    }
}

#[test]
fn what_an_application_asks_at_once_is_done_in_order() {
    let server = server();
    let mut client = server.client_as("42");
    let commands = json!([
        { "subscribe": { "user": "42", "channel": "room" } },
        { "publish": { "channel": "room", "data": 1 } },
        { "unsubscribe": { "user": "42", "channel": "room" } },
        { "publish": { "channel": "room", "data": 2 } },
        { "subscribe": { "user": "42", "channel": "room", "recover_since": { "offset": 1 } } },
        { "disconnect": { "user": "42" } },
    ]);
    crate::caller::call(&server, "batch", json!({ "commands": commands }));
    assert_eq!(client.receive()["push"]["subscribe"].get("offset"), None);
    assert_eq!(client.next_data("room"), 1);
    assert_eq!(client.receive()["push"]["unsubscribe"]["code"], 2000);
    assert_eq!(client.receive()["push"]["subscribe"]["offset"], 1);
    assert_eq!(client.next_data("room"), 2);
    client.expect_close(3503, "force disconnect");
}
