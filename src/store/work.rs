//! What each ask means for the store that its room is in.

use bytes::Bytes;

use crate::hub::{Durability, Retention};
use crate::protocol::ErrorCode;
use crate::store::op::{Answer, Ask, Request, Since, Stream, Unread};
use crate::store::recovery;
use crate::store::{Position, Range, Store, StoreError, Version};

/// What came of an ask that was not refused.
pub(super) enum Kept {
    /// A publication, at its position.
    Published(Position, Bytes),
    /// Anything else.
    Answer(Answer),
}

impl Kept {
    /// Bytes of publications that it holds besides those of the ask.
    pub(super) fn answer_bytes(&self) -> usize {
        match self {
            Kept::Answer(
                Answer::Subscribed { publications, .. }
                | Answer::History { publications, .. }
                | Answer::Missed { publications, .. },
            ) => publications.iter().map(|publication| publication.body.len()).sum(),
            Kept::Answer(_) | Kept::Published(..) => 0,
        }
    }
}

/// What an ask is answered: by us, or not at all because of the disk.
type Answered = Result<Result<Kept, ErrorCode>, StoreError>;

/// The stores, by how safely they keep.
pub(super) struct Stores {
    pub memory: Box<dyn Store>,
    pub disk: Box<dyn Store>,
}

impl Stores {
    /// Answers `ask`; returns the room too, for whoever is told.
    pub(super) fn answer(&mut self, ask: Ask, now_ms: u64) -> (Box<str>, Answered) {
        match ask {
            Ask::Of(Stream { room, keep }, request) => {
                let mut open = Open { store: self.of(&keep), room: &room, keep: &keep, now_ms };
                let answered = open.answer(request);
                (room, answered)
            }
            Ask::Unread { streams, user } => ("".into(), self.unread(&streams, &user, now_ms)),
        }
    }

    fn unread(&mut self, streams: &[Stream], user: &str, now_ms: u64) -> Answered {
        let unread = streams.iter().map(|Stream { room, keep }| {
            let store = self.of(keep);
            let Some(top) = store.peek(room, keep, now_ms)? else { return Ok(Unread { offset: 0, read: 0 }) };
            let read = cursor(store, user, room, top)?;
            Ok(Unread { offset: top.offset, read })
        });
        answer(Answer::Unread(unread.collect::<Result<_, StoreError>>()?))
    }

    fn of(&mut self, keep: &Retention) -> &mut dyn Store {
        match keep.durability {
            Durability::Memory => &mut *self.memory,
            Durability::Fsync | Durability::Os => &mut *self.disk,
        }
    }
}

/// One stream in its store, at one moment.
struct Open<'a> {
    store: &'a mut dyn Store,
    room: &'a str,
    keep: &'a Retention,
    now_ms: u64,
}

impl Open<'_> {
    fn answer(&mut self, request: Request) -> Answered {
        match request {
            Request::Publish { body, version } => self.publish(body, version.as_ref()),
            Request::Subscribe { since, mode, limit, bytes_max } => {
                let stream = (self.room, self.keep);
                answer(recovery::subscribe(self.store, stream, self.now_ms, since, mode, (limit, bytes_max))?)
            }
            Request::History { since, limit, bytes_max, reverse } => {
                let range = Range { since: since.map(|since| since.offset), limit, bytes_max, reverse };
                self.history(since, range)
            }
            Request::Missed { since, limit, bytes_max } => {
                self.missed(since, Range { since: Some(since), limit, bytes_max, reverse: false })
            }
            Request::Clear => {
                self.store.clear(self.room, self.keep, self.now_ms)?;
                answer(Answer::Cleared)
            }
            Request::Read { user, offset } => self.read(&user, offset),
        }
    }

    fn publish(&mut self, body: Bytes, version: Option<&Version>) -> Answered {
        match self.store.append(self.room, self.keep, self.now_ms, &body, version)? {
            Some(position) => Ok(Ok(Kept::Published(position, body))),
            None => answer(Answer::Dropped(self.position()?)),
        }
    }

    fn history(&mut self, since: Option<Since>, range: Range) -> Answered {
        let position = self.position()?;
        if since.is_some_and(|since| !since.is_in(&position)) {
            return Ok(Err(ErrorCode::UnrecoverablePosition));
        }
        let publications = if range.limit == 0 {
            Vec::new()
        } else {
            self.store.read(self.room, self.keep, self.now_ms, range)?
        };
        answer(Answer::History { position, publications })
    }

    fn missed(&mut self, since: u64, range: Range) -> Answered {
        let position = self.position()?;
        if position.offset == since {
            return answer(Answer::Missed { position, publications: Vec::new() });
        }
        let publications = self.store.read(self.room, self.keep, self.now_ms, range)?;
        if publications.first().is_some_and(|first| first.offset == since + 1) {
            answer(Answer::Missed { position, publications })
        } else {
            Ok(Err(ErrorCode::UnrecoverablePosition))
        }
    }

    /// Moves the cursor of `user` to `offset`, unless it is there or beyond.
    fn read(&mut self, user: &str, offset: u64) -> Answered {
        let top = self.position()?;
        if offset > top.offset {
            return Ok(Err(ErrorCode::BadRequest));
        }
        let read = cursor(self.store, user, self.room, top)?;
        if offset > read {
            let cursor = Position { epoch: top.epoch, offset };
            self.store.set_cursor(user, self.room, self.keep, cursor)?;
        }
        answer(Answer::Read(offset.max(read)))
    }

    fn position(&mut self) -> Result<Position, StoreError> {
        self.store.position(self.room, self.keep, self.now_ms)
    }
}

/// How far `user` has read in the stream whose end is `top`; a cursor of another stream is none.
fn cursor(store: &mut dyn Store, user: &str, room: &str, top: Position) -> Result<u64, StoreError> {
    let cursor = store.cursor(user, room)?.filter(|cursor| cursor.epoch == top.epoch);
    Ok(cursor.map_or(0, |cursor| cursor.offset.min(top.offset)))
}

fn answer(answer: Answer) -> Answered {
    Ok(Ok(Kept::Answer(answer)))
}
