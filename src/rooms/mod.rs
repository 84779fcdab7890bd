//! The rooms service: what the client protocol's commands mean for rooms and their members.
//!
//! Runs inside every shard. `connect`, `subscribe`, `publish` and `presence` each hold the commands
//! of their name; `fanout` sends what rooms get; `liveness` pings and expires.
//!
//! Invariants:
//! - the replies to one message leave in one frame, before anything that was sent to a room because
//!   of it, so a subscribe reply precedes the room's first push;
//! - a member of a room is in `Members` and in its own `Peer`, and both ends agree.
//!
//! Absent on purpose: history. It needs the durable store; until then it is answered 108.

mod batch;
mod connect;
mod event;
mod fanout;
mod links;
mod liveness;
mod peer;
mod presence;
mod publish;
mod settings;
mod shared;
mod subscribe;

use std::net::TcpStream;
use std::sync::Arc;

use crate::conn::{CloseReason, Connection, ConnectionId, Key};
use crate::hub::{Members, User};
use crate::protocol::request::HistoryRequest;
use crate::protocol::{self, ClientId, ClientInfo, Command, Disconnect, ErrorCode, Method, reply};
use crate::shard::{Io, Service};
use crate::wire::{Data, OpCode, Request, upgrade};

use batch::Batches;
use peer::{CONNECTED, PING_FRAMES, REFUSED};
use presence::Questions;

pub use event::{Asker, Audience, Event, Part, Question};
pub use links::Links;
pub use peer::Peer;
pub use settings::Settings;
pub use shared::Shared;

// The promise of DESIGN section 4. A slab slot is no larger: the socket's descriptor has a niche.
const _: () = assert!(size_of::<Connection<TcpStream, Peer>>() <= 64);
const _: () = assert!(size_of::<Option<Connection<TcpStream, Peer>>>() <= 64);

/// Subprotocols that the rooms service speaks.
pub const SUBPROTOCOLS: &[&str] = &["centrifuge-json"];

/// Text messages: what the client protocol is written in.
const TEXT: OpCode = OpCode::Data(Data::Text);

/// Bytes of replies after which they are sent without waiting for the rest of the message's commands.
const REPLIES_BYTES_MAX: usize = 64 * 1024;

/// The rooms service of one shard.
#[derive(Debug)]
pub struct Rooms {
    shared: Arc<Shared>,
    links: Links,
    members: Members,
    batches: Batches,
    questions: Questions,
    /// Replies to the message that is being handled, newline-separated.
    replies: Vec<u8>,
    /// How many there are.
    replies_count: u32,
    /// Whose they are.
    replying_to: Key,
    /// The push that is being encoded.
    scratch: Vec<u8>,
}

impl Rooms {
    /// The rooms service of the shard that `links` is of.
    pub fn new(shared: Arc<Shared>, links: Links) -> Self {
        Rooms {
            shared,
            links,
            members: Members::default(),
            batches: Batches::default(),
            questions: Questions::default(),
            replies: Vec::new(),
            replies_count: 0,
            replying_to: 0,
            scratch: Vec::new(),
        }
    }

    /// Handles one command; `false` if the connection reads no more.
    fn command(&mut self, io: &mut Io<Peer>, key: Key, command: Command<'_>) -> bool {
        if !io.peer(key).has(CONNECTED) && !matches!(command.method, Method::Connect(_)) {
            return self.disconnect(io, key, Disconnect::BadRequest);
        }
        let id = command.id;
        let result = match command.method {
            Method::Connect(request) => self.connect(io, key, id, &request),
            Method::Subscribe(request) => self.subscribe(io, key, id, &request),
            Method::Unsubscribe(request) => self.unsubscribe(io, key, id, &request.channel),
            Method::Publish(request) => self.publish(io, key, id, &request),
            Method::Presence(request) => self.presence(io, key, id, &request.channel, Question::Presence),
            Method::PresenceStats(request) => self.presence(io, key, id, &request.channel, Question::Stats),
            Method::Refresh(request) => self.refresh(io, key, id, &request.token),
            Method::SubRefresh(request) => self.sub_refresh(io, key, id, &request.channel, &request.token),
            Method::History(request) => self.history(&request),
            Method::Rpc(_) => Err(Failure::Error(ErrorCode::NotAvailable)),
            Method::Send(_) => Err(Failure::Disconnect(Disconnect::NotAvailable)),
            Method::Pong => self.ponged(io, key),
            Method::Ping | Method::Unknown => Err(Failure::Disconnect(Disconnect::BadRequest)),
        };
        match result {
            Ok(()) => true,
            Err(Failure::Error(code)) => {
                self.reply(io, |out| reply::error(out, id, code));
                true
            }
            Err(Failure::Disconnect(disconnect)) => self.disconnect(io, key, disconnect),
        }
    }

    /// History is not kept yet: what there is to say of a room is that its name is wrong, or 108.
    fn history(&self, request: &HistoryRequest<'_>) -> Result<(), Failure> {
        self.shared.channel(&request.channel)?;
        Err(ErrorCode::NotAvailable.into())
    }

    /// Adds a reply to the message that is being handled.
    fn reply(&mut self, io: &mut Io<Peer>, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.replies_count > 0 {
            self.replies.push(b'\n');
        }
        encode(&mut self.replies);
        self.replies_count += 1;
        if self.replies.len() >= REPLIES_BYTES_MAX {
            self.send_replies(io);
        }
    }

    /// Sends the replies so far, so that what is sent next comes behind them.
    fn send_replies(&mut self, io: &mut Io<Peer>) {
        if self.replies_count == 0 {
            return;
        }
        if io.is_open(self.replying_to) {
            let frame = io.frame(TEXT, self.replies_count, &self.replies);
            io.queue(self.replying_to, frame);
            io.flush_if_large();
        }
        self.replies.clear();
        self.replies.shrink_to(REPLIES_BYTES_MAX * 2);
        self.replies_count = 0;
    }

    /// Ends connection `key` behind the replies it has. Always `false`: it reads no more.
    fn disconnect(&mut self, io: &mut Io<Peer>, key: Key, disconnect: Disconnect) -> bool {
        self.send_replies(io);
        io.close(key, CloseReason::Disconnect(disconnect));
        false
    }

    fn client_id(&self, connection: ConnectionId) -> ClientId {
        self.shared.client_id(self.links.me(), connection)
    }
}

/// How a command ends that does not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// With an error reply; the connection goes on.
    Error(ErrorCode),
    /// With the end of the connection.
    Disconnect(Disconnect),
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Failure::Error(code)
    }
}

impl From<Disconnect> for Failure {
    fn from(disconnect: Disconnect) -> Self {
        Failure::Disconnect(disconnect)
    }
}

/// What others are told of a connection; `chan_info` is of its subscription to the room at hand.
fn client_info<'a>(peer: &'a Peer, client: ClientId, chan_info: Option<&'a str>) -> ClientInfo<'a> {
    ClientInfo {
        user: peer.user.as_ref().map_or("", User::name),
        client,
        conn_info: peer.conn_info(),
        chan_info,
    }
}

impl Service for Rooms {
    type Peer = Peer;
    type Event = Event;

    fn opened(&mut self, io: &mut Io<Peer>, key: Key, request: &Request<'_>) {
        if upgrade::query_value(request.query, "cf_ws_frame_ping_pong") == Some("true") {
            io.peer(key).flags |= PING_FRAMES;
        }
        io.set_timer(key, self.shared.settings.stale_close_delay_ms.into());
    }

    fn message(&mut self, io: &mut Io<Peer>, key: Key, _text: bool, payload: &mut [u8]) {
        self.replying_to = key;
        for line in protocol::lines(payload) {
            // Once refused, nothing is read any more, not even to find that it is no command.
            if io.peer(key).has(REFUSED) {
                break;
            }
            let goes_on = match protocol::parse_bytes(line) {
                Ok(command) => self.command(io, key, command),
                Err(_) => self.disconnect(io, key, Disconnect::BadRequest),
            };
            if !goes_on || !io.is_open(key) {
                break;
            }
        }
        self.send_replies(io);
    }

    fn pong(&mut self, io: &mut Io<Peer>, key: Key) {
        if io.peer(key).has(PING_FRAMES) {
            self.ponged_by_frame(io, key);
        }
    }

    fn closed(&mut self, io: &mut Io<Peer>, key: Key, _reason: CloseReason) {
        self.leave_all(io, key);
        let peer = std::mem::take(io.peer(key));
        if let Some(user) = &peer.user {
            self.shared.users.leave(user);
        }
    }

    fn timer(&mut self, io: &mut Io<Peer>, key: Key) {
        self.tick(io, key);
    }

    fn event(&mut self, io: &mut Io<Peer>, event: Event) {
        match event {
            Event::Published { room, audience, pushes, messages } => {
                self.relay(io, room, audience, &pushes, messages);
            }
            Event::Ask { room, question, asker, shard } => self.answer(io, room, question, asker, shard),
            Event::Answer { asker, part } => self.take_answer(io, asker, part),
        }
    }

    fn turn_end(&mut self, io: &mut Io<Peer>) {
        self.answer_own(io);
        self.send_batches(io);
        self.links.wake();
    }

    fn shrink(&mut self) {
        self.members.shrink();
        self.batches.shrink();
        self.replies = Vec::new();
        self.scratch = Vec::new();
    }
}
