//! Sending and receiving on a connection's socket: one system call each and nothing around it.
//!
//! libc's `send`, `writev` and `recv` are cancellation points: in a process with threads each call
//! costs two atomic operations more than the system call. rustix makes the system call itself.
//!
//! `WouldBlock` is no failure: it says that the socket is full, or empty.

use std::io::{self, IoSlice};
use std::net::TcpStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send as send_bytes, sendmsg};

/// A peer that is gone is an error of the call, not a signal to the process.
const FLAGS: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// Sends the front of `bytes`; returns how many the kernel took.
///
/// # Errors
///
/// `WouldBlock`, or the connection is gone.
pub fn send(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(send_bytes(socket, bytes, FLAGS)?)
}

/// Sends the front of `slices`, at most 1,024 of them (`UIO_MAXIOV`), in one write.
///
/// # Errors
///
/// As `send`.
pub fn send_vectored(socket: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    Ok(sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), FLAGS)?)
}

/// Whether the peer has closed its side, or the connection is gone. `false` if the kernel does not say.
pub fn has_hung_up(socket: &TcpStream) -> bool {
    let mut polled = [PollFd::new(socket, PollFlags::RDHUP)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&at_once)).is_ok()
        && polled[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
}

/// Receives into the front of `buffer`; 0 is the end of what the peer sends.
///
/// # Errors
///
/// As `send`.
pub fn receive(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let (received, _) = recv(socket, buffer, RecvFlags::DONTWAIT)?;
    Ok(received)
}
