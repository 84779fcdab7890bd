//! Publishing, and the commands that throng answers in the negative: rpc, send and history.

pub mod common;

use common::{Server, WITH_TOKENS, token};
use serde_json::{Value, json};

/// Named users may publish and subscribe, also where the application gave them something to show.
fn with_names() -> Server {
    Server::start(&format!(
        "{WITH_TOKENS}[channel.without_namespace]\nallow_subscribe_for_client = true\n\
         allow_subscribe_for_anonymous = true\nallow_publish_for_client = true"
    ))
}

#[test]
fn a_publication_is_one_line_with_its_data_and_its_publisher() {
    let server = Server::start("");
    let mut member = server.client();
    member.subscribe("room");
    let mut publisher = server.client();
    publisher.send(r#"{"id":5,"publish":{"channel":"room","data":{"t":"hi"}}}"#);
    assert_eq!(publisher.next_frame(), r#"{"id":5,"publish":{}}"#);
    let info = format!(r#"{{"user":"","client":"{}"}}"#, publisher.id());
    let push = format!(r#"{{"push":{{"channel":"room","pub":{{"data":{{"t":"hi"}},"info":{info}}}}}}}"#);
    assert_eq!(member.next_frame(), push);
}

#[test]
fn a_publication_carries_what_tokens_say_of_its_publisher() {
    let server = with_names();
    let mut member = server.client();
    member.subscribe("room");
    let mut publisher = server.client_with(json!({ "sub": "42", "info": { "nick": "ann" } }));
    publisher.publish("room", json!(1));
    let mut info = json!({ "user": "42", "client": publisher.id(), "conn_info": { "nick": "ann" } });
    let publication =
        |info: &Value, data| json!({ "push": { "channel": "room", "pub": { "data": data, "info": info } } });
    assert_eq!(member.receive(), publication(&info, 1));

    let subscription = json!({ "sub": "42", "channel": "room", "info": { "role": "mod" } });
    publisher.succeed("subscribe", json!({ "channel": "room", "token": token(&subscription) }));
    publisher.publish("room", json!(2));
    info["chan_info"] = json!({ "role": "mod" });
    assert_eq!(member.receive(), publication(&info, 2));
    assert_eq!(publisher.receive(), publication(&info, 2));
}

#[test]
fn data_is_passed_on_as_it_was_written() {
    let server = Server::start("");
    let mut member = server.client();
    member.subscribe("room");
    let mut publisher = server.client();
    for data in [
        r#"{"n": 1}"#,
        "null",
        "true",
        "\"\"",
        "[]",
        "{ }",
        "18446744073709551616",
        "1e400",
        "-0.0",
        "1.10",
        r#"{"b":1,"a":2,"b":3}"#,
        r#""\u0041\/\n\r\\""#,
        "{\"carriage\":\r1}",
        "\"grüße 日本 🦀\"",
    ] {
        publisher.send(format!(r#"{{"id":2,"publish":{{"channel":"room","data":{data}}}}}"#));
        assert_eq!(publisher.next_frame(), r#"{"id":2,"publish":{}}"#);
        let start = format!(r#"{{"push":{{"channel":"room","pub":{{"data":{data},"info":{{"#);
        let text = member.next_frame();
        assert!(text.starts_with(&start), "{data}: {text}");
    }
}

#[test]
fn a_channel_that_json_must_escape_arrives_escaped() {
    let server = Server::start("");
    let mut client = server.client();
    for channel in ["quote\"d", "back\\slash", "line\nbreak", "nul\0", "tab\t", "a/b&c*d"] {
        client.subscribe(channel);
        client.publish(channel, json!(1));
        assert_eq!(client.next_data(channel), 1);
    }
}

#[test]
fn a_publication_reaches_the_members_of_its_room_and_nobody_else() {
    let server = Server::start("");
    let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
    clients[0].subscribe("room");
    clients[1].subscribe("room");
    clients[1].subscribe("other");
    clients[2].subscribe("other");
    clients[3].publish("room", json!("to room"));
    clients[3].publish("other", json!("to other"));
    clients[3].publish("room", json!("to room again"));
    assert_eq!(clients[0].next_data("room"), "to room");
    assert_eq!(clients[0].next_data("room"), "to room again");
    assert_eq!(clients[2].next_data("other"), "to other");
    let got: Vec<_> = (0..3).map(|_| clients[1].receive()["push"]["pub"]["data"].clone()).collect();
    assert_eq!(got, ["to room", "to other", "to room again"]);
}

#[test]
fn a_publisher_that_is_a_member_gets_its_own_publication_once() {
    let server = Server::start("");
    let mut client = server.client();
    client.subscribe("room");
    client.publish("room", json!(1));
    client.publish("room", json!(2));
    assert_eq!([client.next_data("room"), client.next_data("room")], [1, 2]);
}

#[test]
fn publishing_to_a_room_without_members_succeeds() {
    let server = Server::start("");
    server.client().publish("nobody", json!({ "t": "hi" }));
}

#[test]
fn a_burst_arrives_complete_in_order_and_in_few_frames() {
    let server = Server::start("");
    let mut member = server.client();
    member.subscribe("room");
    let mut publisher = server.client();
    let commands: Vec<_> = (1..=1000)
        .map(|n| json!({ "id": n, "publish": { "channel": "room", "data": n } }).to_string())
        .collect();
    publisher.send(commands.join("\n"));
    for n in 1..=1000 {
        assert_eq!(publisher.receive(), json!({ "id": n, "publish": {} }));
    }
    let mut frames = 0;
    let mut received = 0;
    while received < 1000 {
        frames += 1;
        for line in member.next_frame().split('\n') {
            received += 1;
            let push: Value = serde_json::from_str(line).unwrap();
            assert_eq!(push["push"]["pub"]["data"], received);
        }
    }
    // About 90 bytes each: all in one turn of the loop, a frame per 64 KiB.
    assert!(frames <= 10, "{frames} frames");
}

#[test]
fn publications_of_several_frames_keep_their_order() {
    let server = Server::start("");
    let mut member = server.client();
    member.subscribe("room");
    let mut publisher = server.client();
    for n in 0..300 {
        publisher.command(json!({ "publish": { "channel": "room", "data": n } }));
    }
    for n in 0..300 {
        assert_eq!(member.next_data("room"), n);
    }
}

#[test]
fn without_data_there_is_nothing_to_publish() {
    let server = Server::start("");
    let mut client = server.client();
    client.fail("publish", json!({ "channel": "room" }), 107, "bad request");
    client.publish("room", json!(null));
}

#[test]
fn publishing_is_refused_where_nothing_allows_it() {
    let server = with_names();
    let mut member = server.client();
    member.subscribe("room");
    member.fail("publish", json!({ "channel": "room", "data": 1 }), 103, "permission denied");
    server.client_as("42").publish("room", json!(2));
    assert_eq!(member.next_data("room"), 2);
}

#[test]
fn what_is_not_there_is_not_available() {
    let server = Server::start("");
    let mut client = server.client();
    client.fail("rpc", json!({ "method": "m", "data": {} }), 108, "not available");
    client.fail("rpc", json!({}), 108, "not available");
    client.fail("history", json!({ "channel": "room", "limit": 10 }), 108, "not available");
    let since =
        json!({ "channel": "room", "limit": -1, "since": { "offset": 1, "epoch": "e" }, "reverse": true });
    client.fail("history", since, 108, "not available");
    client.fail("presence", json!({ "channel": "room" }), 108, "not available");
    client.fail("presence_stats", json!({ "channel": "room" }), 108, "not available");
    client.subscribe("room");
}

#[test]
fn a_send_that_nobody_handles_ends_the_connection() {
    let server = Server::start("");
    for send in [r#"{"send":{"data":{"t":"hi"}}}"#, r#"{"id":7,"send":{}}"#] {
        let mut client = server.client();
        client.send(send);
        client.expect_close(3508, "not available");
    }
}

#[test]
fn what_was_answered_before_a_disconnect_arrives_before_it() {
    let server = Server::start("");
    let mut member = server.client();
    member.subscribe("room");
    let mut client = server.client();
    client.send(
        "{\"id\":2,\"publish\":{\"channel\":\"room\",\"data\":1}}\n{\"send\":{}}\n{\"id\":3,\"rpc\":{}}",
    );
    assert_eq!(client.next_frame(), r#"{"id":2,"publish":{}}"#);
    client.expect_close(3508, "not available");
    assert_eq!(member.next_data("room"), 1);
}
