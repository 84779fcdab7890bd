//! What the rooms service keeps for one connection: 32 bytes, and a box for the few that need more.

use crate::hub::{RoomIndex, User};

/// The connection's end of a subscription: the room in this shard and the place in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subscription {
    pub room: RoomIndex,
    pub place: u32,
}

/// No subscription: no room has this index.
const NONE: Subscription = Subscription { room: RoomIndex::MAX, place: 0 };

/// What is known of a subscription beyond its room, for the few that have it.
#[derive(Debug)]
pub(super) struct Detail {
    pub room: RoomIndex,
    /// JSON that a token attached to the subscription.
    pub chan_info: Option<Box<str>>,
    /// Unix seconds, 0 for never.
    pub expires_at: u32,
    /// The member is left out of presence.
    pub is_hidden: bool,
    /// Others are told that the client joins and leaves.
    pub announces: bool,
    /// An application made it, without the client's doing.
    pub is_server_side: bool,
}

/// What most connections do not have.
#[derive(Debug, Default)]
pub(super) struct More {
    /// JSON that the connection token attached to the connection.
    pub conn_info: Option<Box<str>>,
    /// Names of the rooms that the connection token lists, ascending, whether or not the client is
    /// still a member of each.
    pub server_side: Box<[Box<str>]>,
    /// All subscriptions, by room, once there was more than one.
    subscriptions: Vec<Subscription>,
    pub details: Vec<Detail>,
}

/// Set once the connect command succeeded.
pub(super) const CONNECTED: u8 = 1;
/// Set when the connect command was answered with an error: further commands are not read.
pub(super) const REFUSED: u8 = 1 << 1;
/// Set from a ping until the pong timeout has passed.
pub(super) const PONG_WINDOW: u8 = 1 << 2;
/// Set from a ping until its pong.
pub(super) const PONG_AWAITED: u8 = 1 << 3;
/// The client asked for ping frames instead of `{}` messages.
pub(super) const PING_FRAMES: u8 = 1 << 4;
/// Set while the timer runs towards the next check of expiry, with pings off.
pub(super) const EXPIRY_WATCHED: u8 = 1 << 5;
/// Set while commands of the client are held back until the committer has answered an earlier one.
pub(super) const WAITING: u8 = 1 << 6;

/// What the rooms service keeps for one connection.
#[derive(Debug)]
pub struct Peer {
    /// The named user; `None` for the anonymous one.
    pub(super) user: Option<User>,
    pub(super) more: Option<Box<More>>,
    /// The only subscription, while there was never more than one at a time.
    single: Subscription,
    /// When the connection expires, Unix seconds; 0 for never.
    pub(super) expires_at: u32,
    pub(super) flags: u8,
    /// Presence questions that wait for the answers of shards.
    pub(super) questions: u8,
    /// Questions about streams that wait for the committer's answers.
    pub(super) asks: u8,
}

const _: () = assert!(size_of::<Peer>() <= 32);

impl Default for Peer {
    fn default() -> Self {
        Peer { user: None, more: None, single: NONE, expires_at: 0, flags: 0, questions: 0, asks: 0 }
    }
}

impl Peer {
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn user_name(&self) -> &str {
        self.user.as_ref().map_or("", User::name)
    }

    /// What tells the user from others while it is connected; all anonymous clients are one user.
    pub(super) fn identity(&self) -> usize {
        self.user.as_ref().map_or(0, User::identity)
    }

    /// Whether presence leaves the client out of the members of `room`.
    pub(super) fn is_hidden_in(&self, room: RoomIndex) -> bool {
        self.detail(room).is_some_and(|detail| detail.is_hidden)
    }

    pub(super) fn more_mut(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    pub(super) fn conn_info(&self) -> Option<&str> {
        self.more.as_ref()?.conn_info.as_deref()
    }

    /// Whether the connection token or an application subscribes the client to this room, which has
    /// this index.
    pub(super) fn is_server_side(&self, room: &str, index: RoomIndex) -> bool {
        self.more.as_ref().is_some_and(|more| more.server_side.iter().any(|name| **name == *room))
            || self.detail(index).is_some_and(|detail| detail.is_server_side)
    }

    /// All subscriptions, in no order that matters.
    pub(super) fn subscriptions(&self) -> &[Subscription] {
        if self.single != NONE {
            return std::slice::from_ref(&self.single);
        }
        self.more.as_ref().map_or(&[], |more| &more.subscriptions)
    }

    pub(super) fn is_member(&self, room: RoomIndex) -> bool {
        self.place_in(room).is_some()
    }

    /// The client's place among the members of `room`, if it is one.
    pub(super) fn place_in(&self, room: RoomIndex) -> Option<u32> {
        let subscriptions = self.subscriptions();
        let at = subscriptions.binary_search_by_key(&room, |subscription| subscription.room).ok()?;
        Some(subscriptions[at].place)
    }

    /// Adds a subscription to a room that has none of this connection.
    pub(super) fn subscribe(&mut self, subscription: Subscription) {
        if self.subscriptions().is_empty() {
            self.single = subscription;
            return;
        }
        let single = std::mem::replace(&mut self.single, NONE);
        let subscriptions = &mut self.more_mut().subscriptions;
        if single != NONE {
            subscriptions.push(single);
        }
        let at = subscriptions.partition_point(|other| other.room < subscription.room);
        subscriptions.insert(at, subscription);
    }

    /// Takes the subscription to `room` away, with its details.
    pub(super) fn unsubscribe(&mut self, room: RoomIndex) -> Option<(Subscription, Option<Detail>)> {
        if self.single.room == room && room != NONE.room {
            return Some((std::mem::replace(&mut self.single, NONE), self.take_detail(room)));
        }
        let more = self.more.as_mut()?;
        let at = more.subscriptions.binary_search_by_key(&room, |subscription| subscription.room).ok()?;
        let subscription = more.subscriptions.remove(at);
        if more.subscriptions.len() < more.subscriptions.capacity() / 4 {
            more.subscriptions.shrink_to_fit();
        }
        Some((subscription, self.take_detail(room)))
    }

    /// Takes note that the member of `room` is at another place in its list now.
    pub(super) fn moved(&mut self, room: RoomIndex, place: u32) {
        if self.single.room == room {
            self.single.place = place;
        } else if let Some(more) = &mut self.more
            && let Ok(at) = more.subscriptions.binary_search_by_key(&room, |subscription| subscription.room)
        {
            more.subscriptions[at].place = place;
        }
    }

    pub(super) fn detail(&self, room: RoomIndex) -> Option<&Detail> {
        self.more.as_ref()?.details.iter().find(|detail| detail.room == room)
    }

    pub(super) fn detail_mut(&mut self, room: RoomIndex) -> Option<&mut Detail> {
        self.more.as_mut()?.details.iter_mut().find(|detail| detail.room == room)
    }

    fn take_detail(&mut self, room: RoomIndex) -> Option<Detail> {
        let details = &mut self.more.as_mut()?.details;
        let at = details.iter().position(|detail| detail.room == room)?;
        Some(details.swap_remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(peer: &Peer) -> Vec<(u32, u32)> {
        peer.subscriptions().iter().map(|subscription| (subscription.room, subscription.place)).collect()
    }

    #[test]
    fn one_subscription_needs_no_allocation() {
        let mut peer = Peer::default();
        peer.subscribe(Subscription { room: 7, place: 3 });
        assert!(peer.more.is_none());
        assert_eq!(rooms(&peer), [(7, 3)]);
        peer.moved(7, 1);
        assert_eq!(rooms(&peer), [(7, 1)]);
        assert!(peer.unsubscribe(7).is_some() && peer.more.is_none());
        assert!(peer.unsubscribe(7).is_none(), "a second unsubscribe finds nothing");
    }

    #[test]
    fn many_subscriptions_are_found_moved_and_taken_away() {
        let mut peer = Peer::default();
        for room in [5, 1, 9, 3] {
            peer.subscribe(Subscription { room, place: room * 10 });
        }
        assert_eq!(rooms(&peer), [(1, 10), (3, 30), (5, 50), (9, 90)]);
        peer.moved(9, 2);
        assert_eq!(peer.unsubscribe(9).map(|(subscription, _)| subscription.place), Some(2));
        assert!(peer.is_member(5) && !peer.is_member(9) && !peer.is_member(RoomIndex::MAX));
        for room in [1, 3, 5] {
            assert!(peer.unsubscribe(room).is_some());
        }
        assert!(peer.subscriptions().is_empty());
        peer.subscribe(Subscription { room: 2, place: 0 });
        assert!(peer.is_member(2));
    }

    #[test]
    fn details_go_with_their_subscription() {
        let mut peer = Peer::default();
        peer.subscribe(Subscription { room: 1, place: 0 });
        peer.more_mut().details.push(Detail {
            room: 1,
            chan_info: Some("{}".into()),
            expires_at: 9,
            is_hidden: false,
            announces: false,
            is_server_side: false,
        });
        let (_, detail) = peer.unsubscribe(1).unwrap();
        assert_eq!(detail.map(|detail| detail.expires_at), Some(9));
        assert!(peer.detail(1).is_none());
    }
}
