//! `[client.token]` and `[client.subscription_token]`: the keys that tokens are checked with.

use std::fmt;

use serde::Deserialize;

use crate::protocol::token::TokenKeys;

/// Keys and claims that tokens are checked with.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Key of HS256 signatures. Never empty.
    pub hmac_secret_key: String,
    /// The key before the last rotation, accepted too. Never empty.
    pub hmac_previous_secret_key: Option<String>,
    /// `aud` that a token must have; none: any.
    pub audience: Option<String>,
    /// `iss` that a token must have; none: any.
    pub issuer: Option<String>,
}

impl Token {
    pub(super) fn keys(&self) -> TokenKeys {
        TokenKeys {
            hmac_secret_key: self.hmac_secret_key.clone(),
            hmac_previous_secret_key: self.hmac_previous_secret_key.clone(),
            audience: self.audience.clone(),
            issuer: self.issuer.clone(),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A configuration ends up in logs and bug reports; a key in one of them is a stolen key.
        f.debug_struct("Token")
            .field("audience", &self.audience)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_key() {
        let token = Token {
            hmac_secret_key: "current-key".to_owned(),
            hmac_previous_secret_key: Some("previous-key".to_owned()),
            audience: Some("chat".to_owned()),
            issuer: None,
        };
        let shown = format!("{token:?}");
        assert!(shown.contains("chat"), "{shown}");
        assert!(!shown.contains("-key"), "{shown}");
    }
}
