//! The control plane's way to rooms: what an application asks through the HTTP API.
//!
//! A `Gateway` is called from any thread and never blocks. What needs the committer or the shards is
//! told later, on a thread of theirs, once, or never if the server ends before: a [`Tell`] must be quick
//! and must not panic.
//! Times and deadlines are the caller's.
//!
//! Invariant: what an application publishes reaches a room's members in the order in which the
//! committer took it in, or, without history, in the order in which it was handed in here.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;

use crate::hub::{NamespaceOptions, Room};
use crate::protocol::{ChannelName, ErrorCode, push};
use crate::rooms::outlet::{Callback, Told};
use crate::rooms::remote::{ClientText, Deed};
use crate::rooms::{
    Audience, Ending, Event, Grant, Heat, HeatAsk, Links, Order, Renewal, Rooms, Shared, Survey, Ticket,
};
use crate::store::{Answer, Ask, Position, Publication, Request, Since, Version, committer};

/// What is done with an answer.
pub type Tell<T> = Box<dyn FnOnce(Result<T, ErrorCode>) + Send>;

/// A publication of an application.
#[derive(Debug, Clone)]
pub struct Publish {
    /// Members of its JSON object, as `protocol::push::body` writes them.
    pub body: Bytes,
    /// The application's own number for it.
    pub version: Option<Version>,
    /// It is delivered and not kept, even if the room has a history.
    pub skips_history: bool,
}

/// Whose connections an application means.
#[derive(Debug, Clone, Copy, Default)]
pub struct Whom<'a> {
    /// A user's; empty: not by user.
    pub user: &'a str,
    /// The one with this client id; empty: all of the user's.
    pub client: &'a str,
    /// The one with this session; empty: any. No connection has one: they are of other transports.
    pub session: &'a str,
}

/// How much of everything there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Named users that have connections.
    pub users: usize,
    /// Rooms that have members.
    pub rooms: usize,
    /// Members of all rooms together.
    pub members: usize,
}

/// Most bytes of publications in one answer with a history; whoever wants more asks again from there.
const HISTORY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The control plane's way to rooms.
#[derive(Debug, Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
    links: Links,
    committer: committer::Handle<Ticket>,
}

impl Gateway {
    /// To the shards that `links` reaches, which is no shard's own.
    pub fn new(shared: Arc<Shared>, links: Links, committer: committer::Handle<Ticket>) -> Self {
        Gateway { shared, links, committer }
    }

    /// Publishes; tells where it is kept, or nothing if it is not kept.
    ///
    /// Errors: 102 and 107 for the name, 111 if shards or committer have too much to do, 100 if the
    /// disk does not keep it.
    pub fn publish(&self, channel: &str, publish: Publish, tell: Tell<Option<Position>>) {
        let (channel, options) = match self.channel(channel) {
            Ok(channel) => channel,
            Err(code) => return tell(Err(code)),
        };
        let Publish { body, version, skips_history } = publish;
        let room = self.shared.directory.find(channel.full());
        // What a shard cannot take in, nobody is to be told of as published.
        if room.as_ref().is_some_and(|room| self.is_full(room)) {
            return tell(Err(ErrorCode::TooManyRequests));
        }
        if options.retention().is_on() && !skips_history {
            let ask = Ask::Of(Rooms::stream(channel.full(), options), Request::Publish { body, version });
            return self.ask(ask, tell, |told| match told {
                Told::Published(position) | Told::Answer(Answer::Dropped(position)) => Some(position),
                Told::Answer(_) => unreachable!("asked to publish"),
            });
        }
        if let Some(room) = room {
            let mut text = Vec::new();
            push::publication(&mut text, &room.quoted, &body, 0);
            let pushes = Bytes::from(text);
            let since = Instant::now();
            let mut links = self.links.clone();
            for shard in room.shards() {
                let event = Event::Published {
                    room: room.id,
                    audience: Audience::Everyone,
                    excluded: None,
                    pushes: pushes.clone(),
                    messages: 1,
                    first: 0,
                    since,
                };
                links.send(shard, event, pushes.len());
            }
            links.wake();
        }
        tell(Ok(None));
    }

    /// Reads the history of a room: at most `limit` publications, or all that are kept.
    ///
    /// Errors: 102 and 107 for the name, 107 to begin before the first, 108 without history, 112 for
    /// another epoch, 111 and 100 as in `publish`.
    pub fn history(
        &self,
        channel: &str,
        since: Option<Since>,
        limit: Option<usize>,
        reverse: bool,
        tell: Tell<(Position, Vec<Publication>)>,
    ) {
        let (channel, options) = match self.with_history(channel) {
            Ok(channel) => channel,
            Err(code) => return tell(Err(code)),
        };
        if reverse && since.is_some_and(|since| since.offset == 0) {
            return tell(Err(ErrorCode::BadRequest));
        }
        let kept = options.history_size as usize;
        let limit = limit.map_or(kept, |limit| limit.min(kept));
        let ask = Ask::Of(
            Rooms::stream(channel.full(), options),
            Request::History { since, limit, bytes_max: HISTORY_BYTES_MAX, reverse },
        );
        self.ask(ask, tell, |told| match told {
            Told::Answer(Answer::History { position, publications }) => (position, publications),
            _ => unreachable!("asked for a history"),
        });
    }

    /// Drops the history of a room; its epoch and offset stay. Errors as in `history`.
    pub fn clear(&self, channel: &str, tell: Tell<()>) {
        match self.with_history(channel) {
            Ok((channel, options)) => {
                let ask = Ask::Of(Rooms::stream(channel.full(), options), Request::Clear);
                self.ask(ask, tell, |_| ());
            }
            Err(code) => tell(Err(code)),
        }
    }

    /// How many members a room has, and how many users they are; all anonymous clients are one.
    ///
    /// # Errors
    ///
    /// 102 and 107 for the name, 108 without presence.
    pub fn presence_stats(&self, channel: &str) -> Result<(u32, u32), ErrorCode> {
        let (channel, options) = self.channel(channel)?;
        if !options.presence {
            return Err(ErrorCode::NotAvailable);
        }
        let room = self.shared.directory.find(channel.full());
        Ok(room.map_or((0, 0), |room| room.census().counts()))
    }

    /// Asks who is in a room: its members as JSON object members, comma-separated.
    ///
    /// Errors: 102 and 107 for the name, 108 without presence, 106 if they are too many to list, 111
    /// if shards have too much to do.
    pub fn presence(&self, channel: &str, tell: Tell<Vec<u8>>) {
        let (channel, options) = match self.channel(channel) {
            Ok(channel) => channel,
            Err(code) => return tell(Err(code)),
        };
        if !options.presence {
            return tell(Err(ErrorCode::NotAvailable));
        }
        let Some(room) = self.shared.directory.find(channel.full()) else {
            return tell(Ok(Vec::new()));
        };
        if self.is_full(&room) {
            return tell(Err(ErrorCode::TooManyRequests));
        }
        let survey = Arc::new(Survey::new(tell));
        let mut links = self.links.clone();
        for shard in room.shards() {
            let event = Event::Survey { room: room.id, survey: Arc::clone(&survey) };
            links.send(shard, event, 0);
        }
        links.wake();
    }

    /// Subscribes connections to a room, and tells when all that are not yet are.
    ///
    /// Errors: 102 and 107 for the name, 107 to name nobody; 106 if one has as many subscriptions as it
    /// may, 111 and 100 if the committer has not said where the room is: others may be subscribed.
    pub fn subscribe(&self, whom: Whom<'_>, channel: &str, grant: Grant, tell: Tell<()>) {
        match self.shared.channel(channel) {
            Ok((_, namespace)) => self.order(whom, Deed::Subscribe(channel.into(), namespace, grant), tell),
            Err(code) => tell(Err(code)),
        }
    }

    /// Ends subscriptions to a room, whoever made them; tells when it is done. Errors: 102 and 107 for
    /// the name, 107 to name nobody.
    pub fn unsubscribe(&self, whom: Whom<'_>, channel: &str, tell: Tell<()>) {
        match self.shared.channel(channel) {
            Ok(_) => self.order(whom, Deed::Unsubscribe(channel.into()), tell),
            Err(code) => tell(Err(code)),
        }
    }

    /// Ends connections; tells when they have been. Errors: 107 to name nobody.
    pub fn disconnect(&self, whom: Whom<'_>, ending: Ending, tell: Tell<()>) {
        self.order(whom, Deed::Disconnect(ending), tell);
    }

    /// Moves the expiry of connections; tells when it is done. Errors: 107 to name nobody.
    pub fn refresh(&self, whom: Whom<'_>, renewal: Renewal, tell: Tell<()>) {
        self.order(whom, Deed::Refresh(renewal), tell);
    }

    /// Has every shard do something with those of its connections that are meant. However much waits
    /// for a shard: this is how an application gets rid of who floods it.
    fn order(&self, whom: Whom<'_>, deed: Deed, tell: Tell<()>) {
        let Whom { user, client, session } = whom;
        if user.is_empty() && client.is_empty() {
            return tell(Err(ErrorCode::BadRequest));
        }
        let connected = self.shared.users.find(user);
        let text = ClientText::try_from(client.as_bytes()).ok();
        let is_nobody = (!user.is_empty() && connected.is_none())
            || (!client.is_empty() && text.is_none())
            || !session.is_empty();
        if is_nobody {
            return tell(Ok(()));
        }
        let order = Arc::new(Order::new(connected, text, deed, tell));
        let mut links = self.links.clone();
        for shard in 0..links.shards() {
            links.send(shard, Event::Order(Arc::clone(&order)), 0);
        }
        links.wake();
    }

    /// Calls `each` with the name of every room that has members and how many it has. As long as
    /// there are rooms, so it is for a thread that may take its time.
    pub fn rooms(&self, mut each: impl FnMut(&str, u32)) {
        self.shared.directory.for_each(|room| {
            let clients = room.clients.load(Ordering::Relaxed);
            // Without members a room is only about to have one.
            if clients > 0 {
                each(&room.name, clients);
            }
        });
    }

    /// Has every shard tell which rooms it delivered to most since it was asked last, with its number. From the first time on
    /// it counts, until `forget_heat`. A shard that has ended never tells.
    pub fn heat(&self, tell: impl Fn(usize, Heat) + Clone + Send + 'static) {
        self.tell_all(|shard| {
            let tell = tell.clone();
            Event::Heat(HeatAsk::new(move |heat| tell(shard, heat)))
        });
    }

    /// Nobody wants to know that any more: the shards count no longer.
    pub fn forget_heat(&self) {
        self.tell_all(|_| Event::HeatOff);
    }

    fn tell_all(&self, event: impl Fn(usize) -> Event) {
        let mut links = self.links.clone();
        for shard in 0..links.shards() {
            links.send(shard, event(shard), 0);
        }
        links.wake();
    }

    /// How much of everything there is; takes as long as `rooms`.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { users: self.shared.users.count(), ..Counts::default() };
        self.rooms(|_, clients| {
            counts.rooms += 1;
            counts.members += clients as usize;
        });
        counts
    }

    fn channel<'a>(&self, name: &'a str) -> Result<(ChannelName<'a>, &NamespaceOptions), ErrorCode> {
        let (channel, namespace) = self.shared.channel(name)?;
        Ok((channel, self.shared.options(namespace)))
    }

    fn with_history<'a>(&self, name: &'a str) -> Result<(ChannelName<'a>, &NamespaceOptions), ErrorCode> {
        let (channel, options) = self.channel(name)?;
        if options.retention().is_on() { Ok((channel, options)) } else { Err(ErrorCode::NotAvailable) }
    }

    fn is_full(&self, room: &Room) -> bool {
        room.shards().any(|shard| self.links.is_full(shard))
    }

    /// Asks the committer, and tells what `read` makes of the answer.
    fn ask<T: 'static>(&self, ask: Ask, tell: Tell<T>, read: fn(Told) -> T) {
        let callback: Callback = Box::new(move |told| tell(told.map(read)));
        match self.committer.ask(ask, Ticket::Api(callback)) {
            Err(Ticket::Api(callback)) => callback(Err(ErrorCode::TooManyRequests)),
            Err(Ticket::Client { .. }) => unreachable!("the ticket that was given comes back"),
            Ok(()) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::rooms::Settings;
    use crate::shard::Seat;

    /// A gateway to one shard that never looks into its inbox, which is full with one event, and to a
    /// committer that takes `queue_bytes_max`.
    fn gateway(queue_bytes_max: usize) -> (Gateway, Seat<Event>) {
        let kept = NamespaceOptions { history_size: 1, history_ttl_ms: 1, ..NamespaceOptions::default() };
        let settings = Settings {
            without_namespace: NamespaceOptions { presence: true, ..NamespaceOptions::default() },
            namespaces: vec![("kept".to_owned(), kept)],
            ..Settings::default()
        };
        let shared = Arc::new(Shared::new(settings, 1).unwrap());
        shared.directory.enter("room", 0, 0);
        let (seat, inbox) = Seat::new(1).unwrap();
        let links = Links::of_no_shard(Arc::new([inbox]));
        (Gateway::new(shared, links, committer::channel(queue_bytes_max).0), seat)
    }

    /// What `ask` tells at once; `None` if it is to be told later.
    fn told<T: Send + 'static>(ask: impl FnOnce(Tell<T>)) -> Option<Result<T, ErrorCode>> {
        let (sender, receiver) = mpsc::channel();
        // The receiver is gone when it is told too late.
        ask(Box::new(move |answer| {
            let _ = sender.send(answer);
        }));
        receiver.try_recv().ok()
    }

    fn publish() -> Publish {
        Publish { body: Bytes::from_static(b"\"data\":1"), version: None, skips_history: false }
    }

    #[test]
    fn what_a_shard_cannot_take_in_is_refused_but_not_who_is_to_be_thrown_out() {
        let (gateway, _seat) = gateway(0);
        let publish = || told(|tell| gateway.publish("room", publish(), tell));
        assert_eq!(publish(), Some(Ok(None)));
        assert_eq!(publish(), Some(Err(ErrorCode::TooManyRequests)));
        let presence = told(|tell| gateway.presence("room", tell));
        assert_eq!(presence, Some(Err(ErrorCode::TooManyRequests)));
        gateway.shared.users.enter("42", 0).unwrap();
        let whom = Whom { user: "42", ..Whom::default() };
        assert_eq!(told(|tell| gateway.refresh(whom, Renewal::default(), tell)), None, "it is on its way");
        let nobody = Whom { user: "43", ..Whom::default() };
        assert_eq!(told(|tell| gateway.refresh(nobody, Renewal::default(), tell)), Some(Ok(())));
    }

    #[test]
    fn what_the_committer_cannot_take_in_is_refused() {
        let (full, _seat) = gateway(0);
        let published = told(|tell| full.publish("kept:room", publish(), tell));
        assert_eq!(published, Some(Err(ErrorCode::TooManyRequests)));
        let read = told(|tell| full.history("kept:room", None, None, false, tell));
        assert_eq!(read.map(|read| read.map(drop)), Some(Err(ErrorCode::TooManyRequests)));
        assert_eq!(told(|tell| full.clear("kept:room", tell)), Some(Err(ErrorCode::TooManyRequests)));
    }
}
