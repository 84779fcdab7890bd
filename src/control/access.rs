//! Who may use the parts of the admin listener that steer the server or show names: the dashboard, the
//! demo, a drain.
//!
//! - Whoever shows `http_api.key` may, from anywhere.
//! - With `http_api.insecure` anyone may, but no page of another site.
//! - Else only this machine may, and where there is a key it may look, not steer: a peer on loopback that asked for a loopback address by its number or as
//!   `localhost` (a name of somebody else's may have been pointed here: DNS rebinding), for itself (what a
//!   proxy passes on is asked by whomever the proxy serves), and no page of another site.
//!
//! A page is of this site if its origin is the very address that was asked for, port included: another
//! program's page on this machine is another site. Browsers say where a page is from in `Origin` and
//! `Sec-Fetch-Site` (Fetch Metadata, W3C); programs that are no browsers send neither.
//!
//! Absent on purpose: `/healthz`, `/readyz` and `/metrics`, which tell counts to everybody, and the methods of
//! the server API, which ask for the key always.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::uri::{Authority, Uri};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::api::has_key;
use super::config::HttpApi;

/// Where a browser says from what kind of site a request comes.
const SITE: &str = "sec-fetch-site";

/// How proxies say for whom they ask; RFC 7239, RFC 9110 §7.6.3, and what was usual before.
const PROXIES: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// The rule, with what it needs of the configuration.
#[derive(Debug)]
pub(super) struct Access {
    api: HttpApi,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// A page of another site asks.
    ForeignPage,
    /// Somebody else asks, and there is a key to show.
    NoKey,
    /// Somebody else asks, and there is no key.
    NotLocal,
}

impl Access {
    /// The rule under `api`.
    pub(super) fn new(api: &HttpApi) -> Self {
        Access { api: api.clone() }
    }

    /// Whether the request with `parts`, from `peer`, may be carried out.
    ///
    /// # Errors
    ///
    /// It may not; the response says what is needed.
    pub(super) fn judge(&self, peer: SocketAddr, parts: &Parts) -> Result<(), Denied> {
        if has_key(&parts.headers, &parts.uri, &self.api.key) {
            return Ok(());
        }
        let asked = asked_for(parts);
        if is_foreign_page(parts, asked.as_ref()) {
            return Err(Denied::ForeignPage);
        }
        if self.api.insecure {
            return Ok(());
        }
        let is_proxied = PROXIES.iter().any(|name| parts.headers.contains_key(*name));
        // A proxy on this machine may say nothing of whom it asks for. Who has set a key lets others in.
        let may_without_key = self.api.key.is_empty() || parts.method.is_safe();
        let is_local = peer.ip().to_canonical().is_loopback() && !is_proxied;
        if is_local && may_without_key && asked.is_some_and(|authority| is_loopback_name(authority.host())) {
            return Ok(());
        }
        Err(if self.api.key.is_empty() { Denied::NotLocal } else { Denied::NoKey })
    }
}

/// Lets a request through or refuses it: for `axum::middleware::from_fn_with_state`. The router must be
/// served with `into_make_service_with_connect_info::<SocketAddr>()`.
pub(super) async fn guard(
    State(access): State<Arc<Access>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    match access.judge(peer, &parts) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(denied) => denied.into_response(),
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Denied::ForeignPage => (
                StatusCode::FORBIDDEN,
                "a page of another site asks; open this address by itself, or show http_api.key\n",
            ),
            Denied::NoKey => (
                StatusCode::UNAUTHORIZED,
                "needed: http_api.key, in the header X-API-Key, in Authorization: apikey KEY, or as ?api_key=KEY; \
                 without it only this machine may look, by http://127.0.0.1 or http://localhost and not through a \
                 proxy, and nobody may steer\n",
            ),
            Denied::NotLocal => (
                StatusCode::FORBIDDEN,
                "only this machine may, by http://127.0.0.1 or http://localhost and not through a proxy; for others \
                 set http_api.key in the configuration and show it\n",
            ),
        };
        let mut response = (status, text).into_response();
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §11.6.1.
            let challenge = HeaderValue::from_static("apikey realm=\"throng\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// The address that a request is for, as its sender wrote it. RFC 9112 §3.2.2: one in the target
/// wins over `Host`. `None` if it is missing, comes twice or is none.
fn asked_for(parts: &Parts) -> Option<Authority> {
    match parts.uri.authority() {
        Some(authority) => Some(authority.clone()),
        None => Authority::try_from(only(&parts.headers, header::HOST.as_str())?.as_bytes()).ok(),
    }
}

/// The value of a header that stands there once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether a browser says that a page of another site than `asked` is behind the request.
fn is_foreign_page(parts: &Parts, asked: Option<&Authority>) -> bool {
    let is_own = |origin: &HeaderValue| {
        let origin = Uri::try_from(origin.as_bytes()).ok();
        let is_web = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
        origin.filter(is_web).is_some_and(|uri| uri.authority() == asked)
    };
    let has_foreign_origin = !parts.headers.get_all(header::ORIGIN).iter().all(is_own);
    let is_ours = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
    let has_foreign_site = !parts.headers.get_all(SITE).iter().all(is_ours);
    has_foreign_origin || (has_foreign_site && !is_opening(parts))
}

/// Whether somebody followed a link to here: the page that had the link sees nothing of the answer.
fn is_opening(parts: &Parts) -> bool {
    let says = |name: &str, wanted: &str| only(&parts.headers, name).is_some_and(|value| value == wanted);
    parts.method == Method::GET && says("sec-fetch-mode", "navigate") && says("sec-fetch-dest", "document")
}

/// Whether `host`, of an address, can be nobody's but this machine's. RFC 6761 §6.3 keeps `localhost`.
fn is_loopback_name(host: &str) -> bool {
    let number = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_number = number.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    is_number || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef";
    const LOCAL: &str = "127.0.0.1:40000";
    const REMOTE: &str = "192.0.2.7:40000";

    fn with_key() -> Access {
        Access::new(&HttpApi { key: KEY.to_owned(), ..Default::default() })
    }

    fn without_key() -> Access {
        Access::new(&HttpApi::default())
    }

    fn insecure() -> Access {
        Access::new(&HttpApi { insecure: true, ..Default::default() })
    }

    fn judge(access: &Access, peer: &str, uri: &str, headers: &[(&str, &str)]) -> Result<(), Denied> {
        judge_method(access, Method::POST, peer, uri, headers)
    }

    fn judge_method(
        access: &Access,
        method: Method,
        peer: &str,
        uri: &str,
        headers: &[(&str, &str)],
    ) -> Result<(), Denied> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        access.judge(peer.parse().unwrap(), &request.body(()).unwrap().into_parts().0)
    }

    /// A request from this machine with `headers` beside a Host that is this machine.
    fn local(headers: &[(&str, &str)]) -> Result<(), Denied> {
        let headers: Vec<_> = [("Host", "127.0.0.1:8001")].iter().chain(headers).copied().collect();
        judge(&without_key(), LOCAL, "/api/drain", &headers)
    }

    #[test]
    fn this_machine_may_under_each_of_its_names() {
        for host in
            ["127.0.0.1:8001", "127.0.0.1", "127.3.2.1:80", "localhost:8001", "LocalHost", "[::1]:8001"]
        {
            for peer in [LOCAL, "[::1]:40000", "[::ffff:127.0.0.1]:40000"] {
                for access in [without_key(), with_key()] {
                    let looks = judge_method(&access, Method::GET, peer, "/dashboard", &[("Host", host)]);
                    assert_eq!(looks, Ok(()), "{peer} {host}");
                }
            }
        }
        assert_eq!(judge(&without_key(), LOCAL, "/", &[("Host", "[::ffff:127.0.0.1]:8001")]), Ok(()));
    }

    #[test]
    fn where_there_is_a_key_nobody_steers_without_it() {
        let host = ("Host", "127.0.0.1:8001");
        assert_eq!(judge(&without_key(), LOCAL, "/api/drain", &[host]), Ok(()));
        assert_eq!(judge(&with_key(), LOCAL, "/api/drain", &[host]), Err(Denied::NoKey));
        assert_eq!(judge(&with_key(), LOCAL, "/api/drain", &[host, ("X-API-Key", KEY)]), Ok(()));
    }

    #[test]
    fn others_are_refused_unless_they_show_the_key() {
        for peer in [REMOTE, "[2001:db8::1]:40000", "[::ffff:192.0.2.7]:40000", "10.0.0.1:40000"] {
            let host = ("Host", "127.0.0.1:8001");
            assert_eq!(judge(&without_key(), peer, "/api/drain", &[host]), Err(Denied::NotLocal));
            assert_eq!(judge(&with_key(), peer, "/api/drain", &[host]), Err(Denied::NoKey));
            let wrong = [host, ("X-API-Key", "0123456789abcdeX")];
            assert_eq!(judge(&with_key(), peer, "/api/drain", &wrong), Err(Denied::NoKey));
            let authorization = format!("apikey {KEY}");
            assert_eq!(judge(&with_key(), peer, "/api/drain", &[("X-API-Key", KEY)]), Ok(()));
            assert_eq!(judge(&with_key(), peer, "/api/drain", &[("Authorization", &authorization)]), Ok(()));
            assert_eq!(judge(&with_key(), peer, &format!("/api/drain?api_key={KEY}"), &[host]), Ok(()));
        }
    }

    #[test]
    fn an_empty_key_is_nobodys() {
        let headers = [("X-API-Key", ""), ("Authorization", "apikey ")];
        assert_eq!(judge(&without_key(), REMOTE, "/api/drain?api_key=", &headers), Err(Denied::NotLocal));
    }

    #[test]
    fn a_name_that_was_pointed_here_is_refused() {
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evil.example:8001",
            "0.0.0.0:8001",
            "user@",
            "",
        ] {
            assert_eq!(judge(&without_key(), LOCAL, "/", &[("Host", host)]), Err(Denied::NotLocal), "{host}");
            assert_eq!(judge(&with_key(), LOCAL, "/", &[("Host", host)]), Err(Denied::NoKey), "{host}");
        }
        assert_eq!(judge(&without_key(), LOCAL, "/", &[]), Err(Denied::NotLocal));
        let twice = [("Host", "127.0.0.1"), ("Host", "evil.example")];
        assert_eq!(judge(&without_key(), LOCAL, "/", &twice), Err(Denied::NotLocal));
        let absolute = "http://evil.example/dashboard";
        assert_eq!(judge(&without_key(), LOCAL, absolute, &[("Host", "127.0.0.1")]), Err(Denied::NotLocal));
    }

    #[test]
    fn a_page_of_another_site_is_refused_without_the_key() {
        for foreign in [
            [("Origin", "http://evil.example")].as_slice(),
            // Another program of this machine serves it, or another port of this one.
            &[("Origin", "http://127.0.0.1:3000")],
            &[("Origin", "http://localhost:8001")],
            &[("Origin", "null")],
            &[("Origin", "file://127.0.0.1:8001")],
            &[("Origin", "http://127.0.0.1:8001"), ("Origin", "http://evil.example")],
            &[("Sec-Fetch-Site", "cross-site")],
            &[("Sec-Fetch-Site", "same-site")],
            &[("Sec-Fetch-Site", "cross-site"), ("Origin", "http://127.0.0.1:8001")],
        ] {
            assert_eq!(local(foreign), Err(Denied::ForeignPage), "{foreign:?}");
            let host = [("Host", "127.0.0.1:8001")];
            let all: Vec<_> = host.iter().chain(foreign).copied().collect();
            assert_eq!(judge(&insecure(), REMOTE, "/", &all), Err(Denied::ForeignPage), "{foreign:?}");
            let keyed: Vec<_> = [("X-API-Key", KEY)].into_iter().chain(all).collect();
            assert_eq!(judge(&with_key(), REMOTE, "/", &keyed), Ok(()), "{foreign:?}");
        }
    }

    #[test]
    fn the_listeners_own_pages_may() {
        let origin = ("Origin", "http://127.0.0.1:8001");
        assert_eq!(local(&[origin]), Ok(()));
        assert_eq!(local(&[origin, ("Sec-Fetch-Site", "same-origin")]), Ok(()));
        assert_eq!(local(&[("Sec-Fetch-Site", "none")]), Ok(()));
        let named = [("Host", "localhost:8001"), ("Origin", "http://LOCALHOST:8001")];
        assert_eq!(judge(&without_key(), LOCAL, "/", &named), Ok(()));
    }

    #[test]
    fn whoever_follows_a_link_may_look_and_a_frame_may_not() {
        let host = ("Host", "127.0.0.1:8001");
        let link = [host, ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")];
        let followed = |method, to| {
            let headers: Vec<_> = link.into_iter().chain([("Sec-Fetch-Dest", to)]).collect();
            judge_method(&without_key(), method, LOCAL, "/dashboard", &headers)
        };
        assert_eq!(followed(Method::GET, "document"), Ok(()));
        assert_eq!(followed(Method::GET, "iframe"), Err(Denied::ForeignPage));
        assert_eq!(followed(Method::POST, "document"), Err(Denied::ForeignPage));
    }

    #[test]
    fn what_a_proxy_passes_on_is_not_from_this_machine() {
        for name in ["Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"] {
            assert_eq!(local(&[(name, "192.0.2.7")]), Err(Denied::NotLocal), "{name}");
        }
    }

    #[test]
    fn without_security_anyone_may_under_any_name() {
        assert_eq!(judge(&insecure(), REMOTE, "/dashboard", &[("Host", "throng.example")]), Ok(()));
        let own = [("Host", "throng.example"), ("Origin", "https://throng.example")];
        assert_eq!(judge(&insecure(), REMOTE, "/dashboard", &own), Ok(()));
    }

    #[test]
    fn who_is_refused_is_told_what_is_needed() {
        let (status, challenge) = (Denied::NoKey.into_response().status(), Denied::NoKey.into_response());
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(challenge.headers()[header::WWW_AUTHENTICATE], "apikey realm=\"throng\"");
        for denied in [Denied::ForeignPage, Denied::NotLocal] {
            assert_eq!(denied.into_response().status(), StatusCode::FORBIDDEN);
        }
    }
}
