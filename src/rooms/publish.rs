//! The publish command.

use crate::conn::Key;
use crate::protocol::request::PublishRequest;
use crate::protocol::{EmptyReply, ErrorCode, push, reply};
use crate::rooms::shared::Allowed;
use crate::rooms::{Audience, Failure, Peer, Rooms, client_info};
use crate::shard::Io;

impl Rooms {
    pub(super) fn publish(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        id: u32,
        request: &PublishRequest<'_>,
    ) -> Result<(), Failure> {
        let (channel, namespace) = self.shared.channel(&request.channel)?;
        let Some(data) = request.data else { return Err(ErrorCode::BadRequest.into()) };
        let room = self.shared.directory.find(channel.full());
        let index = room.as_ref().and_then(|room| self.members.index_of(room.id));
        let client = self.client_id(io.id(key));
        let peer = io.peer(key);
        let is_member = index.is_some_and(|index| peer.is_member(index));
        let options = self.shared.options(namespace);
        if !self.shared.allows(peer.user.is_none(), is_member, Allowed::publish(options)) {
            return Err(ErrorCode::PermissionDenied.into());
        }
        // Without members anywhere the message is accepted and reaches nobody.
        if let Some(room) = room {
            if room.shards().any(|shard| self.links.is_full(shard)) {
                io.stats().publishes_refused.add(1);
                return Err(ErrorCode::TooManyRequests.into());
            }
            let excluded = options.exclude_sender.then_some(key);
            self.scratch.clear();
            let detail = index.and_then(|index| peer.detail(index));
            let info = client_info(peer, client, detail.and_then(|detail| detail.chan_info.as_deref()));
            push::publication(&mut self.scratch, &room.quoted, data.get(), Some(&info), None);
            self.push(io, &room, Audience::Everyone, excluded);
        }
        self.reply(io, |out| reply::empty(out, id, EmptyReply::Publish));
        Ok(())
    }
}
