//! The committer's way to the shards and to whoever asked through the HTTP API.
//!
//! Runs on the committer's thread. A publication is encoded once, and what a room got in one round
//! is one event for each shard that has members, behind which come the acknowledgements. What a
//! storm of clients missed in one room is encoded once a round, however many they are.
//!
//! Invariant: in every shard's inbox, what is said of a room stands in the order in which the
//! committer did it. So a client that is told "you are at 41" before 42 is delivered gets 42.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;

use crate::conn::ConnectionId;
use crate::hub::Room;
use crate::protocol::{ErrorCode, push, quote};
use crate::rooms::batch::{Batch, Batches, Kind, Sender};
use crate::rooms::{Audience, Event, Links, Missed, Reply, Shared};
use crate::store::{Answer, Epoch, Outlet, Position, Publication};

/// What came of an ask through the HTTP API.
pub enum Told {
    /// The publication is kept, here.
    Published(Position),
    /// Anything else.
    Answer(Answer),
}

/// What is done with the answer to an ask through the HTTP API. Runs on the committer's thread, or at
/// once on that of an asker who is refused; is dropped if the committer has ended.
pub type Callback = Box<dyn FnOnce(Result<Told, ErrorCode>) + Send>;

/// Who asked the committer.
pub enum Ticket {
    /// A client.
    Client {
        /// The shard that has its connection.
        shard: usize,
        /// The number that the shard gave its ask.
        number: u64,
        /// The connection that does not get what it publishes.
        excluded: Option<ConnectionId>,
    },
    /// The HTTP API.
    Api(Callback),
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ticket::Client { shard, number, .. } => write!(f, "Client({shard}, {number})"),
            Ticket::Api(_) => f.write_str("Api"),
        }
    }
}

/// Publications of a room, encoded in this round.
struct Encoded {
    epoch: Epoch,
    first: u64,
    last: u64,
    list: Bytes,
}

/// The committer's way to the shards.
pub struct Post {
    shared: Arc<Shared>,
    links: Links,
    batches: Batches,
    /// By shard: the numbers of asks whose publications are kept.
    kept: Vec<Vec<u64>>,
    /// Of the HTTP API, whose publications are kept.
    told: Vec<(Callback, Position)>,
    encoded: HashMap<Box<str>, Encoded>,
    scratch: Vec<u8>,
}

impl Post {
    /// To the shards that `links` reaches, which is no shard's own.
    pub fn new(shared: Arc<Shared>, links: Links) -> Self {
        Post {
            kept: (0..links.shards()).map(|_| Vec::new()).collect(),
            shared,
            links,
            batches: Batches::default(),
            told: Vec::new(),
            encoded: HashMap::new(),
            scratch: Vec::new(),
        }
    }

    /// Takes note that the members of `room` follow the stream `epoch` from here on. Those that
    /// followed another begin anew: what they have does not fit what comes.
    fn follow(&mut self, room: &Room, epoch: Epoch) {
        let last = room.stream.swap(epoch.number(), Ordering::Relaxed);
        if last != 0 && last != epoch.number() {
            self.send_batch_of(room);
            for shard in room.shards() {
                self.links.send(shard, Event::Reset { room: room.id }, 0);
            }
        }
    }

    fn send_batch_of(&mut self, room: &Room) {
        if let Some(batch) = self.batches.take(room.id) {
            self.send_batch(batch);
        }
    }

    fn send_batch(&mut self, batch: Batch) {
        let Batch { room, kind, pushes, messages, first, since } = batch;
        let shared = Bytes::copy_from_slice(&pushes);
        for shard in room.shards() {
            let excluded =
                kind.excluded.filter(|sender| sender.shard == shard).map(|sender| sender.connection);
            let pushes = shared.clone();
            let audience = kind.audience;
            let room = room.id;
            let event = Event::Published { room, audience, excluded, pushes, messages, first, since };
            self.links.send(shard, event, shared.len());
        }
        self.batches.recycle(pushes);
    }

    /// The publications as JSON objects, separated by commas.
    fn list(&mut self, room: &str, epoch: Epoch, publications: &[Publication]) -> Bytes {
        let (Some(first), Some(last)) = (publications.first(), publications.last()) else {
            return Bytes::new();
        };
        let (first, last) = (first.offset, last.offset);
        if let Some(encoded) = self.encoded.get(room)
            && (encoded.epoch, encoded.first, encoded.last) == (epoch, first, last)
        {
            return encoded.list.clone();
        }
        let list = encode_list(publications);
        self.encoded.insert(room.into(), Encoded { epoch, first, last, list: list.clone() });
        list
    }

    /// The publications as pushes, separated by newlines.
    fn missed(&self, room: &str, position: Position, publications: &[Publication]) -> Missed {
        let mut pushes = Vec::new();
        let quoted = quote(room);
        for publication in publications {
            if !pushes.is_empty() {
                pushes.push(b'\n');
            }
            push::publication(&mut pushes, &quoted, &publication.body, publication.offset);
        }
        Missed {
            pushes: pushes.into(),
            messages: publications.len() as u32,
            last: publications.last().map_or(0, |last| last.offset),
            top: position.offset,
        }
    }

    fn reply(&mut self, room: &str, answer: Answer) -> Reply {
        match answer {
            Answer::Subscribed { position, recovered, publications } => {
                if let Some(room) = self.shared.directory.find(room) {
                    self.follow(&room, position.epoch);
                }
                let publications = self.list(room, position.epoch, &publications);
                Reply::Subscribed { position, recovered, publications }
            }
            Answer::History { position, publications } => {
                Reply::History { position, publications: self.list(room, position.epoch, &publications) }
            }
            Answer::Missed { position, publications } => {
                Reply::Missed(self.missed(room, position, &publications))
            }
            Answer::Read(offset) => Reply::Read(offset),
            Answer::Unread(unread) => Reply::Unread(unread),
            // Clients ask for neither.
            Answer::Cleared | Answer::Dropped(_) => Reply::Done,
        }
    }
}

/// Publications as JSON objects, separated by commas.
pub fn encode_list(publications: &[Publication]) -> Bytes {
    let mut list = Vec::new();
    for publication in publications {
        if !list.is_empty() {
            list.push(b',');
        }
        push::publication_object(&mut list, &publication.body, publication.offset);
    }
    list.into()
}

impl Outlet for Post {
    type Ticket = Ticket;

    fn published(&mut self, room: &str, position: Position, body: &Bytes, since: Instant, ticket: Ticket) {
        let excluded = match &ticket {
            Ticket::Client { shard, excluded: Some(connection), .. } => {
                Some(Sender { shard: *shard, connection: *connection })
            }
            Ticket::Client { .. } | Ticket::Api(_) => None,
        };
        if let Some(room) = self.shared.directory.find(room) {
            self.follow(&room, position.epoch);
            let kind = Kind { audience: Audience::Everyone, excluded, is_relayed: false };
            if let Some(other) = self.batches.take_other(room.id, kind) {
                self.send_batch(other);
            }
            self.scratch.clear();
            push::publication(&mut self.scratch, &room.quoted, body, position.offset);
            self.batches.add(&room, kind, (position.offset, 1), &self.scratch, since);
        }
        match ticket {
            Ticket::Client { shard, number, .. } => self.kept[shard].push(number),
            Ticket::Api(tell) => self.told.push((tell, position)),
        }
    }

    fn answered(&mut self, room: &str, ticket: Ticket, answer: Result<Answer, ErrorCode>) {
        let (shard, number) = match ticket {
            Ticket::Client { shard, number, .. } => (shard, number),
            Ticket::Api(tell) => return tell(answer.map(Told::Answer)),
        };
        if let Some(room) = self.shared.directory.find(room) {
            // What the room got before is not part of what comes after this answer.
            self.send_batch_of(&room);
        }
        let mut answer = answer.map(|answer| self.reply(room, answer));
        let bytes = answer.as_ref().map_or(0, Reply::bytes);
        if bytes > 0 && self.links.is_full(shard) {
            answer = Err(ErrorCode::TooManyRequests);
        }
        self.links.send(shard, Event::Answered { number, answer }, bytes);
    }

    fn flush(&mut self) {
        while let Some(batch) = self.batches.take_any() {
            self.send_batch(batch);
        }
        for shard in 0..self.kept.len() {
            let kept = std::mem::take(&mut self.kept[shard]);
            if !kept.is_empty() {
                let bytes = size_of_val(kept.as_slice());
                self.links.send(shard, Event::Kept(kept), bytes);
            }
        }
        self.encoded.clear();
        self.links.wake();
        // Now what an application does next comes behind what it published.
        for (tell, position) in self.told.drain(..) {
            tell(Ok(Told::Published(position)));
        }
    }
}
