//! Arbitrary bytes as a client's frames: the same events and the same error under any split, text
//! that is UTF-8, and memory that follows the bytes received.
//!
//! The first byte of the input is how many cuts follow (at most 15), each two bytes; the rest is
//! the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use throng::conn::inbound::{Event, Inbound};
use throng::wire::{ProtocolError, frame};

/// Longest message; small, so that the limit is reached.
const MESSAGE_BYTES_MAX: usize = 512;

/// What a decoder may hold besides the payload: its box.
const BOX_BYTES_MAX: usize = 512;

/// An event that outlives the bytes it was decoded from.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Message(bool, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Error(ProtocolError),
}

/// Decodes `bytes` in reads that end at the sorted `edges`, until the end or the first error.
fn decode(bytes: &[u8], edges: &[usize]) -> Vec<Seen> {
    let mut inbound = Inbound::default();
    let mut seen = Vec::new();
    for edge in edges.windows(2) {
        let mut read = bytes[edge[0]..edge[1]].to_vec();
        let (mut at, read_bytes) = (0, read.len());
        while at < read_bytes {
            match inbound.next(&mut read[at..], MESSAGE_BYTES_MAX) {
                Ok((used, event)) => {
                    at += used;
                    assert!(event.is_some() || at == read_bytes, "no event, and yet bytes are left");
                    seen.extend(event.map(own));
                }
                Err(error) => {
                    seen.push(Seen::Error(error));
                    return seen;
                }
            }
        }
        inbound.settle();
        assert!(inbound.held_bytes() <= BOX_BYTES_MAX + 2 * edge[1].min(MESSAGE_BYTES_MAX));
    }
    seen
}

fn own(event: Event<'_>) -> Seen {
    match event {
        Event::Message { text, payload } => {
            assert!(!text || std::str::from_utf8(payload).is_ok());
            assert!(payload.len() <= MESSAGE_BYTES_MAX);
            Seen::Message(text, payload.to_vec())
        }
        Event::Ping(payload) => Seen::Ping(payload.to_vec()),
        Event::Pong(payload) => Seen::Pong(payload.to_vec()),
        Event::Close { code, reason } => Seen::Close(code, reason.to_owned()),
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((count, rest)) = input.split_first() else { return };
    let count = usize::from(count % 16);
    let Some((cuts, bytes)) = rest.split_at_checked(2 * count) else { return };
    let cut = |pair: &[u8; 2]| usize::from(u16::from_le_bytes(*pair)) % (bytes.len() + 1);
    let mut edges: Vec<usize> = cuts.as_chunks::<2>().0.iter().map(cut).collect();
    edges.extend([0, bytes.len()]);
    edges.sort_unstable();

    let whole = decode(bytes, &[0, bytes.len()]);
    assert_eq!(decode(bytes, &edges), whole);
    let every_byte: Vec<usize> = (0..=bytes.len()).collect();
    assert_eq!(decode(bytes, &every_byte), whole);
    if let Ok(Some(header)) = frame::parse_server_header(bytes) {
        assert!(header.mask.is_none() && header.header_bytes <= bytes.len());
    }
});
