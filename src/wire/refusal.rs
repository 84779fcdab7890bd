//! Why an upgrade request is not answered with 101, and the HTTP response that says so.
//!
//! Every response closes the connection and has a one-line body that says what was found and what
//! is needed, because its reader is a person with curl or a broken proxy in front of them.
//!
//! Absent on purpose: the request's own bytes. Nothing of what a stranger sent is echoed back.

/// What is wrong with a request that gets 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The bytes are not HTTP/1.x: garbage, or TLS sent to a plain port.
    NotHttp,
    /// HTTP, but of a version other than 1.1.
    HttpVersion,
    /// A request target that is neither a path nor an absolute http or ws URL.
    Target,
    /// No `Host` header, or several.
    Host,
    /// A GET that announces a body.
    Body,
    /// No `Upgrade: websocket` header.
    NoUpgrade,
    /// No `Connection: upgrade` header.
    NoConnectionUpgrade,
    /// `Sec-WebSocket-Key` is missing, repeated or not the base64 form of 16 bytes.
    Key,
    /// Several `Origin` headers, or one that is not text.
    OriginHeader,
    /// `Sec-WebSocket-Protocol` is not text, or spread over more lines than are read.
    Protocols,
    /// A trusted balancer did not begin with a PROXY header.
    ProxyMissing,
    /// A trusted balancer's PROXY header is not one of version 1 or 2, or longer than is read.
    ProxyMalformed,
    /// A PROXY header from an address that is not trusted to say who its clients are.
    ProxyUntrusted,
}

/// What there is too much of at the moment, so that a client is asked to come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// Upgrades in this second.
    Connects,
    /// Memory in use on the box, or in the server's control group.
    Memory,
    /// Connections that the client's address has.
    AddressConnections,
    /// Connections that the client's address has made in this second.
    AddressConnects,
}

/// Why a connection is refused before it became a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 400: the request is malformed or no WebSocket upgrade.
    BadRequest(Fault),
    /// 403: a browser page from an origin that the configuration does not allow.
    Origin,
    /// 404: no WebSocket is served at this path.
    NotFound,
    /// 405: a method other than GET.
    Method,
    /// 408: the request was not complete in time.
    Timeout,
    /// 426: a WebSocket version other than 13.
    Version,
    /// 431: the request's head is longer than the server reads.
    TooLong,
    /// 503: the server drains. A full one sends nothing: it shuts its listeners until there is room.
    Full,
    /// 503, or 429 if it is the client's address alone that has too much: there will be room later.
    Later {
        /// What there is too much of.
        excess: Excess,
        /// When to come again, in seconds; not the same for all that are refused.
        retry_after_s: u16,
    },
}

impl Refusal {
    /// The HTTP status code.
    pub fn status(self) -> u16 {
        self.facts().0
    }

    /// A short word for a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::BadRequest(Fault::NotHttp) => "not_http",
            Self::BadRequest(Fault::ProxyMissing | Fault::ProxyMalformed) => "proxy_header",
            Self::BadRequest(Fault::ProxyUntrusted) => "proxy_untrusted",
            Self::BadRequest(_) => "bad_request",
            Self::Origin => "origin",
            Self::NotFound => "not_found",
            Self::Method => "method",
            Self::Timeout => "timeout",
            Self::Version => "version",
            Self::TooLong => "too_long",
            Self::Full => "full",
            Self::Later { excess, .. } => excess.label(),
        }
    }

    /// The body of the response: what was found and what is needed, one line without its newline.
    pub fn reason(self) -> &'static str {
        match self {
            Self::BadRequest(fault) => fault.reason(),
            Self::Origin => {
                "The page's origin is not allowed here; the server's allowed_origins must list it."
            }
            Self::NotFound => "No WebSocket is served at this path.",
            Self::Method => "A WebSocket upgrade must be a GET request; this was another method.",
            Self::Timeout => "The upgrade request was not complete in time; send its head at once.",
            Self::Version => "Sec-WebSocket-Version must be 13; it was missing or another.",
            Self::TooLong => {
                "The request head is longer than this server reads; send fewer or shorter headers."
            }
            Self::Full => "The server is shutting down; connect again, and another may answer.",
            Self::Later { excess, .. } => excess.reason(),
        }
    }

    /// Appends the whole response: status line, headers and body. The connection closes after it.
    pub fn write_response(self, out: &mut Vec<u8>) {
        let (status, phrase, extra_header) = self.facts();
        let body = self.reason();
        let length = body.len() + 1;
        let retry_after = match self {
            Self::Later { retry_after_s, .. } => format!("Retry-After: {retry_after_s}\r\n"),
            _ => String::new(),
        };
        let head = format!(
            "HTTP/1.1 {status} {phrase}\r\n{extra_header}{retry_after}Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}\n"
        );
        out.extend_from_slice(head.as_bytes());
    }

    /// Status code, its phrase, and the header that only this status has (empty or with its CRLF).
    fn facts(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::BadRequest(_) => (400, "Bad Request", ""),
            Self::Origin => (403, "Forbidden", ""),
            Self::NotFound => (404, "Not Found", ""),
            Self::Method => (405, "Method Not Allowed", "Allow: GET\r\n"),
            Self::Timeout => (408, "Request Timeout", ""),
            Self::Version => (426, "Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
            Self::TooLong => (431, "Request Header Fields Too Large", ""),
            Self::Full => (503, "Service Unavailable", "Retry-After: 1\r\n"),
            Self::Later { excess: Excess::Connects | Excess::Memory, .. } => (503, "Service Unavailable", ""),
            Self::Later { .. } => (429, "Too Many Requests", ""),
        }
    }
}

impl Excess {
    fn label(self) -> &'static str {
        match self {
            Self::Connects => "connects",
            Self::Memory => "memory",
            Self::AddressConnections => "address_connections",
            Self::AddressConnects => "address_connects",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Connects => "More clients connect than this server takes in a second; come again later.",
            Self::Memory => "This server has no memory for more clients at the moment; come again later.",
            Self::AddressConnections => "Your address has as many connections as it may; close one first.",
            Self::AddressConnects => "Your address connects more often than it may; come again later.",
        }
    }
}

impl Fault {
    fn reason(self) -> &'static str {
        match self {
            Self::NotHttp => "This port speaks HTTP/1.1 and WebSocket without TLS; these bytes are neither.",
            Self::HttpVersion => "A WebSocket upgrade needs HTTP/1.1; this was another version.",
            Self::Target => "The request target must be a path such as /connection/websocket.",
            Self::Host => "HTTP/1.1 needs exactly one Host header.",
            Self::Body => "A WebSocket upgrade has no body; this request announces one.",
            Self::NoUpgrade => "A WebSocket upgrade is needed here; there is no Upgrade: websocket header.",
            Self::NoConnectionUpgrade => {
                "A WebSocket upgrade needs Connection: Upgrade; a proxy may have dropped it."
            }
            Self::Key => "Sec-WebSocket-Key must be there once, with 16 bytes in base64.",
            Self::OriginHeader => "There may be one Origin header at most, and it must be text.",
            Self::Protocols => "Sec-WebSocket-Protocol must be text on at most 4 lines.",
            Self::ProxyMissing => {
                "A balancer that admission.proxy_protocol_from lists must begin with a PROXY header; none came."
            }
            Self::ProxyMalformed => "The PROXY header is not one of version 1 or 2 of the PROXY protocol.",
            Self::ProxyUntrusted => {
                "This is a PROXY header from an address that admission.proxy_protocol_from does not list, or a second one."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(refusal: Refusal) -> String {
        let mut out = Vec::new();
        refusal.write_response(&mut out);
        String::from_utf8(out).expect("responses are text")
    }

    #[test]
    fn a_refusal_is_a_complete_response_that_closes() {
        let all = [
            (Refusal::BadRequest(Fault::NotHttp), 400),
            (Refusal::BadRequest(Fault::Key), 400),
            (Refusal::Origin, 403),
            (Refusal::NotFound, 404),
            (Refusal::Method, 405),
            (Refusal::Timeout, 408),
            (Refusal::Version, 426),
            (Refusal::TooLong, 431),
            (Refusal::Full, 503),
            (Refusal::BadRequest(Fault::ProxyMissing), 400),
            (Refusal::BadRequest(Fault::ProxyMalformed), 400),
            (Refusal::BadRequest(Fault::ProxyUntrusted), 400),
            (Refusal::Later { excess: Excess::Connects, retry_after_s: 3 }, 503),
            (Refusal::Later { excess: Excess::Memory, retry_after_s: 3 }, 503),
            (Refusal::Later { excess: Excess::AddressConnections, retry_after_s: 3 }, 429),
            (Refusal::Later { excess: Excess::AddressConnects, retry_after_s: 3 }, 429),
        ];
        for (refusal, status) in all {
            let text = response(refusal);
            let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
            assert_eq!(refusal.status(), status);
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
            assert!(head.ends_with("Connection: close"), "{head}");
            assert_eq!(body.lines().count(), 1);
            assert!(refusal.label().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        }
    }

    #[test]
    fn a_wrong_method_is_told_the_right_one_and_a_wrong_version_the_right_version() {
        assert!(response(Refusal::Method).contains("\r\nAllow: GET\r\n"));
        assert!(response(Refusal::Version).contains("\r\nSec-WebSocket-Version: 13\r\n"));
    }

    #[test]
    fn who_is_to_come_later_is_told_when() {
        let text = response(Refusal::Later { excess: Excess::Connects, retry_after_s: 17 });
        assert_eq!(text.matches("\r\nRetry-After: 17\r\n").count(), 1, "{text}");
        assert_eq!(response(Refusal::Origin).matches("Retry-After").count(), 0);
    }

    #[test]
    fn who_comes_while_the_server_drains_is_told_so_and_when_to_come_again() {
        let text = response(Refusal::Full);
        assert!(text.contains("\r\nRetry-After: 1\r\n"), "{text}");
        assert!(text.contains("\r\n\r\nThe server is shutting down; "), "{text}");
    }
}
