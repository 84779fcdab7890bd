//! Lines, ids and pongs: how commands and replies share messages, and what breaks the protocol.

pub mod common;

use common::{Client, Server};
use serde_json::{Value, json};
use tungstenite::protocol::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// A ping comes between 300 and 600 ms after the connect, and its pong may take nearly as long.
const QUICK_PINGS: &str = "client.ping_interval_ms = 600\nclient.pong_timeout_ms = 590";

#[test]
fn several_commands_in_a_message_are_answered_in_one_message() {
    let server = Server::start("");
    let mut client = server.client();
    client.send(
        "{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}\n{\"id\":3,\"rpc\":{}}\n\
         {\"id\":4,\"publish\":{\"channel\":\"nobody\",\"data\":1}}\n{\"id\":5,\"unsubscribe\":{\"channel\":\"a\"}}\n",
    );
    assert_eq!(
        client.next_frame(),
        "{\"id\":2,\"subscribe\":{}}\n{\"id\":3,\"error\":{\"code\":108,\"message\":\"not available\"}}\n\
         {\"id\":4,\"publish\":{}}\n{\"id\":5,\"unsubscribe\":{}}"
    );
}

#[test]
fn a_newline_at_the_end_is_no_command() {
    let server = Server::start("");
    let mut client = server.client();
    client.send("{\"id\":2,\"rpc\":{}}\n");
    assert_eq!(client.receive()["id"], 2);
    client.send("{\"id\":3,\"rpc\":{}}");
    assert_eq!(client.receive()["id"], 3);
}

#[test]
fn json_in_a_binary_message_is_answered_in_text() {
    let server = Server::start("");
    let mut client = server.upgrade();
    client.send_binary(*b"{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"room\"}}\n");
    assert_eq!(client.receive()["id"], 1);
    assert_eq!(client.receive(), json!({ "id": 2, "subscribe": {} }));
    client.send_binary(r#"{"id":3,"publish":{"channel":"room","data":"é"}}"#);
    let got = [client.receive(), client.receive()];
    assert!(got.iter().any(|line| line["push"]["pub"]["data"] == "é"), "{got:?}");
}

#[test]
fn a_command_in_fragments_is_one_command() {
    let server = Server::start("");
    let mut client = server.client();
    let parts = [r#"{"id":2,"pub"#, r#"lish":{"channel":"no"#, r#"body","data":"x"}}"#];
    for (at, part) in parts.iter().enumerate() {
        let data = if at == 0 { Data::Text } else { Data::Continue };
        let frame = Frame::message(part.as_bytes().to_vec(), OpCode::Data(data), at == 2);
        client.socket().send(Message::Frame(frame)).unwrap();
    }
    assert_eq!(client.next_frame(), r#"{"id":2,"publish":{}}"#);
}

#[test]
fn whatever_is_no_command_breaks_the_protocol() {
    let server = Server::start("");
    for message in [
        // No line, or an empty one.
        "",
        "\n",
        "\n\n",
        "{\"id\":2,\"rpc\":{}}\n\n",
        " ",
        // No JSON object.
        "nonsense",
        "{",
        "{\"id\":2,\"rpc\":{}",
        "{\"id\":2,\"rpc\":{}}}",
        "{\"id\":2,\"rpc\":{}}{\"id\":3,\"rpc\":{}}",
        "[]",
        "[{\"id\":2,\"rpc\":{}}]",
        "null",
        "\"text\"",
        "7",
        // A raw newline inside a command is the end of its line.
        "{\"id\":2,\n\"rpc\":{}}",
        "{\"id\":2,\"publish\":{\"channel\":\"room\",\"data\":{\n}}}",
        // Ids that are none.
        "{\"id\":\"2\",\"rpc\":{}}",
        "{\"id\":-2,\"rpc\":{}}",
        "{\"id\":2.5,\"rpc\":{}}",
        "{\"id\":4294967296,\"rpc\":{}}",
        "{\"id\":0,\"rpc\":{}}",
        "{\"id\":null,\"rpc\":{}}",
        "{\"rpc\":{}}",
        "{\"subscribe\":{\"channel\":\"room\"}}",
        // Methods that are none, or that clients do not have.
        "{\"id\":2}",
        "{\"id\":2,\"shout\":{}}",
        "{\"id\":2,\"ping\":{}}",
        "{\"id\":2,\"rpc\":[]}",
        "{\"id\":2,\"rpc\":null}",
        "{\"id\":2,\"subscribe\":\"room\"}",
        "{\"id\":2,\"subscribe\":{\"channel\":7}}",
        "{\"id\":2,\"subscribe\":{\"channel\":\"room\",\"recover\":\"yes\"}}",
        // A pong that nobody asked for.
        "{}",
    ] {
        let mut client = server.client();
        client.send(message);
        let answered = usize::from(message.ends_with("\n\n") && message.len() > 2);
        for _ in 0..answered {
            assert_eq!(client.receive()["id"], 2);
        }
        match client.next_message() {
            Message::Close(Some(frame)) => {
                assert_eq!(
                    (u16::from(frame.code), frame.reason.as_str()),
                    (3501, "bad request"),
                    "{message:?}"
                );
            }
            other => panic!("{message:?} got {other:?}"),
        }
    }
}

#[test]
fn what_stands_before_a_broken_line_is_done_and_what_stands_behind_it_is_not() {
    let server = Server::start("");
    let mut member = server.client();
    member.subscribe("room");
    let mut client = server.client();
    client.send(
        "{\"id\":2,\"publish\":{\"channel\":\"room\",\"data\":\"before\"}}\nnonsense\n\
         {\"id\":3,\"publish\":{\"channel\":\"room\",\"data\":\"behind\"}}",
    );
    assert_eq!(client.next_frame(), r#"{"id":2,"publish":{}}"#);
    client.expect_close(3501, "bad request");
    server.client().publish("room", json!("later"));
    assert_eq!([member.next_data("room"), member.next_data("room")], ["before", "later"]);
}

#[test]
fn unknown_fields_are_ignored_and_the_first_method_wins() {
    let server = Server::start("");
    let mut client = server.client();
    for (command, reply) in [
        (r#"{"id":2,"new":{"deep":[[[{}]]]},"rpc":{"more":1}}"#, "error"),
        (r#"{"id":2,"shout":{},"subscribe":{"channel":"a","tf":{"op":"eq"}}}"#, "subscribe"),
        (r#"{"id":2,"rpc":{},"subscribe":{"channel":"b"}}"#, "subscribe"),
        (r#"{"id":2,"publish":{"channel":"c","data":1},"unsubscribe":{"channel":"b"}}"#, "unsubscribe"),
        (r#"{"rpc":null,"unsubscribe":{"channel":"a"},"id":2}"#, "unsubscribe"),
        (" {\t\"id\" : 2 , \"unsubscribe\" :\r{ \"channel\" : \"a\" } } ", "unsubscribe"),
        (r#"{"id":2,"unsubscribe":{"\u0063hannel":"\u0061"}}"#, "unsubscribe"),
    ] {
        client.send(command);
        let got = client.receive();
        assert_eq!(got["id"], 2, "{command}");
        assert!(got[reply].is_object(), "{command}: {got}");
    }
}

#[test]
fn ids_are_the_clients_own_up_to_32_bits_and_in_any_order() {
    let server = Server::start("");
    let mut client = server.client();
    for id in [7_u32, 7, 1, u32::MAX, 3] {
        client.send(format!(r#"{{"id":{id},"unsubscribe":{{"channel":"a"}}}}"#));
        assert_eq!(client.next_frame(), format!(r#"{{"id":{id},"unsubscribe":{{}}}}"#));
    }
}

#[test]
fn a_message_may_be_64_kib_and_one_byte_more_ends_the_connection() {
    let server = Server::start("");
    let mut client = server.client();
    let publish = |bytes: usize| {
        let frame = r#"{"id":2,"publish":{"channel":"room","data":""}}"#;
        frame.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - frame.len())))
    };
    assert_eq!(publish(65_536).len(), 65_536);
    client.send(publish(65_536));
    assert_eq!(client.next_frame(), r#"{"id":2,"publish":{}}"#);
    client.send(publish(65_537));
    client.expect_close(1009, "the message is too big");
}

#[test]
fn no_line_is_lost_or_torn_when_replies_are_many() {
    let server = Server::start("");
    let mut client = server.client();
    let channel = "x".repeat(200);
    for turn in 0..20 {
        let commands: Vec<_> = (0..250)
            .map(|n| json!({ "id": turn * 250 + n + 2, "unsubscribe": { "channel": channel } }).to_string())
            .collect();
        client.send(commands.join("\n"));
    }
    for id in 2..5002 {
        assert_eq!(client.next_text(), format!(r#"{{"id":{id},"unsubscribe":{{}}}}"#));
    }
}

#[test]
fn a_ping_wants_one_pong_and_another_one_breaks_the_protocol() {
    let server = Server::start(QUICK_PINGS);
    let mut client = server.client();
    assert_eq!(client.next_frame(), "{}");
    client.send("{}");
    client.send("{}");
    client.expect_close(3501, "bad request");
}

#[test]
fn a_pong_may_share_its_message_with_commands_and_carry_spaces() {
    let server = Server::start(QUICK_PINGS);
    let pongs = ["{}\n{\"id\":2,\"rpc\":{}}", "{\"id\":2,\"rpc\":{}}\n{}\n", "{ }\n{\"id\":2,\"rpc\":{}}"];
    let mut clients = pongs.map(|pong| (server.client(), pong));
    for (client, pong) in &mut clients {
        assert_eq!(client.next_frame(), "{}");
        client.send(*pong);
        assert_eq!(client.receive()["id"], 2, "{pong:?}");
    }
    for (client, pong) in &mut clients {
        // It counted as a pong: the next ping comes instead of the end.
        assert_eq!(client.next_frame(), "{}", "{pong:?}");
    }
}

#[test]
fn a_client_that_is_pinged_by_frames_has_no_pong_messages() {
    let server = Server::start(QUICK_PINGS);
    let mut client = server.upgrade_on("/connection/websocket?cf_ws_frame_ping_pong=true", &[]);
    client.connect(json!({}));
    assert!(matches!(client.next_message(), Message::Ping(_)));
    client.send("{}");
    client.expect_close(3501, "bad request");
}

#[test]
fn a_reply_has_exactly_its_id_and_its_method() {
    let server = Server::start("channel.without_namespace.presence = true");
    let mut client = server.client();
    let mut keys = |command: Value| -> Vec<String> {
        let reply = Client::call(&mut client, command);
        reply.as_object().unwrap().keys().cloned().collect()
    };
    for method in ["subscribe", "publish", "presence", "presence_stats", "unsubscribe"] {
        let keys = keys(json!({ method: { "channel": "room", "data": 1 } }));
        assert_eq!(keys, ["id", method].map(str::to_owned));
    }
    assert_eq!(keys(json!({ "rpc": {} })), ["error", "id"].map(str::to_owned));
}

#[test]
fn text_that_is_not_utf_8_gets_the_close_code_of_the_websocket() {
    let server = Server::start("");
    let mut client = server.client();
    let frame = Frame::message(vec![b'{', 0xff, b'}'], OpCode::Data(Data::Text), true);
    client.socket().send(Message::Frame(frame)).unwrap();
    match client.next_message() {
        Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 1007),
        other => panic!("{other:?}"),
    }
    // In a binary message nobody promised UTF-8, but a command must be.
    let mut client = server.client();
    client.send_binary([b'{', 0xff, b'}']);
    client.expect_close(3501, "bad request");
}
