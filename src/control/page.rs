//! What the pages of the admin listener have in common: one response each, which loads nothing, and whose policy
//! lets the browser run only what came with it.

use std::fs::File;
use std::io::{self, Read};

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// A page that `text` makes with the nonce that its style and script must carry, and which may connect to the
/// sources in `connect`. Source: Content Security Policy Level 3.
pub(super) fn response(status: StatusCode, connect: &str, text: impl FnOnce(&str) -> String) -> Response {
    // Guessed by nobody, or else what got into the page could name it.
    let Ok(nonce) = secret::<16>() else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; img-src data:; \
         connect-src {connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, [(header::CONTENT_SECURITY_POLICY, policy)], text(&nonce)).into_response()
}

/// `BYTES` random bytes of the kernel, in hexadecimal.
///
/// # Errors
///
/// The kernel gives none.
pub(super) fn secret<const BYTES: usize>() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_used_once_and_the_policy_names_the_one_of_the_page() {
        let page = || response(StatusCode::OK, "'self' ws://127.0.0.1:8000/ws", str::to_owned);
        let policy = |page: &Response| page.headers()[header::CONTENT_SECURITY_POLICY].clone();
        let [one, other] = [page(), page()];
        assert_ne!(policy(&one), policy(&other));
        let text = policy(&one).to_str().unwrap().to_owned();
        assert!(text.starts_with("default-src 'none'; style-src 'nonce-"), "{text}");
        assert!(text.contains("; connect-src 'self' ws://127.0.0.1:8000/ws; "), "{text}");
    }
}
