//! Unmasking in place, beside simpler ways to do it and a copy of the same bytes.

use std::hint::black_box;

use throng::wire::mask;

use crate::bench::{Bench, bytes};

const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// Where "aligned" payloads begin: a cache line.
const LINE_BYTES: usize = 64;

/// A payload whose first byte lies `offset` bytes behind the start of a cache line.
struct Payload {
    buffer: Vec<u8>,
    start: usize,
    bytes: usize,
}

impl Payload {
    fn new(bytes: usize, offset: usize) -> Self {
        let buffer = vec![b'a'; bytes + 2 * LINE_BYTES];
        let start = buffer.as_ptr().align_offset(LINE_BYTES) + offset;
        Payload { buffer, start, bytes }
    }

    fn bytes(&mut self) -> &mut [u8] {
        black_box(&mut self.buffer[self.start..self.start + self.bytes])
    }
}

/// The definition (RFC 6455 §5.3), which the compiler vectorizes as it can.
#[inline(never)]
fn byte_by_byte(payload: &mut [u8], mask: [u8; 4]) {
    for (index, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[index % 4];
    }
}

/// Words of 8 bytes, then bytes.
#[inline(never)]
fn by_words(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, tail) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    byte_by_byte(tail, mask);
}

/// Runs the benches of this noun.
pub fn run(bench: &mut Bench) {
    // 6 bytes of header lie before a short payload, 8 before one of 126 B to 64 KiB.
    for (where_, offset) in [("aligned", 0), ("7 B off", 7)] {
        for (name, size) in [("16 B", 16), ("125 B", 125), ("4 KiB", 4096), ("64 KiB", 65_536)] {
            let payload = Payload::new(size, offset);
            bench.work("unmask", format!("{name} {where_}"), bytes(size), payload, |payload| {
                mask::apply(payload.bytes(), black_box(MASK), 0);
            });
        }
    }
    for (name, size) in [("16 B", 16), ("125 B", 125), ("4 KiB", 4096), ("64 KiB", 65_536)] {
        let group = "unmask compared";
        let payload = Payload::new(size, 0);
        bench.work(group, format!("{name} byte by byte"), bytes(size), payload, |payload| {
            byte_by_byte(payload.bytes(), black_box(MASK));
        });
        let payload = Payload::new(size, 0);
        bench.work(group, format!("{name} by words of 8 B"), bytes(size), payload, |payload| {
            by_words(payload.bytes(), black_box(MASK));
        });
        let payloads = (Payload::new(size, 0), Payload::new(size, 0));
        bench.work(group, format!("{name} only copied"), bytes(size), payloads, |(from, to)| {
            to.bytes().copy_from_slice(from.bytes());
        });
    }
}
