//! The rules of the upgrade, one request each.

use super::*;

/// A request with `lines` between its request line and its empty line.
fn request_of(lines: &[&str]) -> String {
    format!("GET /chat?cf_protocol=json&x HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n"))
}

/// The header lines of a good request.
const GOOD: [&str; 5] = [
    "Host: throng.example",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

/// A good request whose line `at` is replaced.
fn with_line(at: usize, line: &str) -> String {
    let mut lines = GOOD;
    lines[at] = line;
    request_of(&lines)
}

/// A good request with one more line.
fn with_extra(line: &str) -> String {
    request_of(&[&GOOD[..], &[line]].concat())
}

fn refusal(request: &str) -> Option<Refusal> {
    parse(request.as_bytes()).err()
}

fn parsed(request: &str) -> Request<'_> {
    parse(request.as_bytes()).expect("not refused").expect("complete").0
}

#[test]
fn a_good_request_gives_its_parts_and_where_frames_begin() {
    let text = format!("{}\u{1}\u{2}", with_extra("Origin: https://app.example"));
    let (request, head_bytes) = parse(text.as_bytes()).expect("not refused").expect("complete");
    assert_eq!(&text.as_bytes()[head_bytes..], [1, 2]);
    assert_eq!((request.path, request.query), ("/chat", "cf_protocol=json&x"));
    assert_eq!((request.host, request.origin), ("throng.example", Some("https://app.example")));
    assert_eq!(request.key, "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(request.protocols().count(), 0);
}

#[test]
fn every_proper_prefix_of_a_good_request_is_incomplete() {
    let text = request_of(&GOOD);
    for taken in 0..text.len() {
        assert_eq!(parse(&text.as_bytes()[..taken]), Ok(None), "{taken} bytes");
    }
}

#[test]
fn header_names_and_tokens_are_read_in_any_case_and_from_lists() {
    let text = request_of(&[
        "HOST: h",
        "upgrade: h2c, WebSocket",
        "connection: keep-alive, UPGRADE",
        "sec-websocket-version:13",
        "SEC-WEBSOCKET-KEY:   dGhlIHNhbXBsZSBub25jZQ==  ",
    ]);
    assert_eq!(parsed(&text).key, "dGhlIHNhbXBsZSBub25jZQ==");
}

#[test]
fn a_list_may_be_spread_over_lines_in_any_order() {
    let lists = ["Upgrade: websocket", "Upgrade: h2c", "Connection: Upgrade", "Connection: keep-alive"];
    let text = request_of(&[&[GOOD[0], GOOD[3], GOOD[4]][..], &lists].concat());
    assert_eq!(parsed(&text).host, "throng.example");
}

#[test]
fn a_tls_client_hello_is_refused_at_its_first_byte() {
    assert_eq!(parse(&[0x16]), Err(Refusal::BadRequest(Fault::NotHttp)));
    assert_eq!(parse(&[0x16, 0x03, 0x01]), Err(Refusal::BadRequest(Fault::NotHttp)));
}

#[test]
fn a_control_byte_is_refused_wherever_it_stands_without_waiting_for_more() {
    let good = request_of(&GOOD);
    for at in 0..good.len() {
        let mut bytes = good.as_bytes()[..at].to_vec();
        bytes.push(0);
        assert!(matches!(parse(&bytes), Err(Refusal::BadRequest(_))), "at {at}");
    }
}

#[test]
fn other_versions_of_http_are_refused() {
    let old = request_of(&GOOD).replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(refusal(&old), Some(Refusal::BadRequest(Fault::HttpVersion)));
    assert_eq!(refusal("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Some(Refusal::BadRequest(Fault::HttpVersion)));
}

#[test]
fn other_methods_get_405() {
    let post = request_of(&GOOD).replace("GET ", "POST ");
    assert_eq!(refusal(&post), Some(Refusal::Method));
    assert_eq!(refusal("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"), Some(Refusal::Method));
}

#[test]
fn a_get_without_upgrade_headers_is_400() {
    assert_eq!(refusal("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), Some(Refusal::BadRequest(Fault::NoUpgrade)));
    assert_eq!(refusal(&with_line(1, "Upgrade: h2c")), Some(Refusal::BadRequest(Fault::NoUpgrade)));
    let kept_alive = with_line(2, "Connection: keep-alive");
    assert_eq!(refusal(&kept_alive), Some(Refusal::BadRequest(Fault::NoConnectionUpgrade)));
}

#[test]
fn the_host_must_be_there_once() {
    assert_eq!(refusal(&with_line(0, "X-Other: 1")), Some(Refusal::BadRequest(Fault::Host)));
    assert_eq!(refusal(&with_extra("Host: other")), Some(Refusal::BadRequest(Fault::Host)));
}

#[test]
fn another_websocket_version_gets_426() {
    assert_eq!(refusal(&with_line(3, "Sec-WebSocket-Version: 8")), Some(Refusal::Version));
    assert_eq!(refusal(&with_line(3, "X-Other: 1")), Some(Refusal::Version));
    assert_eq!(refusal(&with_extra("Sec-WebSocket-Version: 13")), Some(Refusal::Version));
}

#[test]
fn a_key_must_be_16_bytes_in_base64_and_there_once() {
    for key in ["", "dGhlIHNhbXBsZQ==", "dGhlIHNhbXBsZSBub25jZQ=A", "dGhlIHNhbXBsZSBub25j!Q==", "AAAA"] {
        let text = with_line(4, &format!("Sec-WebSocket-Key: {key}"));
        assert_eq!(refusal(&text), Some(Refusal::BadRequest(Fault::Key)), "{key}");
    }
    assert_eq!(refusal(&with_line(4, "X-Other: 1")), Some(Refusal::BadRequest(Fault::Key)));
    assert_eq!(refusal(&with_extra(GOOD[4])), Some(Refusal::BadRequest(Fault::Key)));
}

#[test]
fn a_request_that_announces_a_body_is_refused() {
    assert_eq!(refusal(&with_extra("Content-Length: 1")), Some(Refusal::BadRequest(Fault::Body)));
    assert_eq!(refusal(&with_extra("Transfer-Encoding: chunked")), Some(Refusal::BadRequest(Fault::Body)));
    assert_eq!(refusal(&with_extra("Content-Length: 0")), None);
}

#[test]
fn several_origins_are_refused() {
    let two = request_of(&[&GOOD[..], &["Origin: http://a", "Origin: http://b"]].concat());
    assert_eq!(refusal(&two), Some(Refusal::BadRequest(Fault::OriginHeader)));
}

#[test]
fn a_head_over_the_limit_gets_431_whether_complete_or_not() {
    let filler = format!("X-Filler: {}", "a".repeat(UPGRADE_BYTES_MAX));
    let text = with_extra(&filler);
    assert_eq!(refusal(&text), Some(Refusal::TooLong));
    assert_eq!(parse(&text.as_bytes()[..UPGRADE_BYTES_MAX - 1]), Ok(None));
    assert_eq!(parse(&text.as_bytes()[..UPGRADE_BYTES_MAX]), Err(Refusal::TooLong));
    let bad_beyond = format!("{}\0", &text[..UPGRADE_BYTES_MAX]);
    assert_eq!(refusal(&bad_beyond), Some(Refusal::TooLong), "bytes beyond the limit do not matter");
    let many = request_of(&["X: 1"; HEADERS_MAX + 1]);
    assert_eq!(refusal(&many), Some(Refusal::TooLong));
}

#[test]
fn a_head_of_exactly_the_limit_is_taken() {
    let bare = with_extra("X-Filler: ").len();
    let text = with_extra(&format!("X-Filler: {}", "a".repeat(UPGRADE_BYTES_MAX - bare)));
    assert_eq!(text.len(), UPGRADE_BYTES_MAX);
    assert_eq!(refusal(&text), None);
}

#[test]
fn an_absolute_target_loses_its_authority_and_other_forms_are_refused() {
    let target = |target: &str| request_of(&GOOD).replace("/chat?cf_protocol=json&x", target);
    let text = target("http://h:1/a/b?c=d?e");
    assert_eq!((parsed(&text).path, parsed(&text).query), ("/a/b", "c=d?e"));
    let text = target("ws://h");
    assert_eq!((parsed(&text).path, parsed(&text).query), ("/", ""));
    let text = target("ws://h?q");
    assert_eq!((parsed(&text).path, parsed(&text).query), ("/", "q"));
    assert_eq!(refusal(&target("*")), Some(Refusal::BadRequest(Fault::Target)));
    assert_eq!(refusal(&target("ftp://h/")), Some(Refusal::BadRequest(Fault::Target)));
}

#[test]
fn the_clients_first_known_protocol_is_selected() {
    let supported = ["centrifuge-json", "centrifuge-protobuf"];
    let select = |line: &str| select_protocol(&parsed(&with_extra(line)), &supported);
    assert_eq!(select("X-Other: 1"), None);
    assert_eq!(select("Sec-WebSocket-Protocol: mqtt, soap"), None);
    assert_eq!(select("Sec-WebSocket-Protocol: mqtt,centrifuge-json"), Some("centrifuge-json"));
    let both = "Sec-WebSocket-Protocol: centrifuge-protobuf\r\nSec-WebSocket-Protocol: centrifuge-json";
    assert_eq!(select(both), Some("centrifuge-protobuf"));
}

#[test]
fn protocols_on_too_many_lines_are_refused() {
    let lines = ["Sec-WebSocket-Protocol: a"; PROTOCOL_LINES_MAX + 1].join("\r\n");
    assert_eq!(refusal(&with_extra(&lines)), Some(Refusal::BadRequest(Fault::Protocols)));
}

#[test]
fn query_values_are_found_by_their_whole_name() {
    assert_eq!(query_value("xformat=a&format=protobuf&format=json", "format"), Some("protobuf"));
    assert_eq!(query_value("a&b=", "a"), Some(""));
    assert_eq!(query_value("a&b=", "b"), Some(""));
    assert_eq!(query_value("a=1", "b"), None);
    assert_eq!(query_value("", "b"), None);
}

#[test]
fn the_response_carries_the_accept_key_of_the_rfc_example() {
    let mut out = Vec::new();
    write_response(&mut out, "dGhlIHNhbXBsZSBub25jZQ==", Some("centrifuge-json"));
    let text = String::from_utf8(out).expect("a response is text");
    assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
    assert!(text.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{text}");
    assert!(text.ends_with("\r\nSec-WebSocket-Protocol: centrifuge-json\r\n\r\n"), "{text}");
    let mut out = Vec::new();
    write_response(&mut out, "dGhlIHNhbXBsZSBub25jZQ==", None);
    let text = String::from_utf8(out).expect("a response is text");
    assert!(text.ends_with("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"), "{text}");
}
