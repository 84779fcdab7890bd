//! Section 5: messages in fragments, control frames between them, and fragments out of place.

use crate::echo::Echo;
use crate::peer::{BINARY, CONTINUATION, PING, PONG, Seen, TEXT, frame, in_parts, part, text};

#[test]
fn fragments_come_back_as_one_message() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    peer.send(&[part(TEXT, b"fragment1"), frame(CONTINUATION, b"fragment2")].concat());
    assert_eq!(peer.next(), text("fragment1fragment2"));
    let bytes = in_parts(TEXT, b"fragment1fragment2", 1);
    peer.send_chopped(&bytes, 1);
    assert_eq!(peer.next(), text("fragment1fragment2"));
    peer.send(&in_parts(BINARY, &[0xfe; 100], 7));
    assert_eq!(peer.next(), Seen::Binary(vec![0xfe; 100]));
    peer.leave();
}

#[test]
fn fragments_may_be_empty() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    let empty = [part(TEXT, b""), part(CONTINUATION, b""), frame(CONTINUATION, b"")].concat();
    peer.send(&empty);
    assert_eq!(peer.next(), text(""));
    let middle = [part(TEXT, b""), part(CONTINUATION, b"middle"), frame(CONTINUATION, b"")].concat();
    peer.send(&middle);
    assert_eq!(peer.next(), text("middle"));
    peer.leave();
}

#[test]
fn a_ping_between_fragments_is_answered_before_the_message_is_whole() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    for size in [usize::MAX, 1] {
        let bytes = [part(TEXT, b"one"), frame(PING, b"ping"), part(CONTINUATION, b"two")].concat();
        peer.send_chopped(&bytes, size);
        assert_eq!(peer.next(), Seen::Pong(b"ping".to_vec()));
        let bytes = [frame(PONG, b"pong"), frame(PING, b""), frame(CONTINUATION, b"three")].concat();
        peer.send_chopped(&bytes, size);
        assert_eq!(peer.next(), Seen::Pong(Vec::new()));
        assert_eq!(peer.next(), text("onetwothree"));
    }
    peer.leave();
}

#[test]
fn a_fragmented_ping_or_pong_fails_the_connection() {
    let echo = Echo::start();
    for opcode in [PING, PONG] {
        let mut peer = echo.connect();
        peer.send(&[part(opcode, b"fragment1"), frame(CONTINUATION, b"fragment2")].concat());
        peer.must_fail_with(1002);
    }
}

#[test]
fn a_continuation_of_nothing_fails_the_connection() {
    let echo = Echo::start();
    let starts: [Vec<u8>; 4] = [
        frame(CONTINUATION, b"nothing to continue"),
        part(CONTINUATION, b"nothing to continue"),
        [part(CONTINUATION, b""), frame(TEXT, b"text")].concat(),
        [frame(PING, b""), frame(CONTINUATION, b"")].concat(),
    ];
    for bytes in starts {
        let mut peer = echo.connect();
        let is_ping = bytes.starts_with(&frame(PING, b""));
        peer.send(&bytes);
        if is_ping {
            assert_eq!(peer.next(), Seen::Pong(Vec::new()));
        }
        peer.must_fail_with(1002);
    }
}

#[test]
fn a_finished_message_cannot_be_continued() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    let message = [part(TEXT, b"fragment1"), frame(CONTINUATION, b"fragment2")].concat();
    peer.send(&[message, frame(CONTINUATION, b"fragment3")].concat());
    assert_eq!(peer.next(), text("fragment1fragment2"));
    peer.must_fail_with(1002);
}

#[test]
fn a_message_begun_inside_another_fails_the_connection() {
    let echo = Echo::start();
    for second in [frame(TEXT, b"whole"), part(TEXT, b"first"), frame(BINARY, b"whole"), part(BINARY, b"")] {
        for opcode in [TEXT, BINARY] {
            let mut peer = echo.connect();
            peer.send(&[part(opcode, b"fragment"), second.clone()].concat());
            peer.must_fail_with(1002);
        }
    }
}
