//! What clients send, and what they must not.

use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::limits::MESSAGE_BYTES_MAX;

fn id_and_name(line: &str) -> (u32, String) {
    let command = parse(line).unwrap_or_else(|malformed| panic!("{line}: {malformed}"));
    let debug = format!("{:?}", command.method);
    (command.id, debug.split('(').next().unwrap().to_owned())
}

fn refusal(line: &str) -> Malformed {
    parse(line).expect_err(line)
}

#[test]
fn every_method_is_known_by_its_name() {
    for (line, id, name) in [
        (r#"{"id":1,"connect":{}}"#, 1, "Connect"),
        (r#"{"id":2,"subscribe":{"channel":"c"}}"#, 2, "Subscribe"),
        (r#"{"id":3,"unsubscribe":{"channel":"c"}}"#, 3, "Unsubscribe"),
        (r#"{"id":4,"publish":{"channel":"c"}}"#, 4, "Publish"),
        (r#"{"id":5,"presence":{"channel":"c"}}"#, 5, "Presence"),
        (r#"{"id":6,"presence_stats":{"channel":"c"}}"#, 6, "PresenceStats"),
        (r#"{"id":7,"history":{"channel":"c"}}"#, 7, "History"),
        (r#"{"id":8,"ping":{}}"#, 8, "Ping"),
        (r#"{"send":{}}"#, 0, "Send"),
        (r#"{"id":9,"rpc":{}}"#, 9, "Rpc"),
        (r#"{"id":10,"refresh":{}}"#, 10, "Refresh"),
        (r#"{"id":4294967295,"sub_refresh":{"channel":"c"}}"#, u32::MAX, "SubRefresh"),
        ("{}", 0, "Pong"),
        (" { }\r", 0, "Pong"),
        (r#"{"id":11}"#, 11, "Unknown"),
        (r#"{"id":11,"dance":{}}"#, 11, "Unknown"),
        (r#"{"id":11,"connect":null}"#, 11, "Unknown"),
    ] {
        assert_eq!(id_and_name(line), (id, name.to_owned()), "{line}");
    }
}

#[test]
fn a_connect_carries_token_name_data_and_positions() {
    let line = r#"{"id":1,"connect":{"token":"jwt","name":"js","version":"5.8.0","data":{"a": 1},
        "headers":{"x":"y"},"subs":{"news:eu":{"recover":true,"offset":41,"epoch":"kTqWzLpA"},"\u0061":null}}}"#;
    let Method::Connect(request) = parse(line).unwrap().method else { panic!() };
    assert_eq!((&*request.token, &*request.name, &*request.version), ("jwt", "js", "5.8.0"));
    assert_eq!(request.data.unwrap().get(), r#"{"a": 1}"#);
    let [(news, position), (escaped, nothing)] = &request.subs[..] else { panic!() };
    assert_eq!(
        (&**news, position.recover, position.offset, &*position.epoch),
        ("news:eu", true, 41, "kTqWzLpA")
    );
    assert_eq!((&**escaped, nothing.recover, nothing.offset), ("a", false, 0));
}

#[test]
fn a_subscribe_carries_what_sdks_send_and_skips_what_is_not_spoken() {
    let line = r#"{"id":2,"subscribe":{"channel":"room:7","token":"t","recover":true,"epoch":"kTqWzLpA","offset":10,
        "flag":3,"positioned":true,"recoverable":true,"join_leave":true,"delta":"fossil","data":7,
        "tf":{"op":"and","nodes":[{}]},"phase":1,"type":2}}"#;
    let Method::Subscribe(request) = parse(line).unwrap().method else { panic!() };
    assert_eq!((&*request.channel, &*request.token, &*request.epoch), ("room:7", "t", "kTqWzLpA"));
    assert!(request.recover && request.positioned && request.recoverable && request.join_leave);
    assert_eq!((request.offset, request.flag, request.kind), (10, 3, 2));
    assert!(request.rejects_unrecovered());
    assert_eq!((request.delta.as_deref(), request.data.unwrap().get()), (Some("fossil"), "7"));

    let Method::Subscribe(bare) = parse(r#"{"id":2,"subscribe":{"channel":"c","flag":1}}"#).unwrap().method
    else {
        panic!()
    };
    assert!(!bare.rejects_unrecovered() && bare.delta.is_none() && bare.data.is_none());
}

#[test]
fn null_stands_for_every_missing_field() {
    let line = r#"{"id":2,"subscribe":{"channel":"c","token":null,"recover":null,"epoch":null,"offset":null,
        "positioned":null,"recoverable":null,"join_leave":null,"flag":null,"delta":null,"type":null}}"#;
    assert!(parse(line).is_ok());
    assert!(parse(r#"{"id":1,"connect":{"token":null,"name":null,"version":null,"subs":null}}"#).is_ok());
    let line = r#"{"id":3,"history":{"channel":"c","since":null,"limit":null,"reverse":null}}"#;
    let Method::History(request) = parse(line).unwrap().method else { panic!() };
    assert!(request.since.is_none());
}

#[test]
fn a_published_null_is_data_and_only_a_missing_one_is_none() {
    for (line, data) in [
        (r#"{"id":5,"publish":{"channel":"c","data":null}}"#, Some("null")),
        (r#"{"id":5,"publish":{"channel":"c","data":{"n": 1}}}"#, Some(r#"{"n": 1}"#)),
        (r#"{"id":5,"publish":{"channel":"c","data": "\u00e9" }}"#, Some(r#""\u00e9""#)),
        (r#"{"id":5,"publish":{"channel":"c"}}"#, None),
    ] {
        let Method::Publish(request) = parse(line).unwrap().method else { panic!() };
        assert_eq!(request.data.map(|data| data.get()), data, "{line}");
    }
}

#[test]
fn a_history_carries_its_position() {
    let line =
        r#"{"id":7,"history":{"channel":"c","limit":-1,"since":{"offset":10,"epoch":"e"},"reverse":true}}"#;
    let Method::History(request) = parse(line).unwrap().method else { panic!() };
    let since = request.since.unwrap();
    assert_eq!((request.limit, request.reverse, since.offset, &*since.epoch), (-1, true, 10, "e"));
}

#[test]
fn the_other_methods_carry_their_fields() {
    let Method::Rpc(rpc) = parse(r#"{"id":4,"rpc":{"method":"m","data":[]}}"#).unwrap().method else {
        panic!()
    };
    assert_eq!((&*rpc.method, rpc.data.unwrap().get()), ("m", "[]"));
    let Method::Send(send) = parse(r#"{"send":{"data":{}}}"#).unwrap().method else { panic!() };
    assert_eq!(send.data.unwrap().get(), "{}");
    let Method::Refresh(refresh) = parse(r#"{"id":4,"refresh":{"token":"t"}}"#).unwrap().method else {
        panic!()
    };
    assert_eq!(refresh.token, "t");
    let line = r#"{"id":4,"sub_refresh":{"channel":"c","token":"t"}}"#;
    let Method::SubRefresh(refresh) = parse(line).unwrap().method else { panic!() };
    assert_eq!((&*refresh.channel, &*refresh.token), ("c", "t"));
}

#[test]
fn of_several_methods_the_first_in_the_list_wins_wherever_it_stands() {
    let publish = r#"{"publish":{"channel":"c","data":1},"id":5,"history":{"channel":"h"}}"#;
    assert_eq!(id_and_name(publish), (5, "Publish".to_owned()));
    let subscribe = r#"{"publish":{"channel":"c","data":1},"id":5,"subscribe":{"channel":"h"}}"#;
    assert_eq!(id_and_name(subscribe), (5, "Subscribe".to_owned()));
    let unset = r#"{"publish":{"channel":"c","data":1},"id":5,"subscribe":null}"#;
    assert_eq!(id_and_name(unset), (5, "Publish".to_owned()));
}

#[test]
fn common_commands_are_borrowed_from_the_line() {
    let Method::Publish(request) =
        parse(r#"{"id":5,"publish":{"channel":"room:é","data":1}}"#).unwrap().method
    else {
        panic!()
    };
    assert!(matches!(request.channel, Cow::Borrowed("room:é")));
    let line = r#"{"id":5,"subscribe":{"channel":"room:7","token":"t","epoch":"e","delta":"fossil"}}"#;
    let Method::Subscribe(request) = parse(line).unwrap().method else { panic!() };
    assert!(matches!(request.channel, Cow::Borrowed("room:7")));
    assert!(matches!(request.token, Cow::Borrowed("t")));
    assert!(matches!(request.epoch, Cow::Borrowed("e")));
    assert!(matches!(request.delta, Some(Cow::Borrowed("fossil"))));
}

#[test]
fn escapes_are_resolved_in_names_and_in_keys() {
    let line = r#"{"id":5,"\u0070ublish":{"ch\u0061nnel":"a\"b\n\ud83e\udd80","data":1}}"#;
    let command = parse(line).unwrap();
    assert_eq!(command.method.channel(), Some("a\"b\n🦀"));
}

#[test]
fn what_is_not_one_object_with_the_right_types_is_refused() {
    for line in [
        "",
        " ",
        "null",
        "[]",
        "7",
        r#""{}""#,
        "{",
        "{}{}",
        "{} x",
        "{'id':1}",
        r#"{"id":1,}"#,
        r#"{"id":"1","connect":{}}"#,
        r#"{"id":-1,"connect":{}}"#,
        r#"{"id":1.5,"connect":{}}"#,
        r#"{"id":4294967296,"connect":{}}"#,
        r#"{"id":1,"connect":[]}"#,
        r#"{"id":1,"connect":true}"#,
        r#"{"id":1,"connect":{"token":7}}"#,
        r#"{"id":1,"connect":{"subs":[]}}"#,
        r#"{"id":1,"connect":{"subs":{"c":[]}}}"#,
        r#"{"id":1,"subscribe":["c"]}"#,
        r#"{"id":1,"subscribe":{"channel":"c","offset":-1}}"#,
        r#"{"id":1,"subscribe":{"channel":"c","recover":1}}"#,
        r#"{"id":1,"history":{"channel":"c","since":[1,"e"]}}"#,
        r#"{"id":1,"publish":{"channel":"c","data":}}"#,
        r#"{"id":1,"publish":{"channel":"c","data":{"a":01}}}"#,
        "{\"id\":1,\"publish\":{\"channel\":\"a\u{1}\",\"data\":1}}",
        r#"{"id":1,"subscribe":{"channel":"c"},"publish":{"channel":7}}"#,
    ] {
        assert_eq!(refusal(line), Malformed::NotACommand, "{line}");
    }
}

#[test]
fn a_command_without_id_is_refused_unless_it_needs_no_reply() {
    for line in [
        r#"{"connect":{}}"#,
        r#"{"id":0,"subscribe":{"channel":"c"}}"#,
        r#"{"id":null,"ping":{}}"#,
        r#"{"id":0}"#,
        r#"{"unknown":{}}"#,
    ] {
        assert_eq!(refusal(line), Malformed::NoId, "{line}");
    }
    assert_eq!(id_and_name(r#"{"id":3,"send":{}}"#), (3, "Send".to_owned()));
}

#[test]
fn an_empty_channel_is_refused() {
    for method in
        ["subscribe", "unsubscribe", "publish", "presence", "presence_stats", "history", "sub_refresh"]
    {
        for arguments in ["{}", r#"{"channel":""}"#, r#"{"channel":null}"#] {
            assert_eq!(refusal(&format!(r#"{{"id":1,"{method}":{arguments}}}"#)), Malformed::NoChannel);
        }
    }
}

#[test]
fn an_unknown_delta_encoding_is_refused() {
    let line = r#"{"id":1,"subscribe":{"channel":"c","delta":"xdelta"}}"#;
    assert_eq!(refusal(line), Malformed::UnknownDelta);
    assert!(parse(r#"{"id":1,"subscribe":{"channel":"c","delta":""}}"#).is_ok());
}

#[test]
fn depth_is_bounded_by_the_message_size_alone() {
    let depth = 60_000;
    for (open, close) in [("[", "]"), (r#"{"":"#, "}")] {
        let deep = format!("{}{}{}", open.repeat(depth), 1, close.repeat(depth));

        let line = format!(r#"{{"id":1,"publish":{{"channel":"c","data":{deep}}}}}"#);
        let Method::Publish(request) = parse(&line).unwrap().method else { panic!() };
        assert_eq!(request.data.unwrap().get(), deep);

        assert!(parse(&format!(r#"{{"unknown":{deep},"id":1,"rpc":{{"unknown":{deep}}}}}"#)).is_ok());
        assert_eq!(refusal(&format!(r#"{{"id":{deep}}}"#)), Malformed::NotACommand);
        assert!(parse(&format!(r#"{{"id":1,"publish":{deep}}}"#)).is_err());
        assert_eq!(refusal(&format!(r#"{{"id":1,"rpc":{{"method":{deep}}}}}"#)), Malformed::NotACommand);
        assert_eq!(refusal(&format!(r#"{{"id":1,"connect":{{"subs":[{deep}]}}}}"#)), Malformed::NotACommand);
        assert!(parse(&deep).is_err());
    }
    let unclosed = format!(r#"{{"id":1,"publish":{{"channel":"c","data":{}"#, "[".repeat(depth));
    assert!(unclosed.len() <= MESSAGE_BYTES_MAX);
    assert_eq!(refusal(&unclosed), Malformed::NotACommand);
}

#[test]
fn a_message_is_split_at_its_newlines() {
    let split = |message: &'static str| -> Vec<&str> {
        lines(message.as_bytes()).map(|line| std::str::from_utf8(line).unwrap()).collect()
    };
    assert_eq!(split("{}"), ["{}"]);
    assert_eq!(split("{}\n"), ["{}"]);
    assert_eq!(split("a\nb\n"), ["a", "b"]);
    assert_eq!(split("a\n\nb"), ["a", "", "b"]);
    assert_eq!(split("{}\n\n"), ["{}", ""]);
    assert_eq!(split("\n{}"), ["", "{}"]);
}

#[test]
fn a_message_with_an_empty_line_is_malformed() {
    for message in ["", "\n", "\n\n", "{}\n\n", "\n{}", "{}\n\n{}"] {
        assert!(lines(message.as_bytes()).any(|line| parse_bytes(line).is_err()), "{message:?}");
    }
}

#[test]
fn a_newline_inside_a_command_breaks_it() {
    let message = b"{\"id\":1,\n\"connect\":{}}";
    assert!(lines(message).all(|line| parse_bytes(line).is_err()));
}

#[test]
fn bytes_that_are_not_utf_8_are_refused() {
    let message = b"{\"id\":5,\"publish\":{\"channel\":\"c\",\"data\":\"\xff\"}}";
    assert_eq!(parse_bytes(message).unwrap_err(), Malformed::NotUtf8);
    assert!(parse_bytes("{\"id\":5,\"publish\":{\"channel\":\"c\",\"data\":\"é\"}}".as_bytes()).is_ok());
}

#[test]
fn every_malformed_line_ends_the_connection_with_3501() {
    assert_eq!(Disconnect::from(Malformed::NoId).code(), 3501);
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(line in any::<String>()) {
        let _ = parse(&line);
    }

    #[test]
    fn any_bytes_are_split_without_loss(message in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..40)) {
        let joined = lines(&message).collect::<Vec<_>>().join(&b'\n');
        prop_assert_eq!(&joined[..], message.strip_suffix(b"\n").unwrap_or(&message));
    }

    #[test]
    fn text_near_a_command_is_parsed_or_refused_and_keeps_the_invariants(
        method in "connect|subscribe|publish|history|send|rpc|\\PC{0,3}",
        field in "channel|data|since|subs|delta|\\PC{0,3}",
        value in "null|true|-?[0-9]{1,20}|\"\\PC{0,4}\"|[\\[{\\]}:,\"a]{0,8}",
        id in "null|-?[0-9]{1,11}|\"\\PC{0,2}\"",
    ) {
        let line = format!(r#"{{"id":{id},"{method}":{{"channel":"c","{field}":{value}}}}}"#);
        if let Ok(command) = parse(&line) {
            prop_assert!(command.id != 0 || matches!(command.method, Method::Send(_)));
            prop_assert_ne!(command.method.channel(), Some(""));
        }
    }
}
