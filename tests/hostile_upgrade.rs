//! What comes instead of a WebSocket upgrade: each gets its HTTP status and its counter, and harms
//! nobody.

pub mod common;
pub mod hostile;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use common::{PATIENCE, Server};
use hostile::{Neighbour, Raw, UPGRADE, text};

/// The upgrade request with `from` replaced by `to`.
fn altered(from: &str, to: &str) -> String {
    assert!(UPGRADE.contains(from));
    UPGRADE.replacen(from, to, 1)
}

fn refused(server: &Server, reason: &str) -> u64 {
    server.metric(&format!("throng_upgrades_refused_total{{reason=\"{reason}\"}}"))
}

/// Checks that `request` gets exactly one answer, with this status, and is counted under `reason`;
/// also when the peer shuts its side behind the request.
#[track_caller]
fn check_refused(server: &Server, request: &[u8], status: u16, reason: &str) {
    let before = refused(server, reason);
    let start = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
    for shuts in [false, true] {
        let mut stream = server.tcp();
        stream.write_all(request).unwrap();
        if shuts {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{start:?}: {error}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{start:?} (shuts: {shuts}): {answer:?}");
        assert_eq!(answer.matches("\r\n\r\n").count(), 1, "{start:?}: {answer:?}");
    }
    assert_eq!(refused(server, reason), before + 2, "{start:?}");
}

#[test]
fn what_is_no_upgrade_gets_its_status_and_is_counted() {
    let server = Server::start("");
    let mut neighbour = Neighbour::of(&server);
    let long_header = format!("Host: throng\r\nX-Long: {}", "a".repeat(8 * 1024));
    let many_headers = format!("Host: throng{}", "\r\nX: y".repeat(100));
    // The upgrade request with one text in place of another.
    let alterations = [
        ("HTTP/1.1", "HTTP/1.0", 400, "bad_request"),
        ("Host: throng\r\n", "", 400, "bad_request"),
        ("Host: throng", "Host: throng\r\nHost: throng", 400, "bad_request"),
        ("Upgrade: websocket\r\n", "", 400, "bad_request"),
        ("Upgrade: websocket", "Upgrade: h2c", 400, "bad_request"),
        ("Connection: Upgrade\r\n", "", 400, "bad_request"),
        ("Connection: Upgrade", "Connection: keep-alive", 400, "bad_request"),
        ("Sec-WebSocket-Key", "X-Key", 400, "bad_request"),
        ("bXBsZSBub25jZQ==", "bXBsZSBub25j==", 400, "bad_request"),
        ("Sec-WebSocket-Key", "Sec-WebSocket-Key: x\r\nSec-WebSocket-Key", 400, "bad_request"),
        ("Host: throng", "Host: throng\r\nContent-Length: 5", 400, "bad_request"),
        ("Host: throng", "Host: throng\r\nTransfer-Encoding: chunked", 400, "bad_request"),
        ("/connection/websocket", "*", 400, "bad_request"),
        ("Sec-WebSocket-Version: 13\r\n", "", 426, "version"),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", 426, "version"),
        ("/connection/websocket", "/", 404, "not_found"),
        ("/connection/websocket", "/connection/websocket/", 404, "not_found"),
        ("/connection/websocket", "/connection/%77ebsocket", 404, "not_found"),
        ("GET", "POST", 405, "method"),
        ("GET", "HEAD", 405, "method"),
        ("GET", "get", 405, "method"),
        ("Host: throng", &long_header, 431, "too_long"),
        ("Host: throng", &many_headers, 431, "too_long"),
    ];
    let long_target = format!("GET /{}", "a".repeat(9 * 1024));
    let endless_header = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(300 * 1024));
    let others: [(&[u8], _, _); _] = [
        (b"\0\x01\x02\x03 garbage", 400, "not_http"),
        (b"\xff\xff\xff\xff", 400, "not_http"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "not_http"),
        (b"\x81\x85\0\0\0\0hello", 400, "not_http"),
        (b"GET\r\n\r\n", 400, "not_http"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, "not_http"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_request"),
        (long_target.as_bytes(), 431, "too_long"),
        (endless_header.as_bytes(), 431, "too_long"),
    ];
    let altered =
        alterations.map(|(from, to, status, reason)| (altered(from, to).into_bytes(), status, reason));
    let others = others.map(|(request, status, reason)| (request.to_vec(), status, reason));
    for (request, status, reason) in altered.into_iter().chain(others) {
        check_refused(&server, &request, status, reason);
        neighbour.is_served();
    }
    server.wait_for("only the neighbour left", |metrics| metrics.sum("throng_connections") == 1);
    assert_eq!(server.metric("throng_upgrades_total"), 1);
}

#[test]
fn one_byte_that_no_request_can_have_is_enough_to_be_refused() {
    let server = Server::start("");
    for byte in [0x16, 0x80, 0x00, 0xff] {
        check_refused(&server, &[byte], 400, "not_http");
    }
}

#[test]
fn a_head_of_exactly_the_limit_is_served() {
    let server = Server::start("");
    let fill = 8 * 1024 - UPGRADE.len() - "X: \r\n".len();
    for (fill, is_served) in [(fill, true), (fill + 1, false)] {
        let request = altered("Host: throng", &format!("X: {}\r\nHost: throng", "a".repeat(fill)));
        if is_served {
            let mut raw = Raw::dial(&server);
            raw.send(request);
            raw.expect_101();
        } else {
            check_refused(&server, request.as_bytes(), 431, "too_long");
        }
    }
}

#[test]
fn the_origin_header_decides_by_the_configured_patterns() {
    // The configuration, an origin, and whether it may connect.
    let cases = [
        ("", "http://localhost:3000", true),
        ("", "http://127.0.0.1", true),
        ("", "https://evil.example", false),
        ("", "null", false),
        ("allowed_origins = []", "http://localhost:3000", false),
        ("allowed_origins = ['*']", "https://evil.example", true),
        ("allowed_origins = ['https://*.good.example']", "https://app.good.example", true),
        ("allowed_origins = ['https://*.good.example']", "http://app.good.example", false),
        ("allowed_origins = ['https://*.good.example']", "https://evil.example/.good.example", false),
        ("allowed_origins = ['https://*.good.example']", "https://app.good.example.evil.example", false),
    ];
    let mut server = Server::start(cases[0].0);
    let mut config = cases[0].0;
    for (wanted, origin, is_allowed) in cases {
        if wanted != config {
            (server, config) = (Server::start(wanted), wanted);
        }
        let request = altered("Host: throng", &format!("Host: throng\r\nOrigin: {origin}"));
        if is_allowed {
            let mut raw = Raw::dial(&server);
            raw.send(request);
            raw.expect_101();
        } else {
            check_refused(&server, request.as_bytes(), 403, "origin");
        }
        // A program sends no origin and is not concerned.
        Raw::upgraded(&server);
    }
    let two = altered("Host: throng", "Host: throng\r\nOrigin: https://app.good.example\r\nOrigin: null");
    check_refused(&server, two.as_bytes(), 400, "bad_request");
}

#[test]
fn a_request_that_drips_is_answered_408_however_steadily_it_drips() {
    let server = Server::start("limits.upgrade_timeout_ms = 200");
    let mut neighbour = Neighbour::of(&server);
    let mut stream = server.tcp();
    // Pacing and polling in one: a byte, then a look whether there is an answer.
    stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut answer = Vec::new();
    for byte in altered("Host: throng", &format!("X: {}", "a".repeat(7_000))).bytes() {
        assert!(Instant::now() < deadline, "no answer");
        stream.write_all(&[byte]).unwrap();
        let mut some = [0; 4096];
        match stream.read(&mut some) {
            Ok(count) => answer.extend_from_slice(&some[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
        if !answer.is_empty() {
            break;
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    drop(stream);
    // One that says nothing at all.
    let answer = server.raw(b"");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(refused(&server, "timeout"), 2);
    neighbour.is_served();
}

#[test]
fn frames_right_behind_the_request_are_served() {
    let server = Server::start("");
    let mut raw = Raw::dial(&server);
    let subscribe = r#"{"id":2,"subscribe":{"channel":"a"}}"#;
    let frames = [
        text(r#"{"id":1,"connect":{}}"#),
        text(subscribe),
        text(r#"{"id":3,"unsubscribe":{"channel":"a"}}"#),
    ];
    raw.send([UPGRADE.as_bytes(), &frames.concat()].concat());
    raw.expect_101();
    assert!(raw.reply().starts_with(r#"{"id":1,"connect":{"#));
    assert_eq!(raw.reply(), r#"{"id":2,"subscribe":{}}"#);
    assert_eq!(raw.reply(), r#"{"id":3,"unsubscribe":{}}"#);
}

#[test]
fn frames_behind_a_refused_request_mean_nothing() {
    let server = Server::start("");
    let mut neighbour = Neighbour::of(&server);
    let publish = r#"{"id":2,"publish":{"channel":"neighbours","data":"smuggled"}}"#;
    let frames = [text(r#"{"id":1,"connect":{}}"#), text(publish)].concat();
    let request = [altered("GET", "PUT").as_bytes(), UPGRADE.as_bytes(), &frames].concat();
    check_refused(&server, &request, 405, "method");
    assert_eq!(server.metric("throng_upgrades_total"), 1);
    neighbour.is_served();
}

#[test]
fn a_request_may_be_cut_anywhere() {
    let server = Server::start("");
    let mut neighbour = Neighbour::of(&server);
    let request = [UPGRADE.as_bytes(), &text(r#"{"id":1,"connect":{}}"#)].concat();
    for cut in 1..request.len() {
        let mut raw = Raw::dial(&server);
        raw.send(&request[..cut]);
        // Accepted in the neighbour's first turn at the latest, read in its second.
        neighbour.is_served();
        neighbour.is_served();
        raw.send(&request[cut..]);
        raw.expect_101();
        assert!(raw.reply().starts_with(r#"{"id":1,"connect":{"#), "cut at {cut}");
    }
}

#[test]
fn a_peer_that_never_closes_after_its_refusal_is_closed_by_the_server() {
    let server = Server::start("limits.close_timeout_ms = 200");
    let mut idle = server.tcp();
    idle.write_all(altered("GET", "PUT").as_bytes()).unwrap();
    server.wait_for("the refusal", |metrics| {
        metrics.get("throng_upgrades_refused_total{reason=\"method\"}") == 1
    });
    server.wait_for("no connection left", |metrics| metrics.sum("throng_connections") == 0);
}

#[test]
fn resets_before_and_inside_the_request_leave_nothing_behind() {
    let server = Server::start("");
    let mut neighbour = Neighbour::of(&server);
    for cut in [0, 1, 50, UPGRADE.len()] {
        for _ in 0..20 {
            let mut raw = Raw::dial(&server);
            raw.send(&UPGRADE[..cut]);
            raw.reset();
        }
    }
    server.wait_for("all accepted and only the neighbour left", |metrics| {
        metrics.sum("throng_accepts_total") == 81 && metrics.sum("throng_connections") == 1
    });
    // A reset behind a whole request may come before the request was read, or after.
    let abandoned = server.metric("throng_upgrades_abandoned_total");
    assert!((60..=80).contains(&abandoned), "{abandoned} of 60 to 80");
    neighbour.is_served();
}
