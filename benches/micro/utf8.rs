//! UTF-8 of whole texts and of texts in fragments, beside std's check of the same bytes.

use std::hint::black_box;

use throng::wire::utf8::Utf8Stream;

use crate::bench::{Bench, bytes};

/// Length of a fragment; not a multiple of 3, so that most cuts are inside a character.
const FRAGMENT_BYTES: usize = 100;

/// At most `size` bytes of `character`, and no part of one.
fn text(character: &str, size: usize) -> Vec<u8> {
    character.repeat(size / character.len()).into_bytes()
}

fn is_valid(pieces: &[&[u8]]) -> bool {
    let mut stream = Utf8Stream::default();
    pieces.iter().all(|piece| stream.push(piece).is_ok()) && stream.finish().is_ok()
}

/// Runs the benches of this noun.
pub fn run(bench: &mut Bench) {
    for (kind, character) in [("ASCII", "a"), ("3-byte", "あ")] {
        for size in [16, 32, 64, 125, 4096, 65_536] {
            let whole = text(character, size);
            let throughput = || bytes(whole.len());
            bench.work("utf8", format!("{kind} {size} B"), throughput(), &whole, |whole| {
                is_valid(black_box(&[whole]))
            });
            bench.work("utf8 compared", format!("{kind} {size} B by std"), throughput(), &whole, |whole| {
                std::str::from_utf8(black_box(whole)).is_ok()
            });
        }
        let whole = text(character, 4096);
        let pieces: Vec<_> = whole.chunks(FRAGMENT_BYTES).collect();
        let name = format!("{kind} 4096 B in fragments of {FRAGMENT_BYTES} B");
        bench.work("utf8", name, bytes(whole.len()), pieces, |pieces| is_valid(black_box(pieces)));
    }
}
