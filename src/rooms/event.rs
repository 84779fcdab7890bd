//! What the rooms service of a shard is told by those of other shards, by the committer and by the
//! control plane.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::conn::ConnectionId;
use crate::hub::RoomId;
use crate::protocol::ErrorCode;
use crate::rooms::{HeatAsk, Order, Survey};
use crate::store::{Position, Unread};

/// Which members of a room a push is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// All of them.
    Everyone,
    /// Those that want to be told who joins and leaves.
    JoinLeave,
    /// Those for whom nothing waits.
    Ready,
}

/// Who asked a presence question, and as which command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Asker {
    /// The asking client's connection in the asking shard.
    pub connection: ConnectionId,
    /// Number of the question among those of the asking shard.
    pub question: u64,
}

/// One shard's part of the answer to a presence question.
#[derive(Debug, Clone)]
pub enum Part {
    /// The members as JSON object members, comma-separated; `None` if they are too many to list.
    Members(Option<Bytes>),
    /// None: so much waits for the asking shard that a list should not be added to it.
    Busy,
}

/// What a member that trails its room gets next.
#[derive(Debug, Clone)]
pub struct Missed {
    /// Pushes separated by newlines.
    pub pushes: Bytes,
    /// How many there are.
    pub messages: u32,
    /// Offset of the last of them.
    pub last: u64,
    /// Offset of the stream's last publication as of this answer.
    pub top: u64,
}

/// What the committer answers to what a client asked.
#[derive(Debug)]
pub enum Reply {
    /// Where the stream is, and what the client missed of it.
    Subscribed {
        /// Where the stream is.
        position: Position,
        /// The client missed exactly `publications`.
        recovered: bool,
        /// JSON objects, separated by commas.
        publications: Bytes,
    },
    /// Part of a history.
    History {
        /// Where the stream is.
        position: Position,
        /// JSON objects, separated by commas.
        publications: Bytes,
    },
    /// What a member that trails the room gets next.
    Missed(Missed),
    /// Where the read cursor is now.
    Read(u64),
    /// One for each room that was asked for.
    Unread(Vec<Unread>),
    /// It is done, and there is nothing to say about it.
    Done,
}

impl Reply {
    /// What `Subscribed` holds: where the stream is, whether the client recovered, and what it missed.
    ///
    /// # Panics
    ///
    /// It is another answer, to a question that did not ask for a position: a broken invariant.
    pub(super) fn subscribed(self) -> (Position, bool, Bytes) {
        match self {
            Reply::Subscribed { position, recovered, publications } => (position, recovered, publications),
            _ => unreachable!("asked for a position"),
        }
    }

    /// Bytes that it keeps besides itself.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Reply::Subscribed { publications, .. } | Reply::History { publications, .. } => {
                publications.len()
            }
            Reply::Missed(missed) => missed.pushes.len(),
            Reply::Unread(unread) => size_of_val(unread.as_slice()),
            Reply::Read(_) | Reply::Done => 0,
        }
    }
}

/// What the rooms service of a shard is told.
#[derive(Debug)]
pub enum Event {
    /// Deliver encoded pushes to members of a room.
    Published {
        /// The room.
        room: RoomId,
        /// Which of its members.
        audience: Audience,
        /// The member in this shard that does not get them: their publisher.
        excluded: Option<ConnectionId>,
        /// Pushes separated by newlines.
        pushes: Bytes,
        /// How many there are.
        messages: u32,
        /// Offset of the first publication among them that has one; 0 if none has.
        first: u64,
        /// When the oldest of them was published.
        since: Instant,
    },
    /// Answer a presence question about a room.
    Ask {
        /// The room.
        room: RoomId,
        /// Who asks.
        asker: Asker,
        /// Which shard to answer to.
        shard: usize,
    },
    /// The answer to an `Ask`.
    Answer {
        /// Who asked.
        asker: Asker,
        /// One shard's part.
        part: Part,
    },
    /// Answer a presence question of the control plane about a room.
    Survey {
        /// The room.
        room: RoomId,
        /// Where the answer is written.
        survey: Arc<Survey>,
    },
    /// Say which rooms were delivered to most since the last time, and count from now on.
    Heat(HeatAsk),
    /// Nobody asks for that any more.
    HeatOff,
    /// Do something with the connections of a user.
    Order(Arc<Order>),
    /// Go on with the walk over the connections; from the shard itself.
    WalkOn,
    /// The publications of these asks are kept.
    Kept(Vec<u64>),
    /// The committer's answer to an ask.
    Answered {
        /// The number that the shard gave it.
        number: u64,
        /// What came of it.
        answer: Result<Reply, ErrorCode>,
    },
    /// What the members of a room have of its stream does not fit what comes: they begin anew.
    Reset {
        /// The room.
        room: RoomId,
    },
    /// Whoever has waited this long for the committer is told so.
    Overdue {
        /// How long.
        after_ms: u64,
    },
}
