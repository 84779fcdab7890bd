//! Whether clients are still there and still allowed: pings, pongs, stale connections, expiry.
//!
//! A connection has one timer. Before the connect command it is the stale deadline; afterwards it
//! goes back and forth between the next ping and the end of the pong timeout, and expiry is checked
//! whenever it fires, so an expired connection may live for one ping interval longer.
//!
//! Each connection has a place in the interval, by what it is named, and is pinged there. So pings are spread
//! evenly however clients arrived, and stay so: counted from one ping to the next, those that are late would gather in
//! the same tick of the wheel for ever. Only the first ping may be elsewhere, because clients expect it in
//! the second half of the interval.

use crate::conn::{ConnectionId, Key};
use crate::protocol::{Disconnect, Unsubscribe, push};
use crate::rooms::peer::{CONNECTED, EXPIRY_WATCHED, PING_FRAMES, PONG_AWAITED, PONG_WINDOW};
use crate::rooms::{Failure, Peer, Rooms, TEXT};
use crate::shard::Io;
use crate::wire::{Control, OpCode};

/// How often expiry is checked while pings are off.
const EXPIRY_CHECK_MS: u64 = 5_000;

/// When a connection is pinged: whenever `(now_ms - place_ms) % interval_ms` is 0.
#[derive(Debug, Clone, Copy)]
struct Rhythm {
    interval_ms: u64,
    /// Time to answer; less than the interval.
    timeout_ms: u64,
    place_ms: u64,
}

impl Rhythm {
    fn new(id: ConnectionId, interval_ms: u64, timeout_ms: u64) -> Self {
        // Both numbers count up. Their product with 2⁶⁴ over the golden ratio is spread evenly (Knuth, volume 3, 6.4),
        // in its upper half.
        let number = u64::from(id.key) | (u64::from(id.generation) << 32);
        let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let spread = (spread ^ (spread >> 29)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        Rhythm { interval_ms, timeout_ms, place_ms: (spread * interval_ms) >> 32 }
    }

    /// Time from `now_ms` to the next ping by the place: 1 to the whole interval.
    fn next_ms(self, now_ms: u64) -> u64 {
        match (self.place_ms + self.interval_ms - now_ms % self.interval_ms) % self.interval_ms {
            0 => self.interval_ms,
            after_ms => after_ms,
        }
    }

    /// Time to the first ping of a client that has connected: in the second half of the interval, unless the
    /// next could not come half an interval later, because this one must be answered before.
    fn first_ms(self, now_ms: u64) -> u64 {
        let (next_ms, half_ms) = (self.next_ms(now_ms), self.interval_ms / 2);
        if next_ms < half_ms && self.timeout_ms < half_ms { next_ms + half_ms } else { next_ms }
    }

    /// Time to the next ping, at the end of the time to answer the last.
    fn again_ms(self, now_ms: u64) -> u64 {
        let next_ms = self.next_ms(now_ms);
        // We are so late that its time is over: a client that waits for it does not wait for the one after it.
        if next_ms > self.interval_ms - self.timeout_ms { 1 } else { next_ms }
    }
}

impl Rooms {
    /// When connection `key` is pinged; `None` if pings are off.
    fn rhythm(&self, io: &Io<Peer>, key: Key) -> Option<Rhythm> {
        let interval_ms = u64::from(self.shared.settings.ping_interval_ms);
        let timeout_ms = u64::from(self.shared.settings.pong_timeout_ms);
        (interval_ms > 0).then(|| Rhythm::new(io.id(key), interval_ms, timeout_ms))
    }

    /// Starts the pings of a client that has connected.
    pub(super) fn begin_pings(&mut self, io: &mut Io<Peer>, key: Key) {
        if let Some(rhythm) = self.rhythm(io, key) {
            io.set_timer(key, rhythm.first_ms(io.now_ms()));
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
        let rhythm = self.rhythm(io, key);
        let peer = io.peer(key);
        let Some(rhythm) = rhythm else {
            peer.flags &= !EXPIRY_WATCHED;
            return self.watch_expiry(io, key);
        };
        if peer.has(PONG_WINDOW) {
            peer.flags &= !PONG_WINDOW;
            io.set_timer(key, rhythm.again_ms(io.now_ms()));
        } else {
            peer.flags |= PONG_WINDOW | PONG_AWAITED;
            let (opcode, payload): (_, &[u8]) = if peer.has(PING_FRAMES) {
                (OpCode::Control(Control::Ping), &[])
            } else {
                (TEXT, push::PING)
            };
            io.send(key, opcode, payload);
            io.set_timer(key, rhythm.timeout_ms);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::wheel::Wheel;

    const CLIENTS: u32 = 50_000;
    const INTERVAL_MS: u64 = 25_000;
    const TIMEOUT_MS: u64 = 8_000;

    fn rhythm(key: u32) -> Rhythm {
        Rhythm::new(ConnectionId { key, generation: key + 7 }, INTERVAL_MS, TIMEOUT_MS)
    }

    /// Pings in each second of the interval that begins at `from_ms`, of clients that all come at once to a server that
    /// gives out `due_max` timers in each 8 ms and stands still for 20 s in the fifth interval.
    fn pings(due_max: usize, from_ms: u64) -> [u32; 25] {
        let (mut wheel, mut due) = (Wheel::new(0), Vec::new());
        (0..CLIENTS).for_each(|key| wheel.set(key, 0, rhythm(key).first_ms(0)));
        let mut awaits_pong = vec![false; CLIENTS as usize];
        let mut per_second = [0_u32; 25];
        for now_ms in (0..from_ms + INTERVAL_MS).step_by(8) {
            if (110_000..130_000).contains(&now_ms) {
                continue;
            }
            wheel.expire(now_ms, due_max, &mut due);
            for key in due.drain(..) {
                let awaits_pong = &mut awaits_pong[key as usize];
                *awaits_pong = !*awaits_pong;
                if *awaits_pong {
                    wheel.set(key, now_ms, TIMEOUT_MS);
                    if let Some(since_ms) = now_ms.checked_sub(from_ms) {
                        per_second[(since_ms / 1_000) as usize] += 1;
                    }
                } else {
                    wheel.set(key, now_ms, rhythm(key).again_ms(now_ms));
                }
            }
        }
        per_second
    }

    #[test]
    fn those_who_came_together_are_pinged_evenly_and_stay_so() {
        for due_max in [1_000, 64] {
            for from_ms in [2 * INTERVAL_MS, 8 * INTERVAL_MS] {
                let per_second = pings(due_max, from_ms);
                let even = CLIENTS / 25;
                // A tick of the wheel more or less in a second of eight.
                assert!(per_second.iter().all(|pings| pings.abs_diff(even) <= even / 6), "{per_second:?}");
            }
        }
    }

    #[test]
    fn the_first_ping_comes_in_the_second_half_of_the_interval_and_the_second_within_one() {
        for key in 0..10_000 {
            let (rhythm, now_ms) = (rhythm(key), u64::from(key) * 77);
            let first_ms = rhythm.first_ms(now_ms);
            assert!((INTERVAL_MS / 2..=INTERVAL_MS).contains(&first_ms), "{first_ms}");
            let second_ms = TIMEOUT_MS + rhythm.again_ms(now_ms + first_ms + TIMEOUT_MS);
            assert!((INTERVAL_MS / 2..=INTERVAL_MS).contains(&second_ms), "{second_ms}");
            assert_eq!((now_ms + first_ms + second_ms) % INTERVAL_MS, rhythm.place_ms);
        }
    }

    #[test]
    fn a_client_has_its_time_to_answer_and_never_waits_for_longer_than_an_interval() {
        for (interval_ms, timeout_ms) in [(600, 590), (600, 300), (601, 300), (2, 1)] {
            for key in 0..1_000 {
                let rhythm = Rhythm::new(ConnectionId { key, generation: 3 }, interval_ms, timeout_ms);
                let mut now_ms = u64::from(key);
                let first_ms = rhythm.first_ms(now_ms);
                assert!((1..=interval_ms).contains(&first_ms), "{first_ms}");
                for late_ms in [0, 1, 200, 70, interval_ms, 0, 0] {
                    now_ms += timeout_ms + late_ms;
                    let again_ms = rhythm.again_ms(now_ms);
                    assert!((1..=interval_ms - timeout_ms).contains(&again_ms), "{again_ms}");
                    now_ms += again_ms;
                }
            }
        }
    }
}
