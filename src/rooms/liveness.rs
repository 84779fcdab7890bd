//! Whether clients are still there and still allowed: pings, pongs, stale connections, expiry.
//!
//! A connection has one timer. Before the connect command it is the stale deadline; afterwards it
//! goes back and forth between the next ping and the end of the pong timeout, and expiry is checked
//! whenever it fires, so an expired connection may live for one ping interval longer.

use crate::conn::Key;
use crate::protocol::{Disconnect, Unsubscribe, push};
use crate::rooms::peer::{CONNECTED, EXPIRY_WATCHED, PING_FRAMES, PONG_AWAITED, PONG_WINDOW};
use crate::rooms::{Failure, Peer, Rooms, TEXT};
use crate::shard::Io;
use crate::wire::{Control, OpCode};

/// How often expiry is checked while pings are off.
const EXPIRY_CHECK_MS: u64 = 5_000;

impl Rooms {
    /// Starts the pings of a client that has connected. The first comes at a random point of the
    /// second half of the interval, so that the pings of clients that came together spread out.
    pub(super) fn begin_pings(&mut self, io: &mut Io<Peer>, key: Key) {
        let interval_ms = u64::from(self.shared.settings.ping_interval_ms);
        if interval_ms > 0 {
            let half_ms = interval_ms / 2;
            let jitter_ms = u64::from(io.random()) % (half_ms + 1);
            io.set_timer(key, half_ms + jitter_ms);
        } else {
            io.clear_timer(key);
            self.watch_expiry(io, key);
        }
    }

    /// Makes sure that the expiry of a client, or of one of its subscriptions, is noticed.
    pub(super) fn watch_expiry(&mut self, io: &mut Io<Peer>, key: Key) {
        let peer = io.peer(key);
        let expires = peer.expires_at > 0
            || peer.more.as_ref().is_some_and(|more| more.details.iter().any(|detail| detail.expires_at > 0));
        // With pings on the timer runs anyway, and setting it here would move the next ping. Nor may a
        // busy client move its next check out again and again.
        if expires && self.shared.settings.ping_interval_ms == 0 && !peer.has(EXPIRY_WATCHED) {
            peer.flags |= EXPIRY_WATCHED;
            io.set_timer(key, EXPIRY_CHECK_MS);
        }
    }

    /// The connection's timer has fired.
    pub(super) fn tick(&mut self, io: &mut Io<Peer>, key: Key) {
        let peer = io.peer(key);
        if !peer.has(CONNECTED) {
            self.disconnect(io, key, Disconnect::Stale);
            return;
        }
        if peer.has(PONG_AWAITED) {
            self.disconnect(io, key, Disconnect::NoPong);
            return;
        }
        let now_s = io.unix_s();
        let close_delay_s = i64::from(self.shared.settings.expired_close_delay_ms.div_ceil(1000));
        let expires_at = i64::from(io.peer(key).expires_at);
        if expires_at > 0 && now_s >= expires_at + close_delay_s {
            self.disconnect(io, key, Disconnect::ConnectionExpired);
            return;
        }
        self.end_expired_subscriptions(io, key, now_s);
        let interval_ms = u64::from(self.shared.settings.ping_interval_ms);
        let timeout_ms = u64::from(self.shared.settings.pong_timeout_ms);
        let peer = io.peer(key);
        if interval_ms == 0 {
            peer.flags &= !EXPIRY_WATCHED;
            self.watch_expiry(io, key);
        } else if peer.has(PONG_WINDOW) {
            peer.flags &= !PONG_WINDOW;
            io.set_timer(key, interval_ms - timeout_ms);
        } else {
            peer.flags |= PONG_WINDOW | PONG_AWAITED;
            let (opcode, payload): (_, &[u8]) = if peer.has(PING_FRAMES) {
                (OpCode::Control(Control::Ping), &[])
            } else {
                (TEXT, push::PING)
            };
            io.send(key, opcode, payload);
            io.set_timer(key, timeout_ms);
        }
    }

    fn end_expired_subscriptions(&mut self, io: &mut Io<Peer>, key: Key, now_s: i64) {
        let close_delay_s = i64::from(self.shared.settings.expired_sub_close_delay_ms.div_ceil(1000));
        loop {
            let more = io.peer(key).more.as_ref();
            let expired = more.and_then(|more| {
                more.details.iter().find(|detail| {
                    detail.expires_at > 0 && now_s >= i64::from(detail.expires_at) + close_delay_s
                })
            });
            let Some((room, is_server_side)) = expired.map(|detail| (detail.room, detail.is_server_side))
            else {
                break;
            };
            if is_server_side {
                // Its SDK has no subscription that it could renew; what it has is what it gets anew.
                self.disconnect(io, key, Disconnect::SubscriptionExpired);
                break;
            }
            self.end_subscription(io, key, room, Unsubscribe::Expired);
        }
    }

    /// The client answered a ping with `{}`. One that nobody asked for breaks the protocol.
    pub(super) fn ponged(&mut self, io: &mut Io<Peer>, key: Key) -> Result<(), Failure> {
        let peer = io.peer(key);
        if !peer.has(PONG_AWAITED) || peer.has(PING_FRAMES) {
            return Err(Disconnect::BadRequest.into());
        }
        peer.flags &= !PONG_AWAITED;
        Ok(())
    }

    /// The client answered a ping frame. RFC 6455 §5.5.3 allows unsolicited pong frames.
    pub(super) fn ponged_by_frame(&mut self, io: &mut Io<Peer>, key: Key) {
        io.peer(key).flags &= !PONG_AWAITED;
    }
}
