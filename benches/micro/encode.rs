//! A publication becomes one frame that all members share.

use std::hint::black_box;

use throng::protocol::{ClientId, ClientInfo, push, quote};
use throng::shard::output::Output;
use throng::wire::{Data, OpCode, frame};

use crate::bench::{Bench, elements};

const TEXT: OpCode = OpCode::Data(Data::Text);

/// JSON data of exactly `size` bytes.
pub fn data(size: usize) -> String {
    let frame = r#"{"text":""}"#;
    frame.replace(r#""}"#, &format!(r#"{}"}}"#, "x".repeat(size - frame.len())))
}

/// Appends the push of a publication by a user with an id; `body` is a buffer for what it says.
pub fn publication(out: &mut Vec<u8>, body: &mut Vec<u8>, channel_json: &str, data: &str) {
    let client = ClientId::new([7; 16]);
    let info = ClientInfo { user: "user-4711", client, conn_info: None, chan_info: None };
    body.clear();
    push::body(body, data, Some(&info), None);
    push::publication(out, channel_json, body, 0);
}

/// Runs the benches of this noun.
pub fn run(bench: &mut Bench) {
    let channel_json = quote("chat:room-7");
    for (name, size) in [("64 B", 64), ("1 KiB", 1024)] {
        let state = (data(size), Vec::new(), Vec::new());
        bench.work("encode", format!("push of {name}"), elements(1), state, |(data, scratch, body)| {
            scratch.clear();
            publication(scratch, body, black_box(&channel_json), black_box(data));
        });
        let state = (data(size), Vec::new(), Vec::new(), Output::default());
        let name = format!("push of {name} into a shared frame");
        bench.work("encode", name, elements(1), state, |(data, scratch, body, output)| {
            output.clear();
            scratch.clear();
            publication(scratch, body, black_box(&channel_json), black_box(data));
            output.frame(1, |out| frame::write_frame(out, TEXT, scratch))
        });
    }
    for (name, size) in [("125 B", 125), ("1 KiB", 1024)] {
        bench.work("encode", format!("header of {name}"), elements(1), Vec::new(), |out| {
            out.clear();
            frame::write_header(out, TEXT, black_box(size));
        });
    }
}
