//! A server's life: it says when it is ready, serves until it is told to end, closes what it has, and
//! says why if it cannot start.

pub mod common;
pub mod hostile;

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Instant;

use common::{PATIENCE, Scratch, Server};
use hostile::{Neighbour, Raw, close, text};

/// Whether the server still takes connections: one that is refused, or reset unserved, is no.
fn takes_connections(server: &Server) -> bool {
    let Ok(stream) = TcpStream::connect_timeout(&server.address(), PATIENCE) else { return false };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut raw = Raw::over(stream);
    // A garbage byte is answered, so it does not wait for a deadline.
    raw.try_send(b"\0") && raw.stream().read(&mut [0; 1]).is_ok_and(|count| count == 1)
}

/// Asks again and again until `is_so`.
#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        std::thread::yield_now();
    }
}

/// Starts a server that must not come up; returns what it says on stderr.
#[track_caller]
fn fails_to_start(arguments: &[&str]) -> String {
    let ports = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--shards", "2"];
    let wanted = |option: &&str| !arguments.contains(option);
    let defaults = ports.chunks(2).filter(|pair| wanted(&pair[0])).flatten();
    let home = Scratch::new();
    let output = Command::new(env!("CARGO_BIN_EXE_throng"))
        .current_dir(home.path())
        .arg("serve")
        .args(defaults)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(output.stdout.is_empty(), "a server that failed called itself ready");
    error
}

#[test]
fn the_readiness_line_is_the_only_output_and_names_addresses_that_serve() {
    let arguments = ["--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--admin", "127.0.0.1:0"];
    let home = Scratch::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_throng"))
        .current_dir(home.path())
        .args(["serve", "--shards", "2"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let mut words = line.split(' ');
    let start: Vec<_> = words.by_ref().take(3).collect();
    assert_eq!(start, ["throng", "ready:", "clients"], "{line}");
    for _ in 0..2 {
        let url = words.next().unwrap().trim_end_matches(',').strip_prefix("ws://").unwrap();
        let address = url.strip_suffix("/connection/websocket").unwrap();
        let mut raw = Raw::over(TcpStream::connect(address).unwrap());
        raw.connect();
    }
    assert_eq!(words.next(), Some("admin"), "{line}");
    assert!(words.next().is_some_and(|url| url.starts_with("http://127.0.0.1:")), "{line}");
    assert_eq!(words.collect::<Vec<_>>(), ["2", "shards\n"], "{line}");
    let signal = Command::new("sh").args(["-c", "kill -s INT $0", &child.id().to_string()]).status();
    assert!(signal.unwrap().success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!((rest.as_str(), child.wait().unwrap().code()), ("", Some(0)));
}

#[test]
fn sigterm_closes_every_client_with_3001_spread_over_the_drain_and_exits_0() {
    const CLIENTS: u64 = 20;
    let mut server = Server::start("drain_ms = 2000");
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Raw::connected(&server)).collect();
    assert!(server.admin_get("/readyz").starts_with("HTTP/1.1 200 "));
    server.signal("TERM");
    until("somebody was closed", || server.metrics().closes(3001) > 0);
    assert!(server.metrics().closes(3001) < CLIENTS, "all were closed at once");
    assert!(!takes_connections(&server));
    assert!(server.admin_get("/readyz").starts_with("HTTP/1.1 503 "));
    assert!(server.admin_get("/healthz").starts_with("HTTP/1.1 200 "));
    for raw in &mut clients {
        assert_eq!(raw.expect_close(3001), "shutdown");
        raw.send(close(3001));
        raw.expect_end();
    }
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn clients_are_served_until_their_own_close_comes() {
    let mut server = Server::start("drain_ms = 4000");
    let mut clients: Vec<_> = (0..10).map(|_| Raw::connected(&server)).collect();
    server.signal("INT");
    until("somebody was closed", || server.metrics().closes(3001) > 0);
    for raw in &mut clients {
        raw.send(text(r#"{"id":2,"subscribe":{"channel":"late"}}"#));
    }
    // Who is closed when is random.
    let mut served = 0;
    for raw in &mut clients {
        match raw.next_frame() {
            Some((1, reply)) => {
                assert_eq!(reply, br#"{"id":2,"subscribe":{}}"#);
                assert_eq!(raw.expect_close(3001), "shutdown");
                served += 1;
            }
            Some((8, _)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(served > 0, "all were closed at once");
    drop(clients);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut server = Server::with_shards("drain_ms = 4000000", 2);
    let mut clients: Vec<_> = (0..4).map(|_| Raw::connected(&server)).collect();
    server.signal("TERM");
    until("draining", || server.admin_get("/readyz").starts_with("HTTP/1.1 503 "));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    clients.iter_mut().for_each(Raw::expect_end);
}

#[test]
fn without_connections_a_drain_takes_no_time() {
    let mut server = Server::with_shards("drain_ms = 4000000", 3);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn neither_silent_nor_unfinished_clients_hold_up_the_end() {
    let mut server = Server::start("drain_ms = 0\nlimits.close_timeout_ms = 200");
    let mut silent: Vec<_> = (0..5).map(|_| Raw::connected(&server)).collect();
    let mut unfinished = Raw::dial(&server);
    unfinished.send("GET /connection");
    let mut refused = Raw::dial(&server);
    refused.send("\0");
    Neighbour::of(&server).is_served();
    server.signal("TERM");
    for raw in &mut silent {
        assert_eq!(raw.expect_close(3001), "shutdown");
    }
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut unfinished.stream(), &mut answer).expect("an answer and the end");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("The server is shutting down"), "{answer}");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_taken_or_foreign_address_is_named_with_its_option_and_a_remedy() {
    let server = Server::start("");
    let (clients, admin) = (server.address().to_string(), server.admin().to_string());
    for (option, address, what) in [
        ("--listen", &clients, "clients"),
        ("--listen", &admin, "clients"),
        ("--admin", &clients, "admin"),
        ("--admin", &admin, "admin"),
    ] {
        let error = fails_to_start(&[option, address]);
        assert!(error.contains(&format!("error: cannot listen on {address} for {what}: ")), "{error}");
        assert!(error.contains("another process listens there"), "{error}");
        assert!(error.contains(option), "{error}");
    }
    // An address for documentation (RFC 5737), which no machine has.
    for option in ["--listen", "--admin"] {
        let error = fails_to_start(&[option, "192.0.2.1:8000"]);
        assert!(error.contains("this machine has no such address"), "{error}");
    }
    Neighbour::of(&server).is_served();
}

#[test]
fn a_data_directory_belongs_to_one_server() {
    let home = Scratch::new();
    let path = home.path().to_str().unwrap();
    let mut server = Server::with_arguments("", &["--data", path]);
    let error = fails_to_start(&["--data", path]);
    let expected = format!("error: the data directory {path} is held by process {}; ", server.pid());
    assert!(error.contains(&expected), "{error}");
    server.signal("TERM");
    assert!(server.wait().success());
    drop(Server::with_arguments("", &["--data", path]));
}

#[test]
fn a_server_keeps_its_data_where_it_is_started_unless_it_is_told_where() {
    let home = Scratch::new();
    let started = |arguments: &[&str]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_throng"))
            .current_dir(home.path())
            .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--shards", "1"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(line.starts_with("throng ready: "), "{line:?}");
    };
    started(&["--data", "elsewhere"]);
    assert!(home.path().join("elsewhere").is_dir() && !home.path().join("throng-data").exists());
    started(&[]);
    assert!(home.path().join("throng-data").is_dir());
}

#[test]
fn a_server_started_where_nothing_can_be_written_says_what_to_do() {
    // Nobody may make a directory in /proc, not even root.
    let output = Command::new(env!("CARGO_BIN_EXE_throng"))
        .current_dir("/proc")
        .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), b"".as_slice()), "{error}");
    let start = "error: cannot create the data directory ./throng-data (from /proc): ";
    let end = "; needed: a directory that this user may write; name one with `data` or --data\n";
    assert!(error.contains(start) && error.ends_with(end), "{error}");
}

#[test]
fn a_full_shard_shuts_its_door_and_opens_it_again_below_the_watermark() {
    let server = Server::start("limits.connections_max = 10");
    let listens = |wanted: u64| {
        server.wait_for("the door", |metrics| metrics.sum("throng_listening") == wanted);
    };
    let mut neighbour = Neighbour::of(&server);
    let mut others: Vec<_> = (0..9).map(|_| Raw::connected(&server)).collect();
    for _ in 0..2 {
        // The eleventh finds the shard full.
        assert!(!takes_connections(&server));
        listens(0);
        assert!(!takes_connections(&server));
        neighbour.is_served();
        // One place is free, which is no reason to open yet; then a second.
        others.truncate(7);
        listens(1);
        while others.len() < 9 {
            others.push(Raw::connected(&server));
        }
        assert_eq!(server.metrics().sum("throng_connections"), 10);
    }
}

#[test]
fn a_connection_that_is_refused_or_unfinished_counts_until_it_is_gone() {
    let server = Server::start("limits.connections_max = 2\nlimits.upgrade_timeout_ms = 300");
    let idle: Vec<_> = (0..2).map(|_| Raw::dial(&server)).collect();
    server.wait_for("both accepted", |metrics| metrics.sum("throng_connections") == 2);
    assert!(!takes_connections(&server));
    // Their deadline frees the places, not their good will.
    for raw in idle {
        let mut answer = String::new();
        raw.stream().read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    until("a free place", || takes_connections(&server));
}
