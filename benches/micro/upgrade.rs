//! The upgrade: requests in, responses out.

use std::hint::black_box;

use throng::wire::upgrade;

use crate::bench::{Bench, bytes};

/// The key of the example in RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What a library sends that adds nothing of its own.
const SHORT: &str = "GET /connection/websocket HTTP/1.1\r\nHost: localhost:8000\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// What a browser sends.
const BROWSER: &str = "GET /connection/websocket HTTP/1.1\r\nHost: chat.example.org\r\nConnection: Upgrade\r\n\
    Pragma: no-cache\r\nCache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) \
    AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\nUpgrade: websocket\r\n\
    Origin: https://chat.example.org\r\nSec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en-US;q=0.9,en;q=0.8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
    Sec-WebSocket-Protocol: centrifuge-json\r\n\r\n";

/// Runs the benches of this noun.
pub fn run(bench: &mut Bench) {
    for (name, request) in [("of a library", SHORT), ("of a browser", BROWSER)] {
        assert!(matches!(upgrade::parse(request.as_bytes()), Ok(Some(_))), "the request {name} is legal");
        bench.work("upgrade", format!("parse {name}"), bytes(request.len()), request, |request| {
            upgrade::parse(black_box(request.as_bytes())).is_ok()
        });
    }
    bench.work("upgrade", "response", None, Vec::new(), |out| {
        out.clear();
        upgrade::write_response(out, black_box(KEY), Some("centrifuge-json"));
    });
}
