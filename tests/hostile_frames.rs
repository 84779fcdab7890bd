//! Frames that break RFC 6455 or come as close to it as is allowed: each ends with the code that the
//! RFC names and is counted, and harms nobody.

pub mod common;
pub mod hostile;

use common::Server;
use hostile::{CLOSE, Neighbour, PING, Raw, TEXT, close, header, masked, text};

/// Longest message that the server takes, by default.
const MESSAGE_BYTES_MAX: usize = 65_536;

/// A text frame that another will continue.
fn beginning(payload: &[u8]) -> Vec<u8> {
    masked(0x01, payload)
}

/// A continuation frame, the last of its message or not.
fn continuation(is_last: bool, payload: &[u8]) -> Vec<u8> {
    masked(if is_last { 0x80 } else { 0x00 }, payload)
}

/// Checks that `bytes` end a connection with exactly one close frame, which has `code`, and that it
/// is counted; also when more comes behind them, and when the peer shuts its side.
#[track_caller]
fn check_closed(server: &Server, bytes: &[u8], code: u16) {
    let before = server.metrics().closes(code);
    let mut plain = Raw::upgraded(server);
    plain.send(bytes);
    let mut followed = Raw::upgraded(server);
    followed.send([bytes, &text(r#"{"id":1,"connect":{}}"#), &close(1000)].concat());
    let mut shut = Raw::upgraded(server);
    shut.send_last(bytes);
    for mut raw in [plain, followed, shut] {
        let reason = raw.expect_close(code);
        assert!(!reason.is_empty(), "an SDK looks at a code only if there is a reason");
        raw.expect_end();
    }
    assert_eq!(server.metrics().closes(code), before + 3, "{code} is not counted");
}

#[test]
fn a_frame_that_breaks_the_rfc_is_closed_with_1002() {
    let server = Server::start("");
    let mut neighbour = Neighbour::of(&server);
    let mut cases: Vec<Vec<u8>> = vec![
        // Unmasked, and no byte more than what shows it.
        vec![TEXT, 0x05],
        b"\x81\x05hello".to_vec(),
        // Control frames: fragmented, and longer than 125 bytes.
        masked(0x09, b"ping"),
        masked(0x08, b""),
        header(PING, 126),
        header(CLOSE, 65_536),
        masked(0x8a, &[b'p'; 126]),
        // Lengths that are not in their shortest form, and 2^63 and more.
        b"\x82\xfe\x00\x7d".to_vec(),
        b"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff".to_vec(),
        b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00".to_vec(),
        b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0".to_vec(),
        // Fragments without a beginning, and a beginning inside a message.
        continuation(false, b"x"),
        continuation(true, b""),
        [beginning(b"x"), text("y")].concat(),
        [beginning(b"x"), masked(0x82, b"y")].concat(),
        [beginning(b"x"), masked(0x02, b"y")].concat(),
        // A close frame of one byte.
        masked(CLOSE, b"\x03"),
    ];
    cases.extend([0x40, 0x20, 0x10].map(|reserved| masked(TEXT | reserved, b"{}")));
    cases.extend([3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map(|opcode| masked(0x80 | opcode, b"")));
    let bad_codes = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
    cases.extend(bad_codes.map(close));
    for bytes in cases {
        check_closed(&server, &bytes, 1002);
        neighbour.is_served();
    }
}

#[test]
fn text_that_is_not_utf8_is_closed_with_1007_at_its_first_bad_byte() {
    let server = Server::start("");
    let mut neighbour = Neighbour::of(&server);
    let incomplete = |payload: &[u8]| {
        let whole = masked(TEXT, &[payload, &[b'x'; 1_000]].concat());
        whole[..whole.len() - 1_000].to_vec()
    };
    let cases = [
        masked(TEXT, b"\xff"),
        // A surrogate, an overlong form, a code point above U+10FFFF, and a cut character.
        masked(TEXT, b"\xed\xa0\x80"),
        masked(TEXT, b"\xc0\xaf"),
        masked(TEXT, b"\xf4\x90\x80\x80"),
        masked(TEXT, "κόσμ\u{3b5}".as_bytes().split_last().unwrap().1),
        // The bad byte in a later fragment, and a character cut by fragments that goes wrong.
        [beginning(b"good"), continuation(false, b"bad\xfe")].concat(),
        [beginning(b"\xe2\x82"), continuation(false, b""), continuation(false, b"x")].concat(),
        [beginning(b"\xf4"), continuation(false, b"\x90")].concat(),
        [beginning(b"\xe2"), masked(PING, b""), continuation(true, b"\x82")].concat(),
        // In frames that never become complete: nothing can save the text any more.
        incomplete(b"\xff"),
        incomplete(b"good \xf4\x90"),
        [beginning(b"\xf0\x9f"), header(0x80, 500), vec![0; 4], vec![b'x']].concat(),
        // The reason of a close frame is text too.
        masked(CLOSE, b"\x03\xe8bad \xff"),
    ];
    for bytes in cases {
        // A ping inside a message is answered before the message goes wrong.
        if bytes.windows(2).any(|window| window == [PING, 0x80]) {
            let mut raw = Raw::upgraded(&server);
            raw.send(&bytes);
            assert_eq!(raw.next_frame(), Some((10, Vec::new())));
            raw.expect_close(1007);
            raw.expect_end();
        } else {
            check_closed(&server, &bytes, 1007);
        }
        neighbour.is_served();
    }
}

#[test]
fn a_message_over_the_limit_is_closed_with_1009_at_the_header_that_shows_it() {
    let server = Server::start("");
    let mut neighbour = Neighbour::of(&server);
    let cases = [
        header(TEXT, MESSAGE_BYTES_MAX + 1),
        header(0x82, usize::MAX / 2),
        text(&" ".repeat(MESSAGE_BYTES_MAX + 1)),
        [beginning(&[b' '; 60_000]), header(0x00, 5_537)].concat(),
        [beginning(&[b' '; MESSAGE_BYTES_MAX]), continuation(true, b" ")].concat(),
    ];
    for mut bytes in cases {
        // A header is judged with its mask.
        bytes.extend([0; 4]);
        check_closed(&server, &bytes, 1009);
        neighbour.is_served();
    }
}

#[test]
fn endless_fragments_end_at_the_message_limit() {
    let server = Server::start("");
    let mut raw = Raw::upgraded(&server);
    raw.send(beginning(&[b' '; 1_024]));
    for _ in 1..MESSAGE_BYTES_MAX / 1_024 {
        raw.send(continuation(false, &[b' '; 1_024]));
    }
    // The message is as long as it may be, and one byte more is too long.
    raw.send(continuation(false, b"").repeat(1_000));
    raw.send(continuation(false, b" "));
    raw.expect_close(1009);
}

#[test]
fn a_message_of_65536_fragments_is_one_message() {
    let server = Server::start("");
    let mut neighbour = Neighbour::of(&server);
    let connect = r#"{"id":1,"connect":{}}"#.to_owned() + &" ".repeat(MESSAGE_BYTES_MAX - 21);
    let mut bytes = Vec::new();
    for (index, byte) in connect.bytes().enumerate() {
        match index {
            0 => bytes.extend(beginning(&[byte])),
            65_535 => bytes.extend(continuation(true, &[byte])),
            _ => bytes.extend(continuation(false, &[byte])),
        }
    }
    let mut raw = Raw::upgraded(&server);
    raw.send(bytes);
    assert!(raw.reply().starts_with(r#"{"id":1,"connect":{"#));
    assert_eq!(server.metric("throng_messages_in_total"), 3, "two of the neighbour and one");
    neighbour.is_served();
}

#[test]
fn empty_fragments_cost_nothing_and_the_message_still_counts() {
    let server = Server::start("");
    let mut raw = Raw::upgraded(&server);
    raw.send(beginning(b""));
    raw.send(continuation(false, b"").repeat(100_000));
    raw.send(continuation(true, br#"{"id":1,"connect":{}}"#));
    assert!(raw.reply().starts_with(r#"{"id":1,"connect":{"#));
}

#[test]
fn control_frames_between_fragments_are_answered_in_their_place() {
    let server = Server::start("");
    let mut raw = Raw::upgraded(&server);
    raw.send(beginning(br#"{"id":1,"#));
    raw.send(masked(PING, b"one"));
    assert_eq!(raw.next_frame(), Some((10, b"one".to_vec())));
    raw.send([masked(0x8a, b"unasked"), continuation(false, br#""connect":"#)].concat());
    raw.send([masked(PING, &[b'x'; 125]), continuation(true, b"{}}")].concat());
    assert_eq!(raw.next_frame(), Some((10, vec![b'x'; 125])));
    assert!(raw.reply().starts_with(r#"{"id":1,"connect":{"#));
    // A close frame between fragments ends the message that will never be whole.
    raw.send([beginning(br#"{"id":2,"#), close(1001), continuation(true, b"}")].concat());
    assert_eq!(raw.next_frame(), Some((8, vec![0x03, 0xe9])));
    raw.expect_end();
}

#[test]
fn the_peers_close_is_answered_with_its_own_code_and_counted() {
    let server = Server::start("");
    let mut neighbour = Neighbour::of(&server);
    // The codes of RFC 6455 and the client protocol's are counted apart, others under 0.
    let cases = [(1000, 1000), (1001, 1001), (1003, 1003), (1011, 1011), (3000, 3000), (3999, 0), (4999, 0)];
    for (code, counted) in cases {
        let before = server.metrics().closes(counted);
        let mut with_reason = Raw::upgraded(&server);
        with_reason.send(masked(CLOSE, &[&u16::to_be_bytes(code)[..], "bye κόσμε".as_bytes()].concat()));
        let mut shut = Raw::upgraded(&server);
        shut.send_last(close(code));
        for mut raw in [with_reason, shut] {
            assert_eq!(raw.next_frame(), Some((8, code.to_be_bytes().to_vec())));
            raw.expect_end();
        }
        assert_eq!(server.metrics().closes(counted), before + 2, "{code}");
    }
    let mut raw = Raw::upgraded(&server);
    raw.send(masked(CLOSE, b""));
    assert_eq!(raw.next_frame(), Some((8, Vec::new())), "a close without a code is answered by one");
    raw.expect_end();
    assert_eq!(server.metrics().closes(1005), 1);
    neighbour.is_served();
}

#[test]
fn nothing_behind_a_close_frame_is_read() {
    let server = Server::start("");
    let mut neighbour = Neighbour::of(&server);
    let publish = text(r#"{"id":2,"publish":{"channel":"neighbours","data":"late"}}"#);
    let mut theirs = Raw::connected(&server);
    theirs.send([close(1000), publish.clone(), masked(PING, b"late")].concat());
    assert_eq!(theirs.next_frame(), Some((8, vec![0x03, 0xe8])));
    theirs.expect_end();
    // The same behind the server's own close frame, until the peer's comes.
    let mut ours = Raw::connected(&server);
    ours.send([text("nonsense"), publish, masked(PING, b"late")].concat());
    assert_eq!(ours.expect_close(3501), "bad request");
    ours.send(close(3501));
    ours.expect_end();
    neighbour.is_served();
    assert_eq!(server.metrics().closes(1006), 0);
}

#[test]
fn a_peer_that_does_not_answer_a_close_frame_is_closed_after_the_close_timeout() {
    let server = Server::start("limits.close_timeout_ms = 200");
    for (bytes, code) in [(text("nonsense"), 3501), (b"\x81\x05hello".to_vec(), 1002)] {
        let mut raw = Raw::upgraded(&server);
        raw.send(bytes);
        raw.expect_close(code);
        raw.expect_end();
        server.wait_for("the connection gone", |metrics| metrics.sum("throng_connections") == 0);
    }
}

#[test]
fn resets_and_ends_in_the_middle_of_a_frame_are_counted_1006_and_leave_nothing_behind() {
    let server = Server::start("");
    let mut neighbour = Neighbour::of(&server);
    let whole = text(r#"{"id":2,"subscribe":{"channel":"neighbours"}}"#);
    let cuts = [0, 1, 2, 5, 6, whole.len() - 1, whole.len()];
    for cut in cuts {
        let mut reset = Raw::connected(&server);
        reset.send(&whole[..cut]);
        reset.reset();
        let mut shut = Raw::connected(&server);
        shut.send_last(&whole[..cut]);
        while shut.next_frame().is_some() {}
        neighbour.is_served();
    }
    let metrics = server.wait_for("only the neighbour left", |metrics| {
        metrics.closes(1006) == 2 * cuts.len() as u64 && metrics.sum("throng_connections") == 1
    });
    assert_eq!(metrics.sum("throng_backlog_bytes"), 0);
    neighbour.is_served();
}

#[test]
fn a_ping_flood_is_answered_ping_by_ping() {
    let server = Server::start("");
    let mut raw = Raw::upgraded(&server);
    for round in 0..20_u8 {
        raw.send(masked(PING, &[round]).repeat(500));
        for _ in 0..500 {
            assert_eq!(raw.next_frame(), Some((10, vec![round])));
        }
    }
    raw.send(close(1000));
    assert_eq!(raw.next_frame(), Some((8, vec![0x03, 0xe8])));
}
