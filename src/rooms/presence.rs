//! Who the members of a room are: the presence and presence_stats commands, and the same questions
//! of the control plane.
//!
//! How many there are is counted as they come and go (`hub::Census`), and whoever asks for a list that is too
//! long for certain is told so by that. Who they are is known by the shards that have them. The shard that is
//! asked asks the others and answers when all have; a question costs no lock and keeps no copy. A shard gives
//! its part at the end of a turn, to all who asked in it, by one walk over the room's members. The control
//! plane hands a [`Survey`] to all shards that have members; the last one to write into it hands it back.
//!
//! Invariants:
//! - a connection has at most `QUESTIONS_MAX` questions waiting, so asking cannot pile up, and a
//!   message full of questions costs no more than so many walks over a room's members;
//! - no answer is longer than a connection's backlog may be; a longer list gets error 106.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::conn::Key;
use crate::hub::{Room, RoomId};
use crate::protocol::{CLIENT_ID_TEXT_BYTES, ErrorCode, reply};
use crate::rooms::shared::Allowed;
use crate::rooms::{Asker, Event, Failure, Part, Peer, Rooms, TEXT, Tell, client_info};
use crate::shard::Io;

/// Questions that one connection may have waiting; one more gets error 111.
const QUESTIONS_MAX: u8 = 16;

/// Longest list of members in bytes. Half of the default backlog, so that it alone never closes one.
const LIST_BYTES_MAX: usize = crate::limits::ANSWER_BYTES_MAX;

/// What a member adds to a list at least: its client id, twice, with quotes.
const MEMBER_BYTES_MIN: usize = 2 * (CLIENT_ID_TEXT_BYTES + 2);

/// The same for the control plane, which has no backlog: so much that a shard can still walk over
/// the members without keeping everybody else waiting for long.
const SURVEY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The parts of an answer that have come.
#[derive(Debug, Default)]
struct Gathered {
    members: Vec<u8>,
    is_too_long: bool,
    is_refused: bool,
}

impl Gathered {
    fn add(&mut self, part: Part, bytes_max: usize) {
        match part {
            Part::Members(Some(members)) => {
                if !members.is_empty() && !self.members.is_empty() {
                    self.members.push(b',');
                }
                self.members.extend_from_slice(&members);
                if self.members.len() > bytes_max {
                    self.is_too_long = true;
                    self.members = Vec::new();
                }
            }
            Part::Members(None) => self.is_too_long = true,
            Part::Busy => self.is_refused = true,
        }
    }

    /// The answer, once all parts have come.
    fn finish(self) -> Result<Vec<u8>, ErrorCode> {
        if self.is_refused {
            Err(ErrorCode::TooManyRequests)
        } else if self.is_too_long {
            Err(ErrorCode::LimitExceeded)
        } else {
            Ok(self.members)
        }
    }
}

/// A question of the control plane. When the last shard has let go of it, the answer is told.
pub struct Survey {
    gathered: Mutex<Gathered>,
    tell: Mutex<Option<Tell<Vec<u8>>>>,
}

impl Survey {
    /// A question whose answer goes to `tell`.
    pub(super) fn new(tell: Tell<Vec<u8>>) -> Self {
        Survey { gathered: Mutex::default(), tell: Mutex::new(Some(tell)) }
    }
}

impl Drop for Survey {
    fn drop(&mut self) {
        let gathered = std::mem::take(self.gathered.get_mut().unwrap_or_else(PoisonError::into_inner));
        if let Some(tell) = self.tell.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            tell(gathered.finish());
        }
    }
}

impl fmt::Debug for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Survey")
    }
}

/// A question that waits for answers.
#[derive(Debug)]
struct Waiting {
    command: u32,
    parts_left: usize,
    gathered: Gathered,
}

/// The questions of one shard that wait for answers.
#[derive(Debug, Default)]
pub(super) struct Questions {
    waiting: HashMap<Asker, Waiting>,
    /// Those to this shard, and of which shard's clients they are; answered at the end of the turn.
    asked: Vec<(RoomId, Asker, usize)>,
    next: u64,
}

impl Rooms {
    pub(super) fn presence_stats(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        id: u32,
        channel: &str,
    ) -> Result<(), Failure> {
        let room = self.room_to_see(io, key, channel)?;
        let (clients, users) = room.map_or((0, 0), |room| room.census().counts());
        self.reply(io, |out| reply::presence_stats(out, id, clients, users));
        Ok(())
    }

    /// The room `channel`, if it has members, for a client that may ask who they are.
    fn room_to_see(
        &self,
        io: &mut Io<Peer>,
        key: Key,
        channel: &str,
    ) -> Result<Option<Arc<Room>>, ErrorCode> {
        let (channel, namespace) = self.shared.channel(channel)?;
        let options = self.shared.options(namespace);
        if !options.presence {
            return Err(ErrorCode::NotAvailable);
        }
        let is_member = self.index_if_member(io.peer(key), channel.full()).is_some();
        if !self.shared.allows(io.peer(key).user.is_none(), is_member, Allowed::presence(options)) {
            return Err(ErrorCode::PermissionDenied);
        }
        Ok(self.shared.directory.find(channel.full()))
    }

    pub(super) fn presence(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        id: u32,
        channel: &str,
    ) -> Result<(), Failure> {
        let room = self.room_to_see(io, key, channel)?;
        let members = room.as_ref().map_or(0, |room| room.census().counts().0 as usize);
        if members.saturating_mul(MEMBER_BYTES_MIN) > LIST_BYTES_MAX {
            return Err(ErrorCode::LimitExceeded.into());
        }
        let peer = io.peer(key);
        if peer.questions >= QUESTIONS_MAX {
            return Err(ErrorCode::TooManyRequests.into());
        }
        let shards: Vec<_> = room.iter().flat_map(|room| room.shards()).collect();
        if shards.iter().any(|shard| self.links.is_full(*shard)) {
            return Err(ErrorCode::TooManyRequests.into());
        }
        peer.questions += 1;
        let asker = Asker { connection: io.id(key), question: self.questions.next };
        self.questions.next += 1;
        let waiting = Waiting { command: id, parts_left: shards.len().max(1), gathered: Gathered::default() };
        self.questions.waiting.insert(asker, waiting);
        let Some(room) = room.filter(|_| !shards.is_empty()) else {
            self.take_answer(io, asker, Part::Members(Some(Bytes::new())));
            return Ok(());
        };
        for shard in shards {
            if shard == self.links.me() {
                self.questions.asked.push((room.id, asker, shard));
            } else {
                let ask = Event::Ask { room: room.id, asker, shard: self.links.me() };
                self.links.send(shard, ask, 0);
            }
        }
        Ok(())
    }

    /// Takes in a question of a client of `shard`.
    pub(super) fn note_question(&mut self, room: RoomId, asker: Asker, shard: usize) {
        self.questions.asked.push((room, asker, shard));
    }

    /// Gives this shard's part to the questions that came in this turn; a room's members are walked once,
    /// however many ask.
    pub(super) fn answer_asked(&mut self, io: &mut Io<Peer>) {
        if self.questions.asked.is_empty() {
            return;
        }
        let mut parts = HashMap::new();
        for (room, asker, shard) in std::mem::take(&mut self.questions.asked) {
            let part = parts.entry(room).or_insert_with(|| self.part(io, room, LIST_BYTES_MAX)).clone();
            if shard == self.links.me() {
                self.take_answer(io, asker, part);
                continue;
            }
            let part = if self.links.is_full(shard) { Part::Busy } else { part };
            let bytes = match &part {
                Part::Members(Some(members)) => members.len(),
                Part::Members(None) | Part::Busy => 0,
            };
            self.links.send(shard, Event::Answer { asker, part }, bytes);
        }
    }

    /// Answers a question of the control plane.
    pub(super) fn survey(&self, io: &mut Io<Peer>, room: RoomId, survey: &Survey) {
        let part = self.part(io, room, SURVEY_BYTES_MAX);
        survey.gathered.lock().unwrap_or_else(PoisonError::into_inner).add(part, SURVEY_BYTES_MAX);
    }

    /// What this shard has to say about the members of `room`, in a list of at most `bytes_max`.
    fn part(&self, io: &mut Io<Peer>, room: RoomId, bytes_max: usize) -> Part {
        let index = self.members.index_of(room);
        let mut list = Vec::new();
        for member in index.map_or(&[][..], |index| self.members.of(index)) {
            let id = io.id(member.key());
            let peer = io.peer(member.key());
            let detail = index.and_then(|index| peer.detail(index));
            if detail.is_some_and(|detail| detail.is_hidden) {
                continue;
            }
            let chan_info = detail.and_then(|detail| detail.chan_info.as_deref());
            let info = client_info(peer, self.client_id(id), chan_info);
            let is_first = list.is_empty();
            reply::presence_member(&mut list, is_first, &info);
            if list.len() > bytes_max {
                return Part::Members(None);
            }
        }
        Part::Members(Some(list.into()))
    }

    /// Takes in one shard's part of an answer; with the last one the client gets its reply.
    pub(super) fn take_answer(&mut self, io: &mut Io<Peer>, asker: Asker, part: Part) {
        let Some(waiting) = self.questions.waiting.get_mut(&asker) else { return };
        waiting.gathered.add(part, LIST_BYTES_MAX);
        waiting.parts_left -= 1;
        if waiting.parts_left > 0 {
            return;
        }
        let Some(answer) = self.questions.waiting.remove(&asker) else { return };
        let Some(peer) = io.peer_of(asker.connection) else { return };
        peer.questions -= 1;
        let mut text = Vec::new();
        match answer.gathered.finish() {
            Err(code) => reply::error(&mut text, answer.command, code),
            Ok(members) => {
                reply::presence_begin(&mut text, answer.command);
                text.extend_from_slice(&members);
                reply::presence_end(&mut text);
            }
        }
        self.send_replies(io);
        io.send(asker.connection.key, TEXT, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{ClientId, ClientInfo};

    #[test]
    fn no_member_is_shorter_in_a_list_than_what_rooms_are_refused_by() {
        let client = ClientId::new([0; 16]);
        let mut list = Vec::new();
        let info = ClientInfo { user: "", client, conn_info: None, chan_info: None };
        reply::presence_member(&mut list, true, &info);
        assert!(list.len() >= MEMBER_BYTES_MIN, "{}", String::from_utf8_lossy(&list));
    }
}
