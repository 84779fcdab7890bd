//! What every connection of one run says, and by which handshake it becomes whole.

use std::sync::Arc;

use super::bare::HELLO;
use super::continuity::Recovery;
use super::dialect::{Dialect, Identity, Rooms, Template, Values};
use super::target::Target;

/// How a connection becomes whole, once the TCP connect succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// By the upgrade and the dialect's greeting.
    WebSocket,
    /// By a [`HELLO`] there and back, for which it thanks: a reader of the floor's server.
    Hello,
    /// It is whole already: a socket of the floor's server, and nothing more.
    Silent,
}

/// What every connection of one run says.
#[derive(Clone)]
pub struct Script {
    /// How it becomes whole.
    pub handshake: Handshake,
    /// How the server is spoken to.
    pub dialect: Arc<Dialect>,
    /// Rooms to join.
    pub rooms: Rooms,
    /// Whether it joins them so that it can recover.
    pub recovery: Recovery,
    /// The same for joining again on the same connection.
    again: Option<Recovery>,
    identity: Identity,
    upgrade_request: Template,
}

impl Script {
    /// What connections to `target` say that join `rooms` as `identity`.
    ///
    /// # Errors
    ///
    /// The dialect cannot do that; see [`Dialect::check`].
    pub fn new(
        dialect: Arc<Dialect>,
        rooms: Rooms,
        identity: Identity,
        target: &Target,
    ) -> Result<Self, String> {
        dialect.check(rooms, &identity, &target.path)?;
        let (handshake, upgrade_request) = (Handshake::WebSocket, target.upgrade_request());
        let (recovery, again) = (Recovery::No, None);
        Ok(Self { handshake, dialect, rooms, recovery, again, identity, upgrade_request })
    }

    /// The same for connections that join as `recovery` says.
    ///
    /// # Errors
    ///
    /// The dialect has no words for it.
    pub fn with_recovery(self, recovery: Recovery) -> Result<Self, String> {
        match recovery {
            Recovery::No => {}
            Recovery::Told => self.dialect.check_bouncing()?,
            Recovery::Asked | Recovery::Followed(_) => self.dialect.check_recovery()?,
        }
        Ok(Self { recovery, ..self })
    }

    /// The same for connections that leave their rooms, and join them again as `recovery` says.
    pub fn joins_again_as(self, recovery: Recovery) -> Self {
        Self { again: Some(recovery), ..self }
    }

    /// What connections to the floor's server say; `dialect` tells its messages, which are all in one room.
    pub fn bare(handshake: Handshake, dialect: Arc<Dialect>) -> Self {
        let (rooms, identity) = (Rooms::Each(1), Identity::Anonymous);
        let (recovery, again) = (Recovery::No, None);
        Self { handshake, dialect, rooms, recovery, again, identity, upgrade_request: Template::default() }
    }

    /// The text that connection `index` sends after its upgrade; `next` is the offset that is next in its
    /// room's stream, 0 if it has none.
    ///
    /// # Errors
    ///
    /// Its token cannot be signed.
    pub fn greeting(&self, index: u64, next: u32) -> Result<Vec<u8>, String> {
        let join = self.recovery.join(self.rooms.of(index).0, next);
        self.dialect.greeting(index, self.rooms, &self.identity, join)
    }

    /// The text by which connection `index`, which is connected, joins its room again.
    pub fn rejoin(&self, index: u64, next: u32) -> Vec<u8> {
        let (room, _) = self.rooms.of(index);
        self.dialect.rejoin(room, self.again.as_ref().unwrap_or(&self.recovery).join(room, next))
    }

    /// Appends what connection `index` sends first: the upgrade request, or what its handshake has in its
    /// place.
    pub fn upgrade_request(&self, index: u64, out: &mut Vec<u8>) {
        match self.handshake {
            Handshake::WebSocket => {
                let (room, _) = self.rooms.of(index);
                self.upgrade_request.write(out, &Values { room, ..Values::default() });
            }
            Handshake::Hello => out.push(HELLO),
            Handshake::Silent => {}
        }
    }
}
