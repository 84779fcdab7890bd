//! Listening sockets that whoever started the process handed over: socket activation, as systemd does
//! it (sd_listen_fds(3)).
//!
//! Several sockets for one address are a `SO_REUSEPORT` group, and each belongs to one shard. Whoever
//! handed them over keeps copies, so they outlive the process, and with them who waits in their queues.
//!
//! Invariants:
//! - every address has as many sockets as there are shards;
//! - nothing is taken unless all of it can be used: half of what was meant would look like all of it.
//!
//! Absent on purpose: the options of the sockets, which `listen` gives to inherited ones as to its own.

use std::collections::HashMap;
use std::env;
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use listenfd::ListenFd;
use nix::sys::stat;
use nix::unistd;
use socket2::SockRef;

use crate::limits::SHARDS_MAX;

/// Number of the first descriptor that is handed over. Source: sd_listen_fds(3).
const FIRST: usize = 3;

/// How many descriptors were handed over. Source: sd_listen_fds(3).
const COUNT: &str = "LISTEN_FDS";

/// Most sockets that are taken: one for each shard and for each of 64 addresses.
const COUNT_MAX: usize = SHARDS_MAX * 64;

/// Names of the handed-over descriptors, separated by colons. Source: sd_listen_fds(3).
const NAMES: &str = "LISTEN_FDNAMES";

/// Why sockets that were handed over cannot be used. The server does not start.
#[derive(Debug, PartialEq, Eq)]
pub struct InheritedError(String);

impl fmt::Display for InheritedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Sockets for clients that were handed over.
#[derive(Debug)]
pub struct Inherited {
    addresses: Vec<SocketAddr>,
    /// By shard: one for each address.
    shards: Vec<Vec<TcpListener>>,
}

impl Inherited {
    /// The sockets that were handed to this process; none if there are none.
    ///
    /// To be called once and before any thread is started: it takes what names the sockets out of the
    /// environment, where children would find it.
    ///
    /// # Errors
    ///
    /// One is not a TCP listener, or they are not as many for each address with `SO_REUSEPORT`. The
    /// text says which and what to change in the socket unit.
    pub fn take() -> Result<Option<Self>, InheritedError> {
        let names = env::var(NAMES).unwrap_or_default();
        check_count()?;
        let mut given = ListenFd::from_env();
        let mut sockets = Vec::with_capacity(given.len());
        for index in 0..given.len() {
            let name = names.split(':').nth(index).filter(|name| !name.is_empty()).unwrap_or("unnamed");
            let name = format!("descriptor {} ({name}) of the sockets that were handed over", FIRST + index);
            let socket = match given.take_tcp_listener(index) {
                Ok(socket) => socket.expect("each is taken once"),
                Err(error) => {
                    let needed = "needed: ListenStream= with a port, or an IP address and a port";
                    return Err(InheritedError(format!("{name} is no TCP socket: {error}; {needed}")));
                }
            };
            sockets.push((name, socket));
        }
        check_twice(&sockets)?;
        if sockets.is_empty() { Ok(None) } else { Self::deal(sockets).map(Some) }
    }

    /// Gives each shard one of `sockets` for each address; a socket comes with its name for people.
    fn deal(sockets: Vec<(String, TcpListener)>) -> Result<Self, InheritedError> {
        let mut groups: Vec<(SocketAddr, Vec<(String, TcpListener)>)> = Vec::new();
        for (name, socket) in sockets {
            let address = local_address(&name, &socket)?;
            match groups.iter_mut().find(|(known, _)| *known == address) {
                Some((_, group)) => group.push((name, socket)),
                None => groups.push((address, vec![(name, socket)])),
            }
        }
        let (first, count) = (groups[0].0, groups[0].1.len());
        for (address, group) in &groups {
            if group.len() != count {
                return Err(InheritedError(format!(
                    "{count} sockets were handed over for {first} and {} for {address}; needed: as many for \
                     each address, one for each shard (repeat ListenStream= in the socket unit)",
                    group.len()
                )));
            }
            let shares = |socket: &TcpListener| SockRef::from(socket).reuse_port().unwrap_or(false);
            if count > 1
                && let Some((name, _)) = group.iter().find(|(_, socket)| !shares(socket))
            {
                return Err(InheritedError(format!(
                    "{name} has no SO_REUSEPORT, but {count} were for {address}; needed: ReusePort=true in the \
                     socket unit"
                )));
            }
        }
        let addresses = groups.iter().map(|(address, _)| *address).collect();
        let mut shards: Vec<_> = (0..count).map(|_| Vec::with_capacity(groups.len())).collect();
        for (_, group) in groups {
            for (shard, (_, socket)) in shards.iter_mut().zip(group) {
                shard.push(socket);
            }
        }
        Ok(Inherited { addresses, shards })
    }

    /// Where clients connect; no address comes twice.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How many shards there are sockets for.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Every shard's sockets, and the copies of all of them that private descriptor tables begin with.
    pub fn split(self) -> (Vec<Vec<TcpListener>>, Copies) {
        let numbers = self.shards.iter().flatten().map(AsRawFd::as_raw_fd).collect();
        (self.shards, Copies(numbers))
    }
}

/// Fails if the number of descriptors that were handed over is none, or more than any server has.
fn check_count() -> Result<(), InheritedError> {
    let Some(text) = env::var_os(COUNT) else { return Ok(()) };
    let count = text.to_str().and_then(|text| text.parse::<usize>().ok());
    if count.is_some_and(|count| count <= COUNT_MAX) {
        return Ok(());
    }
    Err(InheritedError(format!(
        "{COUNT} is {text:?}; needed: how many sockets were handed over, {COUNT_MAX} at most, or no such variable"
    )))
}

/// Fails if one socket came twice: two shards would take it from each other.
fn check_twice(sockets: &[(String, TcpListener)]) -> Result<(), InheritedError> {
    let mut seen = HashMap::new();
    for (name, socket) in sockets {
        let status = stat::fstat(socket).map_err(|error| InheritedError(format!("{name}: {error}")))?;
        if let Some(first) = seen.insert(status.st_ino, name) {
            return Err(InheritedError(format!(
                "{name} is the same socket as {first}; needed: one for each shard (repeat ListenStream= in the \
                 socket unit)"
            )));
        }
    }
    Ok(())
}

/// Numbers of descriptors that were copied into every private table.
#[derive(Debug, Clone)]
pub struct Copies(Arc<[RawFd]>);

impl Copies {
    /// Closes them in the calling thread's table, which no other thread uses, except those of `mine`.
    /// The others would keep a socket of a shard that has closed it.
    pub fn close_except(&self, mine: &[TcpListener]) {
        for number in self.0.iter().filter(|number| mine.iter().all(|mine| mine.as_raw_fd() != **number)) {
            unistd::close(*number).expect("a copied table has what was in its source");
        }
    }
}

/// The address of a socket that listens, or is bound and could.
fn local_address(name: &str, socket: &TcpListener) -> Result<SocketAddr, InheritedError> {
    if SockRef::from(socket).peer_addr().is_ok() {
        let needed = "needed: Accept=no in the socket unit";
        return Err(InheritedError(format!("{name} is one connection, not a listener; {needed}")));
    }
    match socket.local_addr() {
        Ok(address) if address.port() > 0 => Ok(address),
        _ => Err(InheritedError(format!("{name} is bound to no port; needed: a TCP listener"))),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;
    use crate::host::listen::{SocketOptions, claim, listener};

    fn group(count: usize) -> (SocketAddr, Vec<(String, TcpListener)>) {
        let (address, _claim) = claim((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = || ("it".to_owned(), listener(address, &SocketOptions::default()).unwrap());
        (address, (0..count).map(|_| listener()).collect())
    }

    #[test]
    fn each_shard_gets_one_socket_for_each_address_in_whatever_order_they_come() {
        let (one, mut sockets) = group(2);
        let (other, others) = group(2);
        sockets.extend(others);
        sockets.swap(1, 2);
        let inherited = Inherited::deal(sockets).unwrap();
        assert_eq!((inherited.shards(), inherited.addresses()), (2, [one, other].as_slice()));
        for shard in inherited.split().0 {
            let addresses: Vec<_> = shard.iter().map(|socket| socket.local_addr().unwrap()).collect();
            assert_eq!(addresses, [one, other]);
        }
    }

    #[test]
    fn addresses_with_different_numbers_of_sockets_are_refused_with_both_numbers() {
        let (one, mut sockets) = group(3);
        let (other, others) = group(2);
        sockets.extend(others);
        let error = Inherited::deal(sockets).unwrap_err().to_string();
        let expected = format!("3 sockets were handed over for {one} and 2 for {other}; needed: as many for");
        assert!(error.starts_with(&expected), "{error}");
    }

    #[test]
    fn a_socket_that_shares_its_port_with_nobody_does_for_one_shard_only() {
        let alone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let copy = alone.try_clone().unwrap();
        let (name, address) = ("it".to_owned(), alone.local_addr().unwrap());
        let error = Inherited::deal(vec![(name.clone(), alone), (name.clone(), copy)]).unwrap_err();
        let expected = format!(
            "it has no SO_REUSEPORT, but 2 were for {address}; needed: ReusePort=true in the socket unit"
        );
        assert_eq!(error.to_string(), expected);
        let alone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert_eq!(Inherited::deal(vec![(name, alone)]).unwrap().shards(), 1);
    }

    #[test]
    fn a_connection_is_no_listener() {
        let (address, _sockets) = group(1);
        let connection = TcpStream::connect(address).unwrap();
        let socket: TcpListener = std::os::fd::OwnedFd::from(connection).into();
        let error = Inherited::deal(vec![("it".to_owned(), socket)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it is one connection, not a listener; needed: Accept=no in the socket unit"
        );
    }
}
