//! The PROXY protocol, versions 1 and 2: what an L4 balancer says of its client before the client's
//! first byte. Source: HAProxy, "The PROXY protocol" (doc/proxy-protocol.txt), sections 2.1 and 2.2.
//!
//! The grammar of a complete header is the crate ppp's. When a header is complete is decided here: ppp takes
//! a line of version 1 that was cut behind its last space for a wrong port, and bounds no version 2.
//!
//! Invariants:
//! - the verdict over some bytes does not depend on the pieces that they came in;
//! - a header is at most `V1_BYTES_MAX` or `V2_BYTES_MAX` long, and is judged before more is read.
//!
//! Absent on purpose: whom to believe, which is the caller's to know, and what the optional fields of
//! version 2 say (TLS, names, a checksum): nothing here needs them.

use std::net::IpAddr;

use ppp::{v1, v2};

use super::refusal::{Fault, Refusal};

/// Longest header of version 1, with its CRLF. Source: section 2.1.
const V1_BYTES_MAX: usize = 107;

/// Longest header of version 2 that is read. Its addresses take 52 bytes, or 232 for UNIX sockets; a
/// client's certificate among the optional fields is a kilobyte or two.
const V2_BYTES_MAX: usize = 4 * 1024;

/// Bytes of version 2 before its addresses: signature, command, family and length. Source: section 2.2.
const V2_FIXED_BYTES: usize = 16;

/// What version 1 begins with.
const V1_START: &[u8] = b"PROXY ";

/// What version 2 begins with: no request of HTTP has the zero byte.
const V2_START: &[u8] = v2::PROTOCOL_PREFIX;

/// How much of `V2_START` tells that it is one.
const V2_TELLING_BYTES: usize = 5;

/// Version 2, command LOCAL: the connection is the balancer's own.
const V2_LOCAL: u8 = 0x20;

/// Decodes the PROXY header at the front of `bytes`, which come from a balancer that sends one.
///
/// `Ok(None)`: incomplete and good so far; call again with more. `Ok(Some((client, header_bytes)))`: the
/// client's address, and what follows the first `header_bytes` bytes is the client's. There is no address
/// where the balancer speaks for itself (a health check: `LOCAL`, `UNKNOWN`) or names a UNIX socket; then the
/// connection is from whom it is from.
///
/// # Errors
///
/// 400: no header, one of neither version, or one longer than is read.
pub fn parse(bytes: &[u8]) -> Result<Option<(Option<IpAddr>, usize)>, Refusal> {
    if begins(bytes, V1_START) {
        parse_line(bytes)
    } else if begins(bytes, V2_START) {
        parse_binary(bytes)
    } else {
        Err(Refusal::BadRequest(Fault::ProxyMissing))
    }
}

/// Whether `bytes`, which are no HTTP, are a PROXY header: the reason is then told as that.
pub fn is_header(bytes: &[u8]) -> bool {
    bytes.starts_with(V1_START) || bytes.starts_with(&V2_START[..V2_TELLING_BYTES])
}

/// Whether `bytes` begin with `start`, as far as they go.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    let common = bytes.len().min(start.len());
    bytes[..common] == start[..common]
}

fn parse_line(bytes: &[u8]) -> Result<Option<(Option<IpAddr>, usize)>, Refusal> {
    let longest = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', longest) else {
        return if longest.len() < V1_BYTES_MAX { Ok(None) } else { Err(malformed()) };
    };
    let line = &longest[..=end];
    let header = v1::Header::try_from(line).map_err(|_| malformed())?;
    if header.header.len() != line.len() {
        return Err(malformed());
    }
    let client = match header.addresses {
        v1::Addresses::Tcp4(addresses) => Some(addresses.source_address.into()),
        v1::Addresses::Tcp6(addresses) => Some(addresses.source_address.into()),
        v1::Addresses::Unknown => None,
    };
    Ok(Some((client, line.len())))
}

fn parse_binary(bytes: &[u8]) -> Result<Option<(Option<IpAddr>, usize)>, Refusal> {
    let Some(fixed) = bytes.get(..V2_FIXED_BYTES) else { return Ok(None) };
    let header_bytes = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if header_bytes > V2_BYTES_MAX {
        return Err(malformed());
    }
    let Some(header) = bytes.get(..header_bytes) else { return Ok(None) };
    // Whatever stands behind LOCAL is to be skipped, also families that are not known.
    if fixed[V2_START.len()] == V2_LOCAL {
        return Ok(Some((None, header_bytes)));
    }
    let header = v2::Header::try_from(header).map_err(|_| malformed())?;
    let client = match (header.addresses, header.protocol) {
        (v2::Addresses::IPv4(addresses), v2::Protocol::Stream) => Some(addresses.source_address.into()),
        (v2::Addresses::IPv6(addresses), v2::Protocol::Stream) => Some(addresses.source_address.into()),
        (v2::Addresses::Unspecified | v2::Addresses::Unix(_), _) => None,
        // Datagrams do not come by TCP.
        _ => return Err(malformed()),
    };
    Ok(Some((client, header_bytes)))
}

fn malformed() -> Refusal {
    Refusal::BadRequest(Fault::ProxyMalformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2.
    fn binary(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u16).to_be_bytes();
        [V2_START, &[command, family], &length, payload].concat()
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    const FAULT: Result<Option<(Option<IpAddr>, usize)>, Refusal> =
        Err(Refusal::BadRequest(Fault::ProxyMalformed));

    #[test]
    fn a_header_of_version_1_names_the_client() {
        for (line, client) in [
            ("PROXY TCP4 192.0.2.7 198.51.100.1 4242 443\r\n", address("192.0.2.7")),
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", address("255.255.255.255")),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 4242 443\r\n", address("2001:db8::7")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
        ] {
            let bytes = format!("{line}GET / HTTP/1.1\r\n");
            assert_eq!(parse(bytes.as_bytes()), Ok(Some((client, line.len()))), "{line}");
        }
    }

    #[test]
    fn a_header_of_version_2_names_the_client_and_its_optional_fields_are_skipped() {
        let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0x10, 0x92, 1, 187];
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets());
        let field = [4, 0, 3, 9, 9, 9];
        for (header, client) in [
            (binary(0x21, 0x11, &v4), address("192.0.2.7")),
            (binary(0x21, 0x11, &[&v4[..], &field].concat()), address("192.0.2.7")),
            (binary(0x21, 0x21, &v6), address("2001:db8::7")),
            (binary(0x21, 0x31, &[1; 216]), None),
            (binary(0x21, 0x00, &[]), None),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x20, 0x11, &v4), None),
            (binary(0x20, 0xff, &[1, 2, 3]), None),
            (binary(0x21, 0x11, &[&v4[..], &[0; V2_BYTES_MAX - 28]].concat()), address("192.0.2.7")),
        ] {
            let bytes = [header.as_slice(), b"GET /"].concat();
            assert_eq!(parse(&bytes), Ok(Some((client, header.len()))), "{header:02x?}");
        }
    }

    #[test]
    fn what_is_cut_anywhere_is_waited_for_and_then_judged_as_the_whole() {
        let headers: [Vec<u8>; 3] = [
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4242 443\r\n".to_vec(),
            b"PROXY UNKNOWN\r\n".to_vec(),
            binary(0x21, 0x11, &[7; 40]),
        ];
        for header in headers {
            for cut in 0..header.len() {
                assert_eq!(parse(&header[..cut]), Ok(None), "{cut} of {header:02x?}");
            }
            assert!(matches!(parse(&header), Ok(Some((_, taken))) if taken == header.len()));
        }
    }

    #[test]
    fn what_is_no_header_is_told_from_a_malformed_one() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"POST", b"PROXY\r\n", b"\x16\x03\x01", b"\r\n\r\nGET"] {
            assert_eq!(parse(bytes), Err(Refusal::BadRequest(Fault::ProxyMissing)), "{bytes:02x?}");
        }
        for line in [
            "PROXY TCP4 192.0.2.7 198.51.100.1 4242 443\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4242\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4242 443 5\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4242 65536\r\n",
            "PROXY TCP4 192.0.2.700 198.51.100.1 4242 443\r\n",
            "PROXY TCP4 2001:db8::7 2001:db8::1 4242 443\r\n",
            "PROXY TCP6 192.0.2.7 198.51.100.1 4242 443\r\n",
            "PROXY TCP4  192.0.2.7 198.51.100.1 4242 443\r\n",
            "PROXY TCP5 192.0.2.7 198.51.100.1 4242 443\r\n",
            "PROXY tcp4 192.0.2.7 198.51.100.1 4242 443\r\n",
            "PROXY TCP4 192.0.2.7\r 198.51.100.1 4242 443\r\n",
            "PROXY \r\n",
            "PROXY TCP4 é\r\n",
        ] {
            assert_eq!(parse(line.as_bytes()), FAULT, "{line:?}");
        }
        let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0x10, 0x92, 1, 187];
        for header in [
            binary(0x11, 0x11, &v4),
            binary(0x22, 0x11, &v4),
            binary(0x21, 0x12, &v4),
            binary(0x21, 0x41, &v4),
            binary(0x21, 0x13, &v4),
            binary(0x21, 0x11, &v4[1..]),
            binary(0x21, 0x21, &v4),
        ] {
            assert_eq!(parse(&header), FAULT, "{header:02x?}");
        }
    }

    #[test]
    fn a_header_that_is_too_long_is_refused_before_it_is_whole() {
        let line = format!("PROXY UNKNOWN {}", "x".repeat(V1_BYTES_MAX));
        assert_eq!(parse(&line.as_bytes()[..V1_BYTES_MAX - 1]), Ok(None));
        assert_eq!(parse(&line.as_bytes()[..V1_BYTES_MAX]), FAULT);
        let mut header = binary(0x20, 0, &[]);
        header[14..].copy_from_slice(&((V2_BYTES_MAX - V2_FIXED_BYTES + 1) as u16).to_be_bytes());
        assert_eq!(parse(&header), FAULT);
        assert_eq!(parse(&header[..15]), Ok(None));
    }

    #[test]
    fn a_header_from_the_untrusted_is_known_by_its_first_bytes() {
        for bytes in [&b"PROXY TCP4 1.1.1.1"[..], b"PROXY UNKNOWN\r\n", &V2_START[..5], V2_START] {
            assert!(is_header(bytes), "{bytes:02x?}");
        }
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"PROX", b"\r\n\r\n", b"\r\n\r\nGET", b""] {
            assert!(!is_header(bytes), "{bytes:02x?}");
        }
    }
}
