//! Becoming and ceasing to be a member: the subscribe, unsubscribe and sub_refresh commands, and
//! the subscriptions that a connection token brings.

use crate::conn::Key;
use crate::hub::{Member, NamespaceOptions, OverCap, RoomIndex};
use crate::protocol::request::SubscribeRequest;
use crate::protocol::{
    ChannelName, Disconnect, EmptyReply, ErrorCode, StreamPosition, SubOptions, SubscribeResult,
    SubscriptionClaims, TokenError, Unsubscribe, push, reply,
};
use crate::rooms::connect::{ttl, unix_u32};
use crate::rooms::peer::{Detail, Subscription};
use crate::rooms::pending::What;
use crate::rooms::shared::Allowed;
use crate::rooms::stream::{Asks, Follows, follows};
use crate::rooms::{Failure, Peer, Reply, Rooms, TEXT, client_info};
use crate::shard::Io;
use crate::store::{Ask, Position, Request, Since};

/// What a client asks of a subscription, and until when it has it; nothing of either where the
/// server makes one by a connection token.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wish {
    pub join_leave: bool,
    pub expires_at: u32,
}

/// A subscription that is about to be made; everything that could refuse it has been asked.
#[derive(Debug)]
pub(super) struct Join {
    /// Others are told that the client joins and leaves.
    announces: bool,
    /// The client is told who joins and leaves.
    wants_join_leave: bool,
    /// How the client follows the room's stream.
    follows: Follows,
    /// Where the stream is, if it follows.
    at: u64,
    detail: Option<NewDetail>,
}

#[derive(Debug)]
struct NewDetail {
    chan_info: Option<Box<str>>,
    expires_at: u32,
    is_hidden: bool,
    announces: bool,
    is_server_side: bool,
}

impl Join {
    /// The same, of a client that follows the room's stream in this way.
    pub(super) fn following(mut self, follows: Follows) -> Self {
        self.follows = follows;
        self
    }

    /// The same, from `position` of the stream on.
    pub(super) fn from(mut self, position: &Position) -> Self {
        self.at = position.offset;
        self
    }

    /// A subscription with what its token (`granted`) says over the namespace's options.
    pub(super) fn new(options: &NamespaceOptions, granted: SubOptions, wish: Wish) -> Self {
        let announces = granted.join_leave.unwrap_or(options.join_leave);
        let is_told = granted.force_push_join_leave.unwrap_or(options.force_push_join_leave);
        let is_hidden = granted.presence == Some(false);
        let expires_at = wish.expires_at;
        let is_plain =
            granted.info.is_none() && expires_at == 0 && !is_hidden && announces == options.join_leave;
        Join {
            announces,
            wants_join_leave: announces && (is_told || wish.join_leave),
            follows: Follows::Nothing,
            at: 0,
            detail: (!is_plain).then_some(NewDetail {
                chan_info: granted.info,
                expires_at,
                is_hidden,
                announces,
                is_server_side: false,
            }),
        }
    }

    /// The same, made by an application without the client's doing.
    pub(super) fn by_server(mut self) -> Self {
        let announces = self.announces;
        let plain =
            NewDetail { chan_info: None, expires_at: 0, is_hidden: false, announces, is_server_side: true };
        self.detail.get_or_insert(plain).is_server_side = true;
        self
    }
}

/// A subscription that waits for the committer to say where the room's stream is.
#[derive(Debug)]
pub(super) struct Subscribing {
    /// The room, which is held open.
    pub index: RoomIndex,
    join: Join,
    is_recoverable: bool,
    recovery: Recovery,
    ttl_s: Option<u32>,
    data: Option<Box<str>>,
}

/// What a client that subscribes wants of what it missed.
#[derive(Debug, Clone, Copy)]
struct Recovery {
    is_wanted: bool,
    /// Better an error than a subscription that has not recovered.
    rejects_unrecovered: bool,
    /// Where the client is.
    offset: u64,
}

impl Rooms {
    pub(super) fn subscribe(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        id: u32,
        request: &SubscribeRequest<'_>,
    ) -> Result<(), Failure> {
        // Before anything that costs more, such as the check of a token.
        let now_ms = io.now_ms();
        if !self.subscribes.take(io.id(key), self.shared.settings.subscribes_per_second, now_ms) {
            io.stats().subscribes_limited.add(1);
            return Err(ErrorCode::TooManyRequests.into());
        }
        let (channel, namespace) = self.shared.channel(&request.channel)?;
        let peer = io.peer(key);
        if self.index_if_member(peer, channel.full()).is_some() {
            return Err(ErrorCode::AlreadySubscribed.into());
        }
        let subscriptions = peer.subscriptions().len() + self.joining(io, key);
        if subscriptions >= self.shared.settings.channel_limit {
            return Err(ErrorCode::LimitExceeded.into());
        }
        let options = self.shared.options(namespace);
        let claims = self.permit(io, key, &channel, options, &request.token)?;
        let ttl_s = ttl(claims.expires_at, io.unix_s())?;
        if request.kind != 0 {
            return Err(ErrorCode::NotAvailable.into());
        }
        let peer = io.peer(key);
        let asks = Asks { positioned: request.positioned, recoverable: request.recoverable };
        let follows = follows(options, &claims.options, asks, self.may_read(peer, true, options));
        let recovery = Recovery {
            is_wanted: request.recover,
            rejects_unrecovered: request.rejects_unrecovered(),
            offset: request.offset,
        };
        if request.recover && recovery.rejects_unrecovered && follows != Follows::Recovery {
            // Nothing can be recovered, and the client said what it wants then.
            return Err(ErrorCode::UnrecoverablePosition.into());
        }
        let may_see = self.shared.allows(peer.user.is_none(), true, Allowed::presence(options));
        let wish =
            Wish { join_leave: request.join_leave && may_see, expires_at: unix_u32(claims.expires_at) };
        let mut granted = claims.options;
        let data = granted.data.take();
        let join = Join::new(options, granted, wish).following(follows);
        if follows != Follows::Nothing {
            let is_recoverable = follows == Follows::Recovery;
            let since =
                (is_recoverable && request.recover).then(|| Since::new(&request.epoch, request.offset));
            let ask = self.ask_position(channel.full(), options, since);
            let index = self.open(channel.full(), namespace);
            self.members.hold(index);
            let subscribing = Subscribing { index, join, is_recoverable, recovery, ttl_s, data };
            let asked = self.ask(io, key, id, ask, false, What::Subscribe(Box::new(subscribing)));
            match asked {
                Ok(()) => self.hold_for_room(io, key, index),
                Err(_) => self.release(index),
            }
            return asked;
        }
        let result = SubscribeResult {
            was_recovering: request.recover,
            ttl_s,
            data: data.as_deref(),
            ..SubscribeResult::default()
        };
        let index = self.open(channel.full(), namespace);
        if !self.admits(index) {
            self.members.hold(index);
            self.release(index);
            return Err(ErrorCode::LimitExceeded.into());
        }
        self.reply(io, |out| reply::subscribe(out, id, &result));
        self.join(io, key, index, join);
        self.watch_expiry(io, key);
        Ok(())
    }

    /// The question where the stream of `room` is, and what came behind `since`.
    pub(super) fn ask_position(&self, room: &str, options: &NamespaceOptions, since: Option<Since>) -> Ask {
        let limit = self.shared.settings.recovery_max_publication_limit;
        let bytes_max = self.shared.settings.answer_bytes_max;
        let request = Request::Subscribe { since, mode: options.force_recovery_mode, limit, bytes_max };
        Ask::Of(Self::stream(room, options), request)
    }

    /// The committer has said where the stream is: from here on the client is a member.
    pub(super) fn subscribed(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        id: u32,
        subscribing: Subscribing,
        answer: Result<Reply, ErrorCode>,
    ) {
        let Subscribing { index, join, is_recoverable, recovery, ttl_s, data } = subscribing;
        let (position, recovered, publications) = match answer.map(Reply::subscribed) {
            Ok(subscribed) => subscribed,
            Err(code) => return self.reply(io, |out| reply::error(out, id, code)),
        };
        if recovery.is_wanted && !recovered && recovery.rejects_unrecovered {
            return self.reply(io, |out| reply::error(out, id, ErrorCode::UnrecoverablePosition));
        }
        if !self.admits(index) {
            return self.reply(io, |out| reply::error(out, id, ErrorCode::LimitExceeded));
        }
        let result = SubscribeResult {
            recoverable: is_recoverable,
            position: Some(place(&position, recovered.then_some(recovery.offset))),
            recovered,
            publications: &publications,
            was_recovering: recovery.is_wanted,
            ttl_s,
            data: data.as_deref(),
        };
        self.reply(io, |out| reply::subscribe(out, id, &result));
        self.join(io, key, index, join.from(&position));
        self.watch_expiry(io, key);
    }

    /// Whether the client may subscribe to `channel`, and what its token says of it.
    pub(super) fn permit(
        &self,
        io: &mut Io<Peer>,
        key: Key,
        channel: &ChannelName<'_>,
        options: &NamespaceOptions,
        token: &str,
    ) -> Result<SubscriptionClaims, Failure> {
        if token.is_empty() {
            let peer = io.peer(key);
            // A room that is one user's, or limited to some, is for them and nobody else, whatever the
            // namespace says.
            let is_listed = if self.shared.is_personal(channel) {
                Some(self.is_own(peer, channel))
            } else if options.allow_user_limited_channels {
                channel.allows_user(peer.user_name())
            } else {
                None
            };
            let is_allowed = is_listed.filter(|_| !self.shared.settings.insecure).unwrap_or_else(|| {
                self.shared.allows(peer.user.is_none(), false, Allowed::subscribe(options))
            });
            return if is_allowed && !channel.is_private() {
                Ok(SubscriptionClaims::default())
            } else {
                Err(ErrorCode::PermissionDenied.into())
            };
        }
        let verifier = self.shared.subscription_tokens.as_ref().ok_or(ErrorCode::PermissionDenied)?;
        let claims = verifier.subscription(token, io.unix_s()).map_err(|error| match error {
            TokenError::Invalid => ErrorCode::PermissionDenied,
            TokenError::Expired => ErrorCode::TokenExpired,
        })?;
        self.check_claims(io, key, channel.full(), &claims)?;
        Ok(claims)
    }

    /// A token for another room, user or client ends the connection.
    fn check_claims(
        &self,
        io: &mut Io<Peer>,
        key: Key,
        channel: &str,
        claims: &SubscriptionClaims,
    ) -> Result<(), Disconnect> {
        let client = self.client_id(io.id(key)).to_string();
        let is_theirs = claims.channel == channel
            && claims.user == io.peer(key).user_name()
            && claims.client.as_ref().is_none_or(|theirs| theirs.is_empty() || *theirs == client);
        if is_theirs { Ok(()) } else { Err(Disconnect::InvalidToken) }
    }

    /// The index of the room `name`, known to the directory as having members here. To be called
    /// before the client is told that it is subscribed: who publishes after that must reach it.
    pub(super) fn open(&mut self, name: &str, namespace: u16) -> RoomIndex {
        let known = self.shared.directory.find(name).and_then(|room| self.members.index_of(room.id));
        known.unwrap_or_else(|| {
            let room = self.shared.directory.enter(name, namespace, self.links.me());
            self.members.open(room)
        })
    }

    /// Takes a place in the room at `index` for a client that asked for it, unless all are taken.
    fn admits(&self, index: RoomIndex) -> bool {
        let room = self.members.room(index);
        let options = self.shared.options(room.namespace);
        room.enter(if options.over_cap == OverCap::Refuse { options.member_cap } else { 0 })
    }

    /// Makes a client a member that the server wants to be one, whatever the room's cap.
    pub(super) fn join_by_server(&mut self, io: &mut Io<Peer>, key: Key, index: RoomIndex, join: Join) {
        self.members.room(index).enter(0);
        self.join(io, key, index, join);
    }

    /// Makes the client, who has a place, a member of the room at `index`. Whatever the room got so far is sent without it.
    fn join(&mut self, io: &mut Io<Peer>, key: Key, index: RoomIndex, join: Join) {
        let room = self.members.room(index).clone();
        self.welcome(io, key, room.id);
        let member = Member::new(key, join.wants_join_leave)
            .following(join.follows != Follows::Nothing)
            .recovering(join.follows == Follows::Recovery);
        let place = self.members.add(index, member);
        if join.follows == Follows::Recovery {
            self.note_join(io, key, index, join.at);
        }
        let client = self.client_id(io.id(key));
        let peer = io.peer(key);
        peer.subscribe(Subscription { room: index, place });
        if let Some(new) = join.detail {
            peer.more_mut().details.push(Detail {
                room: index,
                chan_info: new.chan_info,
                expires_at: new.expires_at,
                is_hidden: new.is_hidden,
                announces: new.announces,
                is_server_side: new.is_server_side,
            });
        }
        if self.shared.options(room.namespace).presence && !io.peer(key).is_hidden_in(index) {
            room.census().enter(io.peer(key).identity());
        }
        self.judge_feed(io, &room);
        if join.announces {
            self.scratch.clear();
            let peer = io.peer(key);
            let chan_info = peer.detail(index).and_then(|detail| detail.chan_info.as_deref());
            push::join(&mut self.scratch, &room.quoted, &client_info(peer, client, chan_info));
            self.tell_coming(io, &room, io.id(key), true);
        }
    }

    pub(super) fn unsubscribe(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        id: u32,
        channel: &str,
    ) -> Result<(), Failure> {
        let index = self.index_if_member(io.peer(key), channel);
        if let Some(index) = index {
            // What the room got while the client was a member comes before it is told that it is none.
            self.send_batch_of(io, self.members.room(index).id);
        }
        self.reply(io, |out| reply::empty(out, id, EmptyReply::Unsubscribe));
        if let Some(index) = index {
            self.leave(io, key, index);
        }
        Ok(())
    }

    /// Ends the client's membership of the room at `index`.
    pub(super) fn leave(&mut self, io: &mut Io<Peer>, key: Key, index: RoomIndex) {
        let client = self.client_id(io.id(key));
        let peer = io.peer(key);
        let Some((subscription, detail)) = peer.unsubscribe(index) else { return };
        let room = self.members.room(index).clone();
        let options = self.shared.options(room.namespace);
        let announces = detail.as_ref().map_or(options.join_leave, |detail| detail.announces);
        if options.presence && !detail.as_ref().is_some_and(|detail| detail.is_hidden) {
            room.census().leave(peer.identity());
        }
        if announces {
            self.scratch.clear();
            let chan_info = detail.as_ref().and_then(|detail| detail.chan_info.as_deref());
            push::leave(&mut self.scratch, &room.quoted, &client_info(peer, client, chan_info));
        }
        // What the room got so far is for those who are members now, the one who leaves included,
        // unless it has ended: then the leaves of a storm may share a frame.
        if io.is_open(key) {
            self.send_batch_of(io, room.id);
        }
        self.trailing.leave(key, index);
        self.may_be_live(io, key);
        let (moved, closed) = self.members.remove(index, subscription.place);
        if let Some(moved) = moved {
            io.peer(moved.key()).moved(index, subscription.place);
        }
        if let Some(closed) = closed {
            self.shared.directory.leave(&closed, self.links.me());
        }
        self.judge_feed(io, &room);
        if announces {
            self.tell_coming(io, &room, io.id(key), false);
        }
    }

    /// Ends all memberships of a connection that has ended.
    pub(super) fn leave_all(&mut self, io: &mut Io<Peer>, key: Key) {
        while let Some(subscription) = io.peer(key).subscriptions().last().copied() {
            self.leave(io, key, subscription.room);
        }
    }

    /// Ends a membership from the server's side and tells the client.
    pub(super) fn end_subscription(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        index: RoomIndex,
        why: Unsubscribe,
    ) {
        let quoted = self.members.room(index).quoted.clone();
        self.leave(io, key, index);
        let mut text = Vec::new();
        push::unsubscribe(&mut text, &quoted, why);
        io.send(key, TEXT, &text);
    }

    pub(super) fn sub_refresh(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        id: u32,
        channel: &str,
        token: &str,
    ) -> Result<(), Failure> {
        let index = self.index_if_member(io.peer(key), channel).ok_or(ErrorCode::PermissionDenied)?;
        if token.is_empty() {
            return Err(ErrorCode::BadRequest.into());
        }
        let verifier = self.shared.subscription_tokens.as_ref().ok_or(Disconnect::InvalidToken)?;
        let claims = verifier.subscription(token, io.unix_s()).map_err(|error| match error {
            TokenError::Invalid => Failure::Disconnect(Disconnect::InvalidToken),
            TokenError::Expired => Failure::Error(ErrorCode::TokenExpired),
        })?;
        self.check_claims(io, key, channel, &claims)?;
        let ttl_s = ttl(claims.expires_at, io.unix_s())?;
        let announces = self.shared.options(self.members.room(index).namespace).join_leave;
        let peer = io.peer(key);
        let expires_at = unix_u32(claims.expires_at);
        match peer.detail_mut(index) {
            Some(detail) => {
                detail.expires_at = expires_at;
                if claims.options.info.is_some() {
                    detail.chan_info = claims.options.info;
                }
            }
            None => peer.more_mut().details.push(Detail {
                room: index,
                chan_info: claims.options.info,
                expires_at,
                is_hidden: false,
                announces,
                is_server_side: false,
            }),
        }
        self.watch_expiry(io, key);
        self.reply(io, |out| reply::sub_refresh(out, id, ttl_s));
        Ok(())
    }

    /// The index of the room `channel` if the client is a member of it.
    pub(super) fn index_if_member(&self, peer: &Peer, channel: &str) -> Option<RoomIndex> {
        if peer.subscriptions().is_empty() {
            return None;
        }
        let room = self.shared.directory.find(channel)?;
        self.members.index_of(room.id).filter(|index| peer.is_member(*index))
    }
}

/// The place that a client is told: one that has recovered is where it was, and moves on as it reads
/// what it missed.
pub(super) fn place(position: &Position, recovered_from: Option<u64>) -> StreamPosition<'_> {
    StreamPosition { offset: recovered_from.unwrap_or(position.offset), ..position.as_stream() }
}
