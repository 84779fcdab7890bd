//! The demo's page: its parts joined into one file, and what it may connect to.

use std::net::SocketAddr;
use std::sync::LazyLock;

/// Where the style goes in.
const STYLE_MARK: &str = "/* page.css */";

/// Where the scripts go in.
const SCRIPT_MARK: &str = "/* client.js, page.js */";

/// Where the word goes in that makes style and script this page's own.
const NONCE_MARK: &str = "NONCE";

/// The page in three parts, between which the nonce stands.
static PARTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let script = concat!(include_str!("client.js"), "\n", include_str!("page.js"));
    include_str!("page.html")
        .split(NONCE_MARK)
        .map(|part| part.replace(STYLE_MARK, include_str!("page.css")).replace(SCRIPT_MARK, script))
        .collect()
});

/// The page, whose style and script have `nonce`.
pub(super) fn text(nonce: &str) -> String {
    PARTS.join(nonce)
}

/// What the page may connect to, if its server is at `url`: here, and there.
pub(super) fn connects(url: &str) -> String {
    // A policy has no notation for IPv6 addresses (CSP level 3, 2.3.1), so these are any WebSocket.
    format!("'self' {}", if url.contains('[') { "ws:" } else { url })
}

/// Address and port at which a page that was fetched from `host` finds the server, which listens on
/// `addresses`. `host` is what the browser sent, so it may be anything.
pub(super) fn authority(host: &str, addresses: &[SocketAddr]) -> String {
    let name = match host.rfind(']') {
        Some(end) => &host[..=end],
        None => host.split(':').next().unwrap_or_default(),
    };
    let ip = name.trim_start_matches('[').trim_end_matches(']').parse().ok();
    let own = addresses.iter().find(|address| Some(address.ip()) == ip);
    let any = || addresses.iter().find(|address| address.ip().is_unspecified());
    match own.or_else(any).or(addresses.first()) {
        Some(address) if address.ip().is_unspecified() => {
            let is_name = |letter: u8| letter.is_ascii_alphanumeric() || b".-[]:".contains(&letter);
            let is_sane = !name.is_empty() && name.bytes().all(is_name);
            format!("{}:{}", if is_sane { name } else { "127.0.0.1" }, address.port())
        }
        Some(address) => address.to_string(),
        // Asked before the shards listen: the page tries again.
        None => "127.0.0.1".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_nothing_in_its_parts_ends_them() {
        let page = text("0123");
        assert_eq!(page.matches("nonce=\"0123\"").count(), 2, "the style and the script");
        for mark in [STYLE_MARK, SCRIPT_MARK, NONCE_MARK] {
            assert!(!page.contains(mark), "{mark}");
        }
        assert_eq!((page.matches("</script").count(), page.matches("</style").count()), (1, 1));
        assert!(page.contains("class Client") && page.contains("--accent"));
    }

    #[test]
    fn the_page_writes_text_only_as_text_and_loads_nothing() {
        let page = text("0123");
        for forbidden in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://"]
        {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn the_page_may_connect_to_its_server_alone() {
        assert_eq!(connects("ws://127.0.0.1:8000/ws"), "'self' ws://127.0.0.1:8000/ws");
        assert_eq!(connects("ws://[::1]:8000/ws"), "'self' ws:");
    }

    #[test]
    fn the_server_is_found_where_the_page_came_from() {
        let addresses = |text: &str| text.split(' ').map(|one| one.parse().unwrap()).collect::<Vec<_>>();
        for (host, listen, expected) in [
            ("localhost:8001", "127.0.0.1:8000", "127.0.0.1:8000"),
            ("[::1]:8001", "127.0.0.1:8000 [::1]:8002", "[::1]:8002"),
            ("chat.example:8001", "127.0.0.1:8000 0.0.0.0:80", "chat.example:80"),
            ("[::1]:8001", "[::]:80", "[::1]:80"),
            ("10.0.0.5", "127.0.0.1:8000 10.0.0.5:80", "10.0.0.5:80"),
            ("x; script-src *", "0.0.0.0:80", "127.0.0.1:80"),
            ("", "0.0.0.0:80", "127.0.0.1:80"),
        ] {
            assert_eq!(authority(host, &addresses(listen)), expected, "{host} {listen}");
        }
        assert_eq!(authority("localhost", &[]), "127.0.0.1");
    }
}
