//! Sockets that are handed to the server, as systemd does: each shard has one of its own, a full shard
//! leaves them to the others, and who waits in them is never lost by a restart.
//!
//! The test is the service manager: it opens the sockets and keeps them. A child gets only its three
//! standard descriptors without a race against other tests, so two sockets come as stdin and stderr,
//! and a shell puts them where the protocol wants them (sd_listen_fds(3)).

pub mod common;
pub mod hostile;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use common::server::LOG;
use common::steer::steer;
use common::{Client, PATIENCE, Scratch, Server};
use hostile::Raw;
use serde_json::json;
use throng::host::listen::{SocketOptions, claim, listener};

/// Two sockets for one address.
struct Sockets {
    address: SocketAddr,
    pair: [TcpListener; 2],
}

impl Sockets {
    fn new() -> Sockets {
        let (address, _claim) = claim((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let open = || listener(address, &SocketOptions::default()).unwrap();
        Sockets { address, pair: [open(), open()] }
    }

    /// A server that was given both.
    fn serve(&self, config: &str, arguments: &[&str]) -> Server {
        let home = Scratch::new();
        let [one, other] = &self.pair;
        let command =
            hand_over(&home, one.try_clone().unwrap(), other.try_clone().unwrap(), config, arguments);
        Server::launch(command, home)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

/// A command that becomes a server with the two descriptors handed over. Port 0 in `listen` would be
/// told from theirs.
fn hand_over(
    home: &Scratch,
    one: impl Into<OwnedFd>,
    other: impl Into<OwnedFd>,
    config: &str,
    arguments: &[&str],
) -> Command {
    let place = format!("exec 3<&0 4<&2 </dev/null 2>>{LOG}; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$0\" \"$@\"");
    let mut command = Command::new("bash");
    command.current_dir(home.path()).args(["-c", &place, env!("CARGO_BIN_EXE_throng")]);
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--config"]);
    command.arg(home.write("throng.toml", config)).args(arguments);
    command.stdin(Stdio::from(one.into())).stderr(Stdio::from(other.into()));
    command.env("LISTEN_FDNAMES", "clients:clients");
    command
}

/// What a server says that does not start.
#[track_caller]
fn refused(one: impl Into<OwnedFd>, other: impl Into<OwnedFd>, arguments: &[&str]) -> String {
    let home = Scratch::new();
    let output = hand_over(&home, one, other, "", arguments).output().unwrap();
    let error = fs::read_to_string(home.path().join(LOG)).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), b"".as_slice()), "{error}");
    error
}

/// Inode of a socket, which names it wherever it is open.
fn inode(link: &Path) -> Option<String> {
    let name = fs::read_link(link).ok()?.to_str()?.to_owned();
    name.starts_with("socket:").then_some(name)
}

/// For each of the server's threads of that name, which of `sockets` its descriptor table has.
fn tables(server: &Server, sockets: &Sockets, thread: &str) -> Vec<Vec<usize>> {
    let given: Vec<_> = sockets
        .pair
        .iter()
        .map(|socket| inode(format!("/proc/self/fd/{}", socket.as_raw_fd()).as_ref()).unwrap())
        .collect();
    let tasks =
        fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap().map(|task| task.unwrap().path());
    // A thread may end while it is looked at.
    let named = |task: &std::path::PathBuf| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim_end().starts_with(thread))
    };
    let mut tables: Vec<Vec<usize>> = tasks
        .filter(named)
        .map(|task| {
            let open = fs::read_dir(task.join("fd")).unwrap().filter_map(|fd| inode(&fd.unwrap().path()));
            open.filter_map(|socket| given.iter().position(|given| *given == socket)).collect()
        })
        .collect();
    tables.sort();
    tables
}

#[test]
fn there_is_a_shard_for_each_socket_and_nobody_else_has_a_copy() {
    let sockets = Sockets::new();
    let server = sockets.serve("listen = ['127.0.0.1:1']", &[]);
    assert_eq!(server.address(), sockets.address);
    assert_eq!(tables(&server, &sockets, "shard-"), [[0], [1]]);
    // The main thread, and any other that has not yet named itself.
    let others = tables(&server, &sockets, "throng");
    assert!(!others.is_empty() && others.iter().all(Vec::is_empty), "{others:?}");
    let log = server.log();
    assert!(log.contains("sockets for clients were handed over; `listen` is not used"), "{log}");
    let mut clients: Vec<_> = (0..30).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| drop(client.subscribe("room")));
    clients[0].publish("room", json!("hi"));
    assert!(clients.iter_mut().all(|client| client.next_data("room") == "hi"));
    let accepts = server.metrics().by_shard("throng_accepts_total");
    assert!(accepts.len() == 2 && accepts.iter().all(|count| *count > 0), "{accepts:?}");
}

#[test]
fn options_of_the_configuration_hold_for_sockets_that_were_handed_over() {
    let sockets = Sockets::new();
    let _server = sockets.serve("socket.send_buffer_bytes = 12345\nsocket.keepalive_s = 77", &[]);
    for socket in &sockets.pair {
        let socket = socket2::SockRef::from(socket);
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * 12_345);
        assert_eq!(socket.tcp_keepalive_time().unwrap(), std::time::Duration::from_secs(77));
    }
}

/// Fills both shards, frees places in one, and fills them again; whoever comes while there is a place
/// must get it, in whatever shard it is.
fn every_place_is_found(arguments: &[&str]) {
    const PLACES: usize = 10;
    let sockets = Sockets::new();
    let server = sockets.serve(&format!("limits.connections_max = {}", 2 * PLACES), arguments);
    let by_shard = |name| server.metrics().by_shard(name);
    let mut shards: [Vec<Client>; 2] = [Vec::new(), Vec::new()];
    for shard_to_empty in [None, Some(0), Some(1), Some(0)] {
        if let Some(shard) = shard_to_empty {
            shards[shard].truncate(PLACES / 2);
            server.wait_for("an open door", |metrics| metrics.by_shard("throng_listening")[shard] == 1);
            server.wait_for("free places", |metrics| {
                metrics.by_shard("throng_connections")[shard] == PLACES as u64 / 2
            });
        }
        while shards.iter().map(Vec::len).sum::<usize>() < 2 * PLACES {
            let before = by_shard("throng_accepts_total");
            let client = server.client();
            let after = by_shard("throng_accepts_total");
            shards[usize::from(after[1] > before[1])].push(client);
        }
        server.wait_for("shut doors", |metrics| metrics.sum("throng_listening") == 0);
        assert_eq!(by_shard("throng_connections"), [PLACES as u64; 2]);
        let error = TcpStream::connect(sockets.address).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn a_full_shard_leaves_newcomers_to_the_others_until_it_has_places_again() {
    every_place_is_found(&[]);
}

#[test]
fn the_same_with_one_descriptor_table_for_all() {
    every_place_is_found(&["--shared-fd-table"]);
}

#[test]
fn who_connects_while_the_server_restarts_is_served_by_the_next_one() {
    let sockets = Sockets::new();
    let mut first = sockets.serve("drain_ms = 500", &[]);
    let mut held: Vec<_> = (0..5).map(|_| Raw::connected(&first)).collect();
    first.signal("TERM");
    // The first of them goes when the drain has begun; the others still are served.
    assert_eq!(held[0].expect_close(3001), "shutdown");
    let mut waiting: Vec<_> = (0..10).map(|_| Raw::over(sockets.connect())).collect();
    drop(held);
    assert_eq!(first.wait().code(), Some(0));
    waiting.extend((0..10).map(|_| Raw::over(sockets.connect())));
    let second = sockets.serve("", &[]);
    waiting.iter_mut().for_each(Raw::connect);
    assert_eq!(second.metrics().sum("throng_connections"), 20);
}

#[test]
fn who_connects_while_a_drain_is_cancelled_is_served_by_this_server() {
    let sockets = Sockets::new();
    let server = sockets.serve("drain_ms = 4000000", &[]);
    let _held = Raw::connected(&server);
    let steer = |path| steer(&server, "POST", path, "", "").result();
    steer("/api/drain");
    server.wait_for("shut doors", |metrics| metrics.sum("throng_listening") == 0);
    let mut waiting: Vec<_> = (0..10).map(|_| Raw::over(sockets.connect())).collect();
    assert_eq!(server.metrics().sum("throng_connections"), 1);
    assert_eq!(steer("/api/drain/cancel")["state"], "none");
    waiting.iter_mut().for_each(Raw::connect);
    waiting.push(Raw::connected(&server));
    assert_eq!(server.metrics().sum("throng_connections"), 12);
}

#[test]
fn a_server_that_ends_full_leaves_sockets_that_listen() {
    let sockets = Sockets::new();
    let mut full = sockets.serve("limits.connections_max = 2\ndrain_ms = 0", &[]);
    let held: Vec<_> = (0..2).map(|_| full.client()).collect();
    full.wait_for("shut doors", |metrics| metrics.sum("throng_listening") == 0);
    full.signal("TERM");
    drop(held);
    assert_eq!(full.wait().code(), Some(0));
    let mut waiting: Vec<_> = (0..8).map(|_| Raw::over(sockets.connect())).collect();
    let _next = sockets.serve("", &[]);
    waiting.iter_mut().for_each(Raw::connect);
}

#[test]
fn a_server_that_is_killed_while_it_is_full_leaves_sockets_that_its_successor_can_use() {
    let sockets = Sockets::new();
    let mut full = sockets.serve("limits.connections_max = 2", &[]);
    let _held: Vec<_> = (0..2).map(|_| full.client()).collect();
    full.wait_for("shut doors", |metrics| metrics.sum("throng_listening") == 0);
    full.signal("KILL");
    full.wait();
    let next = sockets.serve("", &[]);
    let clients: Vec<_> = (0..20).map(|_| next.client()).collect();
    assert!(next.metrics().by_shard("throng_accepts_total").iter().all(|count| *count > 0));
    drop(clients);
}

#[test]
fn a_second_server_with_the_same_sockets_goes_on_when_the_first_is_full_or_killed() {
    let sockets = Sockets::new();
    let mut full = sockets.serve("limits.connections_max = 4", &[]);
    let other = sockets.serve("", &[]);
    // Each takes some; those that the other took stay until the first is full.
    let mut clients = Vec::new();
    while full.metrics().sum("throng_listening") > 0 {
        clients.push(other.client());
    }
    let before = other.metrics().sum("throng_connections");
    clients.extend((0..20).map(|_| other.client()));
    assert_eq!(other.metrics().sum("throng_connections"), before + 20);
    full.signal("KILL");
    full.wait();
    clients.extend((0..20).map(|_| other.client()));
    assert_eq!(other.metrics().sum("throng_connections"), before + 40);
    // It has nothing to do, and does nothing.
    let turns = || other.metrics().sum("throng_turns_total");
    let (first, second) = (turns(), turns());
    assert!(second - first < 100, "{first} turns, then {second}");
}

#[test]
fn a_socket_that_comes_twice_is_refused() {
    let [one, _] = Sockets::new().pair;
    let error = refused(one.try_clone().unwrap(), one, &[]);
    assert!(error.contains("descriptor 4 (clients) of the sockets"), "{error}");
    assert!(error.contains("is the same socket as descriptor 3 (clients)"), "{error}");
}

#[test]
fn a_number_of_sockets_that_is_none_is_refused() {
    for count in ["garbage", "-1", "1.5", "2147483647", ""] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
        let output = command.arg("serve").env("LISTEN_FDS", count).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(&format!("LISTEN_FDS is {count:?}; needed: how many sockets")), "{error}");
    }
}

#[test]
fn another_number_of_shards_than_sockets_is_refused_with_both_numbers() {
    let [one, other] = Sockets::new().pair;
    let error = refused(one, other, &["--shards", "3"]);
    let expected =
        "error: sockets that were handed over: `shards` is 3, but for each address were handed over: 2;";
    assert!(error.contains(expected), "{error}");
    let sockets = Sockets::new();
    assert_eq!(sockets.serve("shards = 2", &[]).address(), sockets.address);
}

#[test]
fn what_is_no_tcp_listener_is_refused_by_its_number_and_name() {
    let home = Scratch::new();
    let unix = UnixListener::bind(home.path().join("socket")).unwrap();
    let error = refused(Sockets::new().pair.into_iter().next().unwrap(), unix, &[]);
    let start = "error: descriptor 4 (clients) of the sockets that were handed over is no TCP socket: ";
    assert!(error.starts_with(start) && error.ends_with("an IP address and a port\n"), "{error}");
    let file = fs::File::open("/dev/null").unwrap();
    let error = refused(file, Sockets::new().pair.into_iter().next().unwrap(), &[]);
    assert!(error.starts_with("error: descriptor 3 (clients) "), "{error}");
}

#[test]
fn sockets_for_another_process_are_not_taken() {
    let home = Scratch::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.envs([("LISTEN_PID", "1"), ("LISTEN_FDS", "2")]).stdin(Stdio::null());
    command.stderr(fs::File::create(home.path().join(LOG)).unwrap());
    drop(Server::launch(command, home).client());
}
