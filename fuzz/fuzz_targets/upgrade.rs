//! Arbitrary bytes as an upgrade request: nothing panics, and a prefix is never judged better or
//! otherwise than the whole.
//!
//! The first two bytes of the input choose where the prefix ends; the rest is the request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use throng::limits::UPGRADE_BYTES_MAX;
use throng::wire::{origin, upgrade};

fuzz_target!(|input: &[u8]| {
    let Some((cut, bytes)) = input.split_first_chunk::<2>() else { return };
    let cut = usize::from(u16::from_le_bytes(*cut)) % (bytes.len() + 1);
    let whole = upgrade::parse(bytes);
    match upgrade::parse(&bytes[..cut]) {
        Ok(None) => {}
        // Complete or refused early: more bytes must not change the verdict.
        verdict => assert_eq!(verdict, whole),
    }
    let (request, head_bytes) = match whole {
        Ok(None) => {
            assert!(bytes.len() < UPGRADE_BYTES_MAX, "an incomplete head is bounded");
            return;
        }
        Ok(Some(found)) => found,
        Err(refusal) => {
            let mut out = Vec::new();
            refusal.write_response(&mut out);
            assert!(out.starts_with(b"HTTP/1.1 4") && out.ends_with(b".\n"));
            return;
        }
    };
    assert!(head_bytes <= bytes.len().min(UPGRADE_BYTES_MAX));
    assert!(request.path.starts_with('/') && !request.path.contains('?'));
    assert!(request.protocols().all(|name| !name.is_empty() && !name.contains(',')));
    let selected = upgrade::select_protocol(&request, &["centrifuge-json", "centrifuge-protobuf"]);
    assert!(selected.is_none_or(|name| request.protocols().any(|offered| offered == name)));
    upgrade::query_value(request.query, "format");
    if let Some(origin) = request.origin {
        let patterns = ["https://*.example.com".to_owned(), "localhost:*".to_owned(), "*a*b*".to_owned()];
        origin::origin_allowed(origin, &patterns);
        origin::is_loopback_origin(origin);
    }
    let mut out = Vec::new();
    upgrade::write_response(&mut out, request.key, selected);
    assert!(out.starts_with(b"HTTP/1.1 101 ") && out.ends_with(b"\r\n\r\n"));
});
