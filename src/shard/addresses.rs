//! Who clients are, as far as limits go, and what each of them has: connections, and connects in this second.
//!
//! One table for all shards of a server. It is touched when a connection comes and when it goes, under the
//! lock of one of its parts, and never in between.
//!
//! Invariant: the table knows those that have connections, and those that made some a short while ago; others
//! are cleared away before it doubles.
//!
//! Absent on purpose: ports and interfaces. An IPv6 client has a whole /64 to choose addresses from, so that is
//! counted as one (RFC 6177); an IPv4 address that came by an IPv6 socket is that IPv4 address.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::hub::Bucket;
use crate::shard::settings::Admission;
use crate::wire::refusal::Excess;

/// Parts of the table, each with its own lock, so that shards rarely wait for each other.
const PARTS: usize = 64;

/// Addresses that a part knows before those that may be forgotten are looked for.
const KNOWN_MIN: usize = 64;

/// Whom a limit counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Client {
    /// An IPv4 address.
    V4(u32),
    /// The first 64 bits of an IPv6 address.
    V6(u64),
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Client::V4(address.to_bits()),
            IpAddr::V6(address) => Client::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// What the shards know of one client.
#[derive(Debug, Default)]
struct Known {
    connections: u32,
    connects: Bucket,
}

#[derive(Debug)]
struct Part {
    known: HashMap<Client, Known>,
    /// How many there may be before those that may be forgotten are cleared away.
    clear_above: usize,
}

impl Part {
    fn clear(&mut self, now_ms: u64) {
        self.known.retain(|_, known| known.connections > 0 || !known.connects.is_full(now_ms));
        self.clear_above = KNOWN_MIN.max(self.known.len() * 2);
        self.known.shrink_to(self.clear_above);
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct Addresses {
    parts: [Mutex<Part>; PARTS],
    hasher: RandomState,
}

impl Default for Addresses {
    fn default() -> Self {
        let part = |_| Mutex::new(Part { known: HashMap::new(), clear_above: KNOWN_MIN });
        Addresses { parts: std::array::from_fn(part), hasher: RandomState::new() }
    }
}

impl Addresses {
    /// Counts one more connection of `client`, which `leave` is to be called for once. `now_ms` is by one
    /// clock whoever calls.
    ///
    /// # Errors
    ///
    /// It has as many as it may, or made as many in this second; then nothing is counted.
    pub(super) fn enter(&self, client: Client, limits: &Admission, now_ms: u64) -> Result<(), Excess> {
        let mut part = self.part(client);
        let known = part.known.entry(client).or_default();
        let connections_max = limits.connections_per_address_max;
        if connections_max > 0 && known.connections >= connections_max {
            return Err(Excess::AddressConnections);
        }
        if !known.connects.take(limits.connects_per_second_per_address, now_ms) {
            return Err(Excess::AddressConnects);
        }
        known.connections += 1;
        if part.known.len() > part.clear_above {
            part.clear(now_ms);
        }
        Ok(())
    }

    /// A connection of `client` is gone.
    pub(super) fn leave(&self, client: Client, now_ms: u64) {
        let mut part = self.part(client);
        let known = part.known.get_mut(&client).expect("who has a connection is known");
        known.connections -= 1;
        if known.connections == 0 && known.connects.is_full(now_ms) {
            part.known.remove(&client);
            if part.clear_above > KNOWN_MIN && part.known.len() < part.clear_above / 4 {
                part.clear(now_ms);
            }
        }
    }

    fn part(&self, client: Client) -> MutexGuard<'_, Part> {
        let part = &self.parts[self.hasher.hash_one(client) as usize % PARTS];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clients that are known.
    #[cfg(test)]
    fn known(&self) -> usize {
        self.parts.iter().map(|part| part.lock().unwrap().known.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Client {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn limits(connections: u32, per_second: u32) -> Admission {
        Admission {
            connections_per_address_max: connections,
            connects_per_second_per_address: per_second,
            ..Admission::default()
        }
    }

    #[test]
    fn an_ipv4_address_is_one_client_and_an_ipv6_address_is_its_64() {
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(client("192.0.2.1"), client("::ffff:192.0.2.1"));
        assert_eq!(client("2001:db8:0:1::1"), client("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(client("2001:db8:0:1::1"), client("2001:db8:0:2::1"));
    }

    #[test]
    fn a_client_may_have_so_many_connections_and_others_are_not_concerned() {
        let addresses = Addresses::default();
        let limits = limits(2, 0);
        let (one, other) = (client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(addresses.enter(one, &limits, 0), Ok(()));
        assert_eq!(addresses.enter(one, &limits, 0), Ok(()));
        assert_eq!(addresses.enter(one, &limits, 9_999), Err(Excess::AddressConnections));
        assert_eq!(addresses.enter(other, &limits, 0), Ok(()));
        addresses.leave(one, 0);
        assert_eq!(addresses.enter(one, &limits, 0), Ok(()));
        (0..2).for_each(|_| addresses.leave(one, 0));
        addresses.leave(other, 0);
        assert_eq!(addresses.known(), 0);
    }

    #[test]
    fn a_client_may_connect_so_often_in_a_second_also_if_it_leaves_at_once() {
        let addresses = Addresses::default();
        let limits = limits(0, 3);
        let one = client("192.0.2.1");
        let entered = |now_ms| {
            let tries = (0..10).map(|_| addresses.enter(one, &limits, now_ms));
            let entered = tries.filter(|tried| tried.is_ok()).count();
            (0..entered).for_each(|_| addresses.leave(one, now_ms));
            entered
        };
        assert_eq!((entered(5), entered(6), entered(1_005)), (3, 0, 3));
        assert_eq!(addresses.enter(one, &limits, 1_006), Err(Excess::AddressConnects));
    }

    #[test]
    fn clients_that_come_once_are_forgotten() {
        let addresses = Addresses::default();
        let limits = limits(1, 1);
        for number in 0..200_000 {
            let now_ms = u64::from(number) / 10;
            addresses.enter(Client::V4(number), &limits, now_ms).unwrap();
            addresses.leave(Client::V4(number), now_ms);
        }
        // 10,000 come in a second.
        assert!(addresses.known() < 3 * (10_000 + PARTS * KNOWN_MIN), "{}", addresses.known());
    }

    #[test]
    fn exactly_as_many_come_in_as_may_whatever_shards_they_come_to() {
        let addresses = Addresses::default();
        let limits = limits(100, 0);
        let enter = || (0..100).filter(|_| addresses.enter(Client::V6(1), &limits, 0).is_ok()).count();
        let entered: usize = std::thread::scope(|threads| {
            let threads: Vec<_> = (0..4).map(|_| threads.spawn(enter)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(entered, 100);
    }
}
