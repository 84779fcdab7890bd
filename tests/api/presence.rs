//! Who is where: presence, presence_stats, channels and info.

use serde_json::{Value, json};

use crate::caller::{call, fail, server, succeed};
use crate::common::token;

#[test]
fn members_of_all_shards_are_listed_and_counted() {
    let server = server(3);
    assert_eq!(succeed(&server, "presence", json!({ "channel": "room" })), json!({ "presence": {} }));
    let stats = succeed(&server, "presence_stats", json!({ "channel": "room" }));
    assert_eq!(stats, json!({ "num_clients": 0, "num_users": 0 }));
    let mut expected = json!({});
    let mut members = Vec::new();
    for nth in 0..12 {
        let user = (nth / 2).to_string();
        let mut member = server.client_with(json!({ "sub": user, "info": { "nth": nth } }));
        let claims = json!({ "sub": user, "channel": "room", "info": { "role": "mod" } });
        member.succeed("subscribe", json!({ "channel": "room", "token": token(&claims) }));
        expected[member.id()] = json!({
            "user": user, "client": member.id(), "conn_info": { "nth": nth }, "chan_info": { "role": "mod" },
        });
        members.push(member);
    }
    assert_eq!(succeed(&server, "presence", json!({ "channel": "room" }))["presence"], expected);
    let stats = succeed(&server, "presence_stats", json!({ "channel": "room" }));
    assert_eq!(stats, json!({ "num_clients": 12, "num_users": 6 }));
}

#[test]
fn presence_that_is_not_there_is_told() {
    let server = server(1);
    for method in ["presence", "presence_stats"] {
        fail(&server, method, json!({ "channel": "live:a" }), 108, "not available");
        fail(&server, method, json!({ "channel": "nowhere:a" }), 102, "unknown channel");
        fail(&server, method, json!({}), 107, "bad request");
    }
}

#[test]
fn rooms_are_listed_while_they_have_members() {
    let server = server(2);
    let channels = |request: Value| succeed(&server, "channels", request)["channels"].take();
    assert_eq!(channels(json!({})), json!({}));
    let mut members: Vec<_> = (0..6).map(|user| server.client_as(&user.to_string())).collect();
    for member in &mut members {
        member.subscribe("live:a/b");
    }
    members[0].subscribe("room");
    members[0].subscribe("room2");
    let (live, one) = (json!({ "num_clients": 6 }), json!({ "num_clients": 1 }));
    assert_eq!(channels(json!({})), json!({ "live:a/b": live, "room": one, "room2": one }));
    for (pattern, expected) in [
        ("*", json!({ "live:a/b": live, "room": one, "room2": one })),
        ("room", json!({ "room": one })),
        ("room*", json!({ "room": one, "room2": one })),
        ("room?", json!({ "room2": one })),
        ("live:*", json!({ "live:a/b": live })),
        ("*[ab]", json!({ "live:a/b": live })),
        ("{room,room2}", json!({ "room": one, "room2": one })),
        ("oom", json!({})),
    ] {
        assert_eq!(channels(json!({ "pattern": pattern })), expected, "{pattern}");
    }
    for pattern in ["[", "{a"] {
        fail(&server, "channels", json!({ "pattern": pattern }), 107, "bad request");
    }
    members[0].unsubscribe("room");
    assert_eq!(channels(json!({ "pattern": "room*" })), json!({ "room2": one }));
}

#[test]
fn info_tells_what_the_server_has() {
    let server = server(2);
    let mut members: Vec<_> = (0..4).map(|nth| server.client_as(&(nth / 2).to_string())).collect();
    let mut anonymous = server.client();
    drop(anonymous.call(json!({ "presence_stats": { "channel": "room" } })));
    members.iter_mut().for_each(|member| drop(member.subscribe("room")));
    members[0].subscribe("live:room");
    let node = succeed(&server, "info", json!({}))["nodes"][0].take();
    for (name, expected) in [("num_clients", 5), ("num_users", 2), ("num_channels", 2), ("num_subs", 5)] {
        assert_eq!(node[name], expected, "{node}");
    }
    for text in ["uid", "name", "version"] {
        assert!(!node[text].as_str().unwrap().is_empty(), "{node}");
    }
    assert!(node["uptime"].is_u64(), "{node}");
    assert_eq!(call(&server, "info", json!({}))["result"]["nodes"][0]["uid"], node["uid"]);
}
