//! A server whose descriptors have run out: it keeps serving whom it has, does not spin, and takes
//! connections again once there are descriptors.
//!
//! The limit is small and the table shared; what eats it up are idle connections to the admin port,
//! which no shard counts.

pub mod common;
pub mod hostile;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Client, Metrics, PATIENCE, Scratch};
use hostile::process::cpu_ms;
use serde_json::json;

/// RLIMIT_NOFILE of the server.
const DESCRIPTORS: usize = 64;

/// A server under `DESCRIPTORS`, killed when this is dropped.
struct Limited {
    child: Child,
    clients: SocketAddr,
    admin: SocketAddr,
    _home: Scratch,
}

impl Limited {
    fn start() -> Limited {
        let command = format!("ulimit -n {DESCRIPTORS} && exec \"$0\" \"$@\"");
        let home = Scratch::new();
        let mut child = Command::new("bash")
            .current_dir(home.path())
            .args(["-c", &command, env!("CARGO_BIN_EXE_throng"), "serve"])
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--shards", "1", "--shared-fd-table"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = |mark: &str| {
            let (_, rest) = line.split_once(mark).unwrap();
            rest[..rest.find(['/', ',']).unwrap()].parse().unwrap()
        };
        Limited { clients: address("ws://"), admin: address("http://"), child, _home: home }
    }

    fn try_client(&self) -> Option<Client> {
        let stream = dial(self.clients)?;
        let mut client = Client::upgrade(stream, "/connection/websocket", &[]).ok()?;
        client.connect(json!({}));
        Some(client)
    }

    fn cpu_ms(&self) -> u64 {
        cpu_ms(self.child.id())
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A connection with `PATIENCE`; none if it is refused.
fn dial(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Some(stream)
}

/// The metrics over an admin connection that stays open.
fn scrape(admin: &mut BufReader<TcpStream>) -> Metrics {
    admin.get_mut().write_all(b"GET /metrics HTTP/1.1\r\nHost: throng\r\n\r\n").unwrap();
    let (mut head, mut body_bytes) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let start = head.len();
        assert!(admin.read_line(&mut head).unwrap() > 0, "{head}");
        if let Some(length) = head[start..].to_ascii_lowercase().strip_prefix("content-length:") {
            body_bytes = length.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; body_bytes];
    admin.read_exact(&mut body).unwrap();
    Metrics::parse(&(head + std::str::from_utf8(&body).unwrap()))
}

#[test]
fn without_descriptors_it_serves_whom_it_has_does_not_spin_and_recovers() {
    let server = Limited::start();
    let mut admin = BufReader::new(dial(server.admin).unwrap());
    let mut served = server.try_client().unwrap();
    served.subscribe("room");
    // More than there are descriptors: some are accepted and the others wait for their turn.
    let hogs: Vec<_> = (0..DESCRIPTORS).map(|_| dial(server.admin).unwrap()).collect();
    let deadline = Instant::now() + PATIENCE;
    while scrape(&mut admin).get("throng_accept_failures_total") == 0 {
        assert!(Instant::now() < deadline, "the descriptors do not run out");
        drop(TcpStream::connect(server.clients));
    }
    // It is served, and between its messages the server sleeps.
    let (started, cpu_before) = (Instant::now(), server.cpu_ms());
    let turns_before = scrape(&mut admin).sum("throng_turns_total");
    let mut said = 0;
    let pause = Some(Duration::from_millis(100));
    while said < 20 {
        served.publish("room", json!(said));
        assert_eq!(served.next_data("room"), json!(said));
        said += 1;
        // Nothing is to come; this is how long the server has nothing to do.
        served.stream().set_read_timeout(pause).unwrap();
        assert!(served.stream().peek(&mut [0]).is_err());
        served.stream().set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let (wall_ms, cpu_ms) = (started.elapsed().as_millis() as u64, server.cpu_ms() - cpu_before);
    assert!(cpu_ms < wall_ms / 2, "{cpu_ms} ms of CPU in {wall_ms} ms");
    let turns = scrape(&mut admin).sum("throng_turns_total") - turns_before;
    assert!(turns < 200, "{turns} turns for {said} messages");
    // With descriptors free again the door opens by itself.
    drop(hogs);
    let deadline = Instant::now() + PATIENCE;
    while server.try_client().is_none() {
        assert!(Instant::now() < deadline, "no connection is taken any more");
    }
    served.publish("room", json!("all is well"));
    assert_eq!(served.next_data("room"), "all is well");
}
