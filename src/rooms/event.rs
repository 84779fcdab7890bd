//! What the rooms services of different shards tell each other.

use bytes::Bytes;

use crate::conn::ConnectionId;
use crate::hub::RoomId;

/// Which members of a room a push is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// All of them.
    Everyone,
    /// Those that want to be told who joins and leaves.
    JoinLeave,
}

/// A presence question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Question {
    /// Who the members are.
    Presence,
    /// How many members and users there are.
    Stats,
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
    /// Members, and what tells their users apart (each once; 0 for the anonymous user).
    Stats {
        /// Connections that are members.
        clients: u32,
        /// `hub::User::identity` of each user.
        users: Vec<usize>,
    },
    /// None: so much waits for the asking shard that a list should not be added to it.
    Busy,
}

/// What the rooms service of one shard tells that of another.
#[derive(Debug)]
pub enum Event {
    /// Deliver encoded pushes to members of a room.
    Published {
        /// The room.
        room: RoomId,
        /// Which of its members.
        audience: Audience,
        /// Pushes separated by newlines.
        pushes: Bytes,
        /// How many there are.
        messages: u32,
    },
    /// Answer a presence question about a room.
    Ask {
        /// The room.
        room: RoomId,
        /// What is asked.
        question: Question,
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
}
