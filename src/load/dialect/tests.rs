//! What the built-in dialects say and understand.

use super::*;

fn greeting(name: &str, index: u64, rooms: Rooms) -> String {
    let text = built_in(name).unwrap().greeting(index, rooms, &Identity::Anonymous, Join::Plain).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn each_dialect_greets_and_joins_in_one_text() {
    assert_eq!(
        greeting("centrifuge", 7, Rooms::Spread(3)),
        "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"bench-1\"}}"
    );
    let text = greeting("centrifuge", 7, Rooms::Each(2));
    assert!(text.ends_with("bench-0\"}}\n{\"id\":3,\"subscribe\":{\"channel\":\"bench-1\"}}"));
    assert_eq!(greeting("raw", 7, Rooms::Each(3)), "join 0 1 2");
    assert_eq!(greeting("raw", 7, Rooms::None), "join");
    let text = greeting("nats", 7, Rooms::Each(2));
    assert!(text.starts_with("CONNECT {\"verbose\":false,"), "{text}");
    assert!(text.ends_with("}\r\nSUB bench.0 2\r\nSUB bench.1 3\r\nPING\r\n"), "{text}");
    assert_eq!(greeting("nchan", 7, Rooms::Spread(3)), "");
}

#[test]
fn who_comes_back_says_where_it_was() {
    let join = |name: &str, join| {
        let text = built_in(name).unwrap().greeting(7, Rooms::Spread(3), &Identity::Anonymous, join);
        String::from_utf8(text.unwrap()).unwrap().lines().nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(
        join("centrifuge", Join::Recoverable),
        r#"{"id":2,"subscribe":{"channel":"bench-1","recoverable":true}}"#
    );
    assert_eq!(
        join("centrifuge", Join::Recover { epoch: "xyz", offset: 41 }),
        r#"{"id":2,"subscribe":{"channel":"bench-1","recoverable":true,"recover":true,"epoch":"xyz","offset":41}}"#
    );
    assert_eq!(built_in("centrifuge").unwrap().check_recovery(), Ok(()));
    assert!(built_in("nats").unwrap().check_recovery().unwrap_err().contains("join_recover"));
}

#[test]
fn who_comes_and_goes_says_so_in_a_line_of_its_own() {
    let (centrifuge, text) = (built_in("centrifuge").unwrap(), |bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(text(centrifuge.leave(3)), r#"{"id":2,"unsubscribe":{"channel":"bench-3"}}"#);
    assert_eq!(text(centrifuge.count_members(3)), r#"{"id":2,"presence_stats":{"channel":"bench-3"}}"#);
    assert_eq!(
        text(centrifuge.rejoin(3, Join::Told)),
        r#"{"id":2,"subscribe":{"channel":"bench-3","join_leave":true}}"#
    );
    let back = text(centrifuge.rejoin(3, Join::Recover { epoch: "xyz", offset: 41 }));
    assert!(back.starts_with("{\"id\":2,") && back.contains("\"offset\":41"), "{back}");
    assert_eq!(centrifuge.check_bouncing(), Ok(()));
    assert!(built_in("nats").unwrap().check_bouncing().unwrap_err().contains("join_told"));
}

#[test]
fn a_connection_is_whole_after_the_answers_that_its_server_gives() {
    let due = |name: &str, rooms| built_in(name).unwrap().replies_due(rooms);
    for (name, none, spread, each) in
        [("centrifuge", 1, 2, 6), ("raw", 1, 1, 1), ("nats", 1, 1, 1), ("nchan", 0, 0, 0)]
    {
        assert_eq!((due(name, Rooms::None), due(name, Rooms::Spread(9))), (none, spread), "{name}");
        assert_eq!(due(name, Rooms::Each(5)), each, "{name}");
    }
}

#[test]
fn a_named_connection_brings_a_token_of_its_own_that_the_secret_verifies() {
    let identity = Identity::Named(EncodingKey::from_secret(b"secret"));
    let text = built_in("centrifuge").unwrap().greeting(42, Rooms::None, &identity, Join::Plain).unwrap();
    let command: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let token = command["connect"]["token"].as_str().unwrap();
    let mut rules = jsonwebtoken::Validation::default();
    rules.required_spec_claims.clear();
    let key = jsonwebtoken::DecodingKey::from_secret(b"secret");
    let claims = jsonwebtoken::decode::<serde_json::Value>(token, &key, &rules).unwrap().claims;
    assert_eq!(claims["sub"], "user-42");
}

#[test]
fn a_publish_has_a_payload_of_the_length_asked_for_and_carries_its_number() {
    for payload_bytes in [PAYLOAD_BYTES_MIN, 64, 1000] {
        let publish = |name: &str| {
            let mut text = Vec::new();
            built_in(name).unwrap().publish(&mut text, 123, 5, payload_bytes);
            assert_eq!(sequence(&text), Some(123), "{name}");
            text
        };
        assert_eq!(publish("nchan").len(), payload_bytes);
        let raw = publish("raw");
        assert!(raw.starts_with(b"5 {") && raw.len() == payload_bytes + 2);
        let nats = String::from_utf8(publish("nats")).unwrap();
        let (head, payload) = nats.strip_suffix("\r\n").unwrap().split_once("\r\n").unwrap();
        assert_eq!((head, payload.len()), (format!("PUB bench.5 {payload_bytes}").as_str(), payload_bytes));
        let command: serde_json::Value = serde_json::from_slice(&publish("centrifuge")).unwrap();
        assert_eq!(command["publish"]["channel"], "bench-5");
        assert_eq!(command["publish"]["data"].to_string().len(), payload_bytes);
    }
}

#[test]
fn only_publications_count_as_messages() {
    let classify = |name: &str, line: &str| built_in(name).unwrap().classify(line.as_bytes());
    for (line, is) in [
        (r#"{"push":{"channel":"bench-0","pub":{"data":1}}}"#, Line::Message),
        (r#"{"push":{"channel":"bench-0","join":{"info":{}}}}"#, Line::Coming),
        (r#"{"push":{"channel":"bench-0","leave":{"info":{}}}}"#, Line::Coming),
        (r#"{"push":{"channel":"bench-0","unsubscribe":{"code":2500}}}"#, Line::Unsubscribed),
        (r#"{"push":{"channel":"bench-0","message":{"data":1}}}"#, Line::Other),
        (r#"{"push":{"channel":"bench-0"#, Line::Other),
        ("{}", Line::Ping),
        (r#"{"id":2,"subscribe":{}}"#, Line::Reply),
        (r#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#, Line::Refusal),
        ("", Line::Other),
    ] {
        assert_eq!(classify("centrifuge", line), is, "{line}");
    }
    for (line, is) in [
        (r#"INFO {"server_id":"N"} "#, Line::Other),
        ("MSG bench.0 2 64", Line::Other),
        (r#"{"seq":"0000000042xx"}"#, Line::Message),
        ("PING", Line::Ping),
        ("PONG", Line::Reply),
        ("-ERR 'Unknown Protocol Operation'", Line::Refusal),
    ] {
        assert_eq!(classify("nats", line), is, "{line}");
    }
    assert_eq!((classify("raw", "{}"), classify("raw", "joined")), (Line::Message, Line::Reply));
    assert_eq!(classify("nchan", "joined"), Line::Message);
}

#[test]
fn an_answer_names_its_publish_where_the_dialect_says() {
    let centrifuge = built_in("centrifuge").unwrap();
    let mut text = Vec::new();
    centrifuge.publish(&mut text, 123, 5, 64);
    let id = publish_id(123);
    assert!(text.starts_with(format!("{{\"id\":{id},").as_bytes()));
    let reply = format!(r#"{{"id":{id},"publish":{{}}}}"#);
    assert_eq!(centrifuge.reply_id(reply.as_bytes()), Some((id, &br#","publish":{}}"#[..])));
    assert_eq!(centrifuge.reply_id(b"{}"), None);
    assert_eq!(centrifuge.check_answers(), Ok(()));
    assert!(built_in("raw").unwrap().check_answers().unwrap_err().contains("reply_id_after"));
}

#[test]
fn lines_are_split_where_the_dialect_has_lines() {
    let split = |name: &str, text: &'static str| built_in(name).unwrap().split_line(text.as_bytes());
    assert_eq!(split("centrifuge", "a\nb\nc"), (&b"a"[..], &b"b\nc"[..]));
    assert_eq!(split("centrifuge", "a"), (&b"a"[..], &b""[..]));
    assert_eq!(split("raw", "a\nb"), (&b"a\nb"[..], &b""[..]));
    assert_eq!(split("nats", "a\r\nb\r\n"), (&b"a"[..], &b"b\r\n"[..]));
}

#[test]
fn what_a_dialect_cannot_do_is_refused_with_what_to_ask_for() {
    let check =
        |name: &str, rooms, path: &str| built_in(name).unwrap().check(rooms, &Identity::Anonymous, path);
    assert_eq!(check("nchan", Rooms::Spread(9), "/pubsub/{room}"), Ok(()));
    assert_eq!(check("nchan", Rooms::Each(1), "/pubsub/{room}"), Ok(()));
    assert!(check("nchan", Rooms::Each(2), "/pubsub/{room}").unwrap_err().contains("not in several"));
    assert!(check("nchan", Rooms::None, "/pubsub/{room}").unwrap_err().contains("always in one"));
    assert!(check("nchan", Rooms::Each(1), "/pubsub").unwrap_err().contains("--target needs {room}"));
    assert!(check("raw", Rooms::Each(1), "/{room}").unwrap_err().contains("not in the path"));
    let named = Identity::Named(EncodingKey::from_secret(b"secret"));
    assert!(built_in("raw").unwrap().check(Rooms::None, &named, "/").unwrap_err().contains("--named"));
    assert_eq!(built_in("centrifuge").unwrap().check(Rooms::None, &named, "/"), Ok(()));
}
