//! Who may call, and what is no call.

use serde_json::json;

use crate::caller::{KEY, call, config, exchange, fail, post, request, server};
use crate::common::Server;

#[test]
fn the_key_is_taken_from_any_of_three_places_and_nothing_else_opens() {
    let server = server(1);
    let status = |line: &str, headers: &[&str]| request(&server, line, headers, "{}").status;
    assert_eq!(status("POST /api/info", &[&format!("X-API-Key: {KEY}")]), 200);
    assert_eq!(status("POST /api/info", &[&format!("Authorization: apikey {KEY}")]), 200);
    assert_eq!(status(&format!("POST /api/info?api_key={KEY}"), &[]), 200);
    for headers in [
        &[][..],
        &["X-API-Key: 0123456789abcdeX"],
        &["X-API-Key: 0123456789abcde"],
        &["X-API-Key:"],
        &["Authorization: Bearer 0123456789abcdef"],
        &["Authorization: apikey"],
    ] {
        let refused = request(&server, "POST /api/info?api_key=", headers, "{}");
        assert_eq!((refused.status, refused.body.as_str()), (401, ""), "{headers:?}");
    }
    // Without the key nobody learns which methods there are, nor is a body looked at.
    assert_eq!(status("POST /api/nothing", &[]), 401);
    assert_eq!(request(&server, "POST /api", &[], "nonsense").status, 401);
}

#[test]
fn without_a_key_in_the_configuration_nobody_calls() {
    let server = Server::start("");
    for headers in [&[][..], &["X-API-Key:"], &["X-API-Key: x"], &["Authorization: apikey "]] {
        assert_eq!(request(&server, "POST /api/info?api_key=", headers, "{}").status, 401, "{headers:?}");
    }
}

#[test]
fn an_api_without_keys_is_for_programs_and_not_for_pages() {
    let server = Server::start("http_api.insecure = true");
    assert_eq!(request(&server, "POST /api/info", &[], "{}").status, 200);
    let page = request(&server, "POST /api/info", &["Origin: https://example.com"], "{}");
    assert_eq!(page.status, 403);
    assert!(page.body.contains("http_api.insecure"), "{page:?}");
}

#[test]
fn what_is_no_call_is_refused_by_its_status() {
    let server = server(1);
    let key = format!("X-API-Key: {KEY}");
    for method in ["GET", "PUT", "DELETE"] {
        let refused = request(&server, &format!("{method} /api/info"), &[&key], "{}");
        assert_eq!(refused.status, 405);
        assert!(refused.head.contains("allow: post"), "{refused:?}");
    }
    for unknown in ["nothing", "Publish", "publish/", "info/x", "map_publish"] {
        assert_eq!(post(&server, unknown, "{}").status, 404, "{unknown}");
    }
    for body in ["", "nonsense", "{", "{}}", "{\"a\":}", "\u{0}", "{} {}", "'{}'"] {
        let refused = post(&server, "info", body);
        assert_eq!((refused.status, refused.body.as_str()), (400, "Bad Request"), "{body:?}");
    }
    let mut not_utf8 = format!(
        "POST /api/publish HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{key}\r\nContent-Length: 5\r\n\r\n"
    )
    .into_bytes();
    not_utf8.extend_from_slice(b"\"\xff\xfe\xfd\"");
    assert_eq!(exchange(&server, &not_utf8).status, 400);
    // After all that it still answers.
    assert_eq!(post(&server, "info", "{}").status, 200);
}

#[test]
fn json_that_is_no_request_is_a_bad_request() {
    let server = server(1);
    for body in ["[]", "1", "null", "\"text\"", "[[\"room\"]]", "{\"channel\":1}", "{\"channel\":[\"a\"]}"] {
        let answer = post(&server, "publish", body);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json(), json!({ "error": { "code": 107, "message": "bad request" } }), "{body}");
    }
    let nested =
        format!("{{\"channel\":\"room\",\"nothing\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(
        post(&server, "presence", &nested).status,
        200,
        "what nobody reads may be as deep as it likes"
    );
}

#[test]
fn a_body_that_is_too_long_is_refused_before_it_is_read() {
    let server = server(1);
    let head = |length: &str| {
        format!(
            "POST /api/publish HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: {KEY}\r\n{length}\r\n\r\n"
        )
    };
    let refused = exchange(&server, head("Content-Length: 100000000000").as_bytes());
    assert_eq!(refused.status, 413, "{refused:?}");
    let bytes_max = 1024 * 1024 + 65_536;
    let chunk = |bytes: usize| format!("{bytes:x}\r\n{}\r\n0\r\n\r\n", " ".repeat(bytes));
    let chunked = |bytes| format!("{}{}", head("Transfer-Encoding: chunked"), chunk(bytes));
    assert_eq!(exchange(&server, chunked(bytes_max + 1).as_bytes()).status, 413);
    assert_eq!(exchange(&server, chunked(bytes_max).as_bytes()).status, 400, "all of it is white space");
}

#[test]
fn errors_are_told_by_the_status_if_the_caller_or_the_configuration_wants_it() {
    let by_header = server(1);
    let by_option =
        Server::start(&config().replace("[http_api]\n", "[http_api]\nerror_mode = 'transport'\n"));
    let modes = [
        (&by_header, vec![format!("X-API-Key: {KEY}"), "X-Centrifugo-Error-Mode: transport".to_owned()]),
        (&by_option, vec![format!("X-API-Key: {KEY}")]),
    ];
    for (server, headers) in modes {
        let headers: Vec<_> = headers.iter().map(String::as_str).collect();
        let ask = |method: &str, body: &str| request(server, &format!("POST /api/{method}"), &headers, body);
        for (method, body, status, code, message) in [
            ("publish", r#"{"channel":"nowhere:a","data":1}"#, 404, 102, "unknown channel"),
            ("rpc", r#"{"method":"x"}"#, 404, 104, "not found"),
            ("publish", r#"{"channel":"room"}"#, 400, 107, "bad request"),
            ("history", r#"{"channel":"live:a"}"#, 400, 108, "not available"),
            (
                "history",
                r#"{"channel":"a","limit":1,"since":{"epoch":"another"}}"#,
                416,
                112,
                "unrecoverable position",
            ),
        ] {
            let refused = ask(method, body);
            assert_eq!(refused.status, status, "{refused:?}");
            assert_eq!(refused.json(), json!({ "code": code, "message": message }));
        }
        let first = ask("publish", r#"{"channel":"live:a","data":1,"idempotency_key":"k"}"#);
        assert_eq!((first.status, first.json()), (200, json!({ "result": {} })));
        let conflict = ask("publish", r#"{"channel":"live:a","data":2,"idempotency_key":"k"}"#);
        assert_eq!((conflict.status, conflict.json()), (409, json!({ "code": 113, "message": "conflict" })));
    }
}

#[test]
fn a_call_may_name_its_method_in_the_body() {
    let server = server(1);
    let legacy = |body: &str| request(&server, "POST /api", &[&format!("X-API-Key: {KEY}")], body);
    let published = legacy(r#"{"method":"publish","params":{"channel":"room","data":{}}}"#);
    assert_eq!(published.json()["result"]["offset"], 1, "{published:?}");
    let unknown = legacy(r#"{"method":"nothing","params":{}}"#);
    assert_eq!(unknown.json(), json!({ "error": { "code": 104, "message": "not found" } }));
    assert_eq!(legacy(r#"{"method":"publish"}"#).json()["error"]["code"], 107);
    assert_eq!(legacy("[]").json()["error"]["code"], 107);
    assert_eq!(legacy("nonsense").status, 400);
    assert_eq!(request(&server, "GET /api", &[], "").status, 405);
}

#[test]
fn requests_are_counted_by_method_and_outcome() {
    let server = server(1);
    call(&server, "publish", json!({ "channel": "room", "data": 1 }));
    fail(&server, "publish", json!({ "channel": "room" }), 107, "bad request");
    post(&server, "publish", "nonsense");
    request(&server, "POST /api/nothing", &[], "{}");
    let count = |method: &str, outcome: &str| {
        server.metric(&format!("throng_api_requests_total{{method=\"{method}\",outcome=\"{outcome}\"}}"))
    };
    for (method, outcome) in
        [("publish", "ok"), ("publish", "107"), ("publish", "http_400"), ("other", "http_401")]
    {
        assert_eq!(count(method, outcome), 1, "{method} {outcome}");
    }
    assert_eq!(count("history", "ok"), 0);
}
