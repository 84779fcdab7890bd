//! Where connections are in their rooms' streams: what they say when they come back, whether they are given
//! exactly what they missed, and whether what follows joins on without a gap.
//!
//! A connection remembers one number, the offset that is next; what is the same for all members of a room,
//! its epoch, is kept once. Every finding is counted in words that many connections may share.
//!
//! Absent on purpose: other protocols than Centrifuge's. A dialect says how to ask; the answers are JSON with
//! its fields, and only here is JSON parsed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::dialect::{Join, sequence};

/// What is wrong with a room that keeps nothing.
const NO_HISTORY: &str = "the server says that this room keeps no history to recover from";

/// Rooms whose streams are followed at most: each is some bytes of the generator's memory.
const ROOMS_MAX: u64 = 100_000_000;

/// Whether connections join so that they can recover.
#[derive(Debug, Clone, Default)]
pub enum Recovery {
    /// They do not.
    #[default]
    No,
    /// They do not, and are told who joins and leaves.
    Told,
    /// They do, and never will.
    Asked,
    /// They do, their positions are followed, and they recover when they come back.
    Followed(Arc<Streams>),
}

impl Recovery {
    /// The streams, where they are followed.
    pub fn streams(&self) -> Option<Arc<Streams>> {
        match self {
            Self::Followed(streams) => Some(Arc::clone(streams)),
            Self::No | Self::Told | Self::Asked => None,
        }
    }

    /// How a connection joins `room` whose next offset is `next`; 0 if it has never been there.
    pub fn join(&self, room: u64, next: u32) -> Join<'_> {
        match self {
            Self::No => Join::Plain,
            Self::Told => Join::Told,
            Self::Asked => Join::Recoverable,
            Self::Followed(streams) => match (next.checked_sub(1), streams.epoch(room)) {
                (Some(offset), Some(epoch)) => Join::Recover { epoch, offset: u64::from(offset) },
                _ => Join::Recoverable,
            },
        }
    }
}

/// What was published while connections were away: the same number in every room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// The first round of all rooms that they missed.
    pub first_round: u64,
    /// Rounds, each one message in every room.
    pub rounds: u64,
}

/// What all workers know of the rooms, of which connection `i` is in room `i % rooms`.
#[derive(Debug)]
pub struct Streams {
    rooms: Box<[OnceLock<Stream>]>,
    missed: OnceLock<Missed>,
    /// Publish `s` is in room `s % rooms`, and each room gets them in order.
    is_numbered: bool,
    wrong: AtomicU64,
}

/// One room's.
#[derive(Debug)]
struct Stream {
    epoch: Box<str>,
    /// Its offset as its first member joined, before anything of the run was published.
    base: u64,
}

impl Streams {
    /// Streams of `rooms` rooms that nobody has seen.
    ///
    /// # Errors
    ///
    /// There are more than [`ROOMS_MAX`].
    pub fn new(rooms: u64) -> Result<Self, String> {
        if rooms > ROOMS_MAX {
            return Err(format!("--rooms {rooms}: at most {ROOMS_MAX} can be followed"));
        }
        Ok(Self {
            rooms: (0..rooms).map(|_| OnceLock::new()).collect(),
            missed: OnceLock::new(),
            is_numbered: false,
            wrong: AtomicU64::new(0),
        })
    }

    /// The same streams, of which one pacer is the only publisher: a message's number follows from its offset,
    /// and is checked.
    pub fn numbered(self) -> Self {
        Self { is_numbered: true, ..self }
    }

    /// What is next in `room` once it got `published` publishes of the run; `None` if nobody was there.
    pub fn next_offset(&self, room: u64, published: u64) -> Option<u32> {
        Some(wrap(self.rooms[room as usize].get()?.base + published + 1))
    }

    /// Says what connections that come back must be given; where it is not said, only gaps are found.
    pub fn miss(&self, missed: Missed) {
        // A run drops its connections once.
        let _ = self.missed.set(missed);
    }

    /// How often something was wrong so far, over all workers.
    pub fn wrong(&self) -> u64 {
        self.wrong.load(SeqCst)
    }

    fn rooms(&self) -> u64 {
        self.rooms.len() as u64
    }

    fn epoch(&self, room: u64) -> Option<&str> {
        self.rooms[room as usize].get().map(|stream| &*stream.epoch)
    }

    /// Whether `message` is what was published at `offset` of `room`, as far as that is known.
    fn is_genuine(&self, room: u64, offset: u64, message: &[u8]) -> bool {
        let base = self.rooms[room as usize].get().filter(|_| self.is_numbered).map(|stream| stream.base);
        let nth = base.and_then(|base| offset.checked_sub(base + 1));
        nth.is_none_or(|nth| sequence(message) == Some(nth * self.rooms() + room))
    }
}

/// What was found of the streams.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Connections that came back and were given exactly what they missed.
    pub recovered: u64,
    /// Publications they were given.
    pub publications: u64,
    /// What was wrong, and how often.
    pub wrong: BTreeMap<String, u64>,
}

impl Found {
    /// Adds what another worker found.
    pub fn merge(&mut self, other: Self) {
        self.recovered += other.recovered;
        self.publications += other.publications;
        for (what, count) in other.wrong {
            *self.wrong.entry(what).or_default() += count;
        }
    }
}

/// The reply to a subscribe, as far as it matters. Source: PROTOCOL.md section 4.
#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    subscribe: Option<Subscribe<'a>>,
}

#[derive(Deserialize)]
struct Subscribe<'a> {
    #[serde(default)]
    recoverable: bool,
    #[serde(default)]
    recovered: bool,
    #[serde(default)]
    epoch: &'a str,
    #[serde(default)]
    offset: u64,
    #[serde(borrow, default)]
    publications: Vec<Publication<'a>>,
}

#[derive(Deserialize)]
struct Publication<'a> {
    offset: u64,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Follows the connections of one worker.
#[derive(Debug)]
pub struct Continuity {
    streams: Arc<Streams>,
    /// What was found so far.
    pub found: Found,
}

impl Continuity {
    /// Follows connections in `streams`.
    pub fn new(streams: Arc<Streams>) -> Self {
        Self { streams, found: Found::default() }
    }

    /// Takes the answer that connection `index`, whose next offset is `next`, got to its connect or its
    /// subscribe; sets `next` to what is next now.
    pub fn joined(&mut self, line: &[u8], index: u64, next: &mut u32) {
        let reply = match serde_json::from_slice::<Reply<'_>>(line) {
            Ok(Reply { subscribe: Some(reply) }) => reply,
            Ok(Reply { subscribe: None }) => return,
            Err(error) => return self.wrong(format!("an answer that is no JSON of this protocol: {error}")),
        };
        let room = index % self.streams.rooms();
        let judged = if *next == 0 { self.first(room, &reply) } else { self.back(room, &reply, *next) };
        *next = match judged {
            Ok(next) => next,
            Err(what) => {
                self.wrong(what);
                // What follows is followed from where the server says that it is, so that nothing is told twice.
                let given = reply.publications.iter().map(|publication| publication.offset);
                let at = given.fold(reply.offset, u64::max);
                if reply.recoverable { wrap(at + 1) } else { 0 }
            }
        };
    }

    /// The next offset of a connection that is in `room` for the first time.
    fn first(&self, room: u64, reply: &Subscribe<'_>) -> Result<u32, String> {
        if !reply.recoverable || reply.epoch.is_empty() {
            return Err(NO_HISTORY.to_owned());
        }
        let stream = self.streams.rooms[room as usize]
            .get_or_init(|| Stream { epoch: reply.epoch.into(), base: reply.offset });
        if *stream.epoch != *reply.epoch {
            return Err("two members of one room were told two epochs".to_owned());
        }
        Ok(wrap(reply.offset + 1))
    }

    /// The next offset of a connection that is back in `room`, where `next` was next.
    fn back(&mut self, room: u64, reply: &Subscribe<'_>, next: u32) -> Result<u32, String> {
        if self.streams.epoch(room) != Some(reply.epoch) {
            return Err("not recovered: the room has another epoch, so its stream was lost".to_owned());
        }
        if !reply.recovered {
            return Err("not recovered: the server no longer has all that was missed, or gives less at once"
                .to_owned());
        }
        let (missed, rooms) = (self.streams.missed.get(), self.streams.rooms());
        if let Some(missed) = missed.filter(|missed| missed.rounds != reply.publications.len() as u64) {
            let count = reply.publications.len();
            return Err(format!(
                "recovered with {count} publications of the {} that were missed",
                missed.rounds
            ));
        }
        let mut after = next;
        for (nth, publication) in reply.publications.iter().enumerate() {
            if wrap(publication.offset) != after {
                return Err("recovered with a hole or out of order".to_owned());
            }
            let number = missed.map(|missed| (missed.first_round + nth as u64) * rooms + room);
            let data = publication.data.get().as_bytes();
            let is_another = number.is_some() && number != sequence(data);
            if is_another || !self.streams.is_genuine(room, publication.offset, data) {
                return Err("recovered with another message than was published".to_owned());
            }
            after = after.wrapping_add(1);
        }
        self.found.recovered += 1;
        self.found.publications += reply.publications.len() as u64;
        Ok(after)
    }

    /// Takes a live message of connection `index`, whose next offset is `next`.
    pub fn saw(&mut self, message: &[u8], index: u64, next: &mut u32) {
        if *next == 0 {
            return;
        }
        let Some(offset) = offset(message) else {
            return self.wrong("a live message without an offset".to_owned());
        };
        match wrap(offset).cmp(next) {
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Less => self.wrong("a live message came again or too late".to_owned()),
            std::cmp::Ordering::Greater => self.wrong("a gap before a live message".to_owned()),
        }
        *next = (*next).max(wrap(offset + 1));
        if !self.streams.is_genuine(index % self.streams.rooms(), offset, message) {
            self.wrong("a live message was another than was published at its place".to_owned());
        }
    }

    fn wrong(&mut self, what: String) {
        self.streams.wrong.fetch_add(1, SeqCst);
        *self.found.wrong.entry(what).or_default() += 1;
    }
}

/// An offset as a connection keeps it: no run publishes four billion messages to a room.
fn wrap(offset: u64) -> u32 {
    offset as u32
}

/// The offset of a push: the last in it, since a payload may hold the same words.
fn offset(message: &[u8]) -> Option<u64> {
    const KEY: &[u8] = br#""offset":"#;
    let rest = &message[memchr::memmem::rfind(message, KEY)? + KEY.len()..];
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str =
        r#"{"id":2,"subscribe":{"recoverable":true,"positioned":true,"epoch":"e","offset":4}}"#;

    fn push(offset: u64) -> Vec<u8> {
        let data = r#"{"seq":"0000000000","offset":99}"#;
        format!(r#"{{"push":{{"channel":"bench-0","pub":{{"data":{data},"offset":{offset}}}}}}}"#)
            .into_bytes()
    }

    /// The answer to a connection that comes back, with publications of these numbers and offsets.
    fn back(epoch: &str, publications: &[(u64, u64)]) -> String {
        let one = |(number, offset): &(u64, u64)| {
            format!(r#"{{"data":{{"seq":"{number:010}"}},"info":{{"user":"\u00e9"}},"offset":{offset}}}"#)
        };
        let all: Vec<_> = publications.iter().map(one).collect();
        format!(
            r#"{{"id":2,"subscribe":{{"recoverable":true,"epoch":"{epoch}","recovered":true,"offset":4,"was_recovering":true,"publications":[{}]}}}}"#,
            all.join(",")
        )
    }

    /// Two rooms, and connection 1, which is in the second, at offset 4.
    fn joined() -> (Continuity, u32) {
        let (mut continuity, mut next) = (Continuity::new(Arc::new(Streams::new(2).unwrap())), 0);
        continuity.joined(br#"{"id":1,"connect":{"client":"a","ping":25}}"#, 1, &mut next);
        assert_eq!(next, 0);
        continuity.joined(FIRST.as_bytes(), 1, &mut next);
        assert_eq!((next, continuity.found.wrong.len()), (5, 0));
        (continuity, next)
    }

    #[test]
    fn who_comes_back_asks_from_where_it_was_and_a_newcomer_does_not() {
        let (continuity, next) = joined();
        let recovery = Recovery::Followed(Arc::clone(&continuity.streams));
        assert_eq!(recovery.join(1, next), Join::Recover { epoch: "e", offset: 4 });
        assert_eq!((recovery.join(1, 0), recovery.join(0, 3)), (Join::Recoverable, Join::Recoverable));
        assert_eq!((Recovery::No.join(1, 9), Recovery::Asked.join(1, 9)), (Join::Plain, Join::Recoverable));
    }

    #[test]
    fn exactly_what_was_missed_is_whole_and_goes_on_live() {
        let (mut continuity, mut next) = joined();
        continuity.streams.miss(Missed { first_round: 10, rounds: 2 });
        continuity.joined(back("e", &[(21, 5), (23, 6)]).as_bytes(), 1, &mut next);
        assert_eq!(next, 7);
        continuity.saw(&push(7), 1, &mut next);
        assert_eq!(
            (next, &continuity.found),
            (8, &Found { recovered: 1, publications: 2, wrong: BTreeMap::new() })
        );
    }

    #[test]
    fn everything_else_is_named() {
        let unrecovered = back("e", &[]).replace(r#""recovered":true,"#, "");
        for (reply, said) in [
            (back("f", &[(21, 5), (23, 6)]), "another epoch"),
            (unrecovered, "no longer has all"),
            (back("e", &[(21, 5)]), "with 1 publications of the 2"),
            (back("e", &[(21, 5), (23, 7)]), "hole"),
            (back("e", &[(23, 6), (21, 5)]), "hole"),
            (back("e", &[(21, 5), (25, 6)]), "another message"),
            ("{".to_owned(), "no JSON"),
        ] {
            let (mut continuity, mut next) = joined();
            continuity.streams.miss(Missed { first_round: 10, rounds: 2 });
            continuity.joined(reply.as_bytes(), 1, &mut next);
            assert_eq!(continuity.found.recovered, 0, "{reply}");
            assert!(continuity.found.wrong.keys().any(|what| what.contains(said)), "{:?}", continuity.found);
        }
        let (mut continuity, mut next) = joined();
        for (offset, after) in [(5, 6), (7, 8), (6, 8), (8, 9)] {
            continuity.saw(&push(offset), 1, &mut next);
            assert_eq!(next, after);
        }
        assert_eq!(continuity.found.wrong.values().sum::<u64>(), 2, "{:?}", continuity.found);
        let (mut plain, mut never) = (Continuity::new(Arc::new(Streams::new(1).unwrap())), 0);
        plain.joined(br#"{"id":2,"subscribe":{}}"#, 0, &mut never);
        assert!(plain.found.wrong.contains_key(NO_HISTORY) && never == 0);
        assert_eq!(plain.streams.wrong(), 1);
    }
}
