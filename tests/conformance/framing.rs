//! Sections 1 to 4: whole messages of every length form, pings, reserved bits, opcodes, and the
//! rules for headers that the suite leaves out.

use crate::echo::Echo;
use crate::peer::{BINARY, PING, PONG, Seen, TEXT, close, first, frame, frame_of, text};

#[test]
fn messages_at_the_edges_of_each_length_form_come_back_whole_or_chopped() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
        let payload = "*".repeat(length);
        peer.send(&frame(TEXT, payload.as_bytes()));
        assert_eq!(peer.next(), text(&payload));
        let payload = vec![0xfe; length];
        peer.send(&frame(BINARY, &payload));
        assert_eq!(peer.next(), Seen::Binary(payload));
    }
    peer.send_chopped(&frame(TEXT, "*".repeat(65_536).as_bytes()), 997);
    assert_eq!(peer.next(), text(&"*".repeat(65_536)));
    peer.send_chopped(&frame(BINARY, &[0xfe; 300]), 1);
    assert_eq!(peer.next(), Seen::Binary(vec![0xfe; 300]));
    peer.leave();
}

#[test]
fn a_ping_of_up_to_125_bytes_is_answered_with_the_same_payload() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    for payload in [b"".as_slice(), b"Hello, world!", &[0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb], &[0xfe; 125]] {
        peer.send(&frame(PING, payload));
        assert_eq!(peer.next(), Seen::Pong(payload.to_vec()));
        peer.send_chopped(&frame(PING, payload), 1);
        assert_eq!(peer.next(), Seen::Pong(payload.to_vec()));
    }
    peer.send(&frame(PING, &[0xfe; 126]));
    peer.must_fail_with(1002);
}

#[test]
fn an_unasked_pong_means_nothing() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    peer.send(&[frame(PONG, b""), frame(PONG, b"unsolicited"), frame(PING, b"asked")].concat());
    assert_eq!(peer.next(), Seen::Pong(b"asked".to_vec()));
    peer.leave();
}

#[test]
fn ten_pings_at_once_are_answered_in_their_order() {
    let echo = Echo::start();
    let pings: Vec<_> = (0..10).map(|number| format!("payload-{number}")).collect();
    let bytes: Vec<_> = pings.iter().flat_map(|payload| frame(PING, payload.as_bytes())).collect();
    for size in [bytes.len(), 1] {
        let mut peer = echo.connect();
        peer.send_chopped(&bytes, size);
        for payload in &pings {
            assert_eq!(peer.next(), Seen::Pong(payload.clone().into_bytes()));
        }
        peer.leave();
    }
}

#[test]
fn a_reserved_bit_fails_the_connection_behind_what_was_right() {
    let echo = Echo::start();
    for reserved in 1..=7 {
        let mut peer = echo.connect();
        let bad = frame_of(first(true, reserved, TEXT), b"Hello, world!");
        peer.send(&[frame(TEXT, b"good"), bad, frame(PING, b"")].concat());
        assert_eq!(peer.next(), text("good"));
        peer.must_fail_with(1002);
    }
    for opcode in [BINARY, PING, PONG, 0x8] {
        let mut peer = echo.connect();
        peer.send(&frame_of(first(true, 4, opcode), b""));
        peer.must_fail_with(1002);
    }
}

#[test]
fn an_opcode_that_no_rfc_defines_fails_the_connection() {
    let echo = Echo::start();
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        let mut peer = echo.connect();
        peer.send(&[frame(TEXT, b"good"), frame(opcode, b"bad"), frame(PING, b"")].concat());
        assert_eq!(peer.next(), text("good"));
        peer.must_fail_with(1002);
    }
}

#[test]
fn an_unmasked_frame_fails_the_connection() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    peer.send(&[first(true, 0, TEXT), 2, b'h', b'i']);
    peer.must_fail_with(1002);
}

#[test]
fn a_length_not_in_its_shortest_form_or_of_64_bits_fails_the_connection() {
    let echo = Echo::start();
    let lengths: [&[u8]; 5] = [
        &[0x80 | 126, 0, 5],
        &[0x80 | 126, 0, 125],
        &[0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 5],
        &[0x80 | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        &[0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
    ];
    for length in lengths {
        let mut peer = echo.connect();
        peer.send(&[first(true, 0, BINARY)]);
        peer.send(length);
        peer.must_fail_with(1002);
    }
}

#[test]
fn a_message_longer_than_the_server_takes_is_refused_at_its_header() {
    let echo = Echo::start();
    for length in [64 * 1024 * 1024 + 1, u64::MAX >> 1] {
        let mut peer = echo.connect();
        peer.send(&[first(true, 0, BINARY), 0x80 | 127]);
        peer.send(&length.to_be_bytes());
        peer.send(&[1, 2, 3, 4]);
        peer.must_fail_with(1009);
    }
}

#[test]
fn what_comes_behind_a_bad_frame_is_not_looked_at() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    peer.send(&[frame(0xb, b""), frame(TEXT, b"no echo"), close(1000)].concat());
    assert_eq!(peer.next(), Seen::Close(Some(1002)));
    assert_eq!(peer.next(), Seen::End);
}
