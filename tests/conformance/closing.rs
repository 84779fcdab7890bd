//! Section 7: the closing handshake, its codes and its reasons.

use crate::echo::Echo;
use crate::peer::{CLOSE, CONTINUATION, PING, Seen, TEXT, close, frame, part, text};

/// A close frame with a reason.
fn close_with(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

#[test]
fn a_close_is_answered_with_its_own_code_and_then_the_connection_ends() {
    let echo = Echo::start();
    let standard = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011];
    for code in standard.into_iter().chain([3000, 3999, 4000, 4999]) {
        let mut peer = echo.connect();
        peer.send(&frame(TEXT, b"before"));
        assert_eq!(peer.next(), text("before"));
        peer.send(&close(code));
        assert_eq!(peer.next(), Seen::Close(Some(code)));
        assert_eq!(peer.next(), Seen::End);
    }
}

#[test]
fn a_close_without_a_code_is_answered_without_one() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    peer.send(&frame(CLOSE, b""));
    assert_eq!(peer.next(), Seen::Close(None));
    assert_eq!(peer.next(), Seen::End);
}

#[test]
fn a_reason_may_have_123_bytes_of_utf_8() {
    let echo = Echo::start();
    for reason in ["going", "κόσμε 𝄞", &"*".repeat(123)] {
        let mut peer = echo.connect();
        peer.send(&close_with(1000, reason.as_bytes()));
        assert_eq!(peer.next(), Seen::Close(Some(1000)));
        assert_eq!(peer.next(), Seen::End);
    }
}

#[test]
fn codes_that_must_not_be_sent_fail_the_connection() {
    let echo = Echo::start();
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        for frame in [close(code), close_with(code, b"reason")] {
            let mut peer = echo.connect();
            peer.send(&frame);
            peer.must_fail_with(1002);
        }
    }
}

#[test]
fn a_close_of_one_byte_or_of_126_fails_the_connection() {
    let echo = Echo::start();
    for frame in [frame(CLOSE, b"a"), close_with(1000, &[b'*'; 124])] {
        let mut peer = echo.connect();
        peer.send(&frame);
        peer.must_fail_with(1002);
    }
}

#[test]
fn a_reason_that_is_no_utf_8_fails_the_connection() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    peer.send(&close_with(1000, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"));
    peer.must_fail_with(1007);
}

#[test]
fn what_comes_behind_a_close_is_ignored() {
    let echo = Echo::start();
    for behind in [close(1000), frame(PING, b"ping"), frame(TEXT, b"text"), frame(0xb, b"nonsense")] {
        let mut peer = echo.connect();
        peer.send(&[close(1001), behind].concat());
        assert_eq!(peer.next(), Seen::Close(Some(1001)));
        assert_eq!(peer.next(), Seen::End);
    }
}

#[test]
fn a_close_inside_a_message_ends_it() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    peer.send(&[part(TEXT, b"fragment1"), close(1000), frame(CONTINUATION, b"fragment2")].concat());
    assert_eq!(peer.next(), Seen::Close(Some(1000)));
    assert_eq!(peer.next(), Seen::End);
}

#[test]
fn a_large_echo_is_written_out_before_the_close_is_answered() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    let payload = "BAsd7&jh23".repeat(26_214);
    peer.send(&[frame(TEXT, payload.as_bytes()), close(1000), frame(PING, b"")].concat());
    assert_eq!(peer.next(), Seen::Text(payload));
    assert_eq!(peer.next(), Seen::Close(Some(1000)));
    assert_eq!(peer.next(), Seen::End);
}
