//! Who is let in: how many in a second, from where, and whether there is memory for them.
//!
//! A connection is judged when it is accepted, by its address and the memory of the box. Who is refused then
//! gets one write and is closed: it takes no place and no timer. One from a trusted balancer is judged
//! by the address that its PROXY header names, once that has come; everybody once more with the
//! first bytes of the request, by the upgrades of this second.
//!
//! Invariant: a connection that was counted for an address is in `clients` under its key until it is
//! gone, and is then counted out, once.
//!
//! Absent on purpose: any part in what happens to a connection that is open, and the pace of accepting, which
//! is the door's.

use std::collections::HashSet;
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::conn::Key;
use crate::host;
use crate::shard::addresses::{Addresses, Client};
use crate::shard::clock::Clock;
use crate::shard::settings;
use crate::wire::refusal::Excess;
use crate::wire::{Refusal, proxy};

/// Longest time after which clients are asked to come again when too many connect in a second.
const CONNECT_AGAIN_S_MAX: u32 = 60;

/// The longest and the shortest time after which whoever is refused for want of memory, or because its
/// address has enough connections, is asked to come again: nothing says when that will be over.
const AGAIN_S: [u32; 2] = [5, 15];

/// Bytes of a request that are read before it is refused: a longer one makes closing a reset.
const REQUEST_BYTES: usize = 4 * 1024;

/// What all shards of a server have together to let clients in by.
#[derive(Debug, Default)]
pub struct Gate {
    addresses: Addresses,
    lacks_memory: AtomicBool,
}

impl Gate {
    /// From now on new connections are refused, or are not any more, for want of memory.
    pub fn set_lacks_memory(&self, lacks_memory: bool) {
        self.lacks_memory.store(lacks_memory, Ordering::Relaxed);
    }
}

/// Where a connection that was let in is from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    /// From a client, which is counted if there is a limit to it.
    Client(Option<Client>),
    /// From a balancer, which has not said yet whom it speaks for.
    Balancer,
}

/// What a shard knows of those it lets in.
#[derive(Debug, Default)]
pub(super) struct Admission {
    pub(super) gate: Arc<Gate>,
    connects: crate::hub::Bucket,
    /// Upgrades that were refused since `connects` was last full.
    refused: u32,
    /// Whom each connection is counted for, by its key. Empty while nobody is counted.
    clients: Vec<Option<Client>>,
    /// Connections of balancers that have not said yet whom they speak for.
    unannounced: HashSet<Key>,
}

impl Admission {
    /// Judges a connection from `peer` that was just accepted. One that is let in and then not
    /// kept is to be given to `leave`, one that is kept to `keep`.
    ///
    /// # Errors
    ///
    /// It is refused.
    pub(super) fn enter(
        &mut self,
        limits: &settings::Admission,
        peer: IpAddr,
        clock: &mut Clock,
    ) -> Result<Origin, Refusal> {
        if self.gate.lacks_memory.load(Ordering::Relaxed) {
            return Err(later(Excess::Memory, clock));
        }
        if !limits.proxy_protocol_from.is_empty() {
            let peer = peer.to_canonical();
            if limits.proxy_protocol_from.iter().any(|trusted| trusted.contains(&peer)) {
                return Ok(Origin::Balancer);
            }
        }
        self.count(limits, peer, clock).map(Origin::Client)
    }

    /// Counts a connection for the address it is from, if there are limits to that.
    fn count(
        &mut self,
        limits: &settings::Admission,
        address: IpAddr,
        clock: &mut Clock,
    ) -> Result<Option<Client>, Refusal> {
        if limits.connections_per_address_max == 0 && limits.connects_per_second_per_address == 0 {
            return Ok(None);
        }
        let client = Client::from(address);
        match self.gate.addresses.enter(client, limits, clock.now_ms()) {
            Ok(()) => Ok(Some(client)),
            Err(excess) => Err(later(excess, clock)),
        }
    }

    /// Takes note of a connection that was let in and is kept.
    pub(super) fn keep(&mut self, key: Key, origin: Origin) {
        match origin {
            Origin::Balancer => drop(self.unannounced.insert(key)),
            Origin::Client(Some(client)) => self.note(key, client),
            Origin::Client(None) => {}
        }
    }

    fn note(&mut self, key: Key, client: Client) {
        let place = key as usize;
        if place >= self.clients.len() {
            self.clients.resize(place + 1, None);
        }
        self.clients[place] = Some(client);
    }

    /// A connection that was let in is not kept.
    pub(super) fn leave(&mut self, origin: Origin, now_ms: u64) {
        if let Origin::Client(Some(client)) = origin {
            self.gate.addresses.leave(client, now_ms);
        }
    }

    /// Connection `key` is gone.
    pub(super) fn forget(&mut self, key: Key, now_ms: u64) {
        if let Some(client) = self.clients.get_mut(key as usize).and_then(Option::take) {
            self.gate.addresses.leave(client, now_ms);
        }
        if !self.unannounced.is_empty() {
            self.unannounced.remove(&key);
        }
    }

    /// Whether connection `key` is to begin with a PROXY header.
    pub(super) fn is_unannounced(&self, key: Key) -> bool {
        !self.unannounced.is_empty() && self.unannounced.contains(&key)
    }

    /// Takes the PROXY header of connection `key` at the front of `bytes`, and judges the client that it names.
    /// Returns how many bytes it has; `None` if it is not complete.
    ///
    /// # Errors
    ///
    /// There is no header, a malformed one, or the client has too much.
    pub(super) fn announce(
        &mut self,
        limits: &settings::Admission,
        key: Key,
        bytes: &[u8],
        clock: &mut Clock,
    ) -> Result<Option<usize>, Refusal> {
        let Some((client, taken)) = proxy::parse(bytes)? else { return Ok(None) };
        self.unannounced.remove(&key);
        // A balancer that speaks for itself is not limited: all clients behind it come from there.
        if let Some(address) = client
            && let Some(client) = self.count(limits, address, clock)?
        {
            self.note(key, client);
        }
        Ok(Some(taken))
    }

    /// Takes in one more upgrade request.
    ///
    /// # Errors
    ///
    /// There were too many in this second. When to come again is spread over the time that all who were
    /// refused need to come in, so that they do not come at once again.
    pub(super) fn connect(&mut self, limits: &settings::Admission, clock: &mut Clock) -> Result<(), Refusal> {
        let (per_second, now_ms) = (limits.connects_per_second, clock.now_ms());
        if per_second == 0 {
            return Ok(());
        }
        if self.connects.is_full(now_ms) {
            self.refused = 0;
        }
        if self.connects.take(per_second, now_ms) {
            return Ok(());
        }
        self.refused = self.refused.saturating_add(1);
        let all_in_s = self.refused / per_second + 1;
        let retry_after_s = 1 + clock.random() % all_in_s.min(CONNECT_AGAIN_S_MAX);
        Err(Refusal::Later { excess: Excess::Connects, retry_after_s: retry_after_s as u16 })
    }

    /// Gives back memory that connections which are gone needed; no key is as high as `keys_end`.
    pub(super) fn shrink(&mut self, keys_end: usize) {
        self.clients.truncate(keys_end);
        self.clients.shrink_to_fit();
        self.unannounced.shrink_to_fit();
    }
}

/// Asks to come again within a time that is not the same for all.
fn later(excess: Excess, clock: &mut Clock) -> Refusal {
    let [least_s, most_s] = match excess {
        // One may come in within a second.
        Excess::Connects | Excess::AddressConnects => [1, 3],
        Excess::Memory | Excess::AddressConnections => AGAIN_S,
    };
    let retry_after_s = least_s + clock.random() % (most_s - least_s + 1);
    Refusal::Later { excess, retry_after_s: retry_after_s as u16 }
}

/// Answers whoever is refused when it comes. The socket is to be closed then.
pub(super) fn turn_away(socket: &TcpStream, refusal: Refusal) {
    let mut answer = Vec::new();
    refusal.write_response(&mut answer);
    // What has come is read, or closing would be a reset, which may overtake the answer. Whether anybody
    // reads that is not this server's concern any more.
    let _ = host::socket::receive(socket, &mut [0; REQUEST_BYTES]);
    let _ = host::socket::send(socket, &answer);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn excess<T: std::fmt::Debug>(result: Result<T, Refusal>) -> (Excess, u16) {
        match result {
            Err(Refusal::Later { excess, retry_after_s }) => (excess, retry_after_s),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn those_refused_are_asked_to_come_over_the_time_that_all_of_them_need() {
        let limits = settings::Admission { connects_per_second: 10, ..Default::default() };
        let (mut admission, mut clock) = (Admission::default(), Clock::new());
        let mut again_s = vec![0; 100];
        for number in 0..410 {
            match admission.connect(&limits, &mut clock) {
                Ok(()) => assert!(number < 10, "{number}"),
                refused => again_s[usize::from(excess(refused).1)] += 1,
            }
        }
        // 400 need 40 seconds.
        assert_eq!((again_s[0], again_s[42..].iter().sum::<u32>()), (0, 0), "{again_s:?}");
        assert!(again_s[21..42].iter().sum::<u32>() > 20, "{again_s:?}");
    }

    #[test]
    fn a_box_without_memory_refuses_balancers_too_and_lets_in_again() {
        let limits = settings::Admission {
            proxy_protocol_from: vec!["192.0.2.0/24".parse().unwrap()],
            ..Default::default()
        };
        let (mut admission, mut clock) = (Admission::default(), Clock::new());
        for peer in ["192.0.2.1", "198.51.100.1"] {
            admission.gate.set_lacks_memory(true);
            let (excess, again_s) = excess(admission.enter(&limits, address(peer), &mut clock));
            assert_eq!(excess, Excess::Memory);
            assert!((5..=15).contains(&again_s), "{again_s}");
            admission.gate.set_lacks_memory(false);
            admission.enter(&limits, address(peer), &mut clock).unwrap();
        }
    }

    #[test]
    fn a_trusted_address_is_trusted_whatever_socket_it_comes_by_and_no_other() {
        let trusted = ["192.0.2.0/24", "2001:db8::/32"].map(|net| net.parse().unwrap());
        let limits = settings::Admission { proxy_protocol_from: trusted.into(), ..Default::default() };
        let (mut admission, mut clock) = (Admission::default(), Clock::new());
        for (peer, is_trusted) in [
            ("192.0.2.255", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.3.0", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
        ] {
            let origin = admission.enter(&limits, address(peer), &mut clock).unwrap();
            assert_eq!(matches!(origin, Origin::Balancer), is_trusted, "{peer}");
        }
    }

    #[test]
    fn a_client_behind_a_balancer_is_counted_and_the_balancer_is_not() {
        let limits = settings::Admission {
            connections_per_address_max: 1,
            proxy_protocol_from: vec!["192.0.2.1/32".parse().unwrap()],
            ..Default::default()
        };
        let (mut admission, mut clock) = (Admission::default(), Clock::new());
        let mut come = |key, header: &[u8]| {
            let origin = admission.enter(&limits, address("192.0.2.1"), &mut clock).unwrap();
            admission.keep(key, origin);
            assert!(admission.is_unannounced(key));
            let announced = admission.announce(&limits, key, header, &mut clock);
            assert!(!admission.is_unannounced(key));
            announced
        };
        let one = b"PROXY TCP4 198.51.100.1 192.0.2.9 1 2\r\n";
        let other = b"PROXY TCP4 198.51.100.2 192.0.2.9 1 2\r\n";
        assert_eq!(come(0, one), Ok(Some(one.len())));
        assert_eq!(excess(come(1, one)).0, Excess::AddressConnections);
        assert_eq!(come(2, other), Ok(Some(other.len())));
        for key in 3..6 {
            assert_eq!(come(key, b"PROXY UNKNOWN\r\n"), Ok(Some(15)));
        }
        (0..6).for_each(|key| admission.forget(key, clock.now_ms()));
        assert!(admission.count(&limits, address("198.51.100.1"), &mut clock).is_ok());
    }

    #[test]
    fn without_limits_nothing_is_kept_of_a_connection() {
        let (mut admission, mut clock) = (Admission::default(), Clock::new());
        let limits = settings::Admission::default();
        let origin = admission.enter(&limits, address("192.0.2.1"), &mut clock).unwrap();
        admission.keep(1_000, origin);
        assert_eq!((admission.clients.capacity(), admission.unannounced.capacity()), (0, 0));
        admission.forget(1_000, 0);
    }
}
