//! What an application has done with connections that it names by their user or client id: subscribe,
//! unsubscribe, disconnect, refresh.
//!
//! Nobody keeps an index of connections by user. An order goes to every shard, and a shard walks its
//! connections, a slice in each turn. Orders that come during a walk share the next one, so however
//! many come, a shard walks once at a time. When the last shard has let go of an order, what came of
//! it is told.
//!
//! Invariants:
//! - orders are obeyed by a connection in the order in which they came, but for one that has to wait
//!   for a subscription that is under way;
//! - a client hears of what an order does in the order of everything else that it hears: nothing comes
//!   before its connect reply, and a room's first push comes behind the push that tells it that it is
//!   subscribed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::value::RawValue;

use crate::conn::{CloseReason, Key};
use crate::hub::{RoomIndex, User};
use crate::protocol::client::CLIENT_ID_TEXT_BYTES;
use crate::protocol::{Disconnect, ErrorCode, StreamPosition, SubOptions, Unsubscribe, push};
use crate::rooms::connect::{ttl, unix_u32};
use crate::rooms::peer::CONNECTED;
use crate::rooms::pending::What;
use crate::rooms::stream::{Asks, Follows, follows};
use crate::rooms::subscribe::{Join, Wish, place};
use crate::rooms::{Event, Peer, Reply, Rooms, TEXT, Tell};
use crate::shard::Io;
use crate::store::Since;

/// Connections that are looked at in one turn.
const SLICE_KEYS: Key = 4096;

/// Orders that are obeyed in one turn; each may cost a write.
const SLICE_ORDERS: usize = 256;

/// A client id as text.
pub(super) type ClientText = [u8; CLIENT_ID_TEXT_BYTES];

/// A subscription that an application gives.
#[derive(Debug, Clone, Default)]
pub struct Grant {
    /// What the client gets, and what others see of it.
    pub options: SubOptions,
    /// Unix seconds at which it expires; `None` for never.
    pub expires_at: Option<i64>,
    /// Where the client is, if it is to get what it missed.
    pub since: Option<Since>,
}

/// How an application ends connections.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Close code from 3000 to 4999.
    pub code: u16,
    /// Text of the close frame: not empty, no JSON, at most `limits::CLOSE_REASON_BYTES_MAX`.
    pub reason: Box<str>,
    /// Client ids of connections that are not ended.
    pub spared: Vec<String>,
}

/// What becomes of a connection's expiry.
#[derive(Debug, Clone, Default)]
pub struct Renewal {
    /// It is over now.
    pub is_expired: bool,
    /// Unix seconds at which it expires; `None` for never.
    pub expires_at: Option<i64>,
    /// JSON that others see as the client's `conn_info` from now on.
    pub info: Option<Box<str>>,
}

/// What is done with a connection.
#[derive(Debug)]
pub(super) enum Deed {
    /// It becomes a member of the room, in this namespace.
    Subscribe(Box<str>, u16, Grant),
    /// It is no member of the room any more.
    Unsubscribe(Box<str>),
    Disconnect(Ending),
    Refresh(Renewal),
}

impl Deed {
    /// The room that it is about.
    fn room(&self) -> Option<&str> {
        match self {
            Deed::Subscribe(room, ..) | Deed::Unsubscribe(room) => Some(room),
            Deed::Disconnect(_) | Deed::Refresh(_) => None,
        }
    }
}

/// What came of an order so far, and who is told in the end.
#[derive(Default)]
struct Progress {
    failure: Option<ErrorCode>,
    tell: Option<Tell<()>>,
}

/// Something that is done with every connection of a user, or with one of them.
pub struct Order {
    /// `None`: whoever has this client id.
    user: Option<User>,
    client: Option<ClientText>,
    deed: Deed,
    progress: Mutex<Progress>,
}

impl Order {
    /// To do `deed` with the connections of `user`, or with that of `client` alone; without either it
    /// is for nobody.
    pub(super) fn new(user: Option<User>, client: Option<ClientText>, deed: Deed, tell: Tell<()>) -> Self {
        let progress = Mutex::new(Progress { failure: None, tell: Some(tell) });
        Order { user, client, deed, progress }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note that it could not be obeyed everywhere; the first reason is told.
    fn fail(&self, code: ErrorCode) {
        self.progress().failure.get_or_insert(code);
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        let progress = std::mem::take(&mut *self.progress());
        if let Some(tell) = progress.tell {
            tell(progress.failure.map_or(Ok(()), Err));
        }
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order").field("deed", &self.deed).finish_non_exhaustive()
    }
}

/// A shard's walk over its connections.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// The orders of the walk that is under way.
    orders: Vec<Arc<Order>>,
    /// Their places by `User::identity`.
    by_user: HashMap<usize, Vec<usize>>,
    /// Places of those that name a client and no user.
    by_client: HashMap<ClientText, Vec<usize>>,
    next_key: Key,
    /// Connections that are still looked at in this turn.
    keys_left: Key,
    /// Orders that are still obeyed in this turn.
    orders_left: usize,
    /// For the next walk.
    waiting: Vec<Arc<Order>>,
    /// Of the walk that has ended in this turn. They are let go of when the turn has done what they began.
    done: Vec<Arc<Order>>,
    /// The shard has told itself to go on.
    is_scheduled: bool,
}

impl Walk {
    /// Begins to walk for the orders that wait.
    fn begin(&mut self) {
        self.next_key = 0;
        self.orders = std::mem::take(&mut self.waiting);
        for (place, order) in self.orders.iter().enumerate() {
            match (&order.user, order.client) {
                (Some(user), _) => self.by_user.entry(user.identity()).or_default().push(place),
                (None, Some(client)) => self.by_client.entry(client).or_default().push(place),
                (None, None) => {}
            }
        }
    }

    /// Begins this turn's slice, of a new walk if the last one has ended.
    fn begin_slice(&mut self) {
        self.is_scheduled = false;
        self.keys_left = SLICE_KEYS;
        self.orders_left = SLICE_ORDERS;
        if self.orders.is_empty() {
            self.begin();
        }
    }

    /// The next key of this slice, if there is one below `keys_end`. With the last of all keys the
    /// walk ends as soon as it is asked for one more.
    fn next(&mut self, keys_end: Key) -> Option<Key> {
        if self.next_key >= keys_end {
            let waiting = std::mem::take(&mut self.waiting);
            let done = std::mem::take(&mut self.orders);
            *self = Walk { waiting, done, ..Walk::default() };
            return None;
        }
        if self.keys_left == 0 || self.orders_left == 0 {
            return None;
        }
        self.keys_left -= 1;
        self.next_key += 1;
        Some(self.next_key - 1)
    }

    /// Whether there is anything to do.
    fn has_work(&self) -> bool {
        !self.orders.is_empty() || !self.waiting.is_empty()
    }
}

/// A subscription that an application gives and that waits for the committer to say where the room's
/// stream is.
#[derive(Debug)]
pub(super) struct Giving {
    /// The room, which is held open.
    pub index: RoomIndex,
    order: Arc<Order>,
    join: Join,
    is_recoverable: bool,
    since: Option<Since>,
}

impl Rooms {
    /// Takes in an order; its walk begins in a later turn.
    pub(super) fn take_order(&mut self, order: Arc<Order>) {
        self.walk.waiting.push(order);
    }

    /// Ends a turn: makes sure that a walk goes on in the next one.
    pub(super) fn schedule_walk(&mut self) {
        self.walk.done.clear();
        if self.walk.has_work() && !self.walk.is_scheduled {
            self.walk.is_scheduled = true;
            self.links.send(self.links.me(), Event::WalkOn, 0);
        }
    }

    /// Walks over the next slice of connections.
    pub(super) fn walk_on(&mut self, io: &mut Io<Peer>) {
        self.walk.begin_slice();
        while let Some(key) = self.walk.next(io.keys_end()) {
            if !io.is_open(key) {
                continue;
            }
            for order in self.orders_for(io, key) {
                self.walk.orders_left = self.walk.orders_left.saturating_sub(1);
                self.obey(io, key, &order);
            }
        }
    }

    /// The orders of this walk that are for connection `key`, in their order.
    fn orders_for(&self, io: &mut Io<Peer>, key: Key) -> Vec<Arc<Order>> {
        let walk = &self.walk;
        let id = io.id(key);
        let user = io.peer(key).user.as_ref().map(User::identity);
        let mut places: Vec<usize> = Vec::new();
        if let Some(theirs) = user.and_then(|user| walk.by_user.get(&user)) {
            let is_meant = |place: &&usize| {
                let client = walk.orders[**place].client;
                client.is_none_or(|client| client == self.client_id(id).text())
            };
            places.extend(theirs.iter().filter(is_meant));
        }
        if !walk.by_client.is_empty()
            && let Some(theirs) = walk.by_client.get(&self.client_id(id).text())
        {
            places.extend(theirs);
            places.sort_unstable();
        }
        places.into_iter().map(|place| Arc::clone(&walk.orders[place])).collect()
    }

    /// Does with connection `key` what `order` says, or has it wait until that can be done.
    pub(super) fn obey(&mut self, io: &mut Io<Peer>, key: Key, order: &Arc<Order>) {
        if !io.is_open(key) || !io.peer(key).has(CONNECTED) {
            return;
        }
        self.send_replies(io);
        match &order.deed {
            Deed::Disconnect(ending) => self.throw_out(io, key, ending),
            deed if self.must_order_wait(io, key, deed.room()) => self.hold_order(key, order),
            Deed::Subscribe(room, namespace, grant) => self.give(io, key, order, room, *namespace, grant),
            Deed::Unsubscribe(room) => {
                if let Some(index) = self.index_if_member(io.peer(key), room) {
                    self.end_subscription(io, key, index, Unsubscribe::Server);
                }
            }
            Deed::Refresh(renewal) => self.renew(io, key, renewal),
        }
    }

    fn throw_out(&mut self, io: &mut Io<Peer>, key: Key, ending: &Ending) {
        let client = self.client_id(io.id(key)).text();
        if !ending.spared.iter().any(|spared| spared.as_bytes() == client) {
            io.close_saying(key, CloseReason::Application(ending.code), &ending.reason);
        }
    }

    fn renew(&mut self, io: &mut Io<Peer>, key: Key, renewal: &Renewal) {
        let Ok(ttl_s) = ttl(renewal.expires_at, io.unix_s()) else {
            self.disconnect(io, key, Disconnect::ConnectionExpired);
            return;
        };
        if renewal.is_expired {
            self.disconnect(io, key, Disconnect::ConnectionExpired);
            return;
        }
        let peer = io.peer(key);
        peer.expires_at = unix_u32(renewal.expires_at);
        if renewal.info.is_some() {
            peer.more_mut().conn_info.clone_from(&renewal.info);
        }
        self.watch_expiry(io, key);
        let mut text = Vec::new();
        push::refresh(&mut text, ttl_s);
        io.send(key, TEXT, &text);
    }

    /// Subscribes a client to `room`, unless it is subscribed already.
    fn give(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        order: &Arc<Order>,
        room: &str,
        namespace: u16,
        grant: &Grant,
    ) {
        if self.index_if_member(io.peer(key), room).is_some() {
            return;
        }
        let subscriptions = io.peer(key).subscriptions().len() + self.joining(io, key);
        if subscriptions >= self.shared.settings.channel_limit {
            return order.fail(ErrorCode::LimitExceeded);
        }
        let options = self.shared.options(namespace);
        let asks = Asks { positioned: false, recoverable: grant.since.is_some() };
        let follows = follows(options, &grant.options, asks, false);
        let expires_at = unix_u32(grant.expires_at);
        let wish = Wish { join_leave: false, expires_at };
        let join = Join::new(options, grant.options.clone(), wish).following(follows).by_server();
        let is_recoverable = follows == Follows::Recovery;
        let since = grant.since.filter(|_| is_recoverable);
        let ask = (follows != Follows::Nothing).then(|| self.ask_position(room, options, since));
        let index = self.open(room, namespace);
        let Some(ask) = ask else {
            self.tell_subscribed(io, key, index, grant, None, &[]);
            self.join_by_server(io, key, index, join);
            return self.watch_expiry(io, key);
        };
        self.members.hold(index);
        let giving = Giving { index, order: Arc::clone(order), join, is_recoverable, since };
        match self.ask(io, key, 0, ask, false, What::Give(Box::new(giving))) {
            Ok(()) => self.hold_for_room(io, key, index),
            Err(_) => {
                self.release(index);
                order.fail(ErrorCode::TooManyRequests);
            }
        }
    }

    /// The committer has said where the stream is: from here on the client is a member.
    pub(super) fn given(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        giving: Giving,
        answer: Result<Reply, ErrorCode>,
    ) {
        let Giving { index, order, join, is_recoverable, since } = giving;
        let (position, recovered, publications) = match answer.map(Reply::subscribed) {
            Ok(subscribed) => subscribed,
            Err(code) => return order.fail(code),
        };
        let Deed::Subscribe(_, _, grant) = &order.deed else { unreachable!("it gives a subscription") };
        let place = place(&position, since.map(|since| since.offset).filter(|_| recovered));
        // What the disk gave back otherwise than it was given is nobody's to read.
        let list = [b"[", &publications[..], b"]"].concat();
        let Ok(missed) = serde_json::from_slice::<Vec<&RawValue>>(&list) else {
            return order.fail(ErrorCode::Internal);
        };
        self.send_replies(io);
        self.tell_subscribed(io, key, index, grant, Some((place, is_recoverable)), &missed);
        self.join_by_server(io, key, index, join.from(&position));
        self.watch_expiry(io, key);
    }

    /// Tells a client that it is subscribed; where, and whether it may come back to there, if it follows
    /// the room's stream; and what it missed.
    fn tell_subscribed(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        index: RoomIndex,
        grant: &Grant,
        follows: Option<(StreamPosition<'_>, bool)>,
        missed: &[&RawValue],
    ) {
        let quoted = &self.members.room(index).quoted;
        let mut text = Vec::new();
        let (position, is_recoverable) = follows.unzip();
        let data = grant.options.data.as_deref();
        push::subscribe(&mut text, quoted, is_recoverable.unwrap_or_default(), position, data);
        for publication in missed {
            text.push(b'\n');
            push::recovered(&mut text, quoted, publication.get());
        }
        let frame = io.frame(TEXT, 1 + missed.len() as u32, &text);
        io.queue(key, frame);
        io.flush_if_large();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Arc<Order> {
        let deed = Deed::Refresh(Renewal::default());
        Arc::new(Order::new(None, Some([b'0'; CLIENT_ID_TEXT_BYTES]), deed, Box::new(|_| {})))
    }

    #[test]
    fn a_walk_looks_at_every_connection_once_and_at_few_in_one_turn() {
        let mut walk = Walk { waiting: vec![order()], ..Walk::default() };
        let keys_end = SLICE_KEYS * 2 + 5;
        let mut seen = Vec::new();
        let mut turns = 0;
        while walk.has_work() {
            walk.begin_slice();
            let before = seen.len();
            seen.extend(std::iter::from_fn(|| walk.next(keys_end)));
            assert!(seen.len() - before <= SLICE_KEYS as usize);
            turns += 1;
        }
        assert_eq!((seen, turns), ((0..keys_end).collect(), 3));
    }

    #[test]
    fn a_turn_ends_early_when_many_orders_are_obeyed_in_it() {
        let mut walk = Walk { waiting: vec![order()], ..Walk::default() };
        walk.begin_slice();
        for key in 0..SLICE_ORDERS {
            assert_eq!(walk.next(SLICE_KEYS), Some(key as Key));
            walk.orders_left -= 1;
        }
        assert_eq!(walk.next(SLICE_KEYS), None);
        assert!(walk.has_work());
        walk.begin_slice();
        assert_eq!(walk.next(SLICE_KEYS), Some(SLICE_ORDERS as Key));
    }

    #[test]
    fn orders_that_come_during_a_walk_wait_for_the_next() {
        let mut walk = Walk { waiting: vec![order()], ..Walk::default() };
        walk.begin_slice();
        walk.next(2);
        walk.waiting.push(order());
        assert_eq!(walk.orders.len(), 1);
        assert_eq!(std::iter::from_fn(|| walk.next(2)).collect::<Vec<_>>(), [1]);
        walk.begin_slice();
        assert_eq!((walk.orders.len(), walk.waiting.len(), walk.next(2)), (1, 0, Some(0)));
    }

    #[test]
    fn what_came_of_an_order_is_told_when_nobody_has_it_any_more() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let tell: Tell<()> = Box::new(move |told| sender.send(told).unwrap());
        let one = Arc::new(Order::new(None, None, Deed::Unsubscribe("a".into()), tell));
        let two = Arc::clone(&one);
        one.fail(ErrorCode::LimitExceeded);
        drop(one);
        assert!(receiver.try_recv().is_err());
        two.fail(ErrorCode::Internal);
        drop(two);
        assert_eq!(receiver.try_recv(), Ok(Err(ErrorCode::LimitExceeded)));
    }
}
