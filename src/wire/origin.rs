//! Which web pages may connect: the `Origin` header against the configured patterns.
//!
//! A browser sends the origin of the page (RFC 6454) and the page cannot forge it, so this is what
//! keeps a stranger's page from using a visitor's cookies. A client that is no browser sends
//! whatever it likes: origins authenticate nobody.
//!
//! Invariant: only a well-formed `scheme://host[:port]` is matched against wildcards, so that an
//! invented `https://evil.example/.good.example` matches nothing but `*`.

use std::net::Ipv4Addr;

/// Whether one of `patterns` allows `origin`, the value of the `Origin` header.
///
/// Case does not matter, and `*` stands for any text, the empty one too. A pattern with a scheme is
/// matched against the whole origin (`https://*.example.com`), one without against host and port
/// (`*.example.com`, `localhost:*`); a port that the origin names must be matched. The pattern `*`
/// allows all, and `null` allows the opaque origin of sandboxed frames and local files.
/// No pattern allows nothing.
pub fn origin_allowed(origin: &str, patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| {
        if pattern == "*" {
            return true;
        }
        match split(origin) {
            Some(_) if pattern.contains("://") => matches(pattern, origin),
            Some((_, authority)) => matches(pattern, authority),
            None => origin == "null" && pattern == "null",
        }
    })
}

/// Whether `origin` is a page served from this machine: its host is `localhost`, a name under
/// `.localhost`, in 127.0.0.0/8, or `[::1]`. Scheme and port do not matter; `null` is not loopback.
pub fn is_loopback_origin(origin: &str) -> bool {
    let Some((_, authority)) = split(origin) else { return false };
    let Some(host) = host_of(authority) else { return false };
    let host_lower = host.to_ascii_lowercase();
    host_lower == "localhost"
        || (host_lower.ends_with(".localhost") && host_lower.len() > ".localhost".len())
        || host_lower == "[::1]"
        || host_lower.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// Splits `scheme://host[:port]`; `None` when `origin` is anything else.
fn split(origin: &str) -> Option<(&str, &str)> {
    let (scheme, authority) = origin.split_once("://")?;
    let is_scheme = !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    let is_authority = !authority.is_empty()
        && authority.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@\\\"<>".contains(&byte));
    (is_scheme && is_authority).then_some((scheme, authority))
}

/// The host in `host[:port]`, an IPv6 address with its brackets; `None` when the port is no number.
fn host_of(authority: &str) -> Option<&str> {
    let host_bytes = match authority.rfind(']') {
        Some(end) => end + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_bytes);
    let is_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    is_port.then_some(host)
}

/// Whether `text` is what `pattern` describes; `*` is any text. At most length × length steps.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at_pattern, mut at_text) = (0, 0);
    // Where to go on after a mismatch: behind the last `*`, which then takes one byte more.
    let mut retry: Option<(usize, usize)> = None;
    while at_text < text.len() {
        if pattern.get(at_pattern) == Some(&b'*') {
            retry = Some((at_pattern + 1, at_text));
            at_pattern += 1;
        } else if pattern.get(at_pattern).is_some_and(|byte| byte.eq_ignore_ascii_case(&text[at_text])) {
            at_pattern += 1;
            at_text += 1;
        } else if let Some((after_star, taken)) = retry {
            retry = Some((after_star, taken + 1));
            at_pattern = after_star;
            at_text = taken + 1;
        } else {
            return false;
        }
    }
    pattern[at_pattern..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origin: &str, pattern: &str) -> bool {
        origin_allowed(origin, &[pattern.to_owned()])
    }

    #[test]
    fn no_pattern_allows_nothing_and_a_star_allows_all() {
        assert!(!origin_allowed("https://example.com", &[]));
        assert!(allowed("https://example.com", "*"));
        assert!(allowed("null", "*"));
    }

    #[test]
    fn a_pattern_with_a_scheme_is_matched_against_the_whole_origin() {
        assert!(allowed("https://app.example.com", "https://*.example.com"));
        assert!(allowed("HTTPS://App.Example.COM", "https://*.example.com"));
        assert!(!allowed("http://app.example.com", "https://*.example.com"));
        assert!(!allowed("https://example.com", "https://*.example.com"));
        assert!(!allowed("https://app.example.com:8443", "https://*.example.com"));
        assert!(allowed("https://app.example.com:8443", "https://*.example.com:*"));
    }

    #[test]
    fn a_pattern_without_a_scheme_is_matched_against_host_and_port() {
        assert!(allowed("https://example.com", "example.com"));
        assert!(allowed("http://example.com", "example.com"));
        assert!(!allowed("http://example.com:81", "example.com"));
        assert!(allowed("http://localhost:5173", "localhost:*"));
        assert!(!allowed("http://badexample.com", "example.com"));
        assert!(!allowed("http://example.com.evil.net", "example.com"));
    }

    #[test]
    fn a_star_gives_back_what_it_took_too_much() {
        assert!(allowed("https://a.b.a.c", "https://*a.c"));
        assert!(allowed("https://aab", "*a*b*"));
        assert!(!allowed("https://aab", "*a*b*c"));
    }

    #[test]
    fn an_invented_origin_matches_no_wildcard() {
        assert!(!allowed("https://evil.net/.example.com", "*.example.com"));
        assert!(!allowed("https://evil.net@a.example.com", "*.example.com"));
        assert!(!allowed("null", "*n*"));
        assert!(allowed("null", "null"));
        assert!(!allowed("", ""));
        assert!(!allowed("https://", "https://*"));
    }

    #[test]
    fn pages_of_this_machine_are_loopback() {
        for origin in [
            "http://localhost",
            "https://LOCALHOST:3000",
            "http://app.localhost:80",
            "http://127.0.0.1:8000",
            "http://127.9.8.7",
            "http://[::1]:5173",
            "http://[::1]",
        ] {
            assert!(is_loopback_origin(origin), "{origin}");
        }
        for origin in [
            "null",
            "localhost",
            "http://localhost.evil.net",
            "http://127.0.0.1.evil.net",
            "http://.localhost",
            "http://128.0.0.1",
            "http://[::2]",
            "http://evil.net:80/localhost",
            "http://localhost:80@evil.net",
            "http://[::1].evil.net",
        ] {
            assert!(!is_loopback_origin(origin), "{origin}");
        }
    }
}
