//! Tokens: JWTs by which the application says who a client is and what it may subscribe to.
//!
//! Invariants:
//! - nothing a token claims is looked at before its signature has been checked;
//! - only HMAC (HS256, HS384, HS512) is taken: `none` and public-key algorithms are refused whatever
//!   they sign, and so is every token while no secret is configured;
//! - the time is the caller's: the clock and leeway of `jsonwebtoken` are switched off.
//!
//! Absent on purpose: what a token permits. Whether a subscription token is for this channel, this
//! user and this client is compared by the connection, which knows them.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::de::{Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;

use super::json;

/// What tokens are checked with.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TokenKeys {
    /// The secret that tokens are signed with. Empty refuses every token.
    pub hmac_secret_key: String,
    /// The secret before the last rotation, taken as well. Empty counts as none.
    pub hmac_previous_secret_key: Option<String>,
    /// If set, a token's `aud` must be or contain it.
    pub audience: Option<String>,
    /// If set, a token's `iss` must be it.
    pub issuer: Option<String>,
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Secrets stay out of logs.
        f.debug_struct("TokenKeys")
            .field("audience", &self.audience)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// Not a token, not signed by us, or its claims are wrong. In `connect` and `refresh` a
    /// disconnect 3500, in `subscribe` error 103.
    Invalid,
    /// Signed by us, but its time is over or has not come. Error 109, except in `refresh`, where it
    /// is a disconnect 3005.
    Expired,
}

/// What a connection token says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionClaims {
    /// The user id; `""` is an anonymous user.
    pub user: String,
    /// When the connection expires, in Unix seconds; `None` for never.
    pub expires_at: Option<i64>,
    /// JSON that others see as the client's `conn_info`.
    pub info: Option<Box<str>>,
    /// Server-side subscriptions, sorted by channel, each channel once.
    pub server_subs: Vec<(String, SubOptions)>,
}

/// What a subscription token says. The connection compares `channel`, `user` and `client`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubscriptionClaims {
    /// The user it is for; `""` is an anonymous user.
    pub user: String,
    /// The channel it is for; not empty.
    pub channel: String,
    /// The client id it is for, if only one.
    pub client: Option<String>,
    /// When the subscription expires, in Unix seconds; `None` for never.
    pub expires_at: Option<i64>,
    /// What the subscription gets.
    pub options: SubOptions,
}

/// What a token gives to one subscription.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubOptions {
    /// JSON that others see as the client's `chan_info`.
    pub info: Option<Box<str>>,
    /// JSON for the client, in the subscribe result.
    pub data: Option<Box<str>>,
    /// `Some(false)` hides the client from presence. Only that has an effect: whether a room has
    /// presence at all is its namespace's to say.
    pub presence: Option<bool>,
    /// Overrides the namespace's `join_leave`.
    pub join_leave: Option<bool>,
    /// Overrides the namespace's `force_push_join_leave`.
    pub force_push_join_leave: Option<bool>,
    /// Overrides the namespace's `force_recovery`.
    pub force_recovery: Option<bool>,
    /// Overrides the namespace's `force_positioning`.
    pub force_positioning: Option<bool>,
}

/// Checks tokens. Made once; each check is a few microseconds and takes no lock.
pub struct Verifier {
    /// The secret in force first, then the one before it.
    keys: Vec<DecodingKey>,
    signature_only: Validation,
    audience: Option<String>,
    issuer: Option<String>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Verifier {
    /// Prepares the keys.
    pub fn new(keys: &TokenKeys) -> Self {
        let mut signature_only = Validation::new(Algorithm::HS256);
        signature_only.algorithms = vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
        signature_only.required_spec_claims = HashSet::new();
        signature_only.validate_exp = false;
        signature_only.validate_nbf = false;
        signature_only.validate_aud = false;
        let secrets = [Some(&keys.hmac_secret_key), keys.hmac_previous_secret_key.as_ref()];
        Verifier {
            keys: secrets
                .into_iter()
                .flatten()
                .filter(|secret| !secret.is_empty())
                .map(|secret| DecodingKey::from_secret(secret.as_bytes()))
                .collect(),
            signature_only,
            audience: keys.audience.clone(),
            issuer: keys.issuer.clone(),
        }
    }

    /// Checks a connection token at the time `now_unix_s`.
    ///
    /// # Errors
    ///
    /// [`TokenError::Invalid`] also for a subscription token, which has a `channel`.
    pub fn connection(&self, token: &str, now_unix_s: i64) -> Result<ConnectionClaims, TokenError> {
        let claims = self.signed(token)?;
        if claims.channel.is_some() {
            return Err(TokenError::Invalid);
        }
        self.check_audience_and_issuer(&claims)?;
        claims.check_time(now_unix_s)?;
        let expires_at = claims.expires_at();
        let subs = match claims.subs.filter(|subs| !subs.is_empty()) {
            Some(subs) => subs,
            None => {
                let channels = claims.channels.unwrap_or_default().into_iter();
                channels.map(|channel| (channel, Sub::default())).collect()
            }
        };
        let server_subs = subs.into_iter().map(|(channel, sub)| Ok((channel, sub.options()?)));
        Ok(ConnectionClaims {
            server_subs: server_subs.collect::<Result<_, _>>()?,
            user: claims.sub.unwrap_or_default(),
            expires_at,
            info: json_of(claims.info, claims.b64info)?,
        })
    }

    /// Checks a subscription token at the time `now_unix_s`.
    ///
    /// # Errors
    ///
    /// [`TokenError::Invalid`] also for a token that names no channel.
    pub fn subscription(&self, token: &str, now_unix_s: i64) -> Result<SubscriptionClaims, TokenError> {
        let claims = self.signed(token)?;
        let expires_at = claims.expires_at();
        self.check_audience_and_issuer(&claims)?;
        claims.check_time(now_unix_s)?;
        let sub = Sub {
            info: claims.info,
            b64info: claims.b64info,
            data: claims.data,
            b64data: claims.b64data,
            overrides: claims.overrides,
        };
        Ok(SubscriptionClaims {
            user: claims.sub.unwrap_or_default(),
            channel: claims.channel.filter(|channel| !channel.is_empty()).ok_or(TokenError::Invalid)?,
            client: claims.client.filter(|client| !client.is_empty()),
            expires_at,
            options: sub.options()?,
        })
    }

    /// Returns the claims of a token that one of the keys has signed.
    fn signed(&self, token: &str) -> Result<Claims, TokenError> {
        for key in &self.keys {
            match decode::<Claims>(token, key, &self.signature_only) {
                Ok(token) => return Ok(token.claims),
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
                Err(_) => return Err(TokenError::Invalid),
            }
        }
        Err(TokenError::Invalid)
    }

    /// Checks for whom and by whom the token was made, as far as that is configured.
    fn check_audience_and_issuer(&self, claims: &Claims) -> Result<(), TokenError> {
        let is_for_us = self.audience.as_ref().is_none_or(|audience| match &claims.aud {
            Some(Audience::One(one)) => one == audience,
            Some(Audience::Many(many)) => many.contains(audience),
            None => false,
        });
        let is_by_ours = self.issuer.is_none() || self.issuer == claims.iss;
        if is_for_us && is_by_ours { Ok(()) } else { Err(TokenError::Invalid) }
    }
}

/// The claims that throng reads, of both kinds of tokens: one reading serves both. A claim that is
/// `null` is missing; one of the wrong type makes the token invalid; others are skipped.
#[derive(serde::Deserialize)]
struct Claims {
    sub: Option<String>,
    aud: Option<Audience>,
    iss: Option<String>,
    exp: Option<UnixSeconds>,
    nbf: Option<UnixSeconds>,
    expire_at: Option<UnixSeconds>,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    channels: Option<Vec<String>>,
    subs: Option<BTreeMap<String, Sub>>,
    channel: Option<String>,
    client: Option<String>,
    #[serde(rename = "override")]
    overrides: Option<Overrides>,
}

impl Claims {
    /// Checks that the token's time has come and is not over. RFC 7519 §4.1.4: at `exp` it is over.
    fn check_time(&self, now_unix_s: i64) -> Result<(), TokenError> {
        let is_over = self.exp.is_some_and(|exp| exp.0 <= now_unix_s);
        let is_early = self.nbf.is_some_and(|nbf| nbf.0 > now_unix_s);
        if is_over || is_early { Err(TokenError::Expired) } else { Ok(()) }
    }

    /// When what the token opens expires: `expire_at` if it is there, where 0 is never, else `exp`.
    fn expires_at(&self) -> Option<i64> {
        match self.expire_at {
            Some(expire_at) => Some(expire_at.0).filter(|&expire_at| expire_at != 0),
            None => self.exp.map(|exp| exp.0),
        }
    }
}

/// One or several audiences. Source: RFC 7519 §4.1.3.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What a token gives to one subscription, as it is written.
#[derive(Default, serde::Deserialize)]
struct Sub {
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    #[serde(rename = "override")]
    overrides: Option<Overrides>,
}

impl Sub {
    fn options(self) -> Result<SubOptions, TokenError> {
        let overrides = self.overrides.unwrap_or_default();
        Ok(SubOptions {
            info: json_of(self.info, self.b64info)?,
            data: json_of(self.data, self.b64data)?,
            presence: overrides.presence.map(|switch| switch.value),
            join_leave: overrides.join_leave.map(|switch| switch.value),
            force_push_join_leave: overrides.force_push_join_leave.map(|switch| switch.value),
            force_recovery: overrides.force_recovery.map(|switch| switch.value),
            force_positioning: overrides.force_positioning.map(|switch| switch.value),
        })
    }
}

#[derive(Default, serde::Deserialize)]
struct Overrides {
    presence: Option<Switch>,
    join_leave: Option<Switch>,
    force_push_join_leave: Option<Switch>,
    force_recovery: Option<Switch>,
    force_positioning: Option<Switch>,
}

#[derive(serde::Deserialize)]
struct Switch {
    value: bool,
}

/// A NumericDate of RFC 7519 §2, which may have a fraction; it is cut off.
#[derive(Clone, Copy)]
struct UnixSeconds(i64);

impl<'de> Deserialize<'de> for UnixSeconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SecondsVisitor;

        impl Visitor<'_> for SecondsVisitor {
            type Value = UnixSeconds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of seconds")
            }

            fn visit_i64<E>(self, seconds: i64) -> Result<UnixSeconds, E> {
                Ok(UnixSeconds(seconds))
            }

            fn visit_u64<E>(self, seconds: u64) -> Result<UnixSeconds, E> {
                Ok(UnixSeconds(i64::try_from(seconds).unwrap_or(i64::MAX)))
            }

            fn visit_f64<E>(self, seconds: f64) -> Result<UnixSeconds, E> {
                Ok(UnixSeconds(seconds.floor() as i64))
            }
        }

        deserializer.deserialize_any(SecondsVisitor)
    }
}

/// Returns the JSON of a claim that may be given plainly or in base64, which wins.
///
/// # Errors
///
/// The base64 is broken, or what it holds is not JSON: it would break every reply it is put into.
fn json_of(plain: Option<Box<RawValue>>, base64: Option<String>) -> Result<Option<Box<str>>, TokenError> {
    let Some(base64) = base64.filter(|base64| !base64.is_empty()) else {
        return Ok(plain.map(Box::from));
    };
    json::from_base64(&base64).map(Some).ok_or(TokenError::Invalid)
}

#[cfg(test)]
mod tests;
