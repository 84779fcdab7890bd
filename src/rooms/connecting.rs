//! The subscriptions that the server makes when a client connects: those that its token lists, and
//! the personal room of its user. The connect reply says where each of them is, so it waits until
//! the committer has said so of all that follow a stream.

use bytes::Bytes;

use crate::conn::Key;
use crate::hub::{NamespaceOptions, RoomIndex};
use crate::protocol::request::ConnectRequest;
use crate::protocol::{
    ConnectResult, ConnectionClaims, Disconnect, ErrorCode, SubOptions, SubscribeResult, quote, reply,
};
use crate::rooms::peer::{CONNECTED, PING_FRAMES, REFUSED};
use crate::rooms::pending::What;
use crate::rooms::stream::{Asks, Follows, follows};
use crate::rooms::subscribe::{Join, Wish, place};
use crate::rooms::{Failure, Peer, Reply, Rooms};
use crate::shard::Io;
use crate::store::{Position, Since};

/// What the connect reply calls the server's version.
const VERSION: &str = concat!("throng ", env!("CARGO_PKG_VERSION"));

/// A subscription that the server is to make.
#[derive(Debug)]
pub(super) struct Planned {
    name: String,
    namespace: u16,
    join: Join,
    data: Option<Box<str>>,
    follows: Follows,
    /// Where the client was, if it wants to recover.
    since: Option<Since>,
}

/// A subscription that the server makes.
#[derive(Debug)]
struct ServerSide {
    quoted: Box<str>,
    /// The room, which is held open.
    index: RoomIndex,
    join: Join,
    data: Option<Box<str>>,
    follows: Follows,
    since: Option<Since>,
    state: State,
    /// What `Members::stream_events` said when the answer came.
    stream_events: u32,
}

#[derive(Debug)]
enum State {
    /// It follows no stream, or there is no answer to come.
    Ready,
    /// The committer has not answered.
    Waiting,
    Answered(Position, bool, Bytes),
}

/// A connect command that is to be answered when its subscriptions are.
#[derive(Debug)]
pub(super) struct Connecting {
    id: u32,
    ttl_s: Option<u32>,
    subs: Vec<ServerSide>,
    failed: Option<ErrorCode>,
}

impl Connecting {
    fn is_waiting(&self) -> bool {
        self.subs.iter().any(|sub| matches!(sub.state, State::Waiting))
    }

    /// Bytes of what the answers so far recover.
    fn recovered_bytes(&self) -> usize {
        let bytes = |sub: &ServerSide| match &sub.state {
            State::Answered(_, _, publications) => publications.len(),
            State::Ready | State::Waiting => 0,
        };
        self.subs.iter().map(bytes).sum()
    }

    /// Rooms that are held open and of which no answer is to come.
    pub(super) fn answered_rooms(&self) -> impl Iterator<Item = RoomIndex> {
        self.subs.iter().filter(|sub| !matches!(sub.state, State::Waiting)).map(|sub| sub.index)
    }
}

impl Rooms {
    /// The subscriptions that the server makes for a client with `claims`.
    ///
    /// # Errors
    ///
    /// 3505: too many. 102, 107: one is in no namespace, or has a name that its namespace refuses.
    pub(super) fn plan_server_side(
        &self,
        claims: &ConnectionClaims,
        request: &ConnectRequest<'_>,
    ) -> Result<Vec<Planned>, Failure> {
        let mut planned = claims.server_subs.clone();
        if let Some(name) = self.shared.personal_room(&claims.user) {
            let at = planned.iter().position(|(other, _)| *other == name).unwrap_or(planned.len());
            if at == planned.len() {
                planned.push((name, SubOptions::default()));
            }
            // With a history it is recoverable whatever its namespace says of other rooms.
            planned[at].1.force_recovery.get_or_insert(true);
        }
        if planned.len() > self.shared.settings.channel_limit {
            return Err(Disconnect::ChannelLimit.into());
        }
        planned.into_iter().map(|(name, granted)| self.plan(name, granted, request)).collect()
    }

    fn plan(
        &self,
        name: String,
        mut granted: SubOptions,
        request: &ConnectRequest<'_>,
    ) -> Result<Planned, Failure> {
        let (_, namespace) = self.shared.channel(&name)?;
        let options: &NamespaceOptions = self.shared.options(namespace);
        let wanted = request.subs.iter().find(|(other, recovery)| *other == name && recovery.recover);
        let since = wanted.map(|(_, recovery)| Since::new(&recovery.epoch, recovery.offset));
        let asks = Asks { positioned: false, recoverable: since.is_some() };
        let follows = follows(options, &granted, asks, false);
        let data = granted.data.take();
        let join = Join::new(options, granted, Wish::default()).following(follows);
        Ok(Planned { name, namespace, join, data, follows, since })
    }

    /// Makes the subscriptions, and then answers the connect command `id`.
    pub(super) fn begin_connect(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        id: u32,
        ttl_s: Option<u32>,
        planned: Vec<Planned>,
    ) {
        let mut connecting = Box::new(Connecting { id, ttl_s, subs: Vec::new(), failed: None });
        for (nth, plan) in planned.into_iter().enumerate() {
            let Planned { name, namespace, join, data, follows, since } = plan;
            let index = self.open(&name, namespace);
            self.members.hold(index);
            let mut state = State::Ready;
            if follows != Follows::Nothing && connecting.failed.is_none() {
                let since = since.filter(|_| follows == Follows::Recovery);
                let ask = self.ask_position(&name, self.shared.options(namespace), since);
                match self.ask(io, key, id, ask, false, What::ServerSide(nth, index)) {
                    Ok(()) => state = State::Waiting,
                    Err(_) => connecting.failed = Some(ErrorCode::TooManyRequests),
                }
            }
            connecting.subs.push(ServerSide {
                quoted: quote(&name),
                index,
                join,
                data,
                follows,
                since,
                state,
                stream_events: 0,
            });
        }
        if connecting.is_waiting() {
            // It is not stale while it waits for us.
            io.clear_timer(key);
            self.hold_for_connect(io, key, connecting);
        } else {
            self.finish_connect(io, key, *connecting);
        }
    }

    /// The committer has said where the stream of a connecting client's subscription is.
    pub(super) fn server_side_answered(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        nth: usize,
        answer: Result<Reply, ErrorCode>,
    ) {
        let answer_bytes_max = self.shared.settings.answer_bytes_max;
        let members = &self.members;
        let connecting = self.pending.connecting(key).expect("a client that is there waits for it");
        connecting.subs[nth].stream_events = members.stream_events(connecting.subs[nth].index);
        connecting.subs[nth].state = match answer.map(Reply::subscribed) {
            // All of them are one reply, which is to be no longer than one answer.
            Ok((position, _, publications))
                if connecting.recovered_bytes() + publications.len() > answer_bytes_max =>
            {
                State::Answered(position, false, Bytes::new())
            }
            Ok((position, recovered, publications)) => State::Answered(position, recovered, publications),
            Err(code) => {
                connecting.failed = Some(code);
                State::Ready
            }
        };
        if !connecting.is_waiting() {
            let connecting = self.take_connecting(key).expect("it was there");
            self.finish_connect(io, key, *connecting);
            self.resume(io, key);
        }
    }

    fn finish_connect(&mut self, io: &mut Io<Peer>, key: Key, connecting: Connecting) {
        let Connecting { id, ttl_s, subs, failed } = connecting;
        if let Some(code) = failed {
            subs.iter().for_each(|sub| self.release(sub.index));
            let peer = io.peer(key);
            peer.flags = peer.flags & !CONNECTED | REFUSED;
            io.set_timer(key, self.shared.settings.stale_close_delay_ms.into());
            return self.reply(io, |out| reply::error(out, id, code));
        }
        let settings = &self.shared.settings;
        let has_ping_messages = settings.ping_interval_ms > 0 && !io.peer(key).has(PING_FRAMES);
        let results: Vec<_> = subs.iter().map(|sub| (&*sub.quoted, sub.result())).collect();
        let result = ConnectResult {
            client: self.client_id(io.id(key)),
            version: VERSION,
            ping_s: if has_ping_messages { settings.ping_interval_ms.div_ceil(1000) } else { 0 },
            pong: has_ping_messages,
            ttl_s,
            data: None,
            subs: &results,
        };
        self.reply(io, |out| reply::connect(out, id, &result));
        for sub in subs {
            self.join_by_server(io, key, sub.index, sub.join);
            // What came since the answer, while others were waited for, went to the members that there were.
            if let State::Answered(position, ..) = sub.state
                && self.members.stream_events(sub.index) != sub.stream_events
            {
                self.trail(io, key, sub.index, position.offset);
            }
            self.release(sub.index);
        }
        self.begin_pings(io, key);
    }
}

impl ServerSide {
    fn result(&self) -> SubscribeResult<'_> {
        let bare = SubscribeResult {
            was_recovering: self.since.is_some(),
            data: self.data.as_deref(),
            ..SubscribeResult::default()
        };
        let State::Answered(position, recovered, publications) = &self.state else { return bare };
        let offset = self.since.map(|since| since.offset).filter(|_| *recovered);
        SubscribeResult {
            recoverable: self.follows == Follows::Recovery,
            position: Some(place(position, offset)),
            recovered: *recovered,
            publications,
            ..bare
        }
    }
}
