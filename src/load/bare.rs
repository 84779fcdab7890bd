//! The floor's server: what the kernel asks of any server, with no WebSocket code around it.
//!
//! It is a process of its own, as `throng serve` is, because a wake-up across processes costs more
//! than one within. Shards are as throng's: a thread with a descriptor table of its own, an
//! `SO_REUSEPORT` listener with the same options, one poll, edge-triggered registration, the same
//! `recv` and `send`. A connection is its socket in a slab and nothing else.
//!
//! The protocol: a leading [`HELLO`] is answered by [`HELLO`]; a leading [`THANKS`] is dropped; whatever
//! else a read brings is sent, as it is, to every connection of the shard, one `send` each. Neither byte
//! can begin a frame. Linux treats a socket that has answered something as interactive and acknowledges
//! what it receives later and rarer, so a reader says hello, and thanks for the answer, before it is
//! counted: as every WebSocket client has by its upgrade and greeting.
//!
//! Absent on purpose: any queue. What a socket does not take whole is counted as skipped, and a run
//! that skipped one has failed.

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::signal::{SigSet, Signal};
use serde::{Deserialize, Serialize};
use slab::Slab;

use super::dialect::write_payload;
use crate::host::listen::{self, SocketOptions};
use crate::host::{descriptors, memory, socket};
use crate::protocol::client::{ClientId, ClientInfo};
use crate::protocol::push;

/// A reader's first byte, and the answer to it.
pub const HELLO: u8 = b'.';
/// A reader's second byte.
pub const THANKS: u8 = b',';

/// The listener's token; connections are numbered from 0.
const LISTENER: Token = Token(usize::MAX);
/// The shared read buffer, as a shard's.
const BUFFER_BYTES: usize = 32 * 1024;
/// Events taken per poll, as a shard's.
const EVENTS_MAX: usize = 1024;
/// Connections accepted before those that are there are looked at, as a shard's by default.
const ACCEPT_BATCH: usize = 64;

/// What the server did, printed as one line of JSON when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BareCounts {
    /// Connections accepted.
    pub accepted: u64,
    /// Times that descriptors or memory ran out; the shard then takes no more.
    pub accept_failures: u64,
    /// Sends that were taken whole.
    pub sends: u64,
    /// Sends that were not.
    pub skipped: u64,
}

#[derive(Default)]
struct Counters {
    accepted: AtomicU64,
    accept_failures: AtomicU64,
    sends: AtomicU64,
    skipped: AtomicU64,
}

impl Counters {
    fn read(&self) -> BareCounts {
        BareCounts {
            accepted: self.accepted.load(SeqCst),
            accept_failures: self.accept_failures.load(SeqCst),
            sends: self.sends.load(SeqCst),
            skipped: self.skipped.load(SeqCst),
        }
    }
}

/// Appends what throng delivers for a publish of `payload_bytes` with number `sequence` to the room
/// `bench-0`, by throng's own encoder, so that both send the same bytes.
pub fn delivery(out: &mut Vec<u8>, sequence: u64, payload_bytes: usize) {
    let mut data = Vec::with_capacity(payload_bytes);
    write_payload(&mut data, sequence, payload_bytes);
    // The publisher is told to members: an anonymous client, and any id is as long as another.
    let publisher = ClientInfo { user: "", client: ClientId::new([0; 16]), conn_info: None, chan_info: None };
    let mut body = Vec::new();
    push::body(&mut body, &String::from_utf8_lossy(&data), Some(&publisher), None);
    push::publication(out, "\"bench-0\"", &body, 0);
}

/// Serves on a free port of 127.0.0.1 with `shards` threads until SIGTERM or SIGINT, then prints
/// [`BareCounts`].
///
/// # Errors
///
/// A listener, a thread or a descriptor table of its own was not to be had: a sentence.
pub fn run(shards: usize) -> Result<(), String> {
    let said = |error: io::Error| format!("the bare server cannot start: {error}");
    memory::fix_mmap_threshold();
    descriptors::raise_limit().map_err(said)?;
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    // Before the threads, which inherit it: the signals wait for this one.
    signals.thread_block().map_err(|error| said(error.into()))?;
    let counters = Arc::new(Counters::default());
    let tables_copied = Arc::new(Barrier::new(shards + 1));
    let (opened, openings) = mpsc::channel();
    let orders: Vec<_> = (0..shards)
        .map(|index| {
            let (order, address) = mpsc::channel();
            let (counters, tables_copied) = (Arc::clone(&counters), Arc::clone(&tables_copied));
            let opened = opened.clone();
            let stand = move || {
                let unshared = descriptors::unshare_table();
                tables_copied.wait();
                let Ok(address) = address.recv() else { return };
                let shard = unshared.and_then(|()| Shard::open(address, counters));
                let (result, shard) =
                    shard.map_or_else(|error| (Err(error), None), |shard| (Ok(()), Some(shard)));
                // Nobody listens any more when the process is ending already.
                let _ = opened.send(result);
                shard.map(Shard::run).unwrap_or_default();
            };
            thread::Builder::new().name(format!("bare-{index}")).spawn(stand).map(|_| order)
        })
        .collect::<io::Result<_>>()
        .map_err(said)?;
    tables_copied.wait();
    let (address, _claim) = listen::claim(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).map_err(said)?;
    for order in &orders {
        order.send(address).map_err(|_| "a thread of the bare server is gone".to_owned())?;
    }
    for _ in &orders {
        openings.recv().map_err(|_| "a thread of the bare server is gone".to_owned())?.map_err(said)?;
    }
    say(&format!("throng bare ready: clients ws://{address}/, {shards} shards")).map_err(said)?;
    signals.wait().map_err(|error| said(error.into()))?;
    say(&serde_json::to_string(&counters.read()).map_err(|error| error.to_string())?).map_err(said)
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

struct Shard {
    poll: Poll,
    /// Closed for good once descriptors ran out: the kernel then hands connections to other shards.
    listener: Option<TcpListener>,
    connections: Slab<TcpStream>,
    buffer: Box<[u8]>,
    counters: Arc<Counters>,
}

impl Shard {
    fn open(address: SocketAddr, counters: Arc<Counters>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::from_std(listen::listener(address, &SocketOptions::default())?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let buffer = vec![0; BUFFER_BYTES].into();
        Ok(Self { poll, listener: Some(listener), connections: Slab::new(), buffer, counters })
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut may_wait = false;
        loop {
            let timeout = may_wait.then_some(std::time::Duration::ZERO);
            if let Err(error) = self.poll.poll(&mut events, timeout) {
                assert!(
                    error.kind() == ErrorKind::Interrupted,
                    "epoll_wait fails only for our faults: {error}"
                );
                continue;
            }
            for event in &events {
                if event.token() == LISTENER {
                    may_wait = true;
                } else if let Err(_gone) = self.read(event.token().0, event.is_read_closed()) {
                    // Its socket is closed with it, and no event of this batch can name the next in its place.
                    self.connections.try_remove(event.token().0);
                }
            }
            // After the events: a slot that became free in this batch is given away only now.
            may_wait = may_wait && self.accept();
        }
    }

    /// Accepts up to a batch; returns whether more may wait.
    fn accept(&mut self) -> bool {
        for _ in 0..ACCEPT_BATCH {
            let Some(listener) = &self.listener else { return false };
            let admitted = listener.accept().and_then(|(socket, _)| {
                let socket = TcpStream::from(socket);
                let entry = self.connections.vacant_entry();
                let registry = self.poll.registry();
                registry.register(
                    &mut SourceFd(&socket.as_raw_fd()),
                    Token(entry.key()),
                    Interest::READABLE,
                )?;
                entry.insert(socket);
                Ok(())
            });
            match admitted {
                Ok(()) => self.counters.accepted.fetch_add(1, SeqCst),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if listen::ran_out(&error) => {
                    self.listener = None;
                    self.counters.accept_failures.fetch_add(1, SeqCst)
                }
                // It was gone before it was accepted.
                Err(_) => 0,
            };
        }
        true
    }

    /// Reads connection `key` until it is empty and does what the protocol says. An error is the end of
    /// the connection.
    fn read(&mut self, key: usize, to_the_end: bool) -> io::Result<()> {
        loop {
            let Some(peer) = self.connections.get(key) else { return Ok(()) };
            let count = match socket::receive(peer, &mut self.buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let mut bytes = &self.buffer[..count];
            while let [first @ (HELLO | THANKS), rest @ ..] = bytes {
                if *first == HELLO {
                    socket::send(peer, &[HELLO])?;
                }
                bytes = rest;
            }
            if !bytes.is_empty() {
                broadcast(&self.connections, bytes, &self.counters);
            }
            if count < BUFFER_BYTES && !to_the_end {
                return Ok(());
            }
        }
    }
}

/// One send for each connection. One that is gone is found by its own event.
fn broadcast(connections: &Slab<TcpStream>, bytes: &[u8], counters: &Counters) {
    let (mut sends, mut skipped) = (0, 0);
    for (_, peer) in connections {
        match socket::send(peer, bytes) {
            Ok(sent) if sent == bytes.len() => sends += 1,
            Ok(_) => skipped += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => skipped += 1,
            Err(_) => {}
        }
    }
    counters.sends.fetch_add(sends, SeqCst);
    counters.skipped.fetch_add(skipped, SeqCst);
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_delivery_is_the_push_that_members_of_the_room_count() {
        let mut text = Vec::new();
        delivery(&mut text, 7, 64);
        assert!(text.starts_with(br#"{"push":{"channel":"bench-0","pub":{"data":{"seq":"0000000007x"#));
        let around = r#"{"push":{"channel":"bench-0","pub":{"data":,"info":{"user":"","client":""}}}}"#;
        assert_eq!(text.len(), around.len() + 36 + 64);
    }

    #[test]
    fn hello_is_answered_thanks_are_not_and_the_rest_goes_to_everybody() {
        let (address, _claim) = listen::claim(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let counters = Arc::new(Counters::default());
        let shard = Shard::open(address, Arc::clone(&counters)).unwrap();
        // It ends with the test's process; a test has nobody who could wait for it.
        thread::spawn(move || shard.run());
        let mut clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut answer = [0; 4];
        for client in &mut clients {
            client.write_all(&[HELLO]).unwrap();
            client.read_exact(&mut answer[..1]).unwrap();
            assert_eq!(answer[0], HELLO);
        }
        clients[0].write_all(b",\x81\x02hi").unwrap();
        for client in &mut clients {
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"\x81\x02hi");
        }
        let counts = counters.read();
        assert_eq!((counts.accepted, counts.skipped, counts.accept_failures), (3, 0, 0));
    }
}
