//! Commands that are nonsense, too deep, too long or far too many: each gets its answer, harms nobody
//! and costs no more memory than is configured.

pub mod common;
pub mod hostile;

use std::fmt::Write as _;

use common::Server;
use hostile::process::memory_bytes;
use hostile::{Neighbour, Raw, TEXT, close, masked, text};
use serde_json::{Value, json};

/// Longest message that the server takes, by default.
const MESSAGE_BYTES_MAX: usize = 65_536;

/// Memory that a process may gain without a reason that a test knows: buffers that grow once, and what
/// the allocator keeps.
const SLACK_BYTES: u64 = 2 << 20;

/// Sends `commands` in as few messages as they fit in, each at most `MESSAGE_BYTES_MAX` long, and
/// calls `reply` with every reply in the order in which they come. At most one message is unanswered.
#[track_caller]
fn converse(raw: &mut Raw, commands: impl Iterator<Item = String>, mut reply: impl FnMut(Value)) {
    let mut commands = commands.peekable();
    while commands.peek().is_some() {
        let (mut message, mut waiting) = (String::new(), 0);
        while let Some(command) =
            commands.next_if(|command| message.len() + command.len() < MESSAGE_BYTES_MAX)
        {
            message += &command;
            message.push('\n');
            waiting += 1;
        }
        assert!(waiting > 0, "a command is too long");
        raw.send(text(&message));
        while waiting > 0 {
            for line in raw.reply().lines() {
                reply(serde_json::from_str(line).unwrap());
                waiting -= 1;
            }
        }
    }
}

#[test]
fn what_is_no_command_is_closed_with_3501() {
    let server = Server::start("");
    let mut neighbour = Neighbour::of(&server);
    let deep_open = "[".repeat(60_000);
    let deep_crossed = format!(r#"{{"id":2,"rpc":{}{}}}"#, "[".repeat(20_000), "}".repeat(20_000));
    let cases = [
        "",
        "\n",
        "\n\n",
        " ",
        "\0",
        "{",
        "}",
        "[]",
        "null",
        "true",
        "1",
        "\"{}\"",
        "{}",
        "{}{}",
        "{\"id\":2}",
        r#"{"id":"2","rpc":{}}"#,
        r#"{"id":-2,"rpc":{}}"#,
        r#"{"id":4294967296,"rpc":{}}"#,
        r#"{"id":2.5,"rpc":{}}"#,
        r#"{"id":0,"rpc":{}}"#,
        r#"{"rpc":{}}"#,
        r#"{"id":2,"rpc":{}"#,
        r#"{"id":2,"rpc":[]}"#,
        r#"{"id":2,"subscribe":{"channel":7}}"#,
        r#"{"id":2,"subscribe":{}}"#,
        r#"{"id":2,"publish":{"channel":"","data":1}}"#,
        r#"{"id":2,"publish":{"channel":"a","data":}}"#,
        r#"{"id":2,"publish":{"channel":"a","data":nul}}"#,
        r#"{"id":2,"connect":{}}"#,
        r#"{"id":2,"ping":{}}"#,
        r#"{"id":2,"nonsense":{}}"#,
        r#"{id:2,rpc:{}}"#,
        r#"{'id':2,'rpc':{}}"#,
        "{\"id\":2,\"rpc\":{},}",
        "{\"id\":2,\n\"rpc\":{}}",
        "{\"id\":2,\"unsubscribe\":{\"channel\":\"\u{1}\"}}",
        r#"{"id":2,"unsubscribe":{"channel":"\ud800"}}"#,
        &deep_open,
        &deep_crossed,
    ];
    for case in cases {
        let mut raw = Raw::connected(&server);
        raw.send([text(case), text(r#"{"id":9,"unsubscribe":{"channel":"a"}}"#)].concat());
        assert_eq!(raw.expect_close(3501), "bad request", "{case:.40}");
        raw.send(close(3501));
        raw.expect_end();
    }
    // Binary messages are JSON as well, but nobody has checked their UTF-8 yet.
    let mut raw = Raw::connected(&server);
    raw.send(masked(0x82, b"{\"id\":2,\"unsubscribe\":{\"channel\":\"\xff\"}}"));
    raw.expect_close(3501);
    assert_eq!(server.metrics().closes(3501), cases.len() as u64 + 1);
    neighbour.is_served();
}

#[test]
fn json_as_deep_as_a_message_allows_passes_through() {
    let server = Server::start("");
    let mut neighbour = Neighbour::of(&server);
    let mut member = server.client();
    member.subscribe("deep");
    let mut raw = Raw::connected(&server);
    let depth = (MESSAGE_BYTES_MAX - 60) / 2;
    let deep = "[".repeat(depth) + &"]".repeat(depth);
    raw.send(text(&format!(r#"{{"id":2,"publish":{{"channel":"deep","data":{deep}}}}}"#)));
    assert_eq!(raw.reply(), r#"{"id":2,"publish":{}}"#);
    assert!(member.next_text().contains(&format!(r#""data":{deep}"#)));
    // Deep in fields that nobody knows, and as objects.
    let depth = (MESSAGE_BYTES_MAX - 60) / 6;
    let deep = r#"{"a":"#.repeat(depth) + "1" + &"}".repeat(depth);
    raw.send(text(&format!(r#"{{"unknown":{deep},"id":3,"unsubscribe":{{"channel":"a"}}}}"#)));
    assert_eq!(raw.reply(), r#"{"id":3,"unsubscribe":{}}"#);
    neighbour.is_served();
}

#[test]
fn thousands_of_commands_in_a_frame_are_all_answered_in_order_also_when_ids_repeat() {
    let server = Server::start("");
    let mut neighbour = Neighbour::of(&server);
    let mut raw = Raw::connected(&server);
    let ids = |index: u32| [2, 2, 1, u32::MAX, index + 2][index as usize % 5];
    let commands = (0..5_000).map(|index| {
        let id = ids(index);
        match index % 3 {
            0 => format!(r#"{{"id":{id},"rpc":{{}}}}"#),
            1 => format!(r#"{{"id":{id},"unsubscribe":{{"channel":"a"}}}}"#),
            _ => format!(r#"{{"id":{id},"publish":{{"channel":"a","data":0}}}}"#),
        }
    });
    let mut index = 0;
    converse(&mut raw, commands, |reply| {
        let expected = match index % 3 {
            0 => json!({ "id": ids(index), "error": { "code": 108, "message": "not available" } }),
            1 => json!({ "id": ids(index), "unsubscribe": {} }),
            _ => json!({ "id": ids(index), "publish": {} }),
        };
        assert_eq!(reply, expected, "command {index}");
        index += 1;
    });
    assert_eq!(index, 5_000);
    neighbour.is_served();
}

#[test]
fn names_of_10_kb_are_refused_with_107_and_the_connection_goes_on() {
    let server = Server::start("");
    let mut client = server.client();
    let plain = "a".repeat(10_000);
    let escaped = "\u{1}\"\\".repeat(3_000);
    let namespaced = format!("{plain}:a");
    let limited = format!("a#{}", "1,".repeat(5_000));
    for name in [plain, escaped, namespaced, limited] {
        for method in ["subscribe", "publish", "presence", "presence_stats", "history"] {
            client.fail(method, json!({ "channel": name, "data": 0 }), 107, "bad request");
        }
        client.unsubscribe(&name);
    }
    client.subscribe(&"a".repeat(255));
}

#[test]
fn many_rooms_entered_and_left_leave_no_memory_behind() {
    let server = Server::start("");
    let mut neighbour = Neighbour::of(&server);
    let mut raw = Raw::connected(&server);
    // Long names, each used once: what a room leaves behind would show.
    let rooms = |from: u32, to: u32| {
        (from..to).flat_map(|room| {
            let channel = format!("{room:0>200}");
            let subscribe = format!(r#"{{"id":1,"subscribe":{{"channel":"{channel}"}}}}"#);
            [subscribe, format!(r#"{{"id":2,"unsubscribe":{{"channel":"{channel}"}}}}"#)]
        })
    };
    let check = |reply: Value| {
        let expected = if reply["id"] == 1 { "subscribe" } else { "unsubscribe" };
        assert_eq!(reply[expected], json!({}), "{reply}");
    };
    converse(&mut raw, rooms(0, 2_000), check);
    let before = memory_bytes(server.pid());
    converse(&mut raw, rooms(2_000, 30_000), check);
    let grown = memory_bytes(server.pid()).saturating_sub(before);
    // 28,000 names of 200 bytes are 5.6 MB by themselves.
    assert!(grown < SLACK_BYTES, "{grown} bytes for rooms that are gone");
    neighbour.is_served();
}

#[test]
fn a_room_entered_and_left_a_hundred_thousand_times_is_what_it_was() {
    let server = Server::start("");
    let mut member = server.client();
    member.subscribe("revolving");
    let mut raw = Raw::connected(&server);
    let turn = [
        r#"{"id":1,"subscribe":{"channel":"revolving"}}"#,
        r#"{"id":2,"unsubscribe":{"channel":"revolving"}}"#,
    ];
    let mut replies = 0;
    let commands = turn.iter().cycle().take(100_000).map(|command| (*command).to_owned());
    converse(&mut raw, commands, |reply| {
        assert!(reply["error"].is_null(), "{reply}");
        replies += 1;
    });
    assert_eq!(replies, 100_000);
    member.publish("revolving", json!("still there"));
    assert_eq!(member.next_data("revolving"), "still there");
    raw.send(close(1000));
    assert_eq!(raw.next_frame().map(|(opcode, _)| opcode), Some(8), "and nothing that the room was sent");
}

#[test]
fn the_room_limit_holds_and_refused_rooms_cost_nothing() {
    let server = Server::start("client.channel_limit = 10");
    let mut raw = Raw::connected(&server);
    let before = memory_bytes(server.pid());
    let commands =
        (0..20_000).map(|room| format!(r#"{{"id":1,"subscribe":{{"channel":"room-{room:0>200}"}}}}"#));
    let (mut made, mut refused) = (0, 0);
    converse(&mut raw, commands, |reply| match reply["error"]["code"].as_u64() {
        None => made += 1,
        Some(106) => refused += 1,
        Some(other) => panic!("error {other}"),
    });
    assert_eq!((made, refused), (10, 19_990));
    let grown = memory_bytes(server.pid()).saturating_sub(before);
    assert!(grown < SLACK_BYTES, "{grown} bytes for rooms that were refused");
}

/// Asks `count` presence questions about "crowd", which has 40 members; every other one only about how many
/// they are, which is always answered. Returns how many of the rest were.
fn ask(raw: &mut Raw, count: u32) -> u32 {
    let (mut answered, mut refused, mut counted) = (0, 0, 0);
    let commands = (0..count).map(|index| match index % 2 {
        0 => r#"{"id":1,"presence":{"channel":"crowd"}}"#.to_owned(),
        _ => r#"{"id":2,"presence_stats":{"channel":"crowd"}}"#.to_owned(),
    });
    converse(raw, commands, |reply| match reply["error"]["code"].as_u64() {
        None if reply["id"] == 2 => {
            assert_eq!(reply["presence_stats"], json!({ "num_clients": 40, "num_users": 1 }));
            counted += 1;
        }
        None => {
            assert_eq!(reply["presence"]["presence"].as_object().map(|all| all.len()), Some(40));
            answered += 1;
        }
        Some(111) => refused += 1,
        Some(other) => panic!("error {other}"),
    });
    assert_eq!((answered + refused, counted), (count / 2, count / 2));
    answered
}

#[test]
fn a_flood_of_presence_questions_is_answered_or_refused_and_piles_up_nowhere() {
    for shards in [1, 2] {
        let server = Server::with_shards("channel.without_namespace.presence = true", shards);
        let mut neighbour = Neighbour::of(&server);
        let mut members: Vec<_> = (0..40).map(|_| server.client()).collect();
        members.iter_mut().for_each(|member| drop(member.subscribe("crowd")));
        let mut raw = Raw::connected(&server);
        // One message: however many questions are in it, the room is not walked over for all of them.
        let answered = ask(&mut raw, 1_000);
        assert_eq!(answered, 16, "with {shards} shards");
        let before = memory_bytes(server.pid());
        ask(&mut raw, 20_000);
        let grown = memory_bytes(server.pid()).saturating_sub(before);
        assert!(grown < SLACK_BYTES, "{grown} bytes for questions that were answered");
        neighbour.is_served();
    }
}

#[test]
fn unfinished_requests_and_messages_hold_no_more_than_was_sent_of_them() {
    const PEERS: u64 = 200;
    let server = Server::start("");
    let mut neighbour = Neighbour::of(&server);
    let grown_by = |peers: Vec<Raw>, neighbour: &mut Neighbour, before: u64| {
        neighbour.is_served();
        neighbour.is_served();
        let grown = memory_bytes(server.pid()).saturating_sub(before);
        drop(peers);
        server.wait_for("only the neighbour left", |metrics| metrics.sum("throng_connections") == 1);
        grown
    };
    let peer = |bytes: &[u8]| {
        let mut raw = Raw::upgraded(&server);
        raw.send(bytes);
        raw
    };
    // A length that is only declared: nothing of it is reserved.
    let declared = masked(TEXT, &[b' '; MESSAGE_BYTES_MAX])[..20].to_vec();
    let before = memory_bytes(server.pid());
    let grown = grown_by((0..PEERS).map(|_| peer(&declared)).collect(), &mut neighbour, before);
    assert!(grown < PEERS * 2_048 + SLACK_BYTES, "{grown} bytes for lengths that were only declared");
    // Messages that lack their last byte.
    let message = masked(TEXT, &[b' '; MESSAGE_BYTES_MAX]);
    let message = &message[..message.len() - 1];
    let before = memory_bytes(server.pid());
    let grown = grown_by((0..PEERS).map(|_| peer(message)).collect(), &mut neighbour, before);
    let bound = PEERS * (MESSAGE_BYTES_MAX as u64 + 4_096);
    assert!(grown < bound + SLACK_BYTES, "{grown} bytes for unfinished messages");
    // Requests that lack their last byte.
    let mut head = "GET / HTTP/1.1\r\n".to_owned();
    write!(head, "X: {}", "a".repeat(8 * 1024 - head.len() - 4)).unwrap();
    let requests = (0..PEERS).map(|_| {
        let mut raw = Raw::dial(&server);
        raw.send(&head);
        raw
    });
    let before = memory_bytes(server.pid());
    let grown = grown_by(requests.collect(), &mut neighbour, before);
    assert!(grown < PEERS * 2 * 8 * 1024 + SLACK_BYTES, "{grown} bytes for unfinished requests");
    neighbour.is_served();
}
