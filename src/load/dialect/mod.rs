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
    /// The same for who wants to be told who joins and leaves, and what leaves a room and counts its members.
    join_told: Option<Template>,
    leave: Option<Template>,
    count_members: Option<Template>,
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
    /// So that it is told who joins and leaves.
    Told,
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
        if let Join::Recover { epoch, offset } = join {
            (values.epoch, values.offset) = (epoch, offset);
        }
        match (identity, &self.greeting_with_token) {
            (Identity::Named(key), Some(greeting)) => {
                greeting.write(&mut out, &Values { token: &token(index, key)?, ..values });
            }
            _ => self.greeting.write(&mut out, &values),
        }
        if let Some(join) = self.joining(join) {
            let (first, count) = rooms.of(index);
            for nth in 0..count {
                (values.room, values.n) = (first + nth, nth + 2);
                join.write(&mut out, &values);
            }
        }
        self.greeting_end.write(&mut out, &values);
        Ok(out)
    }

    /// What joins a room as `join` says, if that is said.
    fn joining(&self, join: Join<'_>) -> Option<&Template> {
        let Joining::Said(plain) = &self.joining else { return None };
        let other = match join {
            Join::Plain => None,
            Join::Told => self.join_told.as_ref(),
            Join::Recoverable => self.join_recoverable.as_ref(),
            Join::Recover { .. } => self.join_recover.as_ref(),
        };
        Some(other.unwrap_or(plain))
    }

    /// The text by which a connection that has greeted joins `room`.
    pub fn rejoin(&self, room: u64, join: Join<'_>) -> Vec<u8> {
        let mut values = Values { room, n: 2, ..Values::default() };
        if let Join::Recover { epoch, offset } = join {
            (values.epoch, values.offset) = (epoch, offset);
        }
        // A join stands in a greeting's text, behind a line end.
        let mut out = said(self.joining(join), &values);
        let blanks = out.len() - out.trim_ascii_start().len();
        out.drain(..blanks);
        out
    }

    /// The text by which a connection leaves `room`; empty if there is none.
    pub fn leave(&self, room: u64) -> Vec<u8> {
        said(self.leave.as_ref(), &Values { room, n: 2, ..Values::default() })
    }

    /// The text that asks how many members `room` has; empty if there is none.
    pub fn count_members(&self, room: u64) -> Vec<u8> {
        said(self.count_members.as_ref(), &Values { room, n: 2, ..Values::default() })
    }

    /// Refuses a dialect by which nobody can leave a room, be told who does, and ask who is there.
    ///
    /// # Errors
    ///
    /// It is one of those.
    pub fn check_bouncing(&self) -> Result<(), String> {
        if [&self.join_told, &self.leave, &self.count_members].into_iter().all(Option::is_some) {
            return Ok(());
        }
        Err(format!(
            "dialect {}: it has no `join_told`, `leave` and `count_members`, so nobody can come and go and be told of it",
            self.name
        ))
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

/// `template` with `values`, or nothing without one.
fn said(template: Option<&Template>, values: &Values<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(template) = template {
        template.write(&mut out, values);
    }
    out
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
mod tests;
