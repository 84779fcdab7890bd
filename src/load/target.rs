//! The server under load: its address, its upgrade, and the line by which `throng serve` says it is ready.

use std::net::{SocketAddr, ToSocketAddrs};

use super::dialect::Template;

/// The key every client sends. It need not be random here: it only proves that the other end speaks
/// WebSocket, and one key means one known answer. Source: the example of RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The accept value that belongs to [`KEY`]. Source: RFC 6455 §1.3.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Most header lines looked at in an upgrade response.
const HEADERS_MAX: usize = 32;

/// A `ws://` URL, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where to connect.
    pub address: SocketAddr,
    /// Host and port as written, for the `Host` header.
    pub authority: String,
    /// Path and query, starting with `/`.
    pub path: String,
}

impl Target {
    /// Parses `ws://HOST:PORT/PATH` and resolves the host; the port defaults to 80, the path to `/`.
    ///
    /// # Errors
    ///
    /// A sentence that names the URL and what is wrong with it.
    pub fn parse(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("ws://").ok_or_else(|| {
            format!("{url}: the target must start with ws:// (TLS would measure the TLS library)")
        })?;
        let path_at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(path_at);
        // An IPv6 address has colons too, but within its brackets.
        let has_port = authority.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
        let with_port = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        let address = with_port
            .to_socket_addrs()
            .map_err(|error| format!("{url}: cannot resolve {with_port}: {error}"))?
            .next()
            .ok_or_else(|| format!("{url}: {with_port} has no address"))?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { address, authority: authority.to_owned(), path })
    }

    /// The upgrade request every connection sends; `{room}` in the path stands for its room.
    pub fn upgrade_request(&self) -> Template {
        Template::with_room(&format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n",
            self.path, self.authority
        ))
    }
}

/// Reads the upgrade response at the front of `bytes`: its length once it is whole and good,
/// `Ok(None)` while it is incomplete.
///
/// # Errors
///
/// Why this is no WebSocket: not HTTP, another status than 101, or a wrong accept value.
pub fn parse_upgrade_response(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let status = response.parse(bytes).map_err(|error| format!("the answer is not HTTP: {error}"))?;
    let code = response.code;
    if let Some(code) = code.filter(|code| *code != 101) {
        return Err(format!("the upgrade was refused: HTTP {code}"));
    }
    let httparse::Status::Complete(head_bytes) = status else { return Ok(None) };
    let accepted = response.headers.iter().any(|header| {
        header.name.eq_ignore_ascii_case("sec-websocket-accept") && header.value == ACCEPT.as_bytes()
    });
    if accepted {
        Ok(Some(head_bytes))
    } else {
        Err("the upgrade has a wrong Sec-WebSocket-Accept".to_owned())
    }
}

/// The client URL in the line that `throng serve` prints when it is ready, e.g.
/// `throng ready: clients ws://127.0.0.1:8000/connection/websocket, admin http://…`.
pub fn ready_url(line: &str) -> Option<&str> {
    let url = &line[line.find("ws://")?..];
    url.split([',', ' ', '\t', '\r', '\n']).next()
}

/// The admin listener's address in the same line.
pub fn ready_admin(line: &str) -> Option<&str> {
    let address = line.split_once("admin http://")?.1;
    address.split([',', ' ', '/', '\r', '\n']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_address_authority_and_path() {
        let target = Target::parse("ws://127.0.0.1:8000/connection/websocket?a=1").unwrap();
        assert_eq!(target.address, "127.0.0.1:8000".parse().unwrap());
        assert_eq!(target.authority, "127.0.0.1:8000");
        assert_eq!(target.path, "/connection/websocket?a=1");
        assert_eq!(Target::parse("ws://127.0.0.1").unwrap().address.port(), 80);
        assert_eq!(Target::parse("ws://[::1]/x").unwrap().address, "[::1]:80".parse().unwrap());
        assert_eq!(Target::parse("ws://[::1]:9/x").unwrap().address.port(), 9);
        assert_eq!(Target::parse("ws://127.0.0.1:1").unwrap().path, "/");
        assert_eq!(Target::parse("ws://127.0.0.1:1?x=2").unwrap().path, "/?x=2");
    }

    #[test]
    fn a_url_of_another_scheme_is_refused_by_name() {
        assert!(Target::parse("http://127.0.0.1:1/").unwrap_err().contains("http://127.0.0.1:1/"));
        assert!(Target::parse("wss://127.0.0.1/").unwrap_err().contains("ws://"));
    }

    #[test]
    fn an_upgrade_response_is_taken_only_whole_and_with_the_right_accept() {
        let good = format!("HTTP/1.1 101 Switching Protocols\r\nSec-Websocket-Accept: {ACCEPT}\r\n\r\n");
        let with_frame = [good.as_bytes(), &[0x81, 0x00]].concat();
        assert_eq!(parse_upgrade_response(&with_frame), Ok(Some(good.len())));
        for cut in 0..good.len() {
            assert_eq!(parse_upgrade_response(&good.as_bytes()[..cut]), Ok(None), "cut at {cut}");
        }
        let wrong = good.replace("s3pP", "xxxx");
        assert!(parse_upgrade_response(wrong.as_bytes()).unwrap_err().contains("Accept"));
    }

    #[test]
    fn a_refused_upgrade_names_its_status_and_other_protocols_are_seen() {
        let refused = b"HTTP/1.1 503 Service Unavailable\r\n\r\n";
        assert!(parse_upgrade_response(refused).unwrap_err().contains("503"));
        assert!(parse_upgrade_response(b"SSH-2.0-OpenSSH\r\n").unwrap_err().contains("not HTTP"));
    }

    #[test]
    fn the_readiness_line_gives_the_client_url_up_to_a_comma_or_space() {
        let line =
            "throng ready: clients ws://127.0.0.1:4711/connection/websocket, admin http://127.0.0.1:1, x\n";
        assert_eq!(ready_url(line), Some("ws://127.0.0.1:4711/connection/websocket"));
        assert_eq!(ready_admin(line), Some("127.0.0.1:1"));
        assert_eq!(ready_url("ready ws://a:1/b next"), Some("ws://a:1/b"));
        assert_eq!(ready_url("listening on http://127.0.0.1:1"), None);
    }
}
