//! Reading and dropping histories.

use serde_json::{Value, json};

use crate::caller::{fail, publish, server, succeed};
use crate::common::Server;

/// A server whose room `room` had twelve publications, of which it keeps ten.
fn filled() -> Server {
    let server = server(1);
    for number in 1..=12 {
        assert_eq!(publish(&server, "room", json!({ "n": number })), number);
    }
    server
}

fn offsets(result: &Value) -> Vec<u64> {
    let publications = result["publications"].as_array().unwrap();
    publications.iter().map(|publication| publication["offset"].as_u64().unwrap()).collect()
}

#[test]
fn a_history_is_read_from_either_end_and_from_any_place() {
    let server = filled();
    let read = |mut request: Value| {
        request["channel"] = "room".into();
        let result = succeed(&server, "history", request);
        assert_eq!(result["offset"], 12);
        assert_eq!(result["epoch"].as_str().unwrap().len(), 8);
        offsets(&result)
    };
    assert_eq!(read(json!({})), [0; 0]);
    assert_eq!(read(json!({ "limit": 0 })), [0; 0]);
    assert_eq!(read(json!({ "limit": 2 })), [3, 4]);
    assert_eq!(read(json!({ "limit": 2, "reverse": true })), [12, 11]);
    assert_eq!(read(json!({ "limit": -1 })), (3..=12).collect::<Vec<_>>());
    assert_eq!(read(json!({ "limit": i32::MAX })), (3..=12).collect::<Vec<_>>());
    assert_eq!(read(json!({ "limit": 2, "since": { "offset": 10 } })), [11, 12]);
    assert_eq!(read(json!({ "limit": 2, "since": { "offset": 10 }, "reverse": true })), [9, 8]);
    assert_eq!(read(json!({ "limit": -1, "since": { "offset": 1 } })), (3..=12).collect::<Vec<_>>());
    assert_eq!(read(json!({ "limit": -1, "since": { "offset": 12 } })), [0; 0]);
    assert_eq!(read(json!({ "limit": -1, "since": { "offset": 999 } })), [0; 0], "a place in the future");
    assert_eq!(read(json!({ "limit": -1, "since": { "offset": u64::MAX } })), [0; 0]);
    let epoch = succeed(&server, "history", json!({ "channel": "room" }))["epoch"].take();
    assert_eq!(read(json!({ "limit": -1, "since": { "offset": 11, "epoch": epoch } })), [12]);
}

#[test]
fn publications_are_answered_as_they_were_published() {
    let server = server(1);
    let mut client = server.client_with(json!({ "sub": "42", "info": { "nick": "ann" } }));
    succeed(&server, "publish", json!({ "channel": "room", "data": { "n": 1 }, "tags": { "k": "v" } }));
    client.subscribe("room");
    let result = succeed(&server, "history", json!({ "channel": "room", "limit": 10 }));
    assert_eq!(result["publications"], json!([{ "data": { "n": 1 }, "tags": { "k": "v" }, "offset": 1 }]));
    let empty = succeed(&server, "history", json!({ "channel": "untouched" }));
    assert_eq!((&empty["publications"], &empty["offset"]), (&json!([]), &json!(0)));
}

#[test]
fn what_cannot_be_read_is_told() {
    let server = filled();
    for (request, code, message) in [
        (json!({}), 107, "bad request"),
        (json!({ "channel": "nowhere:a" }), 102, "unknown channel"),
        (json!({ "channel": "live:a" }), 108, "not available"),
        (json!({ "channel": "room", "limit": -2 }), 107, "bad request"),
        (json!({ "channel": "room", "limit": i64::MIN }), 107, "bad request"),
        (json!({ "channel": "room", "limit": 2_147_483_648_u64 }), 107, "bad request"),
        (json!({ "channel": "room", "limit": u64::MAX }), 107, "bad request"),
        (json!({ "channel": "room", "limit": 1.5 }), 107, "bad request"),
        (json!({ "channel": "room", "limit": "1" }), 107, "bad request"),
        (json!({ "channel": "room", "limit": 1, "since": { "offset": -1 } }), 107, "bad request"),
        (
            json!({ "channel": "room", "limit": 1, "since": { "offset": 0 }, "reverse": true }),
            107,
            "bad request",
        ),
        (
            json!({ "channel": "room", "limit": 1, "since": { "offset": 5, "epoch": "another!" } }),
            112,
            "unrecoverable position",
        ),
        (json!({ "channel": "room", "since": { "offset": 5, "epoch": "x" } }), 112, "unrecoverable position"),
    ] {
        fail(&server, "history", request, code, message);
    }
}

#[test]
fn a_history_that_is_dropped_goes_on_with_its_epoch_and_numbers() {
    let server = filled();
    let before = succeed(&server, "history", json!({ "channel": "room" }));
    assert_eq!(succeed(&server, "history_remove", json!({ "channel": "room" })), json!({}));
    let after = succeed(&server, "history", json!({ "channel": "room", "limit": -1 }));
    assert_eq!(after, json!({ "publications": [], "epoch": before["epoch"], "offset": 12 }));
    assert_eq!(publish(&server, "room", json!(1)), 13);
    fail(&server, "history_remove", json!({ "channel": "live:a" }), 108, "not available");
    fail(&server, "history_remove", json!({ "channel": "nowhere:a" }), 102, "unknown channel");
    fail(&server, "history_remove", json!({}), 107, "bad request");
}
