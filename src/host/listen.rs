//! Listening sockets, with every option that accepted sockets shall have.
//!
//! A socket can stop listening and listen again (`suspend`, `resume`): its address and its options stay.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::errno::Errno;
use serde::Deserialize;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Time between keep-alive probes that are not answered. The kernel's own, 75 s and 9 probes, finds a dead
/// peer 11 minutes after the first probe (tcp(7)).
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Probes without an answer after which a peer is dead.
const KEEPALIVE_PROBES: u32 = 3;

/// Options set once on each listener; Linux copies them to every socket it accepts.
/// Source: Linux `tcp_create_openreq_child`, which clones the listening socket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SocketOptions {
    /// `SO_SNDBUF`, 0 for the kernel's own tuning. Linux doubles it for bookkeeping (socket(7)). The
    /// default bounds what a reader that stalls pins; docs/PERFORMANCE.md has what it costs.
    pub send_buffer_bytes: u32,
    /// `SO_RCVBUF`, 0 for the kernel's own tuning. Linux doubles it for bookkeeping (socket(7)).
    pub receive_buffer_bytes: u32,
    /// Connections that may wait to be accepted, per shard; the kernel caps it at `net.core.somaxconn`.
    pub listen_backlog: u32,
    /// `TCP_DEFER_ACCEPT` in seconds, 0 for off: a connection is accepted once its request is there.
    pub defer_accept_s: u32,
    /// `TCP_USER_TIMEOUT` in ms, 0 for the kernel's own: how long sent bytes may stay unacknowledged.
    pub user_timeout_ms: u32,
    /// `SO_KEEPALIVE` and `TCP_KEEPIDLE` in seconds, 0 for off: pings make it unnecessary.
    pub keepalive_s: u32,
    /// `TCP_NOTSENT_LOWAT` in bytes, 0 for the kernel's own.
    pub notsent_lowat_bytes: u32,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions {
            send_buffer_bytes: 64 * 1024,
            receive_buffer_bytes: 0,
            listen_backlog: 4096,
            defer_accept_s: 0,
            user_timeout_ms: 0,
            keepalive_s: 0,
            notsent_lowat_bytes: 0,
        }
    }
}

/// Whether `error` says that descriptors or memory ran out: trying again at once would spin.
pub fn ran_out(error: &io::Error) -> bool {
    let exhausted = [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOBUFS, Errno::ENOSPC];
    error.raw_os_error().is_some_and(|code| exhausted.contains(&Errno::from_raw(code)))
}

/// The listening sockets of one shard, one for each address.
#[derive(Debug)]
pub struct Listeners {
    /// They listen and do not block.
    pub sockets: Vec<TcpListener>,
    /// Whoever started the process has copies of them, and keeps them when it ends.
    pub are_inherited: bool,
}

impl Listeners {
    /// Opens a `SO_REUSEPORT` listener on each address, whose port is known, with `options`, which
    /// Linux copies to every socket that it accepts.
    ///
    /// # Errors
    ///
    /// An address is not this machine's, its port is below 1024 without the right to it, or is held
    /// by a socket without `SO_REUSEPORT` or of another user.
    pub fn open(addresses: &[SocketAddr], options: &SocketOptions) -> io::Result<Self> {
        let sockets = addresses.iter().map(|address| listener(*address, options));
        Ok(Listeners { sockets: sockets.collect::<io::Result<_>>()?, are_inherited: false })
    }

    /// Takes over sockets that whoever started the process has bound, and gives them `options`: what
    /// is 0 there stays as it came.
    ///
    /// # Errors
    ///
    /// One is no TCP socket, or cannot listen.
    pub fn inherit(sockets: Vec<TcpListener>, options: &SocketOptions) -> io::Result<Self> {
        for socket in &sockets {
            socket.set_nonblocking(true)?;
            apply(&SockRef::from(socket), options)?;
            // It listens already with a backlog that is not ours, or does not because a server that
            // was killed had suspended it.
            resume(socket, options)?;
        }
        Ok(Listeners { sockets, are_inherited: true })
    }
}

/// A non-blocking `SO_REUSEPORT` listener on `address` with `options`, which Linux copies to every
/// socket that it accepts.
///
/// # Errors
///
/// As `Listeners::open`.
pub fn listener(address: SocketAddr, options: &SocketOptions) -> io::Result<TcpListener> {
    let socket = bound(address, true)?;
    apply(&socket, options)?;
    resume(&socket, options)?;
    Ok(socket.into())
}

/// Makes a bound socket listen, for the first time or again after `suspend`.
///
/// # Errors
///
/// Memory ran out, or another socket listens there alone.
pub fn resume(socket: &impl AsFd, options: &SocketOptions) -> io::Result<()> {
    SockRef::from(socket).listen(i32::try_from(options.listen_backlog).unwrap_or(i32::MAX))
}

/// Takes a listening socket out of listening, also for copies of it in other processes. New
/// connections go to other sockets of its `SO_REUSEPORT` group, or are refused if there is none; those
/// that wait in its queue are reset, or handed to the group with `net.ipv4.tcp_migrate_req=1`.
/// Source: Linux `inet_shutdown`, `tcp_disconnect` and `inet_csk_listen_stop`.
///
/// # Errors
///
/// It does not listen.
pub fn suspend(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).shutdown(Shutdown::Read)
}

/// Whether `error`, of an accept, says that the socket does not listen (accept(2)).
pub fn is_suspended(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EINVAL as i32)
}

/// Finds the port that `address` stands for and makes sure that nobody else listens there: with
/// `SO_REUSEPORT` alone two servers of one user would silently share a port. Keep the returned
/// socket until the real listeners are open; it holds a port that the kernel chose.
///
/// # Errors
///
/// As `listener`, and `AddrInUse` if any other socket listens on the address.
pub fn claim(address: SocketAddr) -> io::Result<(SocketAddr, Option<Socket>)> {
    if address.port() == 0 {
        return share(address);
    }
    bound(address, false)?;
    Ok((address, None))
}

/// The same for whoever shares `address` with other servers of its user on purpose: of a port that is given
/// it only sees that it can be bound.
///
/// # Errors
///
/// As `listener`: `AddrInUse` if a socket of another user, or one without `SO_REUSEPORT`, listens there.
pub fn share(address: SocketAddr) -> io::Result<(SocketAddr, Option<Socket>)> {
    let socket = bound(address, true)?;
    let address = socket.local_addr()?.as_socket().expect("an inet socket has an inet address");
    Ok((address, Some(socket)))
}

fn bound(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn apply(socket: &Socket, options: &SocketOptions) -> io::Result<()> {
    // Frames leave when they are written: the shard has coalesced what could be coalesced.
    socket.set_tcp_nodelay(true)?;
    if options.send_buffer_bytes > 0 {
        socket.set_send_buffer_size(options.send_buffer_bytes as usize)?;
    }
    if options.receive_buffer_bytes > 0 {
        socket.set_recv_buffer_size(options.receive_buffer_bytes as usize)?;
    }
    if options.keepalive_s > 0 {
        let idle = Duration::from_secs(options.keepalive_s.into());
        let keepalive = TcpKeepalive::new().with_time(idle);
        let keepalive = keepalive.with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES);
        socket.set_tcp_keepalive(&keepalive)?;
    }
    if options.user_timeout_ms > 0 {
        socket.set_tcp_user_timeout(Some(Duration::from_millis(options.user_timeout_ms.into())))?;
    }
    if options.defer_accept_s > 0 {
        defer_accept(socket, options.defer_accept_s)?;
    }
    if options.notsent_lowat_bytes > 0 {
        socket.set_tcp_notsent_lowat(options.notsent_lowat_bytes)?;
    }
    Ok(())
}

/// Sets `TCP_DEFER_ACCEPT` (tcp(7)), which neither socket2 nor nix has.
#[expect(unsafe_code, reason = "setsockopt(2) for an option without a safe wrapper")]
fn defer_accept(socket: &Socket, seconds: u32) -> io::Result<()> {
    // SAFETY: the descriptor is open while `socket` is borrowed, and the kernel reads exactly the
    // four bytes of `seconds` that are given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn accepted_sockets_inherit_every_option_of_their_listener() {
        let options = SocketOptions {
            send_buffer_bytes: 20_000,
            receive_buffer_bytes: 10_000,
            listen_backlog: 16,
            defer_accept_s: 3,
            user_timeout_ms: 7_000,
            keepalive_s: 90,
            notsent_lowat_bytes: 4_096,
        };
        let listener = listener(LOOPBACK, &options).unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let error = listener.accept().expect_err("accepting is deferred until data comes");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        std::io::Write::write_all(&mut client, b"data").unwrap();
        listener.set_nonblocking(false).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap());
        assert_eq!(accepted.send_buffer_size().unwrap(), 40_000);
        assert_eq!(accepted.recv_buffer_size().unwrap(), 20_000);
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7)));
        assert!(accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), Duration::from_secs(90));
        assert_eq!(accepted.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), KEEPALIVE_PROBES);
        assert_eq!(accepted.tcp_notsent_lowat().unwrap(), 4_096);
    }

    #[test]
    fn two_shards_share_a_port_that_a_claim_found_free() {
        let (address, claimed) = claim(LOOPBACK).unwrap();
        assert_ne!(address.port(), 0);
        let options = SocketOptions::default();
        let _shards = [listener(address, &options).unwrap(), listener(address, &options).unwrap()];
        drop(claimed);
        let error = claim(address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        // Who shares on purpose may.
        assert_eq!(share(address).unwrap().0, address);
    }

    /// As many listeners on one port as there are shards, and the port.
    fn group<const N: usize>(address: SocketAddr, options: &SocketOptions) -> (SocketAddr, [TcpListener; N]) {
        let (address, _claimed) = claim(address).unwrap();
        (address, std::array::from_fn(|_| listener(address, options).unwrap()))
    }

    #[test]
    fn whoever_connects_to_a_group_with_a_suspended_socket_gets_to_another() {
        for address in [LOOPBACK, "[::1]:0".parse().unwrap()] {
            let (address, [mut one, mut other]) = group(address, &SocketOptions::default());
            for _ in 0..3 {
                suspend(&one).unwrap();
                let clients: Vec<_> =
                    (0..20).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
                assert!((0..20).all(|_| other.accept().is_ok()));
                drop(clients);
                resume(&one, &SocketOptions::default()).unwrap();
                std::mem::swap(&mut one, &mut other);
            }
        }
    }

    #[test]
    fn a_suspended_socket_refuses_until_it_is_resumed_and_keeps_every_option() {
        let options =
            SocketOptions { notsent_lowat_bytes: 4_096, user_timeout_ms: 7_000, ..Default::default() };
        let (address, [listener]) = group(LOOPBACK, &options);
        let copy = listener.try_clone().unwrap();
        suspend(&listener).unwrap();
        let refused = || std::net::TcpStream::connect(address).unwrap_err().kind();
        assert_eq!(refused(), io::ErrorKind::ConnectionRefused);
        assert_eq!(suspend(&copy).unwrap_err().kind(), io::ErrorKind::NotConnected);
        resume(&copy, &options).unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7)));
        assert_eq!(accepted.tcp_notsent_lowat().unwrap(), 4_096);
        assert_eq!(accepted.send_buffer_size().unwrap(), 2 * options.send_buffer_bytes as usize);
        assert!(accepted.tcp_nodelay().unwrap());
    }

    #[test]
    fn inherited_sockets_get_our_options_and_listen_even_if_they_did_not() {
        let options = SocketOptions { send_buffer_bytes: 20_000, ..Default::default() };
        let (address, [given]) = group(LOOPBACK, &SocketOptions::default());
        suspend(&given).unwrap();
        let listeners = Listeners::inherit(vec![given], &options).unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        let (accepted, _) = listeners.sockets[0].accept().unwrap();
        assert_eq!(SockRef::from(&accepted).send_buffer_size().unwrap(), 40_000);
    }

    #[test]
    fn only_exhaustion_counts_as_having_run_out() {
        assert!(ran_out(&io::Error::from_raw_os_error(libc::EMFILE)));
        assert!(!ran_out(&io::Error::from_raw_os_error(libc::ECONNABORTED)));
    }
}
