//! The decoder's rules, one sequence of frames each. Arbitrary sequences and splits are in
//! `tests/wire_properties.rs`.

use super::*;
use crate::limits::MESSAGE_BYTES_MAX;
use crate::wire::frame::write_client_frame;

const CONTINUE: OpCode = OpCode::Data(Data::Continue);
const TEXT: OpCode = OpCode::Data(Data::Text);
const BINARY: OpCode = OpCode::Data(Data::Binary);
const PING: OpCode = OpCode::Control(Control::Ping);
const PONG: OpCode = OpCode::Control(Control::Pong);
const CLOSE: OpCode = OpCode::Control(Control::Close);

/// A masked frame with FIN.
fn last(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_client_frame(&mut out, opcode, payload, [0x1f, 0x2e, 0x3d, 0x4c]);
    out
}

/// A masked frame without FIN.
fn fragment(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut out = last(opcode, payload);
    out[0] &= 0x7f;
    out
}

/// Feeds `bytes` in reads of `read_bytes` and returns the events as text, then the error if any.
fn decode(bytes: &[u8], read_bytes: usize) -> Vec<String> {
    let mut inbound = Inbound::default();
    let mut seen = Vec::new();
    for read in bytes.to_vec().chunks_mut(read_bytes) {
        let mut at = 0;
        while at < read.len() {
            match inbound.next(&mut read[at..], MESSAGE_BYTES_MAX) {
                Ok((used, event)) => {
                    at += used;
                    match event {
                        Some(event) => seen.push(told(&event)),
                        None => assert_eq!(at, read.len(), "no event, and yet bytes are left"),
                    }
                }
                Err(error) => {
                    seen.push(format!("{error:?}"));
                    return seen;
                }
            }
        }
    }
    seen
}

fn told(event: &Event<'_>) -> String {
    match event {
        Event::Message { text: true, payload } => format!("text {}", payload.escape_ascii()),
        Event::Message { text: false, payload } => format!("binary {}", payload.escape_ascii()),
        Event::Ping(payload) => format!("ping {}", payload.escape_ascii()),
        Event::Pong(payload) => format!("pong {}", payload.escape_ascii()),
        Event::Close { code, reason } => format!("close {code:?} {reason}"),
    }
}

/// Asserts that `frames` give `expected`, whole and byte by byte.
fn assert_decodes(frames: &[Vec<u8>], expected: &[&str]) {
    let bytes = frames.concat();
    for read_bytes in [bytes.len(), 1, 3] {
        assert_eq!(decode(&bytes, read_bytes), expected, "in reads of {read_bytes} bytes");
    }
}

#[test]
fn frames_in_one_read_come_out_one_by_one() {
    let frames = [last(TEXT, b"hello"), last(BINARY, &[1, 2]), last(PONG, b"x"), last(TEXT, b"")];
    assert_decodes(&frames, &["text hello", r"binary \x01\x02", "pong x", "text "]);
}

#[test]
fn control_frames_come_between_fragments() {
    let frames = [
        fragment(TEXT, b"one "),
        last(PING, b"beat"),
        fragment(CONTINUE, b""),
        last(PONG, b""),
        last(CONTINUE, b"two"),
        last(CLOSE, &[0x03, 0xe8, b'b', b'y', b'e']),
    ];
    assert_decodes(&frames, &["ping beat", "pong ", "text one two", "close Some(1000) bye"]);
}

#[test]
fn a_whole_frame_leaves_nothing_held() {
    let mut inbound = Inbound::default();
    let mut bytes = last(TEXT, b"hello");
    let (used, event) = inbound.next(&mut bytes, MESSAGE_BYTES_MAX).expect("legal");
    assert!(used == 11 && event.is_some());
    assert!(inbound.0.is_none(), "a whole frame allocates nothing");
}

#[test]
fn a_box_is_freed_once_its_message_is_used() {
    let mut inbound = Inbound::default();
    let mut bytes = last(TEXT, b"hello");
    let (front, back) = bytes.split_at_mut(8);
    assert_eq!(inbound.next(front, MESSAGE_BYTES_MAX), Ok((8, None)));
    assert!(inbound.held_bytes() > 0);
    inbound.settle();
    assert!(inbound.held_bytes() > 0, "a partial frame is not idle");
    let (_, event) = inbound.next(back, MESSAGE_BYTES_MAX).expect("legal");
    assert_eq!(event.map(|event| told(&event)), Some("text hello".to_owned()));
    inbound.settle();
    assert_eq!(inbound.held_bytes(), 0);
}

#[test]
fn a_payload_after_a_cut_header_is_lent_where_it_lies() {
    let mut inbound = Inbound::default();
    let mut bytes = last(BINARY, &[7; 4096]);
    let (front, back) = bytes.split_at_mut(3);
    assert_eq!(inbound.next(front, MESSAGE_BYTES_MAX), Ok((3, None)));
    let held = inbound.held_bytes();
    assert!(matches!(inbound.next(back, MESSAGE_BYTES_MAX), Ok((_, Some(Event::Message { .. })))));
    assert_eq!(inbound.held_bytes(), held, "the payload was not copied");
}

#[test]
fn a_declared_length_allocates_nothing() {
    let mut inbound = Inbound::default();
    let mut bytes = last(BINARY, &[7; 60_000]);
    assert_eq!(inbound.next(&mut bytes[..100], MESSAGE_BYTES_MAX), Ok((100, None)));
    assert!(inbound.held_bytes() < 1024, "{}", inbound.held_bytes());
}

#[test]
fn a_big_message_is_held_in_no_more_than_its_own_length() {
    let payload_bytes = 1 << 20;
    let mut bytes = last(BINARY, &vec![7; payload_bytes]);
    let mut inbound = Inbound::default();
    let mut lengths = Vec::new();
    for read in bytes.chunks_mut(4096) {
        let read_bytes = read.len();
        let (used, event) = inbound.next(read, payload_bytes).expect("legal");
        assert_eq!(used, read_bytes);
        lengths.extend(event.map(|event| match event {
            Event::Message { payload, .. } => payload.len(),
            other => panic!("{other:?}"),
        }));
    }
    assert_eq!(lengths, [payload_bytes]);
    assert_eq!(inbound.held_bytes(), size_of::<Partial>() + payload_bytes);
}

#[test]
fn memory_follows_what_was_received() {
    let mut bytes = last(BINARY, &vec![7; MESSAGE_BYTES_MAX]);
    let mut inbound = Inbound::default();
    let mut received_bytes = 0;
    let before_the_end = bytes.len() - 1;
    for read in bytes[..before_the_end].chunks_mut(500) {
        received_bytes += read.len();
        inbound.next(read, MESSAGE_BYTES_MAX).expect("legal");
        assert!(inbound.held_bytes() <= size_of::<Partial>() + 2 * received_bytes);
    }
}

#[test]
fn many_tiny_fragments_make_one_message() {
    let count = 65_536;
    let mut bytes = fragment(BINARY, b"");
    for _ in 0..count {
        bytes.extend(fragment(CONTINUE, b"y"));
        bytes.extend(fragment(CONTINUE, b""));
    }
    bytes.extend(last(CONTINUE, b""));
    let seen = decode(&bytes, 16 * 1024);
    assert_eq!(seen, [format!("binary {}", "y".repeat(count))]);
}

#[test]
fn broken_fragmentation_is_refused() {
    assert_decodes(&[last(CONTINUE, b"x")], &["ContinuationWithoutStart"]);
    assert_decodes(&[fragment(TEXT, b"x"), last(TEXT, b"y")], &["MessageInsideMessage"]);
    assert_decodes(&[fragment(TEXT, b""), fragment(BINARY, b"y")], &["MessageInsideMessage"]);
    let after_the_end = [fragment(TEXT, b"a"), last(CONTINUE, b"b"), last(CONTINUE, b"c")];
    assert_decodes(&after_the_end, &["text ab", "ContinuationWithoutStart"]);
}

#[test]
fn a_message_over_the_limit_is_refused_at_its_header() {
    let whole = last(BINARY, &vec![0; MESSAGE_BYTES_MAX + 1]);
    assert_eq!(decode(&whole[..14], 14), ["MessageTooBig"]);
    assert_eq!(decode(&whole, whole.len()), ["MessageTooBig"]);
    let first = fragment(BINARY, &vec![0; MESSAGE_BYTES_MAX]);
    let header_only = &last(CONTINUE, b"x")[..6];
    assert_eq!(decode(&[&first[..], header_only].concat(), 4096), ["MessageTooBig"]);
    let exactly = [&first[..], &last(PING, b"beat"), &last(CONTINUE, b"")].concat();
    assert_eq!(decode(&exactly, 4096).len(), 2, "a ping counts for nothing");
    assert_eq!(ProtocolError::MessageTooBig.close_code(), 1009);
}

#[test]
fn bad_text_is_refused_before_its_frame_is_complete() {
    let frame = last(TEXT, b"\xce\xba\xf4\x90\x80\x80 and much more");
    let header_bytes = 6;
    assert_eq!(decode(&frame[..header_bytes + 3], 1), [""; 0]);
    assert_eq!(decode(&frame[..header_bytes + 4], 1), ["InvalidUtf8"]);
    assert_eq!(decode(&frame[..header_bytes + 4], 100), ["InvalidUtf8"]);
}

#[test]
fn a_character_may_be_cut_by_fragments_but_not_by_the_end() {
    let euro = "€".as_bytes();
    let frames = [fragment(TEXT, &euro[..1]), last(PING, b""), last(CONTINUE, &euro[1..])];
    assert_decodes(&frames, &["ping ", r"text \xe2\x82\xac"]);
    assert_decodes(&[last(TEXT, &euro[..2])], &["InvalidUtf8"]);
    assert_decodes(&[fragment(TEXT, &euro[..2]), last(CONTINUE, b"")], &["InvalidUtf8"]);
    assert_decodes(&[fragment(BINARY, &euro[..2]), last(CONTINUE, b"")], &[r"binary \xe2\x82"]);
}

#[test]
fn a_close_frame_is_judged_by_code_and_reason() {
    assert_decodes(&[last(CLOSE, b"")], &["close None "]);
    assert_decodes(&[last(CLOSE, &[3])], &["CloseTooShort"]);
    assert_decodes(&[last(CLOSE, &1005_u16.to_be_bytes())], &["CloseCodeInvalid"]);
    assert_decodes(&[last(CLOSE, &4999_u16.to_be_bytes())], &["close Some(4999) "]);
    assert_decodes(&[last(CLOSE, &[0x03, 0xe8, 0xce])], &["InvalidUtf8"]);
}

#[test]
fn the_longest_control_frame_survives_any_split() {
    let payload = [b'p'; CONTROL_PAYLOAD_BYTES_MAX];
    let expected = format!("ping {}", "p".repeat(CONTROL_PAYLOAD_BYTES_MAX));
    assert_decodes(&[last(PING, &payload), last(PING, b"")], &[&expected, "ping "]);
}
