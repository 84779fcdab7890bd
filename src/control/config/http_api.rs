//! `[http_api]`: who may call the server API on the admin listener, and how it says no.

use std::fmt;

use serde::Deserialize;

/// `[http_api]`: without a word here, every call is answered 401. Source: PROTOCOL.md 21.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpApi {
    /// What a caller has to show. Empty: there is no key, and no caller has it.
    pub key: String,
    /// Callers need no key.
    pub insecure: bool,
    /// Where errors are told.
    pub error_mode: ErrorMode,
}

/// Where the server API tells that a call failed. A call's header may ask for `Transport` too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum ErrorMode {
    /// `""`: in the body, as `{"error":…}`, with status 200.
    #[default]
    #[serde(rename = "")]
    Body,
    /// `"transport"`: by the status, with the error alone as body.
    #[serde(rename = "transport")]
    Transport,
}

impl HttpApi {
    /// Who may call, in a few words for the log and for `throng check-config`.
    pub fn access(&self) -> &'static str {
        match (self.insecure, self.key.is_empty()) {
            (true, _) => "anyone, without a key (http_api.insecure = true)",
            (false, false) => "whoever has the key",
            (false, true) => "nobody (http_api.key is not set)",
        }
    }
}

impl fmt::Debug for HttpApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A configuration ends up in logs and bug reports; a key in one of them is a stolen key.
        f.debug_struct("HttpApi")
            .field("insecure", &self.insecure)
            .field("error_mode", &self.error_mode)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_key() {
        let api = HttpApi { key: "zebra".to_owned(), insecure: true, ..Default::default() };
        let shown = format!("{api:?}");
        assert!(shown.contains("insecure: true") && !shown.contains("zebra"), "{shown}");
    }

    #[test]
    fn who_may_call_is_told_in_words() {
        let access =
            |key: &str, insecure| HttpApi { key: key.to_owned(), insecure, ..Default::default() }.access();
        assert!(access("", false).starts_with("nobody"));
        assert_eq!(access("k", false), "whoever has the key");
        assert!(access("k", true).starts_with("anyone"));
    }
}
