//! Frame headers, and whole messages as the decoder of one connection gives them out.

use std::hint::black_box;

use throng::conn::Inbound;
use throng::wire::{Control, Data, OpCode, frame};

use crate::bench::{Bench, bytes};

const TEXT: OpCode = OpCode::Data(Data::Text);
const PING: OpCode = OpCode::Control(Control::Ping);

fn client_frame(opcode: OpCode, payload_bytes: usize, mask: [u8; 4]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame::write_client_frame(&mut frame, opcode, &vec![b'a'; payload_bytes], mask);
    frame
}

/// Runs the benches of this noun.
pub fn run(bench: &mut Bench) {
    let kinds = [
        ("text of 64 B", TEXT, 64),
        ("text of 1 KiB", TEXT, 1024),
        ("text of 64 KiB", TEXT, 65_536),
        ("ping", PING, 0),
    ];
    for (name, opcode, payload_bytes) in kinds {
        let frame = client_frame(opcode, payload_bytes, [1, 2, 3, 4]);
        bench.work("header parse", name, None, frame, |frame| frame::parse_header(black_box(frame)));
    }
    let cut = client_frame(TEXT, 1024, [1, 2, 3, 4])[..3].to_vec();
    bench.work("header parse", "incomplete", None, cut, |cut| frame::parse_header(black_box(cut)));

    for payload_bytes in [64, 1024] {
        // A mask of zeros leaves the text as it is, so that the same frame can be decoded again and again.
        let frame = client_frame(TEXT, payload_bytes, [0; 4]);
        let state = (Inbound::default(), frame);
        let name = format!("header, unmask and UTF-8 of {payload_bytes} B");
        bench.work("message in", name, bytes(payload_bytes), state, |(inbound, frame)| {
            let (taken, event) = inbound.next(black_box(frame), 65_536).expect("legal");
            black_box(event).is_some().then_some(taken)
        });
    }
}
