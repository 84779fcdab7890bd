//! What is said after the upgrade, by dialect: the greeting, a publish, and what a received line is.
//!
//! A dialect is a file (`dialects/*.toml` in this repository, or one's own): adding one touches no
//! code. Inside:
//! - `file`: the file's keys, and what is wrong with one;
//! - `template`: what is sent; `payload`: what is published;
//! - `rule`: what is received.
//!
//! Absent on purpose: JSON parsing and state. A line is told from another by its bytes alone.

mod file;
mod payload;
mod rule;
mod template;

use std::fmt;

use jsonwebtoken::{EncodingKey, Header};
use memchr::memchr;
use serde::Serialize;

pub use file::{BUILT_IN_NAMES, built_in, built_in_text, read};
pub use payload::{PAYLOAD_BYTES_MIN, sequence, write_payload};
pub use rule::Line;
pub use template::{Template, Values, publish_id};

use crate::wire::{Data, OpCode};
use rule::Rule;

const TEXT: OpCode = OpCode::Data(Data::Text);
const BINARY: OpCode = OpCode::Data(Data::Binary);

/// How a server is spoken to.
pub struct Dialect {
    /// Its name in reports: a built-in one's, or the path of the user's file.
    pub name: String,
    /// The kind of the frames that are sent; both are received.
    pub opcode: OpCode,
    /// What answers a line that is a ping.
    pub pong: Box<[u8]>,
    /// 0: a frame is one line. 1: lines end with LF. 2: with CR LF.
    line_end_bytes: usize,
    joining: Joining,
    /// In [`Joining::Said`]'s place for who wants to recover, and for who does.
    join_recoverable: Option<Template>,
    join_recover: Option<Template>,
    greeting: Template,
    greeting_with_token: Option<Template>,
    greeting_end: Template,
    replies: u16,
    replies_per_room: u16,
    publish: Template,
    /// What stands before the `{id}` of a publish in the reply to it.
    reply_id_after: Option<Box<[u8]>>,
    rules: Box<[Rule]>,
}

/// How a connection says which rooms it joins.
enum Joining {
    /// By this text, once per room.
    Said(Template),
    /// By the path of its upgrade.
    InPath,
    /// Not at all: everybody is in the one room that there is.
    Never,
}

/// Which rooms a connection joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rooms {
    /// None: connect only.
    None,
    /// One: connection `i` joins room `i % rooms`.
    Spread(u64),
    /// Every connection joins rooms `0..rooms`.
    Each(u64),
}

impl Rooms {
    /// First room of connection `index`, and how many it joins from there on.
    pub fn of(self, index: u64) -> (u64, u64) {
        match self {
            Self::None => (0, 0),
            Self::Spread(rooms) => (index % rooms, 1),
            Self::Each(rooms) => (0, rooms),
        }
    }
}

/// How a connection joins its rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join<'a> {
    /// As usual.
    Plain,
    /// So that it can recover later.
    Recoverable,
    /// It was there before, and wants what came since.
    Recover {
        /// The epoch that it was told.
        epoch: &'a str,
        /// The offset of the last message it has; 0 if there was none.
        offset: u64,
    },
}

/// Who connects: nobody in particular, or a user of its own per connection.
#[derive(Clone)]
pub enum Identity {
    /// Connect without a token.
    Anonymous,
    /// Connection `i` brings an HS256 token whose `sub` is `user-<i>`.
    Named(EncodingKey),
}

impl Dialect {
    /// Whether connections in `rooms` and of `identity` can be had on a server whose path is `path`.
    ///
    /// # Errors
    ///
    /// What the dialect cannot do, and what to ask for instead.
    pub fn check(&self, rooms: Rooms, identity: &Identity, path: &str) -> Result<(), String> {
        let name = &self.name;
        let in_path = matches!(self.joining, Joining::InPath);
        let has_room = path.contains("{room}");
        match rooms {
            Rooms::Each(2..) if in_path => {
                return Err(format!(
                    "dialect {name}: the room is in the path, so a connection is in one room, not in several"
                ));
            }
            Rooms::None if in_path => {
                return Err(format!(
                    "dialect {name}: the room is in the path, so a connection is always in one"
                ));
            }
            Rooms::Each(2..) | Rooms::Spread(2..) if matches!(self.joining, Joining::Never) => {
                return Err(format!(
                    "dialect {name}: without `join` or `room_in_path` there is one room only"
                ));
            }
            _ => {}
        }
        if in_path && !has_room {
            return Err(format!(
                "dialect {name}: the room is in the path, so --target needs {{room}} in it, not {path}"
            ));
        }
        if has_room && !in_path {
            return Err(format!(
                "dialect {name}: the room is not in the path (`room_in_path`), yet --target has {{room}} in it"
            ));
        }
        if matches!(identity, Identity::Named(_)) && self.greeting_with_token.is_none() {
            return Err(format!(
                "dialect {name}: it has no `greeting_with_token`, so --named has no meaning"
            ));
        }
        Ok(())
    }

    /// Refuses a dialect that cannot ask for what was missed.
    ///
    /// # Errors
    ///
    /// It is one of those.
    pub fn check_recovery(&self) -> Result<(), String> {
        if self.join_recoverable.is_some() && self.join_recover.is_some() {
            return Ok(());
        }
        Err(format!(
            "dialect {}: it has no `join_recoverable` and `join_recover`, so nobody can ask for what was missed",
            self.name
        ))
    }

    /// The text that connection `index` sends first, joining its rooms by `join`; empty if the dialect says
    /// nothing first.
    pub fn greeting(
        &self,
        index: u64,
        rooms: Rooms,
        identity: &Identity,
        join: Join<'_>,
    ) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let mut values = Values { index, ..Values::default() };
        let other = match join {
            Join::Plain => None,
            Join::Recoverable => self.join_recoverable.as_ref(),
            Join::Recover { epoch, offset } => {
                (values.epoch, values.offset) = (epoch, offset);
                self.join_recover.as_ref()
            }
        };
        match (identity, &self.greeting_with_token) {
            (Identity::Named(key), Some(greeting)) => {
                greeting.write(&mut out, &Values { token: &token(index, key)?, ..values });
            }
            _ => self.greeting.write(&mut out, &values),
        }
        if let Joining::Said(join) = &self.joining {
            let join = other.unwrap_or(join);
            let (first, count) = rooms.of(index);
            for nth in 0..count {
                (values.room, values.n) = (first + nth, nth + 2);
                join.write(&mut out, &values);
            }
        }
        self.greeting_end.write(&mut out, &values);
        Ok(out)
    }

    /// True if the path of the upgrade names the room: a connection is then in that one.
    pub fn is_room_in_path(&self) -> bool {
        matches!(self.joining, Joining::InPath)
    }

    /// Good replies that make a connection whole after its greeting.
    pub fn replies_due(&self, rooms: Rooms) -> u16 {
        let (_, count) = rooms.of(0);
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        self.replies_per_room.saturating_mul(count).saturating_add(self.replies)
    }

    /// Appends the text of the publish with number `sequence` to `room`; its payload is
    /// `payload_bytes` long, at least [`PAYLOAD_BYTES_MIN`].
    pub fn publish(&self, out: &mut Vec<u8>, sequence: u64, room: u64, payload_bytes: usize) {
        let payload_bytes = payload_bytes.max(PAYLOAD_BYTES_MIN);
        self.publish.write(out, &Values { sequence, room, payload_bytes, ..Values::default() });
    }

    /// Refuses a dialect whose publishes are not answered, or whose answers cannot be told apart.
    ///
    /// # Errors
    ///
    /// It is one of those.
    pub fn check_answers(&self) -> Result<(), String> {
        self.reply_id_after.as_ref().map(drop).ok_or_else(|| {
            format!(
                "dialect {}: it has no `reply_id_after`, so nothing is known of a publish's answer",
                self.name
            )
        })
    }

    /// The `{id}` of the publish that `line`, a reply or a refusal, answers, and what follows it.
    pub fn reply_id<'l>(&self, line: &'l [u8]) -> Option<(u64, &'l [u8])> {
        let rest = line.strip_prefix(&**self.reply_id_after.as_ref()?)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        Some((std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?, &rest[digits..]))
    }

    /// The line at the front of `text`, without its end, and what follows it.
    pub fn split_line<'t>(&self, text: &'t [u8]) -> (&'t [u8], &'t [u8]) {
        if self.line_end_bytes == 0 {
            return (text, &[]);
        }
        let Some(at) = memchr(b'\n', text) else { return (text, &[]) };
        let (line, rest) = (&text[..at], &text[at + 1..]);
        let line = if self.line_end_bytes == 2 { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
        (line, rest)
    }

    /// Tells what `line` is: what the first rule that it meets says.
    pub fn classify(&self, line: &[u8]) -> Line {
        self.rules.iter().find(|rule| rule.meets(line)).map_or(Line::Other, |rule| rule.line)
    }
}

impl fmt::Debug for Dialect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Dialect({})", self.name)
    }
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

    fn greeting(name: &str, index: u64, rooms: Rooms) -> String {
        let text = built_in(name).unwrap().greeting(index, rooms, &Identity::Anonymous, Join::Plain).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn each_dialect_greets_and_joins_in_one_text() {
        assert_eq!(
            greeting("centrifuge", 7, Rooms::Spread(3)),
            "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"bench-1\"}}"
        );
        let text = greeting("centrifuge", 7, Rooms::Each(2));
        assert!(text.ends_with("bench-0\"}}\n{\"id\":3,\"subscribe\":{\"channel\":\"bench-1\"}}"));
        assert_eq!(greeting("raw", 7, Rooms::Each(3)), "join 0 1 2");
        assert_eq!(greeting("raw", 7, Rooms::None), "join");
        let text = greeting("nats", 7, Rooms::Each(2));
        assert!(text.starts_with("CONNECT {\"verbose\":false,"), "{text}");
        assert!(text.ends_with("}\r\nSUB bench.0 2\r\nSUB bench.1 3\r\nPING\r\n"), "{text}");
        assert_eq!(greeting("nchan", 7, Rooms::Spread(3)), "");
    }

    #[test]
    fn who_comes_back_says_where_it_was() {
        let join = |name: &str, join| {
            let text = built_in(name).unwrap().greeting(7, Rooms::Spread(3), &Identity::Anonymous, join);
            String::from_utf8(text.unwrap()).unwrap().lines().nth(1).unwrap_or_default().to_owned()
        };
        assert_eq!(
            join("centrifuge", Join::Recoverable),
            r#"{"id":2,"subscribe":{"channel":"bench-1","recoverable":true}}"#
        );
        assert_eq!(
            join("centrifuge", Join::Recover { epoch: "xyz", offset: 41 }),
            r#"{"id":2,"subscribe":{"channel":"bench-1","recoverable":true,"recover":true,"epoch":"xyz","offset":41}}"#
        );
        assert_eq!(built_in("centrifuge").unwrap().check_recovery(), Ok(()));
        assert!(built_in("nats").unwrap().check_recovery().unwrap_err().contains("join_recover"));
    }

    #[test]
    fn a_connection_is_whole_after_the_answers_that_its_server_gives() {
        let due = |name: &str, rooms| built_in(name).unwrap().replies_due(rooms);
        for (name, none, spread, each) in
            [("centrifuge", 1, 2, 6), ("raw", 1, 1, 1), ("nats", 1, 1, 1), ("nchan", 0, 0, 0)]
        {
            assert_eq!((due(name, Rooms::None), due(name, Rooms::Spread(9))), (none, spread), "{name}");
            assert_eq!(due(name, Rooms::Each(5)), each, "{name}");
        }
    }

    #[test]
    fn a_named_connection_brings_a_token_of_its_own_that_the_secret_verifies() {
        let identity = Identity::Named(EncodingKey::from_secret(b"secret"));
        let text = built_in("centrifuge").unwrap().greeting(42, Rooms::None, &identity, Join::Plain).unwrap();
        let command: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let token = command["connect"]["token"].as_str().unwrap();
        let mut rules = jsonwebtoken::Validation::default();
        rules.required_spec_claims.clear();
        let key = jsonwebtoken::DecodingKey::from_secret(b"secret");
        let claims = jsonwebtoken::decode::<serde_json::Value>(token, &key, &rules).unwrap().claims;
        assert_eq!(claims["sub"], "user-42");
    }

    #[test]
    fn a_publish_has_a_payload_of_the_length_asked_for_and_carries_its_number() {
        for payload_bytes in [PAYLOAD_BYTES_MIN, 64, 1000] {
            let publish = |name: &str| {
                let mut text = Vec::new();
                built_in(name).unwrap().publish(&mut text, 123, 5, payload_bytes);
                assert_eq!(sequence(&text), Some(123), "{name}");
                text
            };
            assert_eq!(publish("nchan").len(), payload_bytes);
            let raw = publish("raw");
            assert!(raw.starts_with(b"5 {") && raw.len() == payload_bytes + 2);
            let nats = String::from_utf8(publish("nats")).unwrap();
            let (head, payload) = nats.strip_suffix("\r\n").unwrap().split_once("\r\n").unwrap();
            assert_eq!(
                (head, payload.len()),
                (format!("PUB bench.5 {payload_bytes}").as_str(), payload_bytes)
            );
            let command: serde_json::Value = serde_json::from_slice(&publish("centrifuge")).unwrap();
            assert_eq!(command["publish"]["channel"], "bench-5");
            assert_eq!(command["publish"]["data"].to_string().len(), payload_bytes);
        }
    }

    #[test]
    fn only_publications_count_as_messages() {
        let classify = |name: &str, line: &str| built_in(name).unwrap().classify(line.as_bytes());
        for (line, is) in [
            (r#"{"push":{"channel":"bench-0","pub":{"data":1}}}"#, Line::Message),
            (r#"{"push":{"channel":"bench-0","join":{"info":{}}}}"#, Line::Other),
            (r#"{"push":{"channel":"bench-0"#, Line::Other),
            ("{}", Line::Ping),
            (r#"{"id":2,"subscribe":{}}"#, Line::Reply),
            (r#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#, Line::Refusal),
            ("", Line::Other),
        ] {
            assert_eq!(classify("centrifuge", line), is, "{line}");
        }
        for (line, is) in [
            (r#"INFO {"server_id":"N"} "#, Line::Other),
            ("MSG bench.0 2 64", Line::Other),
            (r#"{"seq":"0000000042xx"}"#, Line::Message),
            ("PING", Line::Ping),
            ("PONG", Line::Reply),
            ("-ERR 'Unknown Protocol Operation'", Line::Refusal),
        ] {
            assert_eq!(classify("nats", line), is, "{line}");
        }
        assert_eq!((classify("raw", "{}"), classify("raw", "joined")), (Line::Message, Line::Reply));
        assert_eq!(classify("nchan", "joined"), Line::Message);
    }

    #[test]
    fn an_answer_names_its_publish_where_the_dialect_says() {
        let centrifuge = built_in("centrifuge").unwrap();
        let mut text = Vec::new();
        centrifuge.publish(&mut text, 123, 5, 64);
        let id = publish_id(123);
        assert!(text.starts_with(format!("{{\"id\":{id},").as_bytes()));
        let reply = format!(r#"{{"id":{id},"publish":{{}}}}"#);
        assert_eq!(centrifuge.reply_id(reply.as_bytes()), Some((id, &br#","publish":{}}"#[..])));
        assert_eq!(centrifuge.reply_id(b"{}"), None);
        assert_eq!(centrifuge.check_answers(), Ok(()));
        assert!(built_in("raw").unwrap().check_answers().unwrap_err().contains("reply_id_after"));
    }

    #[test]
    fn lines_are_split_where_the_dialect_has_lines() {
        let split = |name: &str, text: &'static str| built_in(name).unwrap().split_line(text.as_bytes());
        assert_eq!(split("centrifuge", "a\nb\nc"), (&b"a"[..], &b"b\nc"[..]));
        assert_eq!(split("centrifuge", "a"), (&b"a"[..], &b""[..]));
        assert_eq!(split("raw", "a\nb"), (&b"a\nb"[..], &b""[..]));
        assert_eq!(split("nats", "a\r\nb\r\n"), (&b"a"[..], &b"b\r\n"[..]));
    }

    #[test]
    fn what_a_dialect_cannot_do_is_refused_with_what_to_ask_for() {
        let check =
            |name: &str, rooms, path: &str| built_in(name).unwrap().check(rooms, &Identity::Anonymous, path);
        assert_eq!(check("nchan", Rooms::Spread(9), "/pubsub/{room}"), Ok(()));
        assert_eq!(check("nchan", Rooms::Each(1), "/pubsub/{room}"), Ok(()));
        assert!(check("nchan", Rooms::Each(2), "/pubsub/{room}").unwrap_err().contains("not in several"));
        assert!(check("nchan", Rooms::None, "/pubsub/{room}").unwrap_err().contains("always in one"));
        assert!(check("nchan", Rooms::Each(1), "/pubsub").unwrap_err().contains("--target needs {room}"));
        assert!(check("raw", Rooms::Each(1), "/{room}").unwrap_err().contains("not in the path"));
        let named = Identity::Named(EncodingKey::from_secret(b"secret"));
        assert!(built_in("raw").unwrap().check(Rooms::None, &named, "/").unwrap_err().contains("--named"));
        assert_eq!(built_in("centrifuge").unwrap().check(Rooms::None, &named, "/"), Ok(()));
    }
}
