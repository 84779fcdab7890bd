//! Who is in a room, and how many: presence and presence_stats.

pub mod common;

use std::net::Shutdown;

use common::{Client, Server, WITH_TOKENS, token};
use serde_json::{Value, json};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;

/// Everybody may subscribe and ask; whoever is anonymous too.
fn server() -> Server {
    Server::start(&format!(
        "{WITH_TOKENS}[channel.without_namespace]\npresence = true\nallow_subscribe_for_client = true\n\
         allow_subscribe_for_anonymous = true\nallow_presence_for_client = true\n\
         allow_presence_for_anonymous = true"
    ))
}

fn presence(client: &mut Client, channel: &str) -> Value {
    client.succeed("presence", json!({ "channel": channel }))["presence"].take()
}

/// Clients and users.
fn stats(client: &mut Client, channel: &str) -> (u64, u64) {
    let result = client.succeed("presence_stats", json!({ "channel": channel }));
    assert_eq!(result.as_object().unwrap().len(), 2, "{result}");
    (result["num_clients"].as_u64().unwrap(), result["num_users"].as_u64().unwrap())
}

#[test]
fn a_room_without_members_has_an_empty_presence_and_zeros_as_stats() {
    let server = server();
    let mut client = server.client();
    client.send(r#"{"id":8,"presence":{"channel":"room"}}"#);
    assert_eq!(client.next_frame(), r#"{"id":8,"presence":{"presence":{}}}"#);
    client.send(r#"{"id":9,"presence_stats":{"channel":"room"}}"#);
    assert_eq!(client.next_frame(), r#"{"id":9,"presence_stats":{"num_clients":0,"num_users":0}}"#);
}

#[test]
fn members_are_listed_by_client_with_what_their_tokens_say_of_them() {
    let server = server();
    let mut ann = server.client_with(json!({ "sub": "42", "info": { "nick": "ann" } }));
    let subscription = token(&json!({ "sub": "42", "channel": "room", "info": { "role": "mod" } }));
    ann.succeed("subscribe", json!({ "channel": "room", "token": subscription }));
    let mut anonymous = server.client();
    anonymous.subscribe("room");
    let mut elsewhere = server.client_as("7");
    elsewhere.subscribe("other");

    let expected = json!({
        ann.id(): {
            "user": "42", "client": ann.id(), "conn_info": { "nick": "ann" }, "chan_info": { "role": "mod" },
        },
        anonymous.id(): { "user": "", "client": anonymous.id() },
    });
    assert_eq!(presence(&mut ann, "room"), expected);
    assert_eq!(presence(&mut elsewhere, "room"), expected);
}

#[test]
fn stats_count_a_user_once_and_all_anonymous_clients_as_one_user() {
    let server = server();
    let mut members: Vec<_> = ["42", "42", "43"].iter().map(|user| server.client_as(user)).collect();
    members.extend([server.client(), server.client()]);
    members.iter_mut().for_each(|member| drop(member.subscribe("room")));
    assert_eq!(stats(&mut members[0], "room"), (5, 3));
    members[1].unsubscribe("room");
    assert_eq!(stats(&mut members[0], "room"), (4, 3));
    members[2].unsubscribe("room");
    assert_eq!(stats(&mut members[0], "room"), (3, 2));
}

#[test]
fn whoever_leaves_is_gone_from_presence_at_once() {
    let server = server();
    let mut member = server.client();
    member.subscribe("room");
    member.unsubscribe("room");
    assert_eq!(presence(&mut member, "room"), json!({}));
    assert_eq!(stats(&mut member, "room"), (0, 0));
}

#[test]
fn whoever_disconnects_in_whatever_way_is_gone_from_presence() {
    let server = server();
    let mut observer = server.client();
    for code in [1000, 1006, 3501] {
        let mut member = server.client_as("42");
        member.subscribe("room");
        assert_eq!(stats(&mut observer, "room"), (1, 1));
        match code {
            1000 => {
                let frame = CloseFrame { code: CloseCode::Normal, reason: "bye".into() };
                member.socket().close(Some(frame)).unwrap();
            }
            1006 => member.stream().shutdown(Shutdown::Both).unwrap(),
            _ => member.send("nonsense"),
        }
        server.wait_for("the close", |metrics| metrics.closes(code) == 1);
        assert_eq!(stats(&mut observer, "room"), (0, 0), "{code}");
    }
}

#[test]
fn a_token_can_keep_its_client_out_of_presence() {
    let server = server();
    let mut hidden = server.client_as("42");
    let claims = json!({ "sub": "42", "channel": "room", "override": { "presence": { "value": false } } });
    hidden.succeed("subscribe", json!({ "channel": "room", "token": token(&claims) }));
    let mut seen = server.client_as("43");
    seen.subscribe("room");
    let listed = presence(&mut hidden, "room");
    assert_eq!(listed, json!({ seen.id(): { "user": "43", "client": seen.id() } }));
    assert_eq!(stats(&mut hidden, "room"), (1, 1));
}

#[test]
fn presence_sees_what_the_commands_before_it_did() {
    let server = server();
    let mut client = server.client();
    for (method, clients) in [("subscribe", 1), ("unsubscribe", 0)] {
        client.send(format!(
            "{{\"id\":2,\"{method}\":{{\"channel\":\"room\"}}}}\n{{\"id\":3,\"presence_stats\":{{\"channel\":\"room\"}}}}"
        ));
        assert_eq!(client.receive(), json!({ "id": 2, method: {} }));
        let counted = json!({ "num_clients": clients, "num_users": clients });
        assert_eq!(client.receive(), json!({ "id": 3, "presence_stats": counted }));
    }
}

#[test]
fn names_in_presence_are_escaped() {
    let server = server();
    let user = "a \"quoted\"\n\\user\u{1}é";
    let mut client = server.client_as(user);
    client.subscribe("room");
    let listed = presence(&mut client, "room");
    assert_eq!(listed[client.id()]["user"], user);
}

/// Members of `room`, with joins and leaves told once they lasted for `debounce_ms`.
fn debounced(debounce_ms: u32) -> Server {
    Server::with_shards(
        &format!(
            "[channel.without_namespace]\npresence = true\njoin_leave = true\nforce_push_join_leave = true\n\
             join_leave_debounce_ms = {debounce_ms}"
        ),
        2,
    )
}

/// What the next pushes to `client` say, up to the publication of `last`: who came, who left.
fn comings(client: &mut Client, last: &str) -> Vec<(&'static str, String)> {
    let mut told = Vec::new();
    loop {
        let push = client.receive()["push"].take();
        if push["pub"]["data"] == last {
            return told;
        }
        let kind = if push.get("join").is_some() { "join" } else { "leave" };
        told.push((kind, push[kind]["info"]["client"].as_str().unwrap().to_owned()));
    }
}

#[test]
fn who_bounces_within_the_debounce_is_not_told_of_and_counts_are_right_at_once() {
    let server = debounced(60_000);
    let mut ann = server.client();
    ann.subscribe("room");
    let mut bob = server.client();
    for _ in 0..20 {
        bob.subscribe("room");
        assert_eq!(stats(&mut ann, "room").0, 2);
        bob.unsubscribe("room");
        assert_eq!(stats(&mut ann, "room").0, 1);
    }
    bob.publish("room", json!("end"));
    assert!(comings(&mut ann, "end").is_empty());
}

#[test]
fn who_stays_or_stays_away_is_told_of_once() {
    let server = debounced(100);
    let mut ann = server.client();
    ann.subscribe("room");
    let mut bob = server.client();
    bob.subscribe("room");
    let mut told = Vec::new();
    while told.len() < 2 {
        let push = ann.receive()["push"].take();
        told.push(push["join"]["info"]["client"].as_str().unwrap().to_owned());
    }
    assert!(told.contains(&ann.id().to_owned()) && told.contains(&bob.id().to_owned()), "{told:?}");
    let bob_id = bob.id().to_owned();
    drop(bob);
    assert_eq!(ann.receive()["push"]["leave"]["info"]["client"], bob_id);
    server.client().publish("room", json!("end"));
    assert!(comings(&mut ann, "end").is_empty());
}
