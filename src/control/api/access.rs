//! Who may call: whoever shows the key, in one of three places.
//!
//! Keys are compared in a time that does not tell how much of one was right.

use axum::http::{HeaderMap, Uri, header};
use subtle::ConstantTimeEq;

/// The header that has the key alone.
const KEY_HEADER: &str = "x-api-key";

/// Scheme of the key in the `Authorization` header.
const SCHEME: &str = "apikey";

/// Name of the key in the query.
const QUERY: &str = "api_key";

/// Whether a request to `uri` with `headers` shows `key`. Nobody has an empty one.
pub fn has_key(headers: &HeaderMap, uri: &Uri, key: &str) -> bool {
    let is_key = |shown: &[u8]| bool::from(shown.ct_eq(key.as_bytes()));
    let in_header = || headers.get_all(KEY_HEADER).iter().any(|value| is_key(value.as_bytes()));
    let in_authorization = || {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        values.any(|value| scheme_key(value.as_bytes()).is_some_and(is_key))
    };
    let in_query = || {
        let query = uri.query().unwrap_or_default();
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.any(|(name, value)| name == QUERY && is_key(value.as_bytes()))
    };
    !key.is_empty() && (in_header() || in_authorization() || in_query())
}

/// The key in the value of an `Authorization` header, if it is of our scheme. RFC 9110 §11.1: the
/// name of a scheme is case-insensitive.
fn scheme_key(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(SCHEME.len())?;
    let key = key.strip_prefix(b" ")?.trim_ascii();
    scheme.eq_ignore_ascii_case(SCHEME.as_bytes()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn shows(uri: &str, headers: &[(&str, &str)], key: &str) -> bool {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        has_key(&parts.headers, &parts.uri, key)
    }

    #[test]
    fn a_key_is_found_in_any_of_three_places() {
        assert!(shows("/api/info", &[("X-API-Key", "k y")], "k y"));
        assert!(shows("/api/info", &[("Authorization", "apikey key")], "key"));
        assert!(shows("/api/info", &[("Authorization", "APIKEY  key")], "key"));
        assert!(shows("/api/info?a=b&api_key=k%20y", &[], "k y"));
    }

    #[test]
    fn anything_else_is_no_key() {
        assert!(!shows("/api/info", &[], "key"));
        assert!(!shows("/api/info?api_key=ke", &[("X-API-Key", "keys")], "key"));
        assert!(!shows("/api/info", &[("Authorization", "Bearer key"), ("Authorization", "key")], "key"));
        assert!(!shows("/api/info", &[("Authorization", "apikey")], "key"));
    }

    #[test]
    fn an_empty_key_is_nobodys() {
        let headers = [("X-API-Key", ""), ("Authorization", "apikey ")];
        assert!(!shows("/api/info?api_key=", &headers, ""));
    }
}
