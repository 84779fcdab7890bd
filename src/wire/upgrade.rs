//! The HTTP/1.1 request that becomes a WebSocket (RFC 6455 §4.2), and its 101 response.
//!
//! The grammar is httparse's; the rules of the upgrade are here. A request borrows from the bytes
//! that the socket gave, so a refused stranger costs no allocation.
//!
//! Invariants:
//! - the first byte that no request can have is refused without waiting for more, so TLS sent to
//!   this port ends with its first byte;
//! - an incomplete head is parsed anew at every call. A head is at most `UPGRADE_BYTES_MAX`, which
//!   bounds what a client that sends it byte by byte can cost.
//!
//! Absent on purpose: the decisions. Which paths exist (404) and which origins may connect (403)
//! is the caller's; `Request` gives it what to judge by. No percent-decoding either: no name or
//! value that throng looks for needs it.

use std::mem::MaybeUninit;

use super::refusal::{Fault, Refusal};
use crate::limits::UPGRADE_BYTES_MAX;

/// Most headers that are read; browsers behind several proxies send about thirty.
const HEADERS_MAX: usize = 64;

/// Most lines over which `Sec-WebSocket-Protocol` may be spread; clients use one.
const PROTOCOL_LINES_MAX: usize = 4;

/// The value of `Sec-WebSocket-Key`: 16 bytes as base64. Source: RFC 6455 §4.1.
const KEY_BYTES: usize = 24;

/// A request that may be upgraded: all rules hold that do not depend on the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// The path as sent, from its `/` and without the query; not percent-decoded.
    pub path: &'a str,
    /// What follows the first `?`, not percent-decoded; empty when there is none.
    pub query: &'a str,
    /// The value of `Host`.
    pub host: &'a str,
    /// The value of `Origin`, which browsers always send and other clients seldom.
    pub origin: Option<&'a str>,
    /// The value of `Sec-WebSocket-Key`: 24 base64 characters.
    pub key: &'a str,
    protocol_lines: [&'a str; PROTOCOL_LINES_MAX],
}

impl<'a> Request<'a> {
    /// The subprotocols that the client offers, the preferred one first.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let names = self.protocol_lines.into_iter().flat_map(|line| line.split(','));
        names.map(str::trim).filter(|name| !name.is_empty())
    }
}

/// Decodes the upgrade request at the front of `bytes`.
///
/// `bytes` is whatever the socket has given so far. `Ok(None)`: incomplete and good so far; keep
/// the bytes and call again with more. `Ok(Some((request, head_bytes)))`: what follows the first
/// `head_bytes` bytes are frames.
///
/// # Errors
///
/// The request cannot be upgraded; the refusal says why and which response to send. 400 covers
/// bytes that are no HTTP, 405, 426 and 431 a wrong method, a wrong WebSocket version and a head
/// over `limits::UPGRADE_BYTES_MAX`.
pub fn parse(bytes: &[u8]) -> Result<Option<(Request<'_>, usize)>, Refusal> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    // What lies beyond the limit is not looked at, so that a long read is judged as short ones are.
    let head = &bytes[..bytes.len().min(UPGRADE_BYTES_MAX)];
    let head_bytes = match parsed.parse_with_uninit_headers(head, &mut headers) {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Ok(httparse::Status::Partial) if head.len() < UPGRADE_BYTES_MAX => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal::TooLong);
        }
        Err(httparse::Error::Version) => return Err(Refusal::BadRequest(Fault::HttpVersion)),
        Err(_) => return Err(Refusal::BadRequest(Fault::NotHttp)),
    };
    if parsed.version != Some(1) {
        return Err(Refusal::BadRequest(Fault::HttpVersion));
    }
    if parsed.method != Some("GET") {
        return Err(Refusal::Method);
    }
    let (path, query) = split_target(parsed.path.unwrap_or_default()).ok_or(bad(Fault::Target))?;
    let found = Found::collect(parsed.headers)?;
    if found.has_body {
        return Err(bad(Fault::Body));
    }
    let host = found.host.ok_or(bad(Fault::Host))?;
    if !found.upgrades_to_websocket {
        return Err(bad(Fault::NoUpgrade));
    }
    if !found.connection_upgrades {
        return Err(bad(Fault::NoConnectionUpgrade));
    }
    if found.version != Some("13") {
        return Err(Refusal::Version);
    }
    let key = found.key.filter(|key| is_key(key)).ok_or(bad(Fault::Key))?;
    let protocol_lines = found.protocol_lines;
    Ok(Some((Request { path, query, host, origin: found.origin, key, protocol_lines }, head_bytes)))
}

/// The first subprotocol that the client offers and `supported` has; names are case-sensitive.
///
/// `None` when the client offers none, or unknown ones only: the upgrade then succeeds without one
/// (PROTOCOL.md 1.1).
pub fn select_protocol(request: &Request<'_>, supported: &[&'static str]) -> Option<&'static str> {
    request.protocols().find_map(|offered| supported.iter().find(|name| **name == offered).copied())
}

/// The value of the first `name=value` pair in `query` (`a=1&b=2`, without the `?`).
///
/// Neither side is percent-decoded. A name without `=` has the empty value.
pub fn query_value<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.into_iter().find_map(|(key, value)| (key == name).then_some(value))
}

/// Appends the 101 response to a request whose key is `key`.
pub fn write_response(out: &mut Vec<u8>, key: &str, selected_protocol: Option<&str>) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    out.extend_from_slice(tungstenite::handshake::derive_accept_key(key.as_bytes()).as_bytes());
    if let Some(protocol) = selected_protocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(protocol.as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// What the headers of a request say, before it is judged as a whole.
#[derive(Default)]
struct Found<'a> {
    host: Option<&'a str>,
    origin: Option<&'a str>,
    key: Option<&'a str>,
    version: Option<&'a str>,
    upgrades_to_websocket: bool,
    connection_upgrades: bool,
    has_body: bool,
    protocol_lines: [&'a str; PROTOCOL_LINES_MAX],
}

impl<'a> Found<'a> {
    /// Reads all headers once. A header that must be unique is refused when it comes again.
    fn collect(headers: &[httparse::Header<'a>]) -> Result<Self, Refusal> {
        let mut found = Self::default();
        let mut protocol_lines = 0;
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let value = header.value;
            if is("host") {
                set_once(&mut found.host, value, bad(Fault::Host))?;
            } else if is("upgrade") {
                found.upgrades_to_websocket |= has_token(value, "websocket");
            } else if is("connection") {
                found.connection_upgrades |= has_token(value, "upgrade");
            } else if is("sec-websocket-key") {
                set_once(&mut found.key, value, bad(Fault::Key))?;
            } else if is("sec-websocket-version") {
                set_once(&mut found.version, value, Refusal::Version)?;
            } else if is("sec-websocket-protocol") {
                let line = found.protocol_lines.get_mut(protocol_lines).ok_or(bad(Fault::Protocols))?;
                *line = std::str::from_utf8(value).map_err(|_| bad(Fault::Protocols))?;
                protocol_lines += 1;
            } else if is("origin") {
                set_once(&mut found.origin, value, bad(Fault::OriginHeader))?;
            } else if is("transfer-encoding") {
                found.has_body = true;
            } else if is("content-length") {
                found.has_body |= value.trim_ascii() != b"0";
            }
        }
        Ok(found)
    }
}

/// Stores the text of a header that may appear once; `refusal` when it is there or is no text.
fn set_once<'a>(slot: &mut Option<&'a str>, value: &'a [u8], refusal: Refusal) -> Result<(), Refusal> {
    let text = std::str::from_utf8(value.trim_ascii()).map_err(|_| refusal)?;
    match slot.replace(text) {
        None => Ok(()),
        Some(_) => Err(refusal),
    }
}

fn bad(fault: Fault) -> Refusal {
    Refusal::BadRequest(fault)
}

/// Whether the comma-separated list `value` has `token`, in any case.
fn has_token(value: &[u8], token: &str) -> bool {
    value.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether `key` has the form of 16 bytes in base64: 22 characters and two `=`.
///
/// The four unused bits of the last character may be set: RFC 4648 §3.5 leaves that to the decoder,
/// nothing here decodes, and some clients make keys of random characters.
fn is_key(key: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    key.len() == KEY_BYTES && key.ends_with("==") && key.bytes().take(KEY_BYTES - 2).all(is_digit)
}

/// Splits a request target into path and query; an absolute URL loses its scheme and authority
/// (RFC 9112 §3.2.2 wants servers to take both forms).
fn split_target(target: &str) -> Option<(&str, &str)> {
    let target = if target.starts_with('/') {
        target
    } else {
        let (scheme, rest) = target.split_once("://")?;
        if !["http", "https", "ws", "wss"].iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
            return None;
        }
        match rest.find(['/', '?']) {
            Some(start) => &rest[start..],
            None => "",
        }
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Some((if path.is_empty() { "/" } else { path }, query))
}

#[cfg(test)]
#[path = "upgrade_tests.rs"]
mod tests;
