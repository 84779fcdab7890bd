//! From the upgrade to the connect reply: who gets in, and what they are told.

pub mod common;

use common::{SECRET, Server, WITH_TOKENS, token};
use serde_json::json;

const PATH: &str = "/connection/websocket";

/// An upgrade request with more header lines, each with its line end.
fn upgrade_request(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: throng\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

fn head(server: &Server, path: &str, headers: &str) -> String {
    server.response_head(upgrade_request(path, headers).as_bytes()).to_ascii_lowercase()
}

#[test]
fn a_subprotocol_is_selected_only_if_the_client_offers_one_that_throng_speaks() {
    let server = Server::start("");
    for (offered, selected) in [
        ("", None),
        ("Sec-WebSocket-Protocol: centrifuge-json\r\n", Some("centrifuge-json")),
        ("Sec-WebSocket-Protocol: graphql-ws, centrifuge-json\r\n", Some("centrifuge-json")),
        ("Sec-WebSocket-Protocol: graphql-ws\r\n", None),
        ("Sec-WebSocket-Protocol: centrifuge-protobuf\r\n", None),
        ("Sec-WebSocket-Protocol: mqtt, graphql-ws\r\n", None),
    ] {
        let head = head(&server, PATH, offered);
        assert!(head.starts_with("http/1.1 101 "), "{offered}: {head}");
        assert!(head.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
        let answered = head.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(answered, selected, "{offered}");
    }
}

#[test]
fn compression_is_not_negotiated() {
    let server = Server::start("");
    let head = head(&server, PATH, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(!head.contains("sec-websocket-extensions"), "{head}");
}

#[test]
fn unknown_query_parameters_are_ignored() {
    let server = Server::start("");
    let mut client =
        server.upgrade_on(&format!("{PATH}?cf_protocol_version=v2&cf_ws_frame_ping_pong=no&x"), &[]);
    assert_eq!(client.connect(json!({}))["ping"], 25);
}

#[test]
fn another_path_or_a_request_without_upgrade_gets_its_http_status() {
    let server = Server::start("path = '/ws'");
    assert!(head(&server, "/ws", "").starts_with("http/1.1 101 "));
    assert!(head(&server, PATH, "").starts_with("http/1.1 404 "));
    let plain = server.raw(b"GET /ws HTTP/1.1\r\nHost: throng\r\n\r\n");
    assert!(plain.starts_with("HTTP/1.1 400 "), "{plain}");
    let metrics = server.metrics();
    assert_eq!(metrics.get("throng_upgrades_total"), 1);
    assert_eq!(metrics.get(r#"throng_upgrades_refused_total{reason="not_found"}"#), 1);
    assert_eq!(metrics.get(r#"throng_upgrades_refused_total{reason="bad_request"}"#), 1);
}

#[test]
fn an_origin_is_let_in_only_if_a_pattern_matches_it() {
    let rules: [(&str, &[(&str, &str)]); 4] = [
        ("insecure = false\nallowed_origins = []", &[("", "101"), ("http://localhost", "403")]),
        (
            "allowed_origins = ['https://*.example.com', 'http://localhost:3000']",
            &[
                ("", "101"),
                ("https://chat.example.com", "101"),
                ("http://localhost:3000", "101"),
                ("https://example.com", "403"),
                ("https://chat.example.com.evil.net", "403"),
                ("null", "403"),
            ],
        ),
        ("allowed_origins = ['*']", &[("https://anything.net", "101"), ("null", "101")]),
        // Insecure by default: what this machine serves, and no other page.
        ("", &[("http://localhost:5173", "101"), ("https://example.com", "403")]),
    ];
    for (config, origins) in rules {
        let server = Server::start(config);
        for (origin, status) in origins {
            let header = if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
            let head = head(&server, PATH, &header);
            assert!(head.starts_with(&format!("http/1.1 {status} ")), "{config}, {origin}: {head}");
        }
    }
}

#[test]
fn the_connect_reply_says_who_one_is_and_how_often_pings_come() {
    let server = Server::start("");
    let mut client = server.upgrade();
    let request = json!({ "name": "js", "version": "5.8.0", "headers": { "a": "b" }, "flag": 1 });
    let mut reply = client.call(json!({ "connect": request }));
    let id = reply["connect"]["client"].take();
    let version = reply["connect"]["version"].take();
    let expected = json!({ "client": null, "version": null, "ping": 25, "pong": true });
    assert_eq!(reply, json!({ "id": 1, "connect": expected }));
    assert!(!version.as_str().unwrap().is_empty());
    let id = id.as_str().unwrap();
    let is_uuid_v4 = id.len() == 36
        && id.char_indices().all(|(at, digit)| match at {
            8 | 13 | 18 | 23 => digit == '-',
            14 => digit == '4',
            19 => matches!(digit, '8' | '9' | 'a' | 'b'),
            _ => digit.is_ascii_digit() || ('a'..='f').contains(&digit),
        });
    assert!(is_uuid_v4, "{id}");
}

#[test]
fn no_two_clients_have_the_same_id_even_one_after_the_other() {
    let server = Server::start("");
    let mut ids: Vec<_> = (0..8).map(|_| server.client().id().to_owned()).collect();
    let held: Vec<_> = (0..8).map(|_| server.client()).collect();
    ids.extend(held.iter().map(|client| client.id().to_owned()));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 16);
}

#[test]
fn a_reply_without_pings_names_neither_ping_nor_pong() {
    let silent = Server::start("client.ping_interval_ms = 0");
    let result = silent.upgrade().connect(json!({}));
    assert!(result.get("ping").is_none() && result.get("pong").is_none(), "{result}");

    let server = Server::start("");
    let result = server.upgrade_on(&format!("{PATH}?cf_ws_frame_ping_pong=true"), &[]).connect(json!({}));
    assert!(result.get("ping").is_none() && result.get("pong").is_none(), "{result}");
}

#[test]
fn without_a_token_one_gets_in_where_the_server_says_so() {
    for config in ["", "insecure = true", "client.allow_anonymous_connect_without_token = true"] {
        let server = Server::start(config);
        assert!(!server.client().id().is_empty(), "{config}");
    }
    for config in ["insecure = false", &format!("client.token.hmac_secret_key = '{SECRET}'")] {
        let server = Server::start(config);
        let mut client = server.upgrade();
        client.send(r#"{"id":1,"connect":{}}"#);
        client.expect_close(3501, "bad request");
    }
}

#[test]
fn whoever_does_not_connect_first_or_connects_twice_breaks_the_protocol() {
    let server = Server::start("");
    for first in [
        r#"{"id":1,"subscribe":{"channel":"room"}}"#,
        r#"{"id":1,"rpc":{"method":"m"}}"#,
        r#"{"connect":{}}"#,
        r#"{"id":1,"refresh":{"token":"t"}}"#,
        r#"{"send":{"data":{}}}"#,
        "{}",
    ] {
        let mut client = server.upgrade();
        client.send(first);
        client.expect_close(3501, "bad request");
    }
    let mut client = server.client();
    client.send(r#"{"id":2,"connect":{}}"#);
    client.expect_close(3501, "bad request");
    server.wait_for("all closes", |metrics| metrics.closes(3501) == 7);
}

#[test]
fn a_connect_and_subscribes_in_one_frame_are_answered_in_order_in_one_frame() {
    let server = Server::start("");
    let mut client = server.upgrade();
    client.send(
        "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"a\",\"flag\":1}}\n\
         {\"id\":3,\"subscribe\":{\"channel\":\"b\",\"flag\":1}}\n",
    );
    let frame = client.next_frame();
    let lines: Vec<_> = frame.split('\n').collect();
    assert!(lines[0].starts_with(r#"{"id":1,"connect":{"client":""#), "{frame}");
    assert_eq!(lines[1..], [r#"{"id":2,"subscribe":{}}"#, r#"{"id":3,"subscribe":{}}"#]);
}

#[test]
fn after_a_connect_error_nothing_more_is_read_and_the_connection_is_stale() {
    let config = format!("{WITH_TOKENS}client.stale_close_delay_ms = 1000");
    let server = Server::start(&config);
    let mut client = server.upgrade();
    let expired = token(&json!({ "sub": "42", "exp": 1 }));
    let connect = json!({ "id": 1, "connect": { "token": expired } });
    client.send(format!("{connect}\n{{\"id\":2,\"connect\":{{}}}}\nnonsense"));
    assert_eq!(client.next_frame(), r#"{"id":1,"error":{"code":109,"message":"token expired"}}"#);
    client.send("more nonsense");
    client.send(r#"{"id":3,"connect":{}}"#);
    client.expect_close(3502, "stale");
}

#[test]
fn whoever_never_connects_is_stale() {
    let server = Server::start("client.stale_close_delay_ms = 1000");
    let mut silent = server.upgrade();
    let mut connected = server.client();
    silent.expect_close(3502, "stale");
    assert_eq!(server.wait_for("a close", |metrics| metrics.closes(3502) > 0).closes(3502), 1);
    connected.subscribe("room");
}

#[test]
fn a_named_user_has_as_many_connections_as_the_limit_and_the_anonymous_one_any() {
    let server = Server::with_shards(&format!("{WITH_TOKENS}client.user_connection_limit = 2"), 2);
    let first = server.client_as("42");
    let _second = server.client_as("42");
    let mut third = server.upgrade();
    third.send(json!({ "id": 1, "connect": { "token": token(&json!({ "sub": "42" })) } }).to_string());
    third.expect_close(3504, "connection limit");
    let _other = server.client_as("43");
    let _anonymous: Vec<_> = (0..3).map(|_| server.client()).collect();

    drop(first);
    server.wait_for("the first to be gone", |metrics| metrics.closes(1006) == 1);
    server.client_as("42");
}

#[test]
fn server_side_subscriptions_come_with_the_connect_reply() {
    let config = format!(
        "{WITH_TOKENS}[[channel.namespaces]]\nname = 'team'\njoin_leave = true\nforce_push_join_leave = true"
    );
    let server = Server::start(&config);
    let mut client = server.upgrade();
    let subs = json!({ "team:a": {}, "news": { "data": { "x": 1 } } });
    let jwt = token(&json!({ "sub": "42", "subs": subs }));
    let recovering =
        json!({ "news": { "recover": true, "offset": 4, "epoch": "e" }, "other": { "recover": true } });
    let result = client.connect(json!({ "token": jwt, "subs": recovering }));
    assert_eq!(
        result["subs"],
        json!({ "team:a": {}, "news": { "data": { "x": 1 }, "was_recovering": true } })
    );
    let info = json!({ "user": "42", "client": client.id() });
    assert_eq!(client.receive(), json!({ "push": { "channel": "team:a", "join": { "info": info } } }));
    client.fail("subscribe", json!({ "channel": "news" }), 105, "already subscribed");
    client.unsubscribe("news");
    client.fail("subscribe", json!({ "channel": "news" }), 103, "permission denied");
}

#[test]
fn a_token_with_a_channel_of_no_namespace_or_with_too_many_is_refused() {
    let server = Server::start(&format!("{WITH_TOKENS}client.channel_limit = 2"));
    let unknown = token(&json!({ "sub": "42", "channels": ["nobody:knows"] }));
    server.upgrade().fail("connect", json!({ "token": unknown }), 102, "unknown channel");

    let mut allowed = server.client_with(json!({ "channels": ["a", "b"] }));
    allowed.fail("subscribe", json!({ "channel": "c" }), 106, "limit exceeded");

    let mut client = server.upgrade();
    let too_many = token(&json!({ "sub": "42", "channels": ["a", "b", "c"] }));
    client.send(json!({ "id": 1, "connect": { "token": too_many } }).to_string());
    client.expect_close(3505, "channel limit");
}
