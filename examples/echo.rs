//! A raw WebSocket echo server on throng's library: every message comes back as it was sent.
//!
//! Shows how little a service of one's own needs, and lets conformance suites judge `shard`, `conn`
//! and `wire` without the client protocol (`tests/conformance.rs` does).
//!
//!     cargo run --release --example echo -- --listen 127.0.0.1:9001

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use clap::Parser;
use throng::conn::{CloseReason, Key};
use throng::host::descriptors;
use throng::host::listen::{self, Listeners};
use throng::shard::settings::{Origins, Settings};
use throng::shard::{Io, Seat, Service, Shard, Stats};
use throng::wire::{Data, OpCode, Request};

/// Longest message that is echoed; the sum of what waits for one slow client is bounded by twice that.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Echoes what WebSocket clients send.
#[derive(Debug, Parser)]
struct Arguments {
    /// Address to listen on; port 0 lets the kernel choose.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
}

/// Sends every message back to whom it came from.
#[derive(Debug)]
struct Echo;

impl Service for Echo {
    type Peer = ();
    type Event = ();

    fn opened(&mut self, _io: &mut Io<()>, _key: Key, _request: &Request<'_>) {}

    fn message(&mut self, io: &mut Io<()>, key: Key, text: bool, payload: &mut [u8]) {
        let kind = if text { Data::Text } else { Data::Binary };
        io.send(key, OpCode::Data(kind), payload);
    }

    fn closed(&mut self, _io: &mut Io<()>, _key: Key, _reason: CloseReason) {}

    fn event(&mut self, _io: &mut Io<()>, _event: ()) {}
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    descriptors::raise_limit()?;
    let (address, _claim) = listen::claim(arguments.listen)?;
    let settings = Settings {
        origins: Origins::Matching(vec!["*".to_owned()]),
        message_bytes_max: MESSAGE_BYTES_MAX,
        backlog_bytes_max: 2 * MESSAGE_BYTES_MAX,
        backlog_total_bytes_max: 8 * MESSAGE_BYTES_MAX,
        ..Settings::default()
    };
    let shards = (0..thread::available_parallelism()?.get()).map(|_| {
        // Nothing is ever sent to these shards from outside, so their inboxes are left unused.
        let (seat, _inbox) = Seat::new(settings.inbox_bytes_max)?;
        Shard::open(
            seat,
            Listeners::open(&[address], &settings.socket)?,
            settings.clone(),
            Arc::new(Stats::default()),
            Echo,
        )
    });
    let shards = shards.collect::<io::Result<Vec<_>>>()?;
    println!("echo ready: ws://{address}/");
    thread::scope(|scope| {
        let threads: Vec<_> = shards.into_iter().map(|shard| scope.spawn(|| shard.run())).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a shard panicked"))
    })
}
