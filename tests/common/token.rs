//! Tokens as an application makes them.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::Value;

/// The key of `token`. Give it to a server as `hmac_secret_key`. Long enough to cause no warning.
pub const SECRET: &str = "a secret that only tests know, 32+";

/// The configuration of a server that checks tokens by `SECRET` and lets anonymous clients in too.
/// What follows it is in no table of its own until it opens one.
pub const WITH_TOKENS: &str = "client.allow_anonymous_connect_without_token = true
client.token.hmac_secret_key = 'a secret that only tests know, 32+'
";

/// A JWT of these claims, signed by HS256 with `SECRET`.
pub fn token(claims: &Value) -> String {
    token_signed(SECRET, claims)
}

/// A JWT of these claims, signed by HS256 with `secret`.
pub fn token_signed(secret: &str, claims: &Value) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

/// Unix time in seconds, as `exp` and its like are written.
pub fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}
