//! Signals, such as "is typing": publications of which only the latest of each user counts, in rooms
//! whose namespace says `conflate = "user"`.
//!
//! The latest signal of each user waits for the next beat in the shard that it came to, and then goes to
//! the members for whom nothing waits. It is kept nowhere, and who is behind does without it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::conn::{ConnectionId, Key};
use crate::hub::{Room, RoomId, User};
use crate::rooms::{Audience, Peer, Rooms};
use crate::shard::Io;

/// Whose signals replace each other: a named user's, whichever connection they come from, or an anonymous
/// client's.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Whose {
    User(User),
    Client(ConnectionId),
}

/// The signals of one room that wait for its beat.
#[derive(Debug)]
struct Waiting {
    room: Arc<Room>,
    due_ms: u64,
    /// The latest of each, and the connection that does not get it.
    latest: HashMap<Whose, (Option<ConnectionId>, Box<[u8]>)>,
}

/// The signals of a shard's clients that wait for a beat.
#[derive(Debug, Default)]
pub(super) struct Signals {
    rooms: HashMap<RoomId, Waiting>,
}

impl Signals {
    /// When the next of them are due.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.rooms.values().map(|waiting| waiting.due_ms).min()
    }
}

impl Rooms {
    /// Has the push in `scratch`, of client `key`, wait for the next beat of `room`.
    pub(super) fn signal(&mut self, io: &mut Io<Peer>, room: &Arc<Room>, key: Key) {
        let options = self.shared.options(room.namespace);
        let connection = io.id(key);
        let whose = io.peer(key).user.clone().map_or(Whose::Client(connection), Whose::User);
        let excluded = options.exclude_sender.then_some(connection);
        let due_ms = io.now_ms() + u64::from(options.feed_interval_ms);
        let waiting = self.signals.rooms.entry(room.id).or_insert_with(|| Waiting {
            room: Arc::clone(room),
            due_ms,
            latest: HashMap::new(),
        });
        waiting.latest.insert(whose, (excluded, self.scratch.as_slice().into()));
        io.wake_by(waiting.due_ms);
    }

    /// Sends the signals that are due.
    pub(super) fn send_signals(&mut self, io: &mut Io<Peer>) {
        let now_ms = io.now_ms();
        let due: Vec<_> = self.signals.rooms.extract_if(|_, waiting| waiting.due_ms <= now_ms).collect();
        for (_, waiting) in due {
            for (excluded, push) in waiting.latest.into_values() {
                self.scratch.clear();
                self.scratch.extend_from_slice(&push);
                let excluded = excluded.filter(|sender| io.peer_of(*sender).is_some());
                self.push(io, &waiting.room, Audience::Ready, excluded.map(|sender| sender.key));
            }
        }
    }
}
