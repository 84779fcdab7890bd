//! Publishing by an application: what members get, what is kept, and what is refused.

use serde_json::{Value, json};

use crate::caller::{call, fail, publish, server, succeed};
use crate::common::{Client, Server};

fn history(server: &Server, channel: &str) -> Value {
    succeed(server, "history", json!({ "channel": channel, "limit": -1 }))["publications"].take()
}

#[test]
fn members_on_every_shard_get_what_an_application_publishes() {
    let server = server(3);
    let mut members: Vec<Client> = (0..12).map(|user| server.client_as(&user.to_string())).collect();
    for member in &mut members {
        member.subscribe("room");
        member.subscribe("live:room");
    }
    let used = server.metrics().by_shard("throng_connections").into_iter().filter(|count| *count > 0).count();
    assert!(used > 1, "all clients came to one shard");
    let kept =
        succeed(&server, "publish", json!({ "channel": "room", "data": { "n": 1 }, "tags": { "k": "v" } }));
    assert_eq!(kept["offset"], 1);
    assert_eq!(kept["epoch"].as_str().unwrap().len(), 8);
    let live = succeed(&server, "publish", json!({ "channel": "live:room", "data": "only live" }));
    assert_eq!(live, json!({}));
    for member in &mut members {
        let push = member.receive();
        let expected = json!({ "data": { "n": 1 }, "tags": { "k": "v" }, "offset": 1 });
        assert_eq!(push, json!({ "push": { "channel": "room", "pub": expected } }));
        assert_eq!(member.next_data("live:room"), "only live");
    }
}

#[test]
fn data_pass_through_as_they_are_but_for_newlines() {
    let server = server(1);
    let mut member = server.client_as("42");
    member.subscribe("live:room");
    let body =
        "{\"channel\":\"live:room\",\"data\":{\n  \"n\": 1.50, \"n\": 1e400,\r\n \"s\": \"\\n\\u0041\"}}";
    let answer = crate::caller::post(&server, "publish", body);
    assert_eq!(answer.json(), json!({ "result": {} }));
    let text = member.next_text();
    assert_eq!(
        text,
        "{\"push\":{\"channel\":\"live:room\",\"pub\":{\"data\":{  \"n\": 1.50, \"n\": 1e400,\r \"s\": \"\\n\\u0041\"}}}}"
    );
}

#[test]
fn any_json_is_data_even_null() {
    let server = server(1);
    for data in [json!(null), json!(0), json!(false), json!(""), json!([]), json!({})] {
        publish(&server, "room", data);
    }
    let kept = history(&server, "room");
    let data: Vec<_> = kept.as_array().unwrap().iter().map(|publication| &publication["data"]).collect();
    assert_eq!(json!(data), json!([null, 0, false, "", [], {}]));
    assert_eq!(kept[0].as_object().unwrap().len(), 2, "null is written out");
}

#[test]
fn data_in_base64_are_json_as_well() {
    let server = server(1);
    // {"n":1}
    succeed(&server, "publish", json!({ "channel": "room", "b64data": "eyJuIjoxfQ==" }));
    succeed(&server, "publish", json!({ "channel": "room", "data": 2, "b64data": "eyJuIjoxfQ==" }));
    assert_eq!(
        history(&server, "room"),
        json!([
            { "data": { "n": 1 }, "offset": 1 }, { "data": { "n": 1 }, "offset": 2 },
        ])
    );
    // Not padded, bytes that are no text, text that is no JSON.
    for base64 in ["eyJuIjoxfQ", "/////w==", "bm9uc2Vuc2U=", "!"] {
        fail(&server, "publish", json!({ "channel": "room", "b64data": base64 }), 107, "bad request");
    }
}

#[test]
fn what_cannot_be_published_is_told() {
    let server = server(1);
    for (request, code, message) in [
        (json!({}), 107, "bad request"),
        (json!({ "channel": "room" }), 107, "bad request"),
        (json!({ "data": 1 }), 107, "bad request"),
        (json!({ "channel": "", "data": 1 }), 107, "bad request"),
        (json!({ "channel": "x".repeat(256), "data": 1 }), 107, "bad request"),
        (json!({ "channel": "комната", "data": 1 }), 107, "bad request"),
        (json!({ "channel": "nowhere:room", "data": 1 }), 102, "unknown channel"),
        (json!({ "channel": ":room", "data": 1 }), 102, "unknown channel"),
        (json!({ "channel": "room", "data": 1, "tags": { "k": 1 } }), 107, "bad request"),
        (json!({ "channel": "room", "data": 1, "version": -1 }), 107, "bad request"),
        (json!({ "channel": "room", "data": "x".repeat(65_536) }), 107, "bad request"),
    ] {
        fail(&server, "publish", request, code, message);
    }
    assert_eq!(history(&server, "room"), json!([]));
    let nulls = json!({ "channel": "room", "data": 1, "tags": null, "b64data": null, "skip_history": null,
        "idempotency_key": null, "version": null, "version_epoch": null, "delta": true, "unknown": [] });
    assert_eq!(succeed(&server, "publish", nulls)["offset"], 1);
}

#[test]
fn what_skips_the_history_is_delivered_and_not_kept() {
    let server = server(1);
    let mut member = server.client_as("42");
    member.subscribe("room");
    assert_eq!(publish(&server, "room", json!("first")), 1);
    let skipped = json!({ "channel": "room", "data": "skipped", "skip_history": true });
    assert_eq!(succeed(&server, "publish", skipped), json!({}));
    assert_eq!(publish(&server, "room", json!("second")), 2);
    for publication in [
        json!({ "data": "first", "offset": 1 }),
        json!({ "data": "skipped" }),
        json!({ "data": "second", "offset": 2 }),
    ] {
        assert_eq!(member.receive(), json!({ "push": { "channel": "room", "pub": publication } }));
    }
    assert_eq!(history(&server, "room").as_array().unwrap().len(), 2);
}

#[test]
fn a_key_is_published_once_and_repeats_are_told_where() {
    let server = server(1);
    let mut member = server.client_as("42");
    member.subscribe("room");
    member.subscribe("live:room");
    let with_key =
        |channel: &str, data: Value| json!({ "channel": channel, "data": data, "idempotency_key": "k" });
    let first = succeed(&server, "publish", with_key("room", json!(1)));
    assert_eq!(publish(&server, "room", json!(2)), 2);
    assert_eq!(succeed(&server, "publish", with_key("room", json!(1))), first);
    fail(&server, "publish", with_key("room", json!(3)), 113, "conflict");
    let tagged = json!({ "channel": "room", "data": 1, "tags": { "k": "v" }, "idempotency_key": "k" });
    fail(&server, "publish", tagged, 113, "conflict");
    assert_eq!(history(&server, "room").as_array().unwrap().len(), 2);
    // A room without history remembers too, and the key means nothing to other rooms.
    for _ in 0..2 {
        assert_eq!(succeed(&server, "publish", with_key("live:room", json!("a"))), json!({}));
    }
    assert_eq!(succeed(&server, "publish", with_key("other", json!("b")))["offset"], 1);
    publish(&server, "room", json!("end"));
    assert_eq!(member.next_data("room"), 1);
    assert_eq!(member.next_data("room"), 2);
    assert_eq!(member.next_data("live:room"), "a");
    assert_eq!(member.next_data("room"), "end");
}

#[test]
fn a_publish_that_failed_is_not_remembered_by_its_key() {
    let server = server(1);
    let request = |channel: &str| json!({ "channel": channel, "data": 1, "idempotency_key": "k" });
    fail(&server, "publish", request("nowhere:a"), 102, "unknown channel");
    fail(&server, "publish", request("nowhere:a"), 102, "unknown channel");
    assert_eq!(succeed(&server, "publish", request("room"))["offset"], 1);
}

#[test]
fn what_the_disk_does_not_take_is_told_and_rooms_without_history_go_on() {
    let config = crate::caller::config().replace("durability = 'memory'\n", "");
    let server = Server::start(&format!("store.disk_free_bytes_min = {}\n{config}", i64::MAX));
    let with_key = json!({ "channel": "room", "data": 1, "idempotency_key": "k" });
    for _ in 0..2 {
        fail(&server, "publish", with_key.clone(), 100, "internal server error");
    }
    assert_eq!(succeed(&server, "publish", json!({ "channel": "live:room", "data": 1 })), json!({}));
    let batch = json!({ "channels": ["room", "live:room"], "data": 1 });
    let responses = succeed(&server, "broadcast", batch)["responses"].take();
    let refused = json!({ "error": { "code": 100, "message": "internal server error" } });
    assert_eq!(responses, json!([refused, { "result": {} }]));
}

#[test]
fn an_older_version_is_dropped_and_told_where_the_room_is() {
    let server = server(1);
    let version = |number: u64, epoch: &str| {
        let request = json!({ "channel": "room", "data": number, "version": number, "version_epoch": epoch });
        succeed(&server, "publish", request)["offset"].as_u64().unwrap()
    };
    assert_eq!(version(5, ""), 1);
    assert_eq!(version(5, ""), 1);
    assert_eq!(version(4, ""), 1);
    assert_eq!(version(6, ""), 2);
    assert_eq!(version(1, "another"), 3, "versions of another epoch are not compared");
    assert_eq!(history(&server, "room").as_array().unwrap().len(), 3);
}

#[test]
fn a_broadcast_answers_for_each_room_in_order() {
    let server = server(2);
    let mut member = server.client_as("42");
    member.subscribe("b");
    let request = json!({ "channels": ["a", "nowhere:a", "b", "live:a", ""], "data": { "to": "all" } });
    let mut responses = succeed(&server, "broadcast", request)["responses"].take();
    for kept in [0, 2] {
        assert_eq!(responses[kept]["result"]["epoch"].take().as_str().unwrap().len(), 8);
    }
    assert_eq!(
        responses,
        json!([
            { "result": { "offset": 1, "epoch": null } },
            { "error": { "code": 102, "message": "unknown channel" } },
            { "result": { "offset": 1, "epoch": null } },
            { "result": {} },
            { "error": { "code": 107, "message": "bad request" } },
        ])
    );
    assert_eq!(member.next_data("b"), json!({ "to": "all" }));
    fail(&server, "broadcast", json!({ "channels": [], "data": 1 }), 107, "bad request");
    fail(&server, "broadcast", json!({ "channels": ["a"] }), 107, "bad request");
    fail(&server, "broadcast", json!({ "channels": "a", "data": 1 }), 107, "bad request");
}

#[test]
fn a_broadcast_with_a_key_is_made_once_in_each_room() {
    let server = server(1);
    let to = |channels: Value| json!({ "channels": channels, "data": 1, "idempotency_key": "k" });
    let first = call(&server, "broadcast", to(json!(["a", "b"])));
    assert_eq!(call(&server, "broadcast", to(json!(["a", "b"]))), first);
    let more = succeed(&server, "broadcast", to(json!(["b", "c"])));
    assert_eq!(more["responses"][0], first["result"]["responses"][1]);
    assert_eq!(more["responses"][1]["result"]["offset"], 1);
    assert_eq!(history(&server, "a").as_array().unwrap().len(), 1);
}
