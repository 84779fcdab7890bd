//! Sections 9 and 10: messages of up to 16 MiB, in up to 65,536 fragments, in small writes, and many
//! in a row.

use crate::echo::Echo;
use crate::peer::{BINARY, Peer, Seen, TEXT, frame, in_parts, text};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Bytes without a short period, so that a piece in the wrong place shows.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as u8
    });
    next.take(length).collect()
}

/// Text of `length` bytes with characters of one to three bytes.
fn prose(length: usize) -> String {
    let mut text = "Grüße, κόσμε, 世界. ".repeat(length / 20);
    while text.len() > length {
        text.pop();
    }
    while text.len() < length {
        text.push('.');
    }
    text
}

fn echoes_text(peer: &mut Peer, bytes: &[u8], payload: &str) {
    peer.send(bytes);
    // Not assert_eq: nobody wants to read 16 MiB twice.
    assert!(peer.next() == text(payload), "text of {} bytes", payload.len());
}

fn echoes_binary(peer: &mut Peer, bytes: &[u8], payload: &[u8]) {
    peer.send(bytes);
    assert!(peer.next() == Seen::Binary(payload.to_vec()), "{} bytes", payload.len());
}

#[test]
fn messages_of_64_kib_to_16_mib_come_back() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    for length in [64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB] {
        let payload = prose(length);
        echoes_text(&mut peer, &frame(TEXT, payload.as_bytes()), &payload);
        let payload = noise(length);
        echoes_binary(&mut peer, &frame(BINARY, &payload), &payload);
    }
    peer.leave();
}

#[test]
fn four_mib_come_back_from_fragments_of_any_size() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    let (words, bytes) = (prose(4 * MIB), noise(4 * MIB));
    for part_bytes in [64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB] {
        echoes_text(&mut peer, &in_parts(TEXT, words.as_bytes(), part_bytes), &words);
        echoes_binary(&mut peer, &in_parts(BINARY, &bytes, part_bytes), &bytes);
    }
    peer.leave();
}

#[test]
fn a_mib_comes_back_from_writes_of_any_size() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    let (words, bytes) = (prose(MIB), noise(MIB));
    for size in [64, 128, 256, 512, KIB, 2 * KIB] {
        peer.send_chopped(&frame(TEXT, words.as_bytes()), size);
        assert!(peer.next() == text(&words), "writes of {size} bytes");
        peer.send_chopped(&frame(BINARY, &bytes), size);
        assert!(peer.next() == Seen::Binary(bytes.clone()), "writes of {size} bytes");
    }
    peer.leave();
}

#[test]
fn a_thousand_messages_in_a_row_come_back_in_their_order() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    for length in [0, 16, 64, 256, KIB, 4 * KIB] {
        for number in 0..1000 {
            let mut payload = noise(length);
            payload.iter_mut().take(2).zip([number as u8, (number >> 8) as u8]).for_each(|(a, b)| *a = b);
            echoes_binary(&mut peer, &frame(BINARY, &payload), &payload);
        }
    }
    peer.leave();
}

#[test]
fn a_thousand_messages_at_once_come_back_in_their_order() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    let messages: Vec<_> = (0..1000).map(|number| format!("message {number}")).collect();
    let bytes: Vec<_> = messages.iter().flat_map(|message| frame(TEXT, message.as_bytes())).collect();
    peer.send(&bytes);
    for message in &messages {
        assert_eq!(peer.next(), text(message));
    }
    peer.leave();
}

#[test]
fn a_message_cut_into_frames_of_1300_bytes_comes_back() {
    let echo = Echo::start();
    let mut peer = echo.connect();
    let payload = "*".repeat(64 * KIB);
    echoes_text(&mut peer, &in_parts(TEXT, payload.as_bytes(), 1300), &payload);
    peer.leave();
}
