//! Ending the connections of a user.

use serde_json::json;

use crate::caller::{fail, server, succeed};
use crate::common::Client;

#[test]
fn all_connections_of_a_user_are_ended_but_those_that_are_spared() {
    let server = server(3);
    let mut theirs: Vec<Client> = (0..12).map(|_| server.client_as("42")).collect();
    let mut other = server.client_as("43");
    let mut spared = theirs.pop().unwrap();
    let request = json!({ "user": "42", "whitelist": [spared.id(), "no id"] });
    assert_eq!(succeed(&server, "disconnect", request), json!({}));
    for client in &mut theirs {
        client.expect_close(3503, "force disconnect");
    }
    spared.subscribe("room");
    other.subscribe("room");
    let stats = succeed(&server, "presence_stats", json!({ "channel": "room" }));
    assert_eq!(stats["num_clients"], 2);
    assert_eq!(succeed(&server, "info", json!({}))["nodes"][0]["num_users"], 2);
}

#[test]
fn a_user_with_more_connections_than_a_shard_ends_in_one_turn_is_ended_whole() {
    let server = server(1);
    let mut theirs: Vec<Client> = (0..300).map(|_| server.client_as("42")).collect();
    let mut other = server.client_as("43");
    assert_eq!(succeed(&server, "disconnect", json!({ "user": "42" })), json!({}));
    theirs.iter_mut().for_each(|client| client.expect_close(3503, "force disconnect"));
    other.subscribe("room");
}

#[test]
fn the_application_chooses_code_and_reason() {
    let server = server(1);
    for (code, reason) in [(3000, "over"), (3008, "slow"), (4001, "come back"), (4999, "banned: \"spam\" 🦀")]
    {
        let mut client = server.client_as("42");
        let request = json!({ "user": "42", "disconnect": { "code": code, "reason": reason } });
        assert_eq!(succeed(&server, "disconnect", request), json!({}));
        client.expect_close(code, reason);
    }
    let mut client = server.client_as("42");
    let reason = "x".repeat(123);
    let request = json!({ "client": client.id(), "disconnect": { "code": 4000, "reason": reason } });
    succeed(&server, "disconnect", request);
    client.expect_close(4000, &reason);
}

#[test]
fn codes_and_reasons_that_sdks_misunderstand_are_refused() {
    let server = server(1);
    let mut client = server.client_as("42");
    for disconnect in [
        json!({}),
        json!({ "code": 4000 }),
        json!({ "reason": "over" }),
        json!({ "code": 4000, "reason": "" }),
        json!({ "code": 4000, "reason": "true" }),
        json!({ "code": 4000, "reason": " 12 " }),
        json!({ "code": 4000, "reason": "{\"reconnect\":true}" }),
        json!({ "code": 4000, "reason": "\"text\"" }),
        json!({ "code": 4000, "reason": "x".repeat(124) }),
        json!({ "code": 2999, "reason": "over" }),
        json!({ "code": 5000, "reason": "over" }),
        json!({ "code": 4_294_967_295_u32, "reason": "over" }),
        json!({ "code": -1, "reason": "over" }),
        json!({ "code": 69_536, "reason": "over" }),
    ] {
        fail(&server, "disconnect", json!({ "user": "42", "disconnect": disconnect }), 107, "bad request");
    }
    fail(&server, "disconnect", json!({}), 107, "bad request");
    fail(&server, "disconnect", json!({ "user": "" }), 107, "bad request");
    client.subscribe("room");
}

#[test]
fn whoever_is_not_there_is_done_with() {
    let server = server(1);
    let mut client = server.client_as("42");
    for nobody in [
        json!({ "user": "43" }),
        json!({ "user": "42", "client": "00000000-0000-4000-8000-000000000000" }),
        json!({ "client": "no id" }),
        json!({ "user": "42", "session": "of another transport" }),
        json!({ "user": "42", "whitelist": [client.id()] }),
    ] {
        assert_eq!(succeed(&server, "disconnect", nobody), json!({}));
    }
    client.subscribe("room");
}
