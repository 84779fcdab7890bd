//! A panic in a shard: the process ends with a message, so that there is no half-dead server.

pub mod common;
pub mod hostile;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use common::PATIENCE;
use hostile::{Raw, UPGRADE, text};
use throng::conn::{CloseReason, Key};
use throng::control::server;
use throng::host::listen::{self, Listeners};
use throng::shard::{Io, Seat, Service, Settings, Shard, Stats};
use throng::wire::Request;

/// Set for the process that is to panic.
const CHILD: &str = "THRONG_TEST_PANICS";

/// A service with a bug.
struct Faulty;

impl Service for Faulty {
    type Peer = ();
    type Event = ();

    fn opened(&mut self, _io: &mut Io<()>, _key: Key, _request: &Request<'_>) {}

    fn message(&mut self, _io: &mut Io<()>, _key: Key, _text: bool, payload: &mut [u8]) {
        panic!("the service cannot stand {}", payload.len());
    }

    fn closed(&mut self, _io: &mut Io<()>, _key: Key, _reason: CloseReason) {}

    fn event(&mut self, _io: &mut Io<()>, (): ()) {}
}

/// Runs a shard of `Faulty` and sends it a message. Returns only if the process outlives that.
fn panic_in_a_shard() {
    server::end_on_panic();
    let (address, _claim) = listen::claim(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let (seat, _inbox) = Seat::new(1024).unwrap();
    let settings = Settings::default();
    let listeners = Listeners::open(&[address], &settings.socket).unwrap();
    let shard = Shard::open(seat, listeners, settings, Arc::new(Stats::default()), Faulty);
    let shard = shard.unwrap();
    let shard = thread::Builder::new().name("shard-0".to_owned()).spawn(move || shard.run()).unwrap();
    let mut raw = Raw::over(TcpStream::connect(address).unwrap());
    raw.send([UPGRADE.as_bytes(), &text("seven..")].concat());
    drop(shard.join());
    // The shard is gone, and the process still here: so it would be for ever. The parent sees code 0.
    thread::park_timeout(PATIENCE);
}

#[test]
fn a_panic_in_a_shard_ends_the_process_with_a_message() {
    if std::env::var_os(CHILD).is_some() {
        return panic_in_a_shard();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_panic_in_a_shard_ends_the_process_with_a_message", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(101), "{error}");
    assert!(error.contains("the service cannot stand 7"), "{error}");
    assert!(error.contains("error: thread `shard-0` of throng panicked; the process ends"), "{error}");
    // The test runner would have printed its own verdict if it had come back to it.
    assert!(!String::from_utf8(output.stdout).unwrap().contains("test result"), "the process lived on");
}
