//! The publish command.

use bytes::Bytes;

use crate::conn::Key;
use crate::hub::Conflate;
use crate::protocol::request::PublishRequest;
use crate::protocol::{EmptyReply, ErrorCode, push, reply};
use crate::rooms::pending::What;
use crate::rooms::shared::Allowed;
use crate::rooms::{Audience, Failure, Peer, Rooms, client_info};
use crate::shard::Io;
use crate::store::{Ask, Request};

impl Rooms {
    pub(super) fn publish(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        id: u32,
        request: &PublishRequest<'_>,
    ) -> Result<(), Failure> {
        // Before anything that costs more: a flood is what this is for.
        let now_ms = io.now_ms();
        if !self.publishes.take(io.id(key), self.shared.settings.publishes_per_second, now_ms) {
            io.stats().publishes_limited.add(1);
            return Err(ErrorCode::TooManyRequests.into());
        }
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
        if options.data_bytes_max > 0 && data.get().len() > options.data_bytes_max as usize {
            return Err(ErrorCode::LimitExceeded.into());
        }
        if !self.shared.publishes.take(channel.full(), options.publishes_per_second, now_ms) {
            io.stats().publishes_limited.add(1);
            return Err(ErrorCode::TooManyRequests.into());
        }
        // What a shard cannot take in, nobody is to be told of as published.
        if room.as_ref().is_some_and(|room| room.shards().any(|shard| self.links.is_full(shard))) {
            io.stats().publishes_refused.add(1);
            return Err(ErrorCode::TooManyRequests.into());
        }
        self.body.clear();
        let detail = index.and_then(|index| peer.detail(index));
        let info = client_info(peer, client, detail.and_then(|detail| detail.chan_info.as_deref()));
        push::body(&mut self.body, data.get(), Some(&info), None);
        if options.retention().is_on() {
            let body = Bytes::copy_from_slice(&self.body);
            let ask =
                Ask::Of(Self::stream(channel.full(), options), Request::Publish { body, version: None });
            return self.ask(io, key, id, ask, options.exclude_sender, What::Publish);
        }
        // Without members anywhere the message is accepted and reaches nobody.
        if let Some(room) = room {
            self.scratch.clear();
            push::publication(&mut self.scratch, &room.quoted, &self.body, 0);
            match options.conflate {
                Conflate::None => {
                    let excluded = options.exclude_sender.then_some(key);
                    self.push(io, &room, Audience::Everyone, excluded);
                }
                Conflate::User => self.signal(io, &room, key),
            }
        }
        self.reply(io, |out| reply::empty(out, id, EmptyReply::Publish));
        Ok(())
    }
}
