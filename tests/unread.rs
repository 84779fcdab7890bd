//! throng's own `read` and `unread`: how much of a room a user has not read. And the personal room of
//! every user, in which what is sent to them waits until they come back.

pub mod common;

use common::{Client, Scratch, Server, WITH_TOKENS, token};
use serde_json::{Value, json};

const KEPT: &str = "[channel.without_namespace]\nhistory_size = 10\nhistory_ttl = '1h'\nforce_recovery = true\n\
                    allow_subscribe_for_client = true\nallow_publish_for_client = true\n\
                    [[channel.namespaces]]\nname = 'live'\nallow_subscribe_for_client = true\n\
                    [[channel.namespaces]]\nname = 'closed'\nhistory_size = 10\nhistory_ttl = '1h'\n";

fn with_tokens() -> Server {
    Server::start(&format!("{WITH_TOKENS}{KEPT}"))
}

fn rpc(client: &mut Client, method: &str, data: Value) -> Value {
    client.succeed("rpc", json!({ "method": method, "data": data }))["data"].clone()
}

fn read(client: &mut Client, room: &str, offset: u64) -> Value {
    rpc(client, "read", json!({ "channel": room, "offset": offset }))
}

fn unread(client: &mut Client, rooms: &[&str]) -> Value {
    rpc(client, "unread", json!({ "channels": rooms }))["channels"].clone()
}

#[test]
fn a_cursor_moves_forward_and_unread_is_what_is_behind_it() {
    let server = with_tokens();
    let mut ann = server.client_as("ann");
    for number in 0..5 {
        ann.publish("a", json!(number));
    }
    assert_eq!(
        unread(&mut ann, &["a", "b"]),
        json!({
            "a": { "unread": 5, "offset": 5, "read": 0 },
            "b": { "unread": 0, "offset": 0, "read": 0 },
        })
    );
    assert_eq!(read(&mut ann, "a", 3), json!({ "offset": 3 }));
    assert_eq!(read(&mut ann, "a", 1), json!({ "offset": 3 }), "never backwards");
    assert_eq!(unread(&mut ann, &["a"]), json!({ "a": { "unread": 2, "offset": 5, "read": 3 } }));
    let mut bob = server.client_as("bob");
    assert_eq!(unread(&mut bob, &["a"])["a"]["unread"], json!(5), "each user has a cursor");
}

#[test]
fn what_cannot_be_read_has_its_code() {
    let server = with_tokens();
    let mut ann = server.client_as("ann");
    ann.publish("a", json!(1));
    for (method, data, code, message) in [
        ("read", json!({ "channel": "a", "offset": 2 }), 107, "bad request"),
        ("read", json!({ "channel": "a", "offset": -1 }), 107, "bad request"),
        ("read", json!({ "channel": "a" }), 107, "bad request"),
        ("read", json!({ "channel": "live:a", "offset": 1 }), 108, "not available"),
        ("read", json!({ "channel": "nowhere:a", "offset": 1 }), 102, "unknown channel"),
        ("read", json!({ "channel": "closed:a", "offset": 0 }), 103, "permission denied"),
        ("unread", json!({ "channels": ["a", "closed:a"] }), 103, "permission denied"),
        ("unread", json!({ "channels": "a" }), 107, "bad request"),
        ("unread", json!(null), 107, "bad request"),
        ("unread", json!({ "channels": vec!["a"; 129] }), 106, "limit exceeded"),
        ("other", json!({}), 108, "not available"),
    ] {
        ann.fail("rpc", json!({ "method": method, "data": data }), code, message);
    }
    let mut nobody = server.client_with(json!({ "iat": 1 }));
    nobody.fail(
        "rpc",
        json!({ "method": "unread", "data": { "channels": ["a"] } }),
        103,
        "permission denied",
    );
}

#[test]
fn cursors_survive_a_crash() {
    let data = Scratch::new();
    let arguments = ["--data", data.path().to_str().unwrap()];
    let server = Server::with_arguments(&format!("{WITH_TOKENS}{KEPT}"), &arguments);
    let mut ann = server.client_as("ann");
    for number in 0..4 {
        ann.publish("a", json!(number));
    }
    read(&mut ann, "a", 3);
    server.signal("KILL");
    drop(server);
    let server = Server::with_arguments(&format!("{WITH_TOKENS}{KEPT}"), &arguments);
    let mut ann = server.client_as("ann");
    assert_eq!(unread(&mut ann, &["a"]), json!({ "a": { "unread": 1, "offset": 4, "read": 3 } }));
}

/// Every user has a room of its own, in the namespace `own`; `send` may publish to anybody's.
fn with_personal_rooms() -> Server {
    Server::start(&format!(
        "{WITH_TOKENS}[client.subscribe_to_user_personal_channel]\nenabled = true\n\
         personal_channel_namespace = 'own'\n\
         [[channel.namespaces]]\nname = 'own'\nhistory_size = 10\nhistory_ttl = '1h'\n\
         allow_publish_for_client = true\n"
    ))
}

/// Connects as `user`, who was at `position` in the personal room; the client and its subscription.
fn come_back(server: &Server, user: &str, position: Option<(u64, &Value)>) -> (Client, Value) {
    let mut client = server.upgrade();
    let mut request = json!({ "token": token(&json!({ "sub": user })) });
    if let Some((offset, epoch)) = position {
        let room = format!("own:#{user}");
        request["subs"] = json!({ room: { "recover": true, "offset": offset, "epoch": epoch } });
    }
    let connected = client.connect(request);
    let subscription = connected["subs"][format!("own:#{user}")].clone();
    (client, subscription)
}

#[test]
fn what_was_sent_to_a_user_who_was_away_arrives_when_they_come_back() {
    let server = with_personal_rooms();
    let (mut ann, first) = come_back(&server, "ann", None);
    assert_eq!((&first["recoverable"], &first["positioned"]), (&json!(true), &json!(true)));
    let mut bob = server.client_as("bob");
    bob.publish("own:#ann", json!("here"));
    assert_eq!(ann.next_data("own:#ann"), json!("here"));
    drop(ann);
    bob.publish("own:#ann", json!("away 1"));
    bob.publish("own:#ann", json!("away 2"));
    let (mut ann, back) = come_back(&server, "ann", Some((1, &first["epoch"])));
    assert_eq!((&back["recovered"], &back["offset"]), (&json!(true), &json!(1)));
    let missed: Vec<_> =
        back["publications"].as_array().unwrap().iter().map(|missed| &missed["data"]).collect();
    assert_eq!(missed, [&json!("away 1"), &json!("away 2")]);
    bob.publish("own:#ann", json!("here again"));
    assert_eq!(ann.next_data("own:#ann"), json!("here again"));
}

#[test]
fn a_personal_room_is_nobody_elses() {
    let server = with_personal_rooms();
    server.client_as("bob").fail("subscribe", json!({ "channel": "own:#ann" }), 103, "permission denied");
    let mut ann = server.client_as("ann");
    ann.fail("subscribe", json!({ "channel": "own:#ann" }), 105, "already subscribed");
    assert_eq!(unread(&mut ann, &["own:#ann"])["own:#ann"]["unread"], json!(0), "its owner may count");
}

#[test]
fn a_personal_room_is_closed_to_others_whatever_its_namespace_allows() {
    let server = Server::start(&format!(
        "{WITH_TOKENS}client.subscribe_to_user_personal_channel.enabled = true\n{KEPT}"
    ));
    let mut bob = server.client_as("bob");
    bob.fail("subscribe", json!({ "channel": "#ann" }), 103, "permission denied");
    bob.subscribe("lobby");
    bob.fail("subscribe", json!({ "channel": "#bob" }), 105, "already subscribed");
    bob.fail(
        "rpc",
        json!({ "method": "unread", "data": { "channels": ["#ann"] } }),
        103,
        "permission denied",
    );
}

#[test]
fn a_personal_room_that_the_token_lists_too_is_as_recoverable() {
    let server = with_personal_rooms();
    let mut client = server.upgrade();
    let claims = json!({ "sub": "ann", "channels": ["own:#ann"] });
    let connected = client.connect(json!({ "token": token(&claims) }));
    assert_eq!(connected["subs"]["own:#ann"]["recoverable"], json!(true));
}

#[test]
fn a_connect_recovers_no_more_than_one_reply_may_hold() {
    let kept = KEPT.replacen(
        "allow_subscribe_for_client",
        "allow_history_for_client = true\nallow_subscribe_for_client",
        1,
    );
    let server = Server::start(&format!("{WITH_TOKENS}{kept}"));
    let mut bob = server.client_as("bob");
    for room in ["a", "b", "c"] {
        for _ in 0..7 {
            bob.publish(room, json!("x".repeat(60_000)));
        }
    }
    let mut ann = server.upgrade();
    let claims = json!({ "sub": "ann", "channels": ["a", "b", "c"] });
    let from_start = json!({ "recover": true });
    let subs = json!({ "a": from_start, "b": from_start, "c": from_start });
    let connected = ann.connect(json!({ "token": token(&claims), "subs": subs }));
    let recovered = |room: &str| connected["subs"][room]["recovered"] == json!(true);
    let whole = ["a", "b", "c"].into_iter().filter(|room| recovered(room)).count();
    assert_eq!(whole, 1, "420 KB each, and a reply holds 512 KiB");
    ann.publish("a", json!("still there"));
}

#[test]
fn a_call_behind_a_subscribe_counts_its_room() {
    let options = "[channel.without_namespace]\nhistory_size = 10\nhistory_ttl = '1h'\nforce_recovery = true\n\
                   allow_history_for_subscriber = true\n";
    let server = Server::start(&format!("{WITH_TOKENS}{options}"));
    let mut ann = server.client_as("ann");
    let room = token(&json!({ "sub": "ann", "channel": "room" }));
    let subscribe = json!({ "id": 10, "subscribe": { "channel": "room", "token": room } });
    let unread = json!({ "id": 11, "rpc": { "method": "unread", "data": { "channels": ["room", "room"] } } });
    ann.send(format!("{subscribe}\n{unread}"));
    assert_eq!(ann.receive()["id"], json!(10));
    let counts = json!({ "channels": { "room": { "unread": 0, "offset": 0, "read": 0 } } });
    assert_eq!(ann.receive(), json!({ "id": 11, "rpc": { "data": counts } }));
}

#[test]
fn commands_behind_a_connect_that_waits_are_answered_after_it() {
    let server = with_personal_rooms();
    let mut client = server.upgrade();
    let connect = json!({ "id": 1, "connect": { "token": token(&json!({ "sub": "ann" })) } });
    client.send(format!("{connect}\n{}", json!({ "id": 2, "unsubscribe": { "channel": "own:#ann" } })));
    let connected = client.receive();
    assert_eq!((&connected["id"], connected["connect"]["subs"].is_object()), (&json!(1), true));
    assert_eq!(client.receive(), json!({ "id": 2, "unsubscribe": {} }));
    client.succeed("publish", json!({ "channel": "own:#ann", "data": 1 }));
}
