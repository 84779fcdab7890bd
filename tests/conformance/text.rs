//! Section 6: text is UTF-8, whole or cut anywhere, and bad text is refused at its first bad byte.

use crate::echo::Echo;
use crate::peer::{CONTINUATION, PING, Peer, Seen, TEXT, first, frame, in_parts, part, text};

/// Text with characters of one to four bytes.
const KOSME: &str = "Hello-µ@ßöäüàá-κόσμε-𝄞-UTF-8!!";

/// Valid text at the edges of what UTF-8 can say: first and last of each length, around the
/// surrogates, and noncharacters, which are valid (Unicode Corrigendum 9).
const EDGES: [u32; 30] = [
    0x0, 0x7f, 0x80, 0x7ff, 0x800, 0xfff, 0x1000, 0xd7ff, 0xe000, 0xfdd0, 0xfdef, 0xfeff, 0xfffd, 0xfffe,
    0xffff, 0x10000, 0x1fffe, 0x1ffff, 0x2fffe, 0x2ffff, 0x3fffe, 0x3ffff, 0x7ffff, 0xbfffe, 0xefffe,
    0xeffff, 0xffffe, 0x100000, 0x10fffe, 0x10ffff,
];

/// Sequences that are no UTF-8, each cut right behind the byte that shows it.
const BAD: [&[u8]; 40] = [
    // Continuation bytes without a start.
    &[0x80],
    &[0xbf],
    // Starts that nothing valid has: overlong forms of ASCII, and beyond U+10FFFF.
    &[0xc0],
    &[0xc1],
    &[0xf5],
    &[0xf7],
    &[0xf8],
    &[0xfb],
    &[0xfc],
    &[0xfd],
    &[0xfe],
    &[0xff],
    // Starts followed by something else than a continuation.
    &[0xc2, b' '],
    &[0xdf, 0xc2],
    &[0xe1, b' '],
    &[0xe1, 0x80, b' '],
    &[0xef, 0xbf, 0xc2],
    &[0xf1, b' '],
    &[0xf1, 0x80, b' '],
    &[0xf1, 0x80, 0x80, b' '],
    &[0xf4, 0x8f, 0xbf, 0xff],
    // Overlong forms.
    &[0xe0, 0x80],
    &[0xe0, 0x9f],
    &[0xf0, 0x80],
    &[0xf0, 0x8f],
    // Surrogates, single and in pairs.
    &[0xed, 0xa0],
    &[0xed, 0xad],
    &[0xed, 0xae],
    &[0xed, 0xaf],
    &[0xed, 0xb0],
    &[0xed, 0xbe],
    &[0xed, 0xbf],
    // Beyond U+10FFFF.
    &[0xf4, 0x90],
    &[0xf4, 0xbf],
    // The same behind good text.
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90",
    b"Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!\xf5",
    b"\xf4\x8f\xbf\xbf\xff",
    b"\x00\x80",
    b"\xef\xbf\xbe\xbf",
];

#[test]
fn text_comes_back_however_it_is_cut() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    for part_bytes in 1..=KOSME.len() {
        peer.send(&in_parts(TEXT, KOSME.as_bytes(), part_bytes));
        assert_eq!(peer.next(), text(KOSME));
    }
    peer.send_chopped(&frame(TEXT, KOSME.as_bytes()), 1);
    assert_eq!(peer.next(), text(KOSME));
    peer.leave();
}

#[test]
fn every_edge_of_utf_8_is_text() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    for point in EDGES {
        let character = char::from_u32(point).unwrap().to_string();
        peer.send(&frame(TEXT, character.as_bytes()));
        assert_eq!(peer.next(), text(&character), "U+{point:04X}");
        peer.send(&in_parts(TEXT, character.as_bytes(), 1));
        assert_eq!(peer.next(), text(&character), "U+{point:04X} in fragments");
    }
    peer.leave();
}

#[test]
fn bad_text_fails_the_connection_whole_in_fragments_and_chopped() {
    let echo = Echo::start();
    for bad in BAD {
        let longer = [bad, b"edited"].concat();
        for bytes in [frame(TEXT, &longer), in_parts(TEXT, &longer, 1), frame(TEXT, bad)] {
            for size in [bytes.len(), 1] {
                let mut peer = echo.connect();
                peer.send_chopped(&bytes, size);
                peer.must_fail_with(1007);
            }
        }
    }
}

#[test]
fn bad_text_is_refused_at_its_first_bad_byte_though_the_frame_goes_on() {
    let echo = Echo::start();
    for bad in BAD {
        let frame = frame(TEXT, &[bad, &[b'.'; 100]].concat());
        let header_bytes = frame.len() - bad.len() - 100;
        let mut peer = echo.connect();
        peer.send(&frame[..header_bytes + bad.len()]);
        peer.must_fail_with(1007);
    }
}

#[test]
fn bad_text_is_refused_at_its_first_bad_byte_though_the_message_goes_on() {
    let echo = Echo::start();
    for bad in BAD {
        let (last, before) = bad.split_last().unwrap();
        let mut peer = echo.connect();
        peer.send(&[part(TEXT, before), frame(PING, b"alive")].concat());
        assert_eq!(peer.next(), Seen::Pong(b"alive".to_vec()), "{before:x?} may still become text");
        peer.send(&part(CONTINUATION, &[*last]));
        peer.must_fail_with(1007);
    }
}

#[test]
fn text_that_ends_inside_a_character_fails_the_connection() {
    let echo = Echo::start();
    for character in ["µ", "€", "𝄞"] {
        for length in 1..character.len() {
            let bytes = &character.as_bytes()[..length];
            for message in [frame(TEXT, bytes), [part(TEXT, bytes), frame(CONTINUATION, b"")].concat()] {
                let mut peer = echo.connect();
                peer.send(&message);
                peer.must_fail_with(1007);
            }
        }
    }
}

#[test]
fn a_character_does_not_go_on_in_the_next_message() {
    let echo = Echo::start();
    let mut peer: Peer = echo.connect();
    let euro = "€".as_bytes();
    peer.send(&[frame(TEXT, &euro[..1]), frame(TEXT, &euro[1..])].concat());
    peer.must_fail_with(1007);
}

#[test]
fn binary_messages_may_hold_any_bytes() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    for bad in BAD {
        peer.send(&crate::peer::frame_of(first(true, 0, crate::peer::BINARY), bad));
        assert_eq!(peer.next(), Seen::Binary(bad.to_vec()));
    }
    peer.leave();
}
