//! The demo: a chat page at `/demo`, tokens for its users, and the namespaces of its rooms.
//!
//! It needs no configuration: `Demo::prepare` adds to the rooms' settings what it needs and the
//! operator has not said otherwise. `client.js` speaks the protocol and `page.js` shows the chat; both are in
//! plain JavaScript, to be read.
//!
//! Invariants:
//! - a demo's user can be no user of the application: its name is put behind `demo:`;
//! - what is not configured stays refused: a key made here signs the demo's tokens and nobody knows it;
//! - the page loads nothing, and its policy forbids what it does not do.
//!
//! Absent on purpose: passwords. Whoever may see the page may be any of the demo's users.

mod names;
mod page;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;
use serde_json::json;

use super::config::Config;
use crate::control;
use crate::hub::{Conflate, NamespaceOptions, Slow};
use crate::protocol::token::TokenKeys;
use crate::rooms;
use names::Name;

/// What a request is answered where there is no demo.
const OFF: &str = "the demo is off; `enabled = true` under [demo] in the configuration turns it on\n";

/// Namespace of the demo's rooms.
const ROOMS: &str = "demo";

/// Namespace of who is typing in them.
const TYPING: &str = "demo-typing";

/// Time for which a token lets its bearer connect. The connection itself does not expire; whoever connects
/// anew gets a new token.
const TOKEN_S: u64 = 300;

/// Bytes of a key made here: as strong as the signature. Source: RFC 7518 §3.2, for HS256.
const KEY_BYTES: usize = 32;

/// The demo, if there is one.
#[derive(Debug, Default)]
pub(super) struct Demo(Option<Stage>);

/// What the demo answers from.
struct Stage {
    signer: EncodingKey,
    audience: Option<String>,
    issuer: Option<String>,
    /// Path that clients upgrade on.
    path: String,
    /// Where clients connect, known once the shards listen.
    addresses: OnceLock<Vec<SocketAddr>>,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Demo {
    /// The demo that `config` asks for; `settings`, made from it, get what the demo needs.
    ///
    /// # Errors
    ///
    /// The kernel gives no random bytes for a key.
    pub(super) fn prepare(config: &Config, settings: &mut rooms::Settings) -> io::Result<Demo> {
        if !config.has_demo() {
            return Ok(Demo(None));
        }
        for (name, options) in [(ROOMS, rooms_options()), (TYPING, typing_options())] {
            if settings.namespaces.iter().all(|(there, _)| there != name) {
                settings.namespaces.push((name.to_owned(), options));
            }
        }
        if settings.token.is_none() {
            let hmac_secret_key = control::page::secret::<KEY_BYTES>()?;
            settings.token = Some(TokenKeys { hmac_secret_key, ..TokenKeys::default() });
        }
        let keys = settings.token.as_ref().expect("given, or made above");
        Ok(Demo(Some(Stage {
            signer: EncodingKey::from_secret(keys.hmac_secret_key.as_bytes()),
            audience: keys.audience.clone(),
            issuer: keys.issuer.clone(),
            path: config.path.clone(),
            addresses: OnceLock::new(),
        })))
    }

    /// Tells where clients connect, once; later calls change nothing.
    pub(super) fn opened(&self, addresses: &[SocketAddr]) {
        if let Some(stage) = &self.0 {
            stage.addresses.get_or_init(|| addresses.to_vec());
        }
    }
}

/// The options of the demo's rooms: what a chat wants.
fn rooms_options() -> NamespaceOptions {
    NamespaceOptions {
        presence: true,
        join_leave: true,
        force_push_join_leave: true,
        allow_subscribe_for_client: true,
        allow_publish_for_subscriber: true,
        allow_presence_for_subscriber: true,
        allow_history_for_subscriber: true,
        // Nobody fills the disk with rooms of endless names.
        channel_regex: "^[a-z0-9-]{1,24}$".to_owned(),
        publishes_per_second: 100,
        data_bytes_max: 4096,
        history_size: 300,
        history_ttl_ms: 24 * 3600 * 1000,
        force_recovery: true,
        slow: Slow::Recover,
        ..NamespaceOptions::default()
    }
}

/// The options of who is typing: the latest of each user, kept nowhere.
fn typing_options() -> NamespaceOptions {
    NamespaceOptions {
        allow_subscribe_for_client: true,
        allow_publish_for_subscriber: true,
        exclude_sender: true,
        conflate: Conflate::User,
        channel_regex: rooms_options().channel_regex,
        data_bytes_max: 64,
        ..NamespaceOptions::default()
    }
}

/// The paths of the demo.
pub(super) fn router(demo: Arc<Demo>) -> Router {
    Router::new().route("/demo", get(show)).route("/demo/token", get(token)).with_state(demo)
}

fn off() -> Response {
    (StatusCode::NOT_FOUND, OFF).into_response()
}

async fn show(State(demo): State<Arc<Demo>>, headers: HeaderMap) -> Response {
    let Some(stage) = &demo.0 else { return off() };
    control::page::response(StatusCode::OK, &page::connects(&stage.url(&headers)), page::text)
}

/// What the page is told before it connects.
#[derive(Debug, Serialize)]
struct Ticket {
    /// Where clients connect.
    url: String,
    /// The connection token.
    token: String,
    /// Who the token says the client is.
    user: String,
    /// What the user is called: what was asked for, cleaned.
    name: String,
}

/// What a token of the demo claims.
#[derive(Debug, Serialize)]
struct Claims<'a> {
    sub: &'a str,
    iat: u64,
    exp: u64,
    /// 0: the connection does not expire.
    expire_at: u64,
    info: serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
}

async fn token(State(demo): State<Arc<Demo>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let Some(stage) = &demo.0 else { return off() };
    let query = query.unwrap_or_default();
    let asked = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "name");
    let Some(name) = asked.and_then(|(_, name)| Name::clean(&name)) else {
        return (StatusCode::BAD_REQUEST, "a name is needed: /demo/token?name=Ada\n").into_response();
    };
    let user = name.user();
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let claims = Claims {
        sub: &user,
        iat: now_s,
        exp: now_s + TOKEN_S,
        expire_at: 0,
        info: json!({ "name": name.shown() }),
        aud: stage.audience.as_deref(),
        iss: stage.issuer.as_deref(),
    };
    match jsonwebtoken::encode(&Header::default(), &claims, &stage.signer) {
        Ok(token) => {
            let name = name.shown().to_owned();
            let ticket = Ticket { url: stage.url(&headers), token, user, name };
            let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
            (headers, json!(ticket).to_string()).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

impl Stage {
    /// Where the page connects, if it was fetched with these `headers`: the listener that has the page's
    /// own address, else one that has every address, else the first.
    fn url(&self, headers: &HeaderMap) -> String {
        let addresses = self.addresses.get().map_or(&[][..], Vec::as_slice);
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = page::authority(host.unwrap_or_default(), addresses);
        format!("ws://{authority}{}", self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Verifier;

    fn prepare(text: &str) -> (Demo, rooms::Settings) {
        let config = Config::parse(text, "test.toml").unwrap();
        let mut settings = config.rooms_settings();
        let demo = Demo::prepare(&config, &mut settings).unwrap();
        (demo, settings)
    }

    #[test]
    fn a_demo_that_is_off_changes_nothing() {
        let (demo, settings) = prepare("demo.enabled = false");
        assert!(demo.0.is_none() && settings.namespaces.is_empty() && settings.token.is_none());
    }

    #[test]
    fn a_namespace_of_the_operator_stays_as_it_is() {
        let (_, settings) = prepare("[[channel.namespaces]]\nname = 'demo'\nhistory_size = 7");
        let names: Vec<_> = settings.namespaces.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [ROOMS, TYPING]);
        assert_eq!(settings.namespaces[0].1.history_size, 7);
    }

    #[test]
    fn a_key_is_made_anew_for_each_server_and_only_where_none_is_configured() {
        let key = |text: &str| prepare(text).1.token.unwrap().hmac_secret_key;
        let [one, other] = [key(""), key("")];
        assert!(one.len() == 2 * KEY_BYTES && one != other);
        let configured = "demo.enabled = true\n[client.token]\nhmac_secret_key = 'the operator has one'";
        assert_eq!(key(configured), "the operator has one");
    }

    #[test]
    fn with_a_key_made_here_tokens_of_others_are_refused_as_without_one() {
        let (_, settings) = prepare("");
        let verifier = Verifier::new(settings.token.as_ref().unwrap());
        let signed_with_nothing =
            jsonwebtoken::encode(&Header::default(), &json!({}), &EncodingKey::from_secret(b"")).unwrap();
        assert!(verifier.connection(&signed_with_nothing, 0).is_err());
        assert!(settings.insecure, "who needs no token needs none now");
    }
}
