//! Where connections come from: enough source addresses that no connect has to search for a port.
//!
//! Linux tries every second port first and then scans, so the cost of a connect climbs once an
//! (address, target) pair has used half of the ephemeral range. [`CONNECTIONS_PER_SOURCE`] stays
//! under that half.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that one source address makes to one target without a port search: a quarter of the
/// default range 32768–60999. Source: measured on kernel 6.18; past 14,000 a connect scans.
pub const CONNECTIONS_PER_SOURCE: u64 = 7_000;

/// Most source addresses: 127.0.1.1 to 127.0.250.250 without the ends of a /24.
pub const SOURCES_MAX: u64 = 250 * 250;

/// How many source addresses `connections` to a target need: none but the kernel's own choice when
/// the target is not on loopback, whose addresses are not ours to invent.
pub fn sources_needed(connections: u64, target: SocketAddr) -> u64 {
    if target.ip().is_loopback() && target.is_ipv4() {
        connections.div_ceil(CONNECTIONS_PER_SOURCE).clamp(1, SOURCES_MAX)
    } else {
        0
    }
}

/// The `index`-th source address, counting from 127.0.1.1; 250 in each /24.
pub fn source_address(index: u64) -> Ipv4Addr {
    let index = index % SOURCES_MAX;
    Ipv4Addr::new(127, 0, (index / 250 + 1) as u8, (index % 250 + 1) as u8)
}

/// Starts a non-blocking connect to `target`, from `source` if there is one. The outcome arrives as
/// a writable event. `receive_bytes` sets the size of its receive buffer.
///
/// # Errors
///
/// The errno of the call that failed. `EADDRNOTAVAIL`: this source address has no port left;
/// `EMFILE`: the thread's table is full.
pub fn connect(
    target: SocketAddr,
    source: Option<Ipv4Addr>,
    receive_bytes: Option<usize>,
) -> io::Result<std::net::TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = source {
        // The port is chosen by `connect`, where the kernel knows the target, so that it is unique
        // per pair of addresses and not per source address.
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(&SocketAddr::V4(SocketAddrV4::new(source, 0)).into())?;
    }
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn source_addresses_are_distinct_loopback_hosts() {
        let all: HashSet<_> = (0..SOURCES_MAX).map(source_address).collect();
        assert_eq!(all.len() as u64, SOURCES_MAX);
        assert!(all.iter().all(|address| address.is_loopback()));
        assert!(all.iter().all(|address| !matches!(address.octets(), [.., 0 | 255])));
        assert_eq!(source_address(0), Ipv4Addr::new(127, 0, 1, 1));
        assert_eq!(source_address(250), Ipv4Addr::new(127, 0, 2, 1));
    }

    #[test]
    fn a_million_connections_need_143_sources_and_a_foreign_target_none() {
        let loopback = "127.0.0.1:8000".parse().unwrap();
        assert_eq!(sources_needed(1, loopback), 1);
        assert_eq!(sources_needed(1_000_000, loopback), 143);
        assert_eq!(sources_needed(1_000_000, "192.0.2.1:8000".parse().unwrap()), 0);
    }

    #[test]
    fn two_sources_reach_one_listener_from_their_own_addresses() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        for index in [0, 7] {
            let stream = connect(target, Some(source_address(index)), None).unwrap();
            let (_, peer) = listener.accept().unwrap();
            assert_eq!(peer, stream.local_addr().unwrap());
            assert_eq!(peer.ip(), source_address(index));
        }
    }
}
