//! The rooms service: what the client protocol's commands mean for rooms and their members.
//!
//! Runs inside every shard. `connect`, `subscribe`, `publish`, `presence` and `stream` hold the
//! commands; `fanout` sends what rooms get; `liveness` pings and expires. What concerns a room with
//! history goes to the committer: `pending` is what waits for it, `outlet` its way back. `gateway` is
//! the control plane's way in, `remote` what it has done with connections.
//!
//! Invariants:
//! - the replies to one message leave in one frame, before anything that was sent to a room because
//!   of it, so a subscribe reply precedes the room's first push;
//! - a member of a room is in `Members` and in its own `Peer`, and both ends agree;
//! - a client that follows a stream is told where it is, and made a member, in the same place among
//!   the shard's events: what came before is in what it was told, what comes later it is sent.

mod batch;
mod comings;
mod connect;
mod connecting;
mod event;
mod falls;
mod fanout;
mod feed;
mod gateway;
mod heat;
mod links;
mod liveness;
mod outlet;
mod peer;
mod pending;
mod presence;
mod publish;
mod remote;
mod settings;
mod shared;
mod signals;
mod stream;
mod subscribe;
mod trailing;

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::Arc;

use crate::conn::{CloseReason, Connection, ConnectionId, Key};
use crate::hub::{Buckets, Members, RoomId, Sketch, User};
use crate::protocol::{self, ClientId, ClientInfo, Command, Disconnect, ErrorCode, Method, reply};
use crate::shard::{Io, Service};
use crate::store::committer;
use crate::wire::{Data, OpCode, Request, upgrade};

use batch::Batches;
use comings::Comings;
use feed::{Beat, Held};
use peer::{CONNECTED, PING_FRAMES, REFUSED};
use pending::Pending;
use presence::Questions;
use remote::Walk;
use signals::Signals;
use trailing::Trailing;

pub use event::{Asker, Audience, Event, Missed, Part, Reply};
pub use gateway::{Counts, Gateway, Publish, Tell, Whom};
pub use heat::{Heat, HeatAsk, HotRoom};
pub use links::Links;
pub use outlet::{Callback, Post, Ticket, Told, encode_list};
pub use peer::Peer;
pub use presence::Survey;
pub use remote::{Ending, Grant, Order, Renewal};
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

/// Time between two alarms, at least.
const ALARM_MS_MIN: u64 = 10;

/// The rooms service of one shard.
#[derive(Debug)]
pub struct Rooms {
    shared: Arc<Shared>,
    links: Links,
    committer: committer::Handle<Ticket>,
    members: Members,
    batches: Batches,
    questions: Questions,
    pending: Pending,
    walk: Walk,
    trailing: Trailing,
    comings: Comings,
    signals: Signals,
    /// What rooms in feed mode have got since their last beat.
    held: HashMap<RoomId, Held>,
    /// The beat that is on its way.
    beat: Beat,
    /// When each room that holds something has its next beat.
    beats: Vec<(RoomId, u64)>,
    /// What the rooms are delivered, while somebody looks.
    heat: Option<Box<Sketch>>,
    /// How many publish commands each connection may still send.
    publishes: Buckets<ConnectionId>,
    /// How many subscribe commands each connection may still send.
    subscribes: Buckets<ConnectionId>,
    /// Replies to the message that is being handled, newline-separated.
    replies: Vec<u8>,
    /// How many there are.
    replies_count: u32,
    /// Whose they are.
    replying_to: Key,
    /// The push that is being encoded.
    scratch: Vec<u8>,
    /// What the publication that is being encoded says.
    body: Vec<u8>,
}

impl Rooms {
    /// The rooms service of the shard that `links` is of.
    pub fn new(shared: Arc<Shared>, links: Links, committer: committer::Handle<Ticket>) -> Self {
        Rooms {
            shared,
            links,
            committer,
            members: Members::default(),
            batches: Batches::default(),
            questions: Questions::default(),
            pending: Pending::default(),
            walk: Walk::default(),
            trailing: Trailing::default(),
            comings: Comings::default(),
            signals: Signals::default(),
            held: HashMap::new(),
            beat: Beat::default(),
            beats: Vec::new(),
            heat: None,
            publishes: Buckets::default(),
            subscribes: Buckets::default(),
            replies: Vec::new(),
            replies_count: 0,
            replying_to: 0,
            scratch: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Handles one line of a message; `false` if the connection reads no more.
    fn line(&mut self, io: &mut Io<Peer>, key: Key, line: &[u8]) -> bool {
        // Once refused, nothing is read any more, not even to find that it is no command.
        if io.peer(key).has(REFUSED) {
            return false;
        }
        let goes_on = match protocol::parse_bytes(line) {
            Ok(command) if self.must_wait(io, key, &command) => {
                let held = self.hold_back(key, line, &command.method);
                self.conclude(io, key, command.id, held)
            }
            Ok(command) => self.command(io, key, command),
            Err(_) => self.disconnect(io, key, Disconnect::BadRequest),
        };
        goes_on && io.is_open(key)
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
            Method::Presence(request) => self.presence(io, key, id, &request.channel),
            Method::PresenceStats(request) => self.presence_stats(io, key, id, &request.channel),
            Method::Refresh(request) => self.refresh(io, key, id, &request.token),
            Method::SubRefresh(request) => self.sub_refresh(io, key, id, &request.channel, &request.token),
            Method::History(request) => self.history(io, key, id, &request),
            Method::Rpc(request) => self.rpc(io, key, id, &request),
            Method::Send(_) => Err(Failure::Disconnect(Disconnect::NotAvailable)),
            Method::Pong => self.ponged(io, key),
            Method::Ping | Method::Unknown => Err(Failure::Disconnect(Disconnect::BadRequest)),
        };
        self.conclude(io, key, id, result)
    }

    /// Answers a command that failed; `false` if the connection reads no more.
    fn conclude(&mut self, io: &mut Io<Peer>, key: Key, id: u32, result: Result<(), Failure>) -> bool {
        match result {
            Ok(()) => true,
            Err(Failure::Error(code)) => {
                self.reply(io, |out| reply::error(out, id, code));
                true
            }
            Err(Failure::Disconnect(disconnect)) => self.disconnect(io, key, disconnect),
        }
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
            if !self.line(io, key, line) {
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
        self.trailing.end(key);
        self.stop_waiting(io, key);
        let peer = std::mem::take(io.peer(key));
        if let Some(user) = &peer.user {
            self.shared.users.leave(user);
        }
    }

    fn timer(&mut self, io: &mut Io<Peer>, key: Key) {
        self.tick(io, key);
    }

    fn overfull(&mut self, io: &mut Io<Peer>, key: Key) {
        self.relieve(io, key);
    }

    fn written(&mut self, io: &mut Io<Peer>, key: Key) {
        self.catch_up(io, key);
    }

    fn alarm(&mut self, io: &mut Io<Peer>) {
        self.beat(io);
        self.tell_comings(io);
        self.send_signals(io);
        self.ask_due(io);
        let beats = self.beats.iter().map(|(_, at_ms)| *at_ms);
        let next_ms = beats.chain(self.comings.due_ms()).chain(self.signals.due_ms()).min();
        if let Some(next_ms) = next_ms {
            // All that waits is looked at each time, so not too often.
            io.wake_by(next_ms.max(io.now_ms() + ALARM_MS_MIN));
        }
    }

    fn event(&mut self, io: &mut Io<Peer>, event: Event) {
        match event {
            Event::Published { room, audience, excluded, pushes, messages, first, since } => {
                self.relay(io, room, (audience, excluded), &pushes, (messages, first), since);
            }
            Event::Kept(numbers) => self.kept(io, &numbers),
            Event::Answered { number, answer } => self.answered(io, number, answer),
            Event::Reset { room } => self.reset(io, room),
            Event::Overdue { after_ms } => self.refuse_overdue(io, after_ms),
            Event::Ask { room, asker, shard } => self.note_question(room, asker, shard),
            Event::Answer { asker, part } => self.take_answer(io, asker, part),
            Event::Survey { room, survey } => self.survey(io, room, &survey),
            Event::Heat(ask) => self.tell_heat(ask),
            Event::HeatOff => self.heat = None,
            Event::Order(order) => self.take_order(order),
            Event::WalkOn => self.walk_on(io),
        }
    }

    fn turn_end(&mut self, io: &mut Io<Peer>) {
        self.answer_asked(io);
        self.send_batches(io);
        self.schedule_walk();
        self.links.wake();
    }

    fn shrink(&mut self) {
        self.members.shrink();
        self.batches.shrink();
        self.pending.shrink();
        self.trailing.shrink();
        self.beat.shrink();
        self.replies = Vec::new();
        self.scratch = Vec::new();
        self.body = Vec::new();
    }
}
