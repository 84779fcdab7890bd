//! What the committer is asked, and what it answers.

use bytes::Bytes;

use crate::hub::{Durability, RecoveryMode, Retention};
use crate::store::{Epoch, Position, Publication, Version};

/// A room and how its namespace keeps it.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The room's name.
    pub room: Box<str>,
    /// Its namespace's retention; it is on.
    pub keep: Retention,
}

/// A place in a stream as a client says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// The stream instance; `None` matches any.
    pub epoch: Option<Epoch>,
    /// Number of the last publication that the client has.
    pub offset: u64,
}

impl Since {
    /// The place that a client calls `epoch` and `offset`; an empty epoch matches any stream.
    pub fn new(epoch: &str, offset: u64) -> Self {
        let named =
            || epoch.as_bytes().try_into().ok().and_then(Epoch::from_text).unwrap_or(Epoch::OF_NO_STREAM);
        Since { epoch: (!epoch.is_empty()).then(named), offset }
    }

    /// Whether this is a place in the stream that `position` is of.
    pub fn is_in(&self, position: &Position) -> bool {
        self.epoch.is_none_or(|epoch| epoch == position.epoch)
    }
}

/// What the committer is asked.
#[derive(Debug)]
pub enum Ask {
    /// Something of one stream.
    Of(Stream, Request),
    /// Count what a user has not read.
    Unread {
        /// In which streams.
        streams: Vec<Stream>,
        /// Whose cursors.
        user: Box<str>,
    },
}

/// What is asked of one stream.
#[derive(Debug)]
pub enum Request {
    /// Keep a publication, then deliver it.
    Publish {
        /// Members of its JSON object; see `Publication`.
        body: Bytes,
        /// The application's own number for it.
        version: Option<Version>,
    },
    /// Where the stream is, and what a client missed that comes back with `since`.
    Subscribe {
        /// Where the client is, if it wants to recover.
        since: Option<Since>,
        /// What it is to get.
        mode: RecoveryMode,
        /// Most publications that are recovered; a client that missed more is not.
        limit: usize,
        /// Most bytes of them as a list; a client that missed more is not recovered either.
        bytes_max: usize,
    },
    /// Read publications.
    History {
        /// Where to begin, exclusive; an end of the stream if not given.
        since: Option<Since>,
        /// Most publications; 0 asks for the position only.
        limit: usize,
        /// Most bytes of them, but always one publication.
        bytes_max: usize,
        /// Newest first.
        reverse: bool,
    },
    /// The publications behind one that a member has, as many as fit, or error 112 if not all of them are kept.
    Missed {
        /// Offset of the last publication that the member has.
        since: u64,
        /// Most publications.
        limit: usize,
        /// Most bytes of them, but always one publication.
        bytes_max: usize,
    },
    /// Drop all publications.
    Clear,
    /// Move a user's read cursor forward.
    Read {
        /// Whose cursor.
        user: Box<str>,
        /// The last publication that the user has read.
        offset: u64,
    },
}

impl Ask {
    /// Whether nothing of what is asked about is on the disk.
    pub(super) fn is_of_memory(&self) -> bool {
        match self {
            Ask::Of(stream, _) => stream.keep.durability == Durability::Memory,
            Ask::Unread { .. } => false,
        }
    }

    /// The room that is asked about; `""` for a question about several.
    pub(super) fn into_room(self) -> Box<str> {
        match self {
            Ask::Of(stream, _) => stream.room,
            Ask::Unread { .. } => "".into(),
        }
    }

    /// Memory that the question keeps while it waits, roughly.
    pub(super) fn bytes(&self) -> usize {
        let more = match self {
            Ask::Of(stream, Request::Publish { body, .. }) => stream.room.len() + body.len(),
            Ask::Of(stream, Request::Read { user, .. }) => stream.room.len() + user.len(),
            Ask::Of(stream, _) => stream.room.len(),
            Ask::Unread { streams, user } => {
                let names: usize = streams.iter().map(|stream| stream.room.len() + size_of::<Stream>()).sum();
                names + user.len()
            }
        };
        size_of::<Self>() + more
    }
}

/// What the committer answers to anything but a publication that it kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To `Publish`: dropped because of its version; where the stream is.
    Dropped(Position),
    /// To `Subscribe`.
    Subscribed {
        /// Where the stream is.
        position: Position,
        /// The client missed exactly `publications`. Never so if it did not ask.
        recovered: bool,
        /// Ascending.
        publications: Vec<Publication>,
    },
    /// To `History`.
    History {
        /// Where the stream is.
        position: Position,
        /// In the order that was asked for.
        publications: Vec<Publication>,
    },
    /// To `Missed`.
    Missed {
        /// Where the stream is.
        position: Position,
        /// Ascending, without a gap behind the one that the member has.
        publications: Vec<Publication>,
    },
    /// To `Clear`.
    Cleared,
    /// To `Read`: where the cursor is now.
    Read(u64),
    /// To `Unread`: one for each stream, in the same order.
    Unread(Vec<Unread>),
}

/// How much of a stream a user has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread {
    /// Number of the stream's last publication; 0 if there was none.
    pub offset: u64,
    /// Number of the last publication that the user has read; 0 for none.
    pub read: u64,
}
