//! Commands of clients, one line each.

use std::hint::black_box;

use throng::protocol::parse;

use crate::bench::{Bench, bytes};
use crate::encode::data;

/// Runs the benches of this noun.
pub fn run(bench: &mut Bench) {
    let publish = |size| format!(r#"{{"id":3,"publish":{{"channel":"chat:room-7","data":{}}}}}"#, data(size));
    let lines = [
        ("pong", "{}".to_owned()),
        ("connect", r#"{"id":1,"connect":{"name":"js","version":"5.3.5"}}"#.to_owned()),
        ("subscribe", r#"{"id":2,"subscribe":{"channel":"chat:room-7"}}"#.to_owned()),
        ("publish of 64 B", publish(64)),
        ("publish of 1 KiB", publish(1024)),
    ];
    for (name, line) in lines {
        bench.work("command parse", name, bytes(line.len()), line, |line| parse(black_box(line)).is_ok());
    }
}
