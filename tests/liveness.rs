//! Pings, pongs and expiry: who is alive and still welcome.
//!
//! Times in tokens are whole seconds, so whatever expires takes two or three here: one test runs these
//! scenarios side by side. `stale` connections are in `connect.rs`, the protocol of pongs in `framing.rs`.

pub mod common;

use std::time::Duration;

use common::{Client, Server, WITH_TOKENS, now_s, token};
use serde_json::{Value, json};
use tungstenite::protocol::Message;

/// Times that are short and still leave a busy machine half a second to answer a ping.
const QUICK: &str = "client.ping_interval_ms = 600
client.pong_timeout_ms = 500
client.expired_close_delay_ms = 0
client.expired_sub_close_delay_ms = 0
";

const BY_FRAMES: &str = "/connection/websocket?cf_ws_frame_ping_pong=true";

fn server() -> Server {
    Server::start(&format!("{WITH_TOKENS}{QUICK}channel.without_namespace.allow_subscribe_for_client = true"))
}

/// A client whose pings its library answers.
fn lively(server: &Server, claims: &Value) -> Client {
    let mut client = server.upgrade_on(BY_FRAMES, &[]);
    client.connect(json!({ "token": token(claims) }));
    client
}

/// The next message that is no ping frame. It must come before a whole lot of pings has.
fn next_past_pings(client: &mut Client) -> Message {
    let mut messages = (0..30).map(|_| client.next_message());
    messages.find(|message| !matches!(message, Message::Ping(_))).expect("nothing but pings comes")
}

/// Answers pings until it is a second past `exp`: what expires then had a tick to be noticed at.
fn outlive(client: &mut Client, exp: i64) {
    while now_s() < exp + 1 {
        match client.next_message() {
            Message::Ping(_) => {}
            other => panic!("only pings were to come, not {other:?}"),
        }
    }
    assert!(call(client, json!({ "rpc": {} }))["error"].is_object());
}

/// Checks that nothing but ping frames comes before this close.
fn expect_close_past_pings(client: &mut Client, code: u16, reason: &str) {
    match next_past_pings(client) {
        Message::Close(Some(frame)) => {
            assert_eq!((u16::from(frame.code), frame.reason.as_str()), (code, reason));
        }
        other => panic!("close {code} {reason} was to come, not {other:?}"),
    }
}

/// Calls `method`, answering whatever pings come before the reply.
fn call(client: &mut Client, command: Value) -> Value {
    client.command(command);
    match next_past_pings(client) {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("a reply was to come, not {other:?}"),
    }
}

#[test]
fn a_client_that_answers_its_pings_stays() {
    let server = server();
    let mut client = server.client();
    for _ in 0..3 {
        assert_eq!(client.next_frame(), "{}");
        client.send("{}");
    }
    assert_eq!(client.call(json!({ "rpc": {} }))["error"]["code"], 108);
    assert_eq!(server.metrics().closes(3012), 0);
}

#[test]
fn a_client_that_does_not_answer_its_ping_is_closed() {
    let server = server();
    let mut client = server.client();
    assert_eq!(client.next_frame(), "{}");
    client.expect_close(3012, "no pong");
    server.wait_for("the close to be counted", |metrics| metrics.closes(3012) == 1);
}

#[test]
fn other_traffic_is_no_pong() {
    let server = server();
    let mut client = server.client();
    assert_eq!(client.next_frame(), "{}");
    assert_eq!(client.call(json!({ "rpc": {} }))["error"]["code"], 108);
    let nothing: &[u8] = &[];
    client.socket().send(Message::Pong(nothing.into())).unwrap();
    assert_eq!(client.call(json!({ "rpc": {} }))["error"]["code"], 108);
    client.expect_close(3012, "no pong");
}

#[test]
fn with_ping_frames_a_pong_frame_is_the_answer_and_none_is_no_pong() {
    let server = server();
    let mut client = lively(&server, &json!({ "sub": "42" }));
    for _ in 0..3 {
        // The library answers when it is asked for the next message.
        assert!(matches!(client.next_message(), Message::Ping(_)));
    }
    drop(client);
    let mut silent = lively(&server, &json!({ "sub": "43" }));
    // Nobody reads, so nobody answers.
    server.wait_for("the close", |metrics| metrics.closes(3012) == 1);
    assert!(matches!(silent.next_message(), Message::Ping(_)));
    expect_close_past_pings(&mut silent, 3012, "no pong");
}

#[test]
fn what_expires_ends_and_what_was_refreshed_or_never_expires_goes_on() {
    let scenarios: [fn(&Server); 7] = [
        a_connection_whose_token_has_expired_is_closed,
        a_busy_client_expires_without_pings_too,
        a_connection_may_outlive_its_token_if_the_token_says_so,
        an_expired_connection_has_a_delay_to_refresh_in,
        a_refresh_in_time_keeps_a_connection_alive,
        a_subscription_whose_token_has_expired_ends_and_the_connection_goes_on,
        a_sub_refresh_in_time_keeps_a_subscription_alive,
    ];
    let server = server();
    std::thread::scope(|scope| {
        for scenario in scenarios {
            let server = &server;
            scope.spawn(move || scenario(server));
        }
    });
}

fn a_connection_whose_token_has_expired_is_closed(server: &Server) {
    let mut client = lively(server, &json!({ "sub": "42", "exp": now_s() + 2 }));
    expect_close_past_pings(&mut client, 3005, "connection expired");
}

fn a_busy_client_expires_without_pings_too(_: &Server) {
    let quiet = "client.ping_interval_ms = 0\nclient.expired_close_delay_ms = 0";
    let server = Server::start(&format!("{WITH_TOKENS}{quiet}"));
    let exp = now_s() + 2;
    let mut client = server.client_with(json!({ "sub": "42", "exp": exp }));
    client.stream().set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    // A command whenever nothing comes for half a second. Expiry is looked at every 5 s.
    let closed = (0..40).find_map(|n| {
        let channel = format!("room-{n}");
        let jwt = token(&json!({ "sub": "42", "channel": channel }));
        client.command(json!({ "subscribe": { "channel": channel, "token": jwt } }));
        loop {
            match client.socket().read() {
                Ok(Message::Close(frame)) => return frame,
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    });
    let frame = closed.expect("the connection does not expire");
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3005, "connection expired"));
}

fn a_connection_may_outlive_its_token_if_the_token_says_so(server: &Server) {
    let exp = now_s() + 2;
    let mut client = lively(server, &json!({ "sub": "42", "exp": exp, "expire_at": 0 }));
    outlive(&mut client, exp);
}

fn an_expired_connection_has_a_delay_to_refresh_in(_: &Server) {
    let server = Server::start(&format!(
        "{WITH_TOKENS}{}",
        QUICK.replace("close_delay_ms = 0", "close_delay_ms = 60000")
    ));
    let exp = now_s() + 2;
    let mut client = lively(&server, &json!({ "sub": "42", "exp": exp }));
    outlive(&mut client, exp);
    let jwt = token(&json!({ "sub": "42" }));
    assert_eq!(call(&mut client, json!({ "refresh": { "token": jwt } }))["refresh"], json!({}));
}

fn a_refresh_in_time_keeps_a_connection_alive(server: &Server) {
    let exp = now_s() + 2;
    let mut client = lively(server, &json!({ "sub": "42", "exp": exp }));
    let jwt = token(&json!({ "sub": "42", "exp": exp + 600 }));
    let reply = call(&mut client, json!({ "refresh": { "token": jwt } }));
    assert_eq!(reply["refresh"]["expires"], true, "{reply}");
    outlive(&mut client, exp);
}

fn a_subscription_whose_token_has_expired_ends_and_the_connection_goes_on(server: &Server) {
    let mut client = lively(server, &json!({ "sub": "42" }));
    let claims = json!({ "sub": "42", "channel": "room", "exp": now_s() + 2 });
    let reply = call(&mut client, json!({ "subscribe": { "channel": "room", "token": token(&claims) } }));
    assert_eq!(reply["subscribe"]["expires"], true, "{reply}");
    match next_past_pings(&mut client) {
        Message::Text(text) => assert_eq!(
            text.as_str(),
            r#"{"push":{"channel":"room","unsubscribe":{"code":2501,"reason":"subscription expired"}}}"#
        ),
        other => panic!("{other:?}"),
    }
    let reply = call(&mut client, json!({ "subscribe": { "channel": "room" } }));
    assert_eq!(reply["subscribe"], json!({}), "{reply}");
}

fn a_sub_refresh_in_time_keeps_a_subscription_alive(server: &Server) {
    let mut client = lively(server, &json!({ "sub": "42" }));
    let exp = now_s() + 2;
    for channel in ["kept", "lost"] {
        let jwt = token(&json!({ "sub": "42", "channel": channel, "exp": exp }));
        call(&mut client, json!({ "subscribe": { "channel": channel, "token": jwt } }));
    }
    let jwt = token(&json!({ "sub": "42", "channel": "kept", "exp": exp + 600 }));
    let reply = call(&mut client, json!({ "sub_refresh": { "channel": "kept", "token": jwt } }));
    assert_eq!(reply["sub_refresh"]["expires"], true, "{reply}");
    match next_past_pings(&mut client) {
        Message::Text(text) => assert!(text.contains(r#""channel":"lost","unsubscribe""#), "{text}"),
        other => panic!("{other:?}"),
    }
    let reply = call(&mut client, json!({ "subscribe": { "channel": "kept" } }));
    assert_eq!(reply["error"]["code"], 105, "{reply}");
}
