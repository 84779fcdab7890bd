//! What is said after the upgrade, by dialect: the greeting, a publish, and what a received line is.
//!
//! A dialect is a match arm in each function below and nothing else: adding one touches this file only.
//!
//! Absent on purpose: JSON parsing. A member of a room of 1,000 sees every message, so a line is
//! told from another by its first bytes, which every Centrifuge server writes in the same order.

use jsonwebtoken::{EncodingKey, Header};
use memchr::memchr;
use serde::Serialize;

/// The shortest payload that can carry a sequence number: `{"seq":"0000000000"}`.
pub const PAYLOAD_BYTES_MIN: usize = SEQUENCE_PREFIX.len() + SEQUENCE_DIGITS + 2;

const SEQUENCE_PREFIX: &[u8] = br#"{"seq":""#;
const SEQUENCE_DIGITS: usize = 10;

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// The Centrifuge client protocol in JSON: connect and subscribe in one frame, newline-joined
    /// replies and pushes, `{}` answered by `{}`.
    Centrifuge,
    /// `join` is answered by `joined`; any other text frame is a publish to all, and each frame
    /// received is one message.
    ///
    /// The one word matters: Linux treats a socket that has answered something as interactive and
    /// acknowledges what it receives later and rarer. Clients that never spoke would acknowledge every
    /// message, in their own context, and no two servers could be compared.
    Raw,
}

/// The greeting of the raw dialect and its answer.
const JOIN: &str = "join";
const JOINED: &[u8] = b"joined";

/// Which rooms a connection joins. Room `n` is the channel `bench-n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rooms {
    /// None: connect only.
    None,
    /// One: connection `i` joins room `i % rooms`.
    Spread(u64),
    /// Every connection joins rooms `0..rooms`.
    Each(u64),
}

/// Who connects: nobody in particular, or a user of its own per connection.
#[derive(Clone)]
pub enum Identity {
    /// Connect without a token.
    Anonymous,
    /// Connection `i` brings an HS256 token whose `sub` is `user-<i>`.
    Named(EncodingKey),
}

/// What a received line is to the generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// A message of a room: what is counted.
    Message,
    /// The server asks whether we live; the answer is the same line.
    Ping,
    /// A good reply to a command.
    Reply,
    /// A reply with an error.
    Refusal,
    /// Anything else, such as a join push.
    Other,
}

impl Dialect {
    /// Writes the text that connection `index` sends first.
    pub fn greeting(self, index: u64, rooms: Rooms, identity: &Identity) -> Result<String, String> {
        if self == Self::Raw {
            return Ok(JOIN.to_owned());
        }
        let mut text = match identity {
            Identity::Anonymous => r#"{"id":1,"connect":{}}"#.to_owned(),
            Identity::Named(key) => {
                format!(r#"{{"id":1,"connect":{{"token":"{}"}}}}"#, token(index, key)?)
            }
        };
        let (first, count) = match rooms {
            Rooms::None => (0, 0),
            Rooms::Spread(rooms) => (index % rooms, 1),
            Rooms::Each(rooms) => (0, rooms),
        };
        for nth in 0..count {
            let (id, room) = (nth + 2, first + nth);
            text.push_str(&format!("\n{{\"id\":{id},\"subscribe\":{{\"channel\":\"bench-{room}\"}}}}"));
        }
        Ok(text)
    }

    /// Good replies that make a connection whole after its greeting.
    pub fn replies_due(self, rooms: Rooms) -> u16 {
        match (self, rooms) {
            (Self::Raw, _) | (Self::Centrifuge, Rooms::None) => 1,
            (Self::Centrifuge, Rooms::Spread(_)) => 2,
            (Self::Centrifuge, Rooms::Each(rooms)) => u16::try_from(rooms).unwrap_or(u16::MAX - 1) + 1,
        }
    }

    /// Appends the text of the publish with number `sequence` to `room`; its payload is
    /// `payload_bytes` long, at least [`PAYLOAD_BYTES_MIN`].
    pub fn publish(self, out: &mut Vec<u8>, sequence: u64, room: u64, payload_bytes: usize) {
        match self {
            Self::Raw => payload(out, sequence, payload_bytes),
            Self::Centrifuge => {
                // Ids are 32 bits wide and 0 means none; replies are not matched, so they may repeat.
                let id = sequence % 1_000_000_000 + 1_000;
                out.extend_from_slice(
                    format!(r#"{{"id":{id},"publish":{{"channel":"bench-{room}","data":"#).as_bytes(),
                );
                payload(out, sequence, payload_bytes);
                out.extend_from_slice(b"}}");
            }
        }
    }

    /// The line at the front of `text` and what follows it. A raw message may hold newlines.
    pub fn split_line(self, text: &[u8]) -> (&[u8], &[u8]) {
        match memchr(b'\n', text) {
            Some(at) if self == Self::Centrifuge => (&text[..at], &text[at + 1..]),
            _ => (text, &[]),
        }
    }

    /// Tells what `line` is.
    pub fn classify(self, line: &[u8]) -> Line {
        const PUSH: &[u8] = br#"{"push":{"channel":""#;
        if self == Self::Raw {
            return if line == JOINED { Line::Reply } else { Line::Message };
        }
        if let Some(after) = line.strip_prefix(PUSH) {
            // The channels are ours, so the first quote ends the name.
            let publication = memchr(b'"', after).is_some_and(|end| after[end..].starts_with(br#"","pub":"#));
            return if publication { Line::Message } else { Line::Other };
        }
        if line == b"{}" {
            return Line::Ping;
        }
        if !line.starts_with(br#"{"id":"#) {
            return Line::Other;
        }
        if memchr::memmem::find(line, br#""error":{"#).is_some() { Line::Refusal } else { Line::Reply }
    }
}

/// The payload itself: `{"seq":"0000000042xxx…"}`.
pub fn payload(out: &mut Vec<u8>, sequence: u64, payload_bytes: usize) {
    let end = out.len() + payload_bytes.max(PAYLOAD_BYTES_MIN) - 2;
    out.extend_from_slice(SEQUENCE_PREFIX);
    out.extend_from_slice(format!("{sequence:0width$}", width = SEQUENCE_DIGITS).as_bytes());
    out.resize(end, b'x');
    out.extend_from_slice(br#""}"#);
}

/// The sequence number inside a message, wherever its payload stands.
pub fn sequence(message: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(message, SEQUENCE_PREFIX)? + SEQUENCE_PREFIX.len();
    std::str::from_utf8(message.get(at..at + SEQUENCE_DIGITS)?).ok()?.parse().ok()
}

fn token(index: u64, key: &EncodingKey) -> Result<String, String> {
    #[derive(Serialize)]
    struct Claims {
        sub: String,
    }
    jsonwebtoken::encode(&Header::default(), &Claims { sub: format!("user-{index}") }, key)
        .map_err(|error| format!("the connection token cannot be signed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_centrifuge_greeting_connects_and_subscribes_in_one_text() {
        let text = Dialect::Centrifuge.greeting(7, Rooms::Spread(3), &Identity::Anonymous).unwrap();
        assert_eq!(text, "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"bench-1\"}}");
        let text = Dialect::Centrifuge.greeting(7, Rooms::Each(2), &Identity::Anonymous).unwrap();
        assert!(text.ends_with("bench-0\"}}\n{\"id\":3,\"subscribe\":{\"channel\":\"bench-1\"}}"));
        assert_eq!(text.lines().count(), usize::from(Dialect::Centrifuge.replies_due(Rooms::Each(2))));
        assert_eq!(Dialect::Raw.greeting(7, Rooms::Each(2), &Identity::Anonymous).unwrap(), "join");
    }

    #[test]
    fn a_named_connection_brings_a_token_of_its_own_that_the_secret_verifies() {
        let identity = Identity::Named(EncodingKey::from_secret(b"secret"));
        let text = Dialect::Centrifuge.greeting(42, Rooms::None, &identity).unwrap();
        let command: serde_json::Value = serde_json::from_str(&text).unwrap();
        let token = command["connect"]["token"].as_str().unwrap();
        let mut rules = jsonwebtoken::Validation::default();
        rules.required_spec_claims.clear();
        let key = jsonwebtoken::DecodingKey::from_secret(b"secret");
        let claims = jsonwebtoken::decode::<serde_json::Value>(token, &key, &rules).unwrap().claims;
        assert_eq!(claims["sub"], "user-42");
    }

    #[test]
    fn a_publish_is_json_of_the_length_asked_for_and_carries_its_number() {
        for payload_bytes in [PAYLOAD_BYTES_MIN, 64, 1000] {
            let mut raw = Vec::new();
            Dialect::Raw.publish(&mut raw, 123, 0, payload_bytes);
            assert_eq!(raw.len(), payload_bytes);
            assert_eq!(sequence(&raw), Some(123));
            let mut text = Vec::new();
            Dialect::Centrifuge.publish(&mut text, 123, 5, payload_bytes);
            let command: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(command["publish"]["channel"], "bench-5");
            assert_eq!(command["publish"]["data"].to_string().len(), payload_bytes);
            assert_eq!(sequence(&text), Some(123));
        }
    }

    #[test]
    fn only_publications_count_as_messages() {
        let classify = |line: &str| Dialect::Centrifuge.classify(line.as_bytes());
        assert_eq!(classify(r#"{"push":{"channel":"bench-0","pub":{"data":1}}}"#), Line::Message);
        assert_eq!(classify(r#"{"push":{"channel":"bench-0","join":{"info":{}}}}"#), Line::Other);
        assert_eq!(classify(r#"{"push":{"channel":"bench-0"#), Line::Other);
        assert_eq!(classify("{}"), Line::Ping);
        assert_eq!(classify(r#"{"id":2,"subscribe":{}}"#), Line::Reply);
        assert_eq!(classify(r#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#), Line::Refusal);
        assert_eq!(classify(""), Line::Other);
        assert_eq!(Dialect::Raw.classify(b"{}"), Line::Message);
        assert_eq!(Dialect::Raw.classify(b"joined"), Line::Reply);
    }

    #[test]
    fn lines_are_split_where_the_dialect_has_lines() {
        assert_eq!(Dialect::Centrifuge.split_line(b"a\nb\nc"), (&b"a"[..], &b"b\nc"[..]));
        assert_eq!(Dialect::Centrifuge.split_line(b"a"), (&b"a"[..], &b""[..]));
        assert_eq!(Dialect::Raw.split_line(b"a\nb"), (&b"a\nb"[..], &b""[..]));
    }
}
