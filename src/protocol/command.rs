//! Commands: what a client may say, read from one line of JSON.
//!
//! A message is split by [`lines`], a line is read by [`parse`] (or [`parse_bytes`], where nobody
//! has checked the UTF-8 yet). Whatever is [`Malformed`] ends the connection with 3501.
//!
//! Invariants of a parsed command, so that nobody above checks them again:
//! - the id is not 0, except for `send` and a pong, which need none;
//! - a channel is not empty;
//! - a delta encoding, if asked for, is one that the protocol knows.
//!
//! Reading allocates only for text with an escape, for the positions in a `connect`, and one byte
//! per level for values nested deeper than one. Nesting costs no stack: the message size is its only bound.
//!
//! Absent on purpose: the order of commands (connect first, and once), permissions, and whether a
//! pong was asked for. The connection knows those.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::code::Disconnect;
use super::request::{
    ChannelRequest, ConnectRequest, HistoryRequest, Object, PingRequest, PublishRequest, RefreshRequest,
    RpcRequest, SendRequest, SubRefreshRequest, SubscribeRequest,
};

/// One command: its id, chosen by the client and repeated in the reply, and what it asks for.
#[derive(Debug)]
pub struct Command<'a> {
    /// The client's number for this command; 0 only for `send` and a pong.
    pub id: u32,
    /// What is asked for.
    pub method: Method<'a>,
}

/// What a command asks for, with its arguments.
#[derive(Debug)]
pub enum Method<'a> {
    /// Opens the session.
    Connect(ConnectRequest<'a>),
    /// Becomes a member of a channel.
    Subscribe(SubscribeRequest<'a>),
    /// Leaves a channel.
    Unsubscribe(ChannelRequest<'a>),
    /// Sends to a channel.
    Publish(PublishRequest<'a>),
    /// Asks who is in a channel.
    Presence(ChannelRequest<'a>),
    /// Asks how many are in a channel.
    PresenceStats(ChannelRequest<'a>),
    /// Asks for past publications.
    History(HistoryRequest<'a>),
    /// In the schema, but clients do not ping: answered with disconnect 3501.
    Ping,
    /// Sends to the application, without a reply.
    Send(SendRequest<'a>),
    /// Calls the application.
    Rpc(RpcRequest<'a>),
    /// Gives a new connection token.
    Refresh(RefreshRequest<'a>),
    /// Gives a new subscription token.
    SubRefresh(SubRefreshRequest<'a>),
    /// `{}`: the answer to the server's ping.
    Pong,
    /// An id with no method that throng knows: answered with disconnect 3501.
    Unknown,
}

impl Method<'_> {
    /// The channel that the command is about, if it is about one.
    pub fn channel(&self) -> Option<&str> {
        match self {
            Method::Subscribe(request) => Some(&request.channel),
            Method::Unsubscribe(request) | Method::Presence(request) | Method::PresenceStats(request) => {
                Some(&request.channel)
            }
            Method::Publish(request) => Some(&request.channel),
            Method::History(request) => Some(&request.channel),
            Method::SubRefresh(request) => Some(&request.channel),
            Method::Connect(_)
            | Method::Ping
            | Method::Send(_)
            | Method::Rpc(_)
            | Method::Refresh(_)
            | Method::Pong
            | Method::Unknown => None,
        }
    }
}

/// How a client broke the protocol. Each ends the connection with [`Disconnect::BadRequest`]; which
/// one it was neither the client nor the log is told, because a client could fill the log at will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The line is not UTF-8.
    NotUtf8,
    /// The line is empty, is not one JSON object, or a known field has the wrong type.
    NotACommand,
    /// A command that needs a reply has no id, so no reply could be matched to it.
    NoId,
    /// The channel is missing or empty.
    NoChannel,
    /// A delta encoding that the protocol does not know.
    UnknownDelta,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::NotUtf8 => "not UTF-8",
            Malformed::NotACommand => "not a JSON command",
            Malformed::NoId => "a command without id",
            Malformed::NoChannel => "a command without channel",
            Malformed::UnknownDelta => "an unknown delta encoding",
        })
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for Disconnect {
    fn from(_: Malformed) -> Disconnect {
        Disconnect::BadRequest
    }
}

/// Splits a message into its lines, one command each.
///
/// One newline at the end is no line. There is always at least one line: an empty message is one
/// empty line, which is no command, and so are newlines next to each other.
pub fn lines(message: &[u8]) -> Lines<'_> {
    Lines { rest: Some(message.strip_suffix(b"\n").unwrap_or(message)) }
}

/// The lines of a message. See [`lines`].
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        match memchr::memchr(b'\n', rest) {
            Some(at) => {
                self.rest = Some(&rest[at + 1..]);
                Some(&rest[..at])
            }
            None => {
                self.rest = None;
                Some(rest)
            }
        }
    }
}

/// Reads one line whose bytes nobody has checked yet: a binary message may hold JSON as well.
///
/// # Errors
///
/// The line is not UTF-8, and all that [`parse`] refuses.
pub fn parse_bytes(line: &[u8]) -> Result<Command<'_>, Malformed> {
    parse(simdutf8::basic::from_utf8(line).map_err(|_| Malformed::NotUtf8)?)
}

/// Reads one line.
///
/// If several methods are set, the first in the order of [`Method`] counts, wherever it stands in
/// the line; one that is `null` is not set. The others must be well-formed all the same.
///
/// # Errors
///
/// The client broke the protocol; fatal for this connection (3501), for no other.
pub fn parse(line: &str) -> Result<Command<'_>, Malformed> {
    if line == "{}" {
        return Ok(Command { id: 0, method: Method::Pong });
    }
    let command: Command<'_> = serde_json::from_str(line).map_err(|_| Malformed::NotACommand)?;
    if command.id == 0 && !matches!(command.method, Method::Send(_) | Method::Pong) {
        return Err(Malformed::NoId);
    }
    if command.method.channel() == Some("") {
        return Err(Malformed::NoChannel);
    }
    if let Method::Subscribe(request) = &command.method
        && request.delta.as_deref().is_some_and(|delta| delta != "fossil")
    {
        return Err(Malformed::UnknownDelta);
    }
    Ok(command)
}

/// The members of a command; of the methods, the first of this list wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Member {
    Id,
    Connect,
    Subscribe,
    Unsubscribe,
    Publish,
    Presence,
    PresenceStats,
    History,
    Ping,
    Send,
    Rpc,
    Refresh,
    SubRefresh,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Command<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(CommandVisitor)
    }
}

struct CommandVisitor;

impl<'de> Visitor<'de> for CommandVisitor {
    type Value = Command<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Command<'de>, A::Error> {
        let mut id = 0;
        let mut is_empty = true;
        let mut first: Option<(Member, Method<'de>)> = None;
        while let Some(member) = map.next_key::<Member>()? {
            is_empty = false;
            let method = match member {
                Member::Id => {
                    id = map.next_value::<Option<u32>>()?.unwrap_or_default();
                    None
                }
                Member::Connect => object(&mut map, Method::Connect)?,
                Member::Subscribe => object(&mut map, Method::Subscribe)?,
                Member::Unsubscribe => object(&mut map, Method::Unsubscribe)?,
                Member::Publish => object(&mut map, Method::Publish)?,
                Member::Presence => object(&mut map, Method::Presence)?,
                Member::PresenceStats => object(&mut map, Method::PresenceStats)?,
                Member::History => object(&mut map, Method::History)?,
                Member::Ping => object(&mut map, |_: PingRequest| Method::Ping)?,
                Member::Send => object(&mut map, Method::Send)?,
                Member::Rpc => object(&mut map, Method::Rpc)?,
                Member::Refresh => object(&mut map, Method::Refresh)?,
                Member::SubRefresh => object(&mut map, Method::SubRefresh)?,
                Member::Other => {
                    map.next_value::<IgnoredAny>()?;
                    None
                }
            };
            if let Some(method) = method
                && first.as_ref().is_none_or(|&(found, _)| member < found)
            {
                first = Some((member, method));
            }
        }
        let method = match first {
            Some((_, method)) => method,
            None if is_empty => Method::Pong,
            None => Method::Unknown,
        };
        Ok(Command { id, method })
    }
}

/// Reads the next value as the arguments of one method; `None` if it is `null`.
fn object<'de, A, T>(
    map: &mut A,
    method: impl FnOnce(T) -> Method<'de>,
) -> Result<Option<Method<'de>>, A::Error>
where
    A: MapAccess<'de>,
    T: Deserialize<'de>,
{
    let Object(request) = map.next_value::<Object<T>>()?;
    Ok(request.map(method))
}

#[cfg(test)]
mod tests;
