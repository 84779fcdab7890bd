//! Rooms with history as clients see them: who may follow and read a stream, the history command,
//! and throng's own `read` and `unread`, which count what a user has not read.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::conn::Key;
use crate::hub::NamespaceOptions;
use crate::protocol::request::{HistoryRequest, RpcRequest};
use crate::protocol::{ChannelName, ErrorCode, StreamPosition, SubOptions};
use crate::rooms::pending::What;
use crate::rooms::shared::Allowed;
use crate::rooms::{Failure, Peer, Rooms};
use crate::shard::Io;
use crate::store::{Ask, Position, Request, Since, Stream};

/// Questions about streams that one connection may have waiting; one more gets error 111. As many as
/// it may have rooms, by default.
const ASKS_MAX: u8 = 128;

impl Position {
    /// As the client protocol writes it.
    pub(super) fn as_stream(&self) -> StreamPosition<'_> {
        StreamPosition { epoch: self.epoch.as_str(), offset: self.offset }
    }
}

/// How a subscription follows the stream of its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    /// Not at all: it gets what comes.
    Nothing,
    /// It knows where it is.
    Position,
    /// It knows where it is, and may come back to there.
    Recovery,
}

/// What a client asks of the stream when it subscribes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asks {
    pub positioned: bool,
    pub recoverable: bool,
}

/// How a subscription follows its room's stream, by what its namespace and its token say.
/// `may_read` tells that the client may read the history, and so may follow it.
pub(super) fn follows(
    options: &NamespaceOptions,
    granted: &SubOptions,
    asks: Asks,
    may_read: bool,
) -> Follows {
    let is_forced = |over: Option<bool>, option: bool| over.unwrap_or(option);
    if !options.retention().is_on() {
        Follows::Nothing
    } else if is_forced(granted.force_recovery, options.force_recovery)
        || (asks.recoverable && (options.allow_recovery || may_read))
    {
        Follows::Recovery
    } else if is_forced(granted.force_positioning, options.force_positioning)
        || (asks.positioned && (options.allow_positioning || may_read))
    {
        Follows::Position
    } else {
        Follows::Nothing
    }
}

/// What `read` is given.
#[derive(Deserialize)]
struct ReadRequest<'a> {
    #[serde(borrow)]
    channel: std::borrow::Cow<'a, str>,
    offset: u64,
}

/// What `unread` is given.
#[derive(Deserialize)]
struct UnreadRequest<'a> {
    #[serde(borrow)]
    channels: Vec<std::borrow::Cow<'a, str>>,
}

impl Rooms {
    /// The stream of `room`, whose namespace has `options`.
    pub(super) fn stream(room: &str, options: &NamespaceOptions) -> Stream {
        Stream { room: room.into(), keep: options.retention() }
    }

    /// Whether the client may read the history of a room.
    pub(super) fn may_read(&self, peer: &Peer, is_member: bool, options: &NamespaceOptions) -> bool {
        self.shared.allows(peer.user.is_none(), is_member, Allowed::history(options))
    }

    pub(super) fn history(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        id: u32,
        request: &HistoryRequest<'_>,
    ) -> Result<(), Failure> {
        let (channel, namespace) = self.shared.channel(&request.channel)?;
        let options = self.shared.options(namespace);
        if !options.retention().is_on() {
            return Err(ErrorCode::NotAvailable.into());
        }
        let is_member = self.index_if_member(io.peer(key), channel.full()).is_some();
        if !self.may_read(io.peer(key), is_member, options) {
            return Err(ErrorCode::PermissionDenied.into());
        }
        let since = request.since.as_ref().map(|since| Since::new(&since.epoch, since.offset));
        if request.reverse && since.is_some_and(|since| since.offset == 0) {
            return Err(ErrorCode::BadRequest.into());
        }
        let limit_max = self.shared.settings.history_max_publication_limit;
        let limit = usize::try_from(request.limit).map_or(limit_max, |limit| limit.min(limit_max));
        let bytes_max = self.shared.settings.answer_bytes_max;
        let request = Request::History { since, limit, bytes_max, reverse: request.reverse };
        self.question(io, key, id, Ask::Of(Self::stream(channel.full(), options), request), What::History)
    }

    /// Asks the committer something that may have it read the disk.
    ///
    /// # Errors
    ///
    /// 111: so many of the client's questions wait already, or too much of all.
    fn question(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        id: u32,
        ask: Ask,
        what: What,
    ) -> Result<(), Failure> {
        if io.peer(key).asks >= ASKS_MAX {
            return Err(ErrorCode::TooManyRequests.into());
        }
        self.ask(io, key, id, ask, false, what)?;
        io.peer(key).asks += 1;
        Ok(())
    }

    pub(super) fn rpc(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        id: u32,
        request: &RpcRequest<'_>,
    ) -> Result<(), Failure> {
        match &*request.method {
            "read" => self.read(io, key, id, request.data),
            "unread" => self.unread(io, key, id, request.data),
            // There is no application behind throng that it could call.
            _ => Err(ErrorCode::NotAvailable.into()),
        }
    }

    /// `read`: moves the user's cursor in a room forward.
    fn read(&mut self, io: &mut Io<Peer>, key: Key, id: u32, data: Option<&RawValue>) -> Result<(), Failure> {
        let request: ReadRequest<'_> = arguments(data)?;
        let user = self.reader(io, key)?;
        let stream = self.readable(io, key, &request.channel)?;
        let ask = Ask::Of(stream, Request::Read { user, offset: request.offset });
        self.question(io, key, id, ask, What::Read)
    }

    /// `unread`: counts what came to rooms behind the user's cursors.
    fn unread(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        id: u32,
        data: Option<&RawValue>,
    ) -> Result<(), Failure> {
        let request: UnreadRequest<'_> = arguments(data)?;
        let user = self.reader(io, key)?;
        if request.channels.len() > self.shared.settings.channel_limit {
            return Err(ErrorCode::LimitExceeded.into());
        }
        // Each is answered once.
        let channels: BTreeSet<_> = request.channels.iter().collect();
        let streams = channels.into_iter().map(|channel| self.readable(io, key, channel));
        let streams = streams.collect::<Result<Vec<_>, _>>()?;
        let rooms = streams.iter().map(|stream| stream.room.clone()).collect();
        self.question(io, key, id, Ask::Unread { streams, user }, What::Unread(rooms))
    }

    /// The name of a user who can have cursors: any but the anonymous one.
    fn reader(&self, io: &mut Io<Peer>, key: Key) -> Result<Box<str>, ErrorCode> {
        match io.peer(key).user_name() {
            "" => Err(ErrorCode::PermissionDenied),
            name => Ok(name.into()),
        }
    }

    /// The stream of a room in which the client may have a cursor: one that it is a member of, may
    /// become a member of without a token, or may read.
    fn readable(&self, io: &mut Io<Peer>, key: Key, channel: &str) -> Result<Stream, Failure> {
        let (channel, namespace) = self.shared.channel(channel)?;
        let options = self.shared.options(namespace);
        if !options.retention().is_on() {
            return Err(ErrorCode::NotAvailable.into());
        }
        let is_member = self.index_if_member(io.peer(key), channel.full()).is_some();
        if !is_member
            && !self.may_read(io.peer(key), is_member, options)
            && !self.is_own(io.peer(key), &channel)
        {
            self.permit(io, key, &channel, options, "")?;
        }
        Ok(Self::stream(channel.full(), options))
    }

    /// Whether `channel` is the personal room of the client's user.
    pub(super) fn is_own(&self, peer: &Peer, channel: &ChannelName<'_>) -> bool {
        self.shared.personal_room(peer.user_name()).is_some_and(|room| *room == *channel.full())
    }
}

/// The arguments of a call.
///
/// # Errors
///
/// 107: they are missing, or not what the method takes.
fn arguments<'a, T: Deserialize<'a>>(data: Option<&'a RawValue>) -> Result<T, ErrorCode> {
    let data = data.ok_or(ErrorCode::BadRequest)?;
    serde_json::from_str(data.get()).map_err(|_| ErrorCode::BadRequest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKS: Asks = Asks { positioned: true, recoverable: true };

    fn kept() -> NamespaceOptions {
        NamespaceOptions { history_size: 10, history_ttl_ms: 1000, ..NamespaceOptions::default() }
    }

    #[test]
    fn nobody_follows_a_room_without_history() {
        let options = NamespaceOptions { force_recovery: true, ..NamespaceOptions::default() };
        assert_eq!(follows(&options, &SubOptions::default(), ASKS, true), Follows::Nothing);
    }

    #[test]
    fn a_client_follows_what_it_asks_for_if_it_may() {
        let granted = SubOptions::default();
        assert_eq!(follows(&kept(), &granted, ASKS, false), Follows::Nothing);
        assert_eq!(follows(&kept(), &granted, ASKS, true), Follows::Recovery);
        assert_eq!(follows(&kept(), &granted, Asks { recoverable: false, ..ASKS }, true), Follows::Position);
        assert_eq!(follows(&kept(), &granted, Asks::default(), true), Follows::Nothing);
        let allowing = NamespaceOptions { allow_recovery: true, ..kept() };
        assert_eq!(follows(&allowing, &granted, ASKS, false), Follows::Recovery);
        let allowing = NamespaceOptions { allow_positioning: true, ..kept() };
        assert_eq!(follows(&allowing, &granted, ASKS, false), Follows::Position);
    }

    #[test]
    fn a_namespace_forces_and_a_token_overrides_it() {
        let forcing = NamespaceOptions { force_recovery: true, ..kept() };
        assert_eq!(follows(&forcing, &SubOptions::default(), Asks::default(), false), Follows::Recovery);
        let granted = SubOptions { force_recovery: Some(false), ..SubOptions::default() };
        assert_eq!(follows(&forcing, &granted, Asks::default(), false), Follows::Nothing);
        let granted = SubOptions { force_positioning: Some(true), ..SubOptions::default() };
        assert_eq!(follows(&kept(), &granted, Asks::default(), false), Follows::Position);
        let forcing = NamespaceOptions { force_positioning: true, ..kept() };
        assert_eq!(follows(&forcing, &SubOptions::default(), Asks::default(), false), Follows::Position);
    }
}
