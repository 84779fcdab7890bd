//! Whose room is whose: permissions, private and user-limited rooms, names, and what options do.

pub mod common;

use std::net::Shutdown;

use common::{Client, Server, WITH_TOKENS, token};
use serde_json::{Value, json};

/// A server that checks tokens, with these `[[channel.namespaces]]`, each its name and options.
fn server(namespaces: &[(&str, &str)]) -> Server {
    let mut config = WITH_TOKENS.to_owned();
    for (name, options) in namespaces {
        config += &format!("[[channel.namespaces]]\nname = '{name}'\n{options}\n");
    }
    Server::start(&config)
}

/// Subscribes whatever the namespace says. `user` is who the client is.
fn subscribe_by_token(client: &mut Client, user: &str, channel: &str) {
    let jwt = token(&json!({ "sub": user, "channel": channel }));
    client.succeed("subscribe", json!({ "channel": channel, "token": jwt }));
}

/// Whether a call succeeds; the only other way is error 103.
fn is_allowed(client: &mut Client, method: &str, request: Value) -> bool {
    let reply = client.call(json!({ method: request }));
    if reply["error"].is_null() {
        return true;
    }
    assert_eq!(reply["error"], json!({ "code": 103, "message": "permission denied" }));
    false
}

/// The lines of TOML that set those of `options` that `switches` (`0` and `1`) turns on.
fn switched(options: &[&str], switches: &str) -> String {
    let on = options.iter().zip(switches.chars()).filter(|(_, switch)| *switch == '1');
    on.map(|(option, _)| format!("{option} = true\n")).collect()
}

#[test]
fn who_may_publish_and_ask_for_presence_is_up_to_three_options() {
    // For clients, subscribers, anonymous; then who may: a named stranger and member, an anonymous
    // stranger and member.
    let table = [
        ("000", [false, false, false, false]),
        ("001", [false, false, false, false]),
        ("010", [false, true, false, false]),
        ("011", [false, true, false, true]),
        ("100", [true, true, false, false]),
        ("101", [true, true, true, true]),
        ("110", [true, true, false, false]),
        ("111", [true, true, true, true]),
    ];
    let publish = ["allow_publish_for_client", "allow_publish_for_subscriber", "allow_publish_for_anonymous"];
    let presence =
        ["allow_presence_for_client", "allow_presence_for_subscriber", "allow_presence_for_anonymous"];
    // One namespace for each row and each command, so that neither answers for the other.
    let namespaces: Vec<_> = table
        .iter()
        .flat_map(|(switches, _)| {
            let asking = switched(&presence, switches);
            [
                (format!("publish{switches}"), switched(&publish, switches)),
                (format!("presence{switches}"), format!("presence = true\n{asking}")),
            ]
        })
        .collect();
    let namespaces: Vec<_> = namespaces.iter().map(|(name, options)| (&**name, &**options)).collect();
    let server = server(&namespaces);
    let mut clients = ["42", "42", "", ""].map(|user| server.client_with(json!({ "sub": user })));
    for (switches, expected) in table {
        let (publish, presence) = (format!("publish{switches}:x"), format!("presence{switches}:x"));
        for (member, user) in [(1, "42"), (3, "")] {
            subscribe_by_token(&mut clients[member], user, &publish);
            subscribe_by_token(&mut clients[member], user, &presence);
        }
        for (client, expected) in clients.iter_mut().zip(expected) {
            let publication = json!({ "channel": publish, "data": 1 });
            assert_eq!(is_allowed(client, "publish", publication), expected, "{publish}");
            for method in ["presence", "presence_stats"] {
                let question = json!({ "channel": presence });
                assert_eq!(is_allowed(client, method, question), expected, "{method} {presence}");
            }
        }
    }
}

#[test]
fn who_may_subscribe_is_up_to_two_options() {
    let table = [("00", [false, false]), ("01", [false, false]), ("10", [true, false]), ("11", [true, true])];
    let options = ["allow_subscribe_for_client", "allow_subscribe_for_anonymous"];
    let namespaces: Vec<_> =
        table.iter().map(|(switches, _)| (*switches, switched(&options, switches))).collect();
    let namespaces: Vec<_> = namespaces.iter().map(|(name, options)| (*name, &**options)).collect();
    let server = server(&namespaces);
    let mut clients = [server.client_as("42"), server.client()];
    for (switches, expected) in table {
        for (client, expected) in clients.iter_mut().zip(expected) {
            let request = json!({ "channel": format!("{switches}:x") });
            assert_eq!(is_allowed(client, "subscribe", request), expected, "{switches}");
        }
    }
}

#[test]
fn an_insecure_server_allows_everything_but_private_rooms() {
    let server = Server::start(
        "insecure = true\n[[channel.namespaces]]\nname = 'team'\npresence = true\nallow_user_limited_channels = true",
    );
    let mut client = server.client();
    client.subscribe("team:x");
    client.subscribe("team:x#42");
    client.publish("team:y", json!(1));
    client.succeed("presence", json!({ "channel": "team:x" }));
    client.succeed("presence_stats", json!({ "channel": "team:y" }));
    client.fail("subscribe", json!({ "channel": "$team:x" }), 103, "permission denied");
    client.fail("subscribe", json!({ "channel": "$room" }), 103, "permission denied");
}

#[test]
fn presence_is_not_available_where_it_is_off_whoever_asks() {
    let server = server(&[("off", "allow_presence_for_client = true"), ("on", "presence = true")]);
    let mut client = server.client_as("42");
    client.fail("presence", json!({ "channel": "off:x" }), 108, "not available");
    client.fail("presence_stats", json!({ "channel": "off:x" }), 108, "not available");
    client.fail("presence", json!({ "channel": "on:x" }), 103, "permission denied");
    client.fail("presence_stats", json!({ "channel": "on:x" }), 103, "permission denied");
}

#[test]
fn the_namespace_is_before_the_first_colon_and_a_part_of_the_name() {
    let server = server(&[
        ("team", "allow_subscribe_for_client = true\nallow_publish_for_client = true"),
        ("Team", "allow_publish_for_client = true"),
    ]);
    let mut client = server.client_as("42");
    for channel in ["team:a", "team:a:b", "team:", "team::"] {
        client.subscribe(channel);
    }
    client.fail("subscribe", json!({ "channel": "Team:a" }), 103, "permission denied");
    client.fail("subscribe", json!({ "channel": "a" }), 103, "permission denied");
    client.fail("subscribe", json!({ "channel": "teams:a" }), 102, "unknown channel");
    client.publish("Team:a", json!("another room"));
    client.publish("team:a:b", json!("this one"));
    assert_eq!(client.next_data("team:a:b"), "this one");
}

#[test]
fn a_private_room_wants_a_token_even_where_everyone_may_subscribe() {
    let server = server(&[("team", "allow_subscribe_for_client = true\nallow_publish_for_client = true")]);
    let mut client = server.client_as("42");
    client.fail("subscribe", json!({ "channel": "$team:x" }), 103, "permission denied");
    client.fail("subscribe", json!({ "channel": "$nobody:x" }), 102, "unknown channel");
    subscribe_by_token(&mut client, "42", "$team:x");
    client.subscribe("team:x");
    client.publish("$team:x", json!("private"));
    client.publish("team:x", json!("public"));
    let mut got = [client.receive(), client.receive()];
    got.sort_by_key(|push| push["push"]["channel"].to_string());
    assert_eq!(got[0]["push"]["pub"]["data"], "private");
    assert_eq!(got[1]["push"]["pub"]["data"], "public");
}

#[test]
fn a_user_limited_room_is_for_the_users_in_its_name_alone() {
    let server = server(&[
        ("team", "allow_user_limited_channels = true"),
        ("open", "allow_user_limited_channels = true\nallow_subscribe_for_client = true"),
        ("plain", "allow_subscribe_for_client = true"),
    ]);
    let table: [(&str, &[&str]); 10] = [
        ("team:x#42", &["42"]),
        ("team:x#17,42", &["17", "42"]),
        ("team:x#42,17", &["17", "42"]),
        ("team:#42", &["42"]),
        ("team:x#17#42", &["42"]),
        ("team:x#421", &[]),
        ("team:x#", &[]),
        ("team:x#,", &[]),
        ("open:x#17", &["17"]),
        // Where the option is off, the sign has no meaning.
        ("plain:x#17", &["17", "42"]),
    ];
    let mut clients = ["17", "42", ""].map(|user| (user, server.client_with(json!({ "sub": user }))));
    for (channel, users) in table {
        for (user, client) in &mut clients {
            let is_in = is_allowed(client, "subscribe", json!({ "channel": channel }));
            assert_eq!(is_in, users.contains(user), "{channel} {user:?}");
        }
    }
    let (_, stranger) = &mut clients[0];
    stranger.fail("subscribe", json!({ "channel": "$team:x#17" }), 103, "permission denied");
    subscribe_by_token(stranger, "17", "team:x#42");
}

#[test]
fn a_regular_expression_decides_on_names_instead_of_ascii() {
    let all = "allow_subscribe_for_client = true\nallow_publish_for_client = true";
    let digits = format!("channel_regex = '^[0-9]+$'\n{all}");
    let letters = format!("channel_regex = '^\\pL+$'\n{all}");
    let server = server(&[("digits", &digits), ("letters", &letters), ("ascii", all)]);
    let mut client = server.client_as("42");
    client.subscribe("digits:12");
    client.subscribe("letters:grüße");
    client.publish("letters:grüße", json!(1));
    assert_eq!(client.next_data("letters:grüße"), 1);
    client.subscribe("ascii:a b/c&d*e");
    for channel in ["digits:", "digits:x", "digits:1x", "digits:٣٣", "letters:12", "ascii:ü"] {
        client.fail("subscribe", json!({ "channel": channel }), 107, "bad request");
        client.fail("publish", json!({ "channel": channel, "data": 1 }), 107, "bad request");
        client.fail("presence", json!({ "channel": channel }), 107, "bad request");
        client.unsubscribe(channel);
    }
}

#[test]
fn a_publisher_is_left_out_where_the_namespace_says_so() {
    let all = "allow_subscribe_for_client = true\nallow_publish_for_client = true";
    let excluding = format!("exclude_sender = true\n{all}");
    let server = server(&[("quiet", &excluding), ("echo", all)]);
    let mut ann = server.client_as("42");
    let mut same_user = server.client_as("42");
    let mut bob = server.client_as("43");
    for client in [&mut ann, &mut same_user, &mut bob] {
        client.subscribe("quiet:x");
        client.subscribe("echo:x");
    }
    // In one frame, so that they could share a batch and must not.
    ann.send(
        "{\"id\":91,\"publish\":{\"channel\":\"quiet:x\",\"data\":1}}\n\
         {\"id\":92,\"publish\":{\"channel\":\"quiet:x\",\"data\":2}}",
    );
    assert_eq!(bob.next_data("quiet:x"), 1);
    assert_eq!(bob.next_data("quiet:x"), 2);
    bob.publish("quiet:x", json!(3));
    ann.publish("quiet:x", json!(4));
    ann.publish("echo:x", json!("end"));
    let data = |client: &mut Client| {
        let mut data = Vec::new();
        while data.last() != Some(&json!("end")) {
            let mut line = client.receive();
            if line.get("push").is_some() {
                data.push(line["push"]["pub"]["data"].take());
            }
        }
        data
    };
    assert_eq!(data(&mut ann), [json!(3), json!("end")]);
    assert_eq!(data(&mut bob), [json!(4), json!("end")]);
    assert_eq!(data(&mut same_user), [json!(1), json!(2), json!(3), json!(4), json!("end")]);
}

/// The namespaces of the join and leave tests. In all of them named users may subscribe and publish.
fn join_leave_server() -> Server {
    let all = "allow_subscribe_for_client = true\nallow_publish_for_client = true\n";
    let sighted = "presence = true\nallow_presence_for_subscriber = true\n";
    server(&[
        ("off", &format!("{all}{sighted}")),
        ("asked", &format!("{all}{sighted}join_leave = true")),
        ("blind", &format!("{all}presence = true\njoin_leave = true")),
        ("forced", &format!("{all}join_leave = true\nforce_push_join_leave = true")),
    ])
}

fn join_push(channel: &str, client: &Client, user: &str) -> Value {
    let info = json!({ "user": user, "client": client.id() });
    json!({ "push": { "channel": channel, "join": { "info": info } } })
}

fn leave_push(channel: &str, client: &Client, user: &str) -> Value {
    let info = json!({ "user": user, "client": client.id() });
    json!({ "push": { "channel": channel, "leave": { "info": info } } })
}

#[test]
fn members_are_told_who_joins_and_leaves_in_whatever_way() {
    let server = join_leave_server();
    let mut ann = server.client_as("42");
    ann.send(r#"{"id":7,"subscribe":{"channel":"forced:x"}}"#);
    assert_eq!(ann.receive(), json!({ "id": 7, "subscribe": {} }));
    assert_eq!(ann.receive(), join_push("forced:x", &ann, "42"));

    let mut bob = server.client_as("43");
    bob.subscribe("forced:x");
    assert_eq!(bob.receive(), join_push("forced:x", &bob, "43"));
    assert_eq!(ann.receive(), join_push("forced:x", &bob, "43"));
    bob.unsubscribe("forced:x");
    assert_eq!(ann.receive(), leave_push("forced:x", &bob, "43"));
    bob.subscribe("forced:x");
    // Nobody hears of its own leave: what comes next is the new join.
    assert_eq!(bob.receive(), join_push("forced:x", &bob, "43"));
    assert_eq!(ann.receive(), join_push("forced:x", &bob, "43"));
    bob.stream().shutdown(Shutdown::Both).unwrap();
    assert_eq!(ann.receive(), leave_push("forced:x", &bob, "43"));

    let mut carl = server.client_as("44");
    carl.subscribe("forced:x");
    assert_eq!(ann.receive(), join_push("forced:x", &carl, "44"));
    carl.send("nonsense");
    assert_eq!(ann.receive(), leave_push("forced:x", &carl, "44"));
}

#[test]
fn joins_and_leaves_carry_what_tokens_say() {
    let server = join_leave_server();
    let mut ann = server.client_as("42");
    ann.subscribe("forced:x");
    ann.receive();
    let mut bob = server.client_with(json!({ "sub": "43", "info": { "nick": "bob" } }));
    let jwt = token(&json!({ "sub": "43", "channel": "forced:x", "info": { "role": "mod" } }));
    bob.succeed("subscribe", json!({ "channel": "forced:x", "token": jwt }));
    let info = json!({
        "user": "43", "client": bob.id(), "conn_info": { "nick": "bob" }, "chan_info": { "role": "mod" },
    });
    assert_eq!(ann.receive()["push"]["join"]["info"], info);
    bob.unsubscribe("forced:x");
    assert_eq!(ann.receive()["push"]["leave"]["info"], info);
}

#[test]
fn joins_and_leaves_reach_those_alone_that_asked_and_may_see_presence() {
    let server = join_leave_server();
    let channels = ["off:x", "asked:x", "blind:x"];
    let mut curious = server.client_as("42");
    let mut plain = server.client_as("43");
    for channel in channels {
        plain.subscribe(channel);
        curious.succeed("subscribe", json!({ "channel": channel, "join_leave": true }));
    }
    assert_eq!(curious.receive(), join_push("asked:x", &curious, "42"));
    let mut other = server.client_as("44");
    for channel in channels {
        other.succeed("subscribe", json!({ "channel": channel }));
        other.publish(channel, json!(channel));
        other.unsubscribe(channel);
    }
    other.publish("asked:x", json!("end"));
    for channel in channels {
        if channel == "asked:x" {
            assert_eq!(curious.receive(), join_push("asked:x", &other, "44"));
        }
        assert_eq!(curious.next_data(channel), channel);
        if channel == "asked:x" {
            assert_eq!(curious.receive(), leave_push("asked:x", &other, "44"));
        }
        assert_eq!(plain.next_data(channel), channel);
    }
    assert_eq!(curious.next_data("asked:x"), "end");
    assert_eq!(plain.next_data("asked:x"), "end");
}
