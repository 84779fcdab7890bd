//! What clients of this shard wait for the committer to answer.
//!
//! An ask has a number; its answer brings the number back. Answers come roughly in the order of the
//! asks, so what waits stands in a queue. An ask that waits too long is answered with error 100; what
//! the committer says of it later is for nobody.
//!
//! A client is answered as if its commands were worked off one after the other: while it waits to
//! become a member of a room, its other commands for that room are held back; while it waits to be
//! connected, all are.
//!
//! Invariants:
//! - a peer has `WAITING` exactly while it has an entry in `held`;
//! - a room that somebody waits to join is held open, once for each.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::conn::{ConnectionId, Key};
use crate::hub::RoomIndex;
use crate::protocol::{Command, Disconnect, ErrorCode, Method, reply};
use crate::rooms::connecting::Connecting;
use crate::rooms::peer::WAITING;
use crate::rooms::remote::Giving;
use crate::rooms::subscribe::Subscribing;
use crate::rooms::{Failure, Order, Peer, Reply, Rooms, Ticket};
use crate::shard::Io;
use crate::store::Ask;

/// Bytes of commands that are held back for one connection; one more gets error 111.
const HELD_BYTES_MAX: usize = crate::limits::MESSAGE_BYTES_MAX;

/// Commands that are held back while rooms are joined: each is looked at again for every room.
const HELD_LINES_MAX: usize = 512;

/// What a client waits for.
#[derive(Debug)]
pub(super) enum What {
    Publish,
    Subscribe(Box<Subscribing>),
    /// A subscription that an application gives; no command.
    Give(Box<Giving>),
    /// The subscription with this index among those that the connect command brings.
    ServerSide(usize, RoomIndex),
    History,
    /// What a member of this room gets next that trails it; its trail's number.
    Missed(RoomIndex, u64),
    Read,
    /// In these rooms.
    Unread(Vec<Box<str>>),
}

/// An ask that waits for its answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub connection: ConnectionId,
    pub command: u32,
    pub since_ms: u64,
    pub what: What,
}

/// Commands of one connection that are held back, and why.
#[derive(Debug, Default)]
struct Held {
    /// The connect command, if it waits.
    connecting: Option<Box<Connecting>>,
    /// The rooms that it waits to join.
    rooms: Vec<RoomIndex>,
    lines: Vec<Box<[u8]>>,
    line_bytes: usize,
    /// Orders of the application that have to wait as the commands do.
    orders: Vec<Arc<Order>>,
}

/// What clients of this shard wait for.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// `None` where the answer has come before an earlier one's.
    asked: VecDeque<Option<Asked>>,
    /// The number of the first of them.
    first: u64,
    held: HashMap<Key, Held>,
}

impl Pending {
    /// The number of the next ask.
    fn next(&self) -> u64 {
        self.first + self.asked.len() as u64
    }

    /// Takes what waits under `number`, if it still does.
    pub(super) fn take(&mut self, number: u64) -> Option<Asked> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let asked = self.asked.get_mut(at)?.take();
        while let Some(None) = self.asked.front() {
            self.asked.pop_front();
            self.first += 1;
        }
        asked
    }

    /// Takes what has waited since before `before_ms`.
    fn take_older(&mut self, before_ms: u64) -> Option<Asked> {
        let oldest = self.asked.front()?.as_ref().expect("the first of those that wait");
        if oldest.since_ms >= before_ms { None } else { self.take(self.first) }
    }

    /// The connect command of `key` that waits.
    pub(super) fn connecting(&mut self, key: Key) -> Option<&mut Connecting> {
        self.held.get_mut(&key)?.connecting.as_deref_mut()
    }

    /// Gives back memory.
    pub(super) fn shrink(&mut self) {
        self.asked.shrink_to_fit();
        self.held.shrink_to_fit();
    }
}

impl Rooms {
    /// Asks the committer for a client of this shard.
    ///
    /// # Errors
    ///
    /// 111: too much waits already.
    pub(super) fn ask(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        command: u32,
        ask: Ask,
        excludes: bool,
        what: What,
    ) -> Result<(), Failure> {
        let connection = io.id(key);
        let number = self.pending.next();
        let excluded = excludes.then_some(connection);
        let ticket = Ticket::Client { shard: self.links.me(), number, excluded };
        if self.committer.ask(ask, ticket).is_err() {
            if matches!(what, What::Publish) {
                io.stats().publishes_refused.add(1);
            }
            return Err(ErrorCode::TooManyRequests.into());
        }
        let since_ms = io.now_ms();
        self.pending.asked.push_back(Some(Asked { connection, command, since_ms, what }));
        Ok(())
    }

    /// Has the commands of `key` for the room at `index` wait until it has joined.
    pub(super) fn hold_for_room(&mut self, io: &mut Io<Peer>, key: Key, index: RoomIndex) {
        io.peer(key).flags |= WAITING;
        self.pending.held.entry(key).or_default().rooms.push(index);
    }

    /// Has all commands of `key` wait until it is connected.
    pub(super) fn hold_for_connect(&mut self, io: &mut Io<Peer>, key: Key, connecting: Box<Connecting>) {
        io.peer(key).flags |= WAITING;
        self.pending.held.entry(key).or_default().connecting = Some(connecting);
    }

    /// Ends a hold of the room at `index`, for one that has joined it or never will.
    pub(super) fn release(&mut self, index: RoomIndex) {
        if let Some(closed) = self.members.release(index) {
            self.shared.directory.leave(&closed, self.links.me());
        }
    }

    /// Whether `command` has to wait for an earlier one.
    pub(super) fn must_wait(&self, io: &mut Io<Peer>, key: Key, command: &Command<'_>) -> bool {
        if !io.peer(key).has(WAITING) {
            return false;
        }
        let Some(held) = self.pending.held.get(&key) else { return false };
        if held.connecting.is_some() {
            return !matches!(command.method, Method::Pong);
        }
        // A call may be about any room that the client is joining.
        let is_call = matches!(command.method, Method::Rpc(_)) && !held.rooms.is_empty();
        is_call || self.waits_to_join(held, command.method.channel())
    }

    /// Whether an order of the application, about `room` if it is about one, has to wait.
    pub(super) fn must_order_wait(&self, io: &mut Io<Peer>, key: Key, room: Option<&str>) -> bool {
        let held = if io.peer(key).has(WAITING) { self.pending.held.get(&key) } else { None };
        held.is_some_and(|held| held.connecting.is_some() || self.waits_to_join(held, room))
    }

    fn waits_to_join(&self, held: &Held, room: Option<&str>) -> bool {
        let room = room.and_then(|room| self.shared.directory.find(room));
        let index = room.and_then(|room| self.members.index_of(room.id));
        index.is_some_and(|index| held.rooms.contains(&index))
    }

    /// Holds back an order that has to wait.
    pub(super) fn hold_order(&mut self, key: Key, order: &Arc<Order>) {
        self.pending.held.entry(key).or_default().orders.push(Arc::clone(order));
    }

    /// Holds back a command that has to wait.
    ///
    /// # Errors
    ///
    /// 111: too many are held back.
    pub(super) fn hold_back(&mut self, key: Key, line: &[u8], method: &Method<'_>) -> Result<(), Failure> {
        let held = self.pending.held.entry(key).or_default();
        let are_many = held.connecting.is_none() && held.lines.len() >= HELD_LINES_MAX;
        if are_many || held.line_bytes + line.len() > HELD_BYTES_MAX {
            // An unsubscribe cannot fail, so whoever cannot be heard out comes back later.
            return Err(match method {
                Method::Unsubscribe(_) => Disconnect::TooManyRequests.into(),
                _ => ErrorCode::TooManyRequests.into(),
            });
        }
        held.line_bytes += line.len();
        held.lines.push(line.into());
        Ok(())
    }

    /// Takes note that `key` waits for the room at `index` no more, and goes on with its commands.
    fn resume_after_room(&mut self, io: &mut Io<Peer>, key: Key, index: RoomIndex) {
        if let Some(held) = self.pending.held.get_mut(&key) {
            held.rooms.retain(|room| *room != index);
        }
        self.resume(io, key);
    }

    /// The connect command of `key` that waited, which is no longer waited for.
    pub(super) fn take_connecting(&mut self, key: Key) -> Option<Box<Connecting>> {
        self.pending.held.get_mut(&key)?.connecting.take()
    }

    /// Forgets what a connection waited for that has ended. What the committer was asked for it is
    /// answered to nobody.
    pub(super) fn stop_waiting(&mut self, io: &mut Io<Peer>, key: Key) {
        if !io.peer(key).has(WAITING) {
            return;
        }
        io.peer(key).flags &= !WAITING;
        let held = self.pending.held.remove(&key);
        if let Some(connecting) = held.and_then(|held| held.connecting) {
            for index in connecting.answered_rooms() {
                self.release(index);
            }
        }
    }

    /// How many rooms `key` waits to join.
    pub(super) fn joining(&self, io: &mut Io<Peer>, key: Key) -> usize {
        if !io.peer(key).has(WAITING) {
            return 0;
        }
        self.pending.held.get(&key).map_or(0, |held| held.rooms.len())
    }

    /// Goes on with the commands of `key` that need wait no more.
    pub(super) fn resume(&mut self, io: &mut Io<Peer>, key: Key) {
        let Some(held) = self.pending.held.get_mut(&key) else { return };
        held.line_bytes = 0;
        let lines = std::mem::take(&mut held.lines);
        let orders = std::mem::take(&mut held.orders);
        if held.rooms.is_empty() && held.connecting.is_none() {
            self.pending.held.remove(&key);
            io.peer(key).flags &= !WAITING;
        }
        for order in orders {
            self.obey(io, key, &order);
        }
        for line in lines {
            if !io.is_open(key) || !self.line(io, key, &line) {
                break;
            }
        }
    }

    /// The publications of these asks are kept.
    pub(super) fn kept(&mut self, io: &mut Io<Peer>, numbers: &[u64]) {
        for number in numbers {
            self.settle(io, *number, Ok(Reply::Done));
        }
        self.send_replies(io);
    }

    /// The committer has answered an ask.
    pub(super) fn answered(&mut self, io: &mut Io<Peer>, number: u64, answer: Result<Reply, ErrorCode>) {
        self.settle(io, number, answer);
        self.send_replies(io);
    }

    /// Refuses what has waited for longer than `after_ms`.
    pub(super) fn refuse_overdue(&mut self, io: &mut Io<Peer>, after_ms: u64) {
        let before_ms = io.now_ms().saturating_sub(after_ms);
        while let Some(asked) = self.pending.take_older(before_ms) {
            self.committer.gauge().overdue.fetch_add(1, Ordering::Relaxed);
            self.settle_asked(io, asked, Err(ErrorCode::Internal));
        }
        self.send_replies(io);
    }

    fn settle(&mut self, io: &mut Io<Peer>, number: u64, answer: Result<Reply, ErrorCode>) {
        // Whoever waited too long has been told so.
        if let Some(asked) = self.pending.take(number) {
            self.settle_asked(io, asked, answer);
        }
    }

    fn settle_asked(&mut self, io: &mut Io<Peer>, asked: Asked, answer: Result<Reply, ErrorCode>) {
        let Asked { connection, command, what, .. } = asked;
        let key = connection.key;
        let is_there = io.peer_of(connection).is_some() && io.is_open(key);
        if is_there && matches!(what, What::History | What::Read | What::Unread(_)) {
            io.peer(key).asks -= 1;
        }
        if self.replying_to != key {
            self.send_replies(io);
            self.replying_to = key;
        }
        match what {
            What::Subscribe(subscribing) => {
                let index = subscribing.index;
                if is_there {
                    self.subscribed(io, key, command, *subscribing, answer);
                }
                self.release(index);
                if is_there {
                    self.resume_after_room(io, key, index);
                }
            }
            What::Give(giving) => {
                let index = giving.index;
                if is_there {
                    self.given(io, key, *giving, answer);
                }
                self.release(index);
                if is_there {
                    self.resume_after_room(io, key, index);
                }
            }
            What::ServerSide(nth, index) => {
                if is_there {
                    self.server_side_answered(io, key, nth, answer);
                } else {
                    self.release(index);
                }
            }
            What::Missed(index, number) => {
                if is_there {
                    self.missed(io, key, (index, number), answer);
                }
            }
            What::Publish | What::History | What::Read | What::Unread(_) if !is_there => {}
            what => self.reply(io, |out| match (answer, what) {
                (Err(code), _) => reply::error(out, command, code),
                (Ok(answer), what) => write_answer(out, command, &answer, &what),
            }),
        }
    }
}

/// Appends the reply to a command that has no effect here.
fn write_answer(out: &mut Vec<u8>, command: u32, answer: &Reply, what: &What) {
    match answer {
        Reply::History { position, publications } => {
            reply::history(out, command, position.as_stream(), publications);
        }
        Reply::Read(offset) => reply::rpc(out, command, |out| reply::read_cursor(out, *offset)),
        Reply::Unread(unread) => {
            let What::Unread(rooms) = what else { unreachable!("asked for unread counts") };
            reply::rpc(out, command, |out| {
                let counts =
                    rooms.iter().zip(unread).map(|(room, unread)| (&**room, unread.offset, unread.read));
                reply::unread_counts(out, counts);
            });
        }
        Reply::Done | Reply::Subscribed { .. } | Reply::Missed(_) => {
            reply::empty(out, command, reply::EmptyReply::Publish)
        }
    }
}
