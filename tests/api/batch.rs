//! Several calls in one.

use serde_json::{Value, json};

use crate::caller::{call, post, server, succeed};

#[test]
fn each_call_of_a_batch_is_answered_under_its_name() {
    let server = server(1);
    let commands = json!([
        { "publish": { "channel": "room", "data": 1 } },
        { "history": { "channel": "room", "limit": 10 } },
        { "presence_stats": { "channel": "room" } },
        { "publish": { "channel": "nowhere:a", "data": 1 } },
        { "nothing": {} },
        {},
        { "batch": { "commands": [] } },
        { "publish": [] },
        { "unsubscribe": { "user": "42", "channel": "room" } },
    ]);
    let mut answer = call(&server, "batch", json!({ "commands": commands }));
    let replies = answer["replies"].as_array_mut().unwrap();
    let epoch = replies[0]["publish"]["epoch"].take();
    assert_eq!(replies[1]["history"]["epoch"].take(), epoch);
    let not_found = json!({ "error": { "code": 104, "message": "not found" } });
    assert_eq!(
        answer,
        json!({ "replies": [
            { "publish": { "offset": 1, "epoch": null } },
            { "history": { "publications": [{ "data": 1, "offset": 1 }], "epoch": null, "offset": 1 } },
            { "presence_stats": { "num_clients": 0, "num_users": 0 } },
            { "error": { "code": 102, "message": "unknown channel" } },
            not_found,
            not_found,
            not_found,
            { "error": { "code": 107, "message": "bad request" } },
            { "unsubscribe": {} },
        ] })
    );
}

#[test]
fn calls_go_one_after_the_other_unless_they_are_to_go_together() {
    let server = server(2);
    let publish = |n: usize| json!({ "publish": { "channel": "room", "data": n } });
    let commands: Vec<Value> = (1..=5).map(publish).collect();
    for (parallel, first) in [(false, 1), (true, 6)] {
        let answer = call(&server, "batch", json!({ "commands": commands, "parallel": parallel }));
        let offset = |reply: &Value| reply["publish"]["offset"].as_u64().unwrap();
        let mut offsets: Vec<_> = answer["replies"].as_array().unwrap().iter().map(offset).collect();
        if parallel {
            offsets.sort_unstable();
        }
        assert_eq!(offsets, (first..first + 5).collect::<Vec<_>>());
    }
}

#[test]
fn a_batch_that_is_none_is_a_bad_request() {
    let server = server(1);
    for body in ["[]", r#"{"commands":{}}"#, r#"{"commands":[1]}"#, r#"{"commands":["publish"]}"#] {
        assert_eq!(post(&server, "batch", body).json()["error"]["code"], 107, "{body}");
    }
    assert_eq!(call(&server, "batch", json!({})), json!({ "replies": [] }));
}

#[test]
fn there_are_no_methods_of_extensions() {
    let server = server(1);
    let answer = call(&server, "rpc", json!({ "method": "x", "params": { "any": [1] } }));
    assert_eq!(answer, json!({ "error": { "code": 104, "message": "not found" } }));
    assert!(succeed(&server, "info", json!({}))["nodes"].is_array());
}
