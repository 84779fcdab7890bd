//! What the server tells systemd: ready, alive, ending. The test is systemd: it has the socket that is
//! told (sd_notify(3)).
//!
//! A thread that hangs is one that this test stops as a debugger does; the others run on.

pub mod common;

use std::fs::{self, File};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use common::server::LOG;
use common::{PATIENCE, Scratch, Server};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::json;

const ALIVE: &str = "WATCHDOG=1";

/// A server and the socket that it tells how it is.
struct Supervised {
    server: Server,
    socket: UnixDatagram,
}

impl Supervised {
    /// With `watchdog` as what the environment says of it.
    fn start(config: &str, arguments: &[&str], watchdog: &[(&str, &str)]) -> Supervised {
        let home = Scratch::new();
        let path = home.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--config"]);
        command.arg(home.write("throng.toml", config)).args(arguments).stdin(Stdio::null());
        command.stderr(File::create(home.path().join(LOG)).unwrap());
        command.env("NOTIFY_SOCKET", path).envs(watchdog.iter().copied());
        Supervised { server: Server::launch(command, home), socket }
    }

    /// What the server tells next, as lines.
    fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let count = self.socket.recv(&mut bytes).expect("the server tells something in time");
        String::from_utf8(bytes[..count].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }

    /// Takes what the server tells until it is something `wanted`, which is returned.
    fn until(&self, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        loop {
            let told = self.next();
            if wanted(&told) {
                return told;
            }
        }
    }

    /// What the server has told and nobody has taken.
    fn rest(&self) -> Vec<Vec<String>> {
        self.socket.set_nonblocking(true).unwrap();
        let mut bytes = [0; 4096];
        let told =
            std::iter::from_fn(|| self.socket.recv(&mut bytes).ok().map(|count| bytes[..count].to_vec()));
        let told = told
            .map(|bytes| String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect())
            .collect();
        self.socket.set_nonblocking(false).unwrap();
        told
    }

    /// Stops the server's thread of that name until the `Stopped` is dropped.
    fn stop(&self, thread: &str) -> Stopped {
        let is_it = |task: &PathBuf| fs::read_to_string(task.join("comm")).unwrap().trim_end() == thread;
        let deadline = Instant::now() + PATIENCE;
        let task = loop {
            let tasks = fs::read_dir(format!("/proc/{}/task", self.server.pid())).unwrap();
            if let Some(task) = tasks.map(|task| task.unwrap().path()).find(is_it) {
                break task;
            }
            // A thread names itself, which may come after what it was started for.
            assert!(Instant::now() < deadline, "no thread is called {thread}");
            std::thread::yield_now();
        };
        let id = Pid::from_raw(task.file_name().unwrap().to_str().unwrap().parse().unwrap());
        ptrace::attach(id).expect("a child may be traced");
        waitpid(id, Some(WaitPidFlag::__WALL)).unwrap();
        Stopped(id)
    }
}

/// A thread that is stopped.
struct Stopped(Pid);

impl Drop for Stopped {
    fn drop(&mut self) {
        ptrace::detach(self.0, None).unwrap();
    }
}

fn is_alive(told: &[String]) -> bool {
    told.iter().any(|line| line == ALIVE)
}

#[test]
fn it_tells_that_it_is_ready_then_alive_again_and_again_then_ending() {
    let watchdog = [("WATCHDOG_USEC", "40000")];
    let mut supervised = Supervised::start("drain_ms = 0", &["--shards", "3"], &watchdog);
    assert_eq!(supervised.next(), ["READY=1", "STATUS=0 connections, 3 shards"]);
    let client = supervised.server.client();
    // A shard that a busy machine did not let run for a beat is told meanwhile.
    (0..5).for_each(|_| drop(supervised.until(is_alive)));
    supervised.until(|told| told == [ALIVE, "STATUS=1 connections, 3 shards"]);
    drop(client);
    supervised.server.signal("TERM");
    supervised.until(|told| told[0] == "STOPPING=1");
    assert_eq!(supervised.server.wait().code(), Some(0));
    let rest = supervised.rest();
    assert!(rest.iter().all(|told| !is_alive(told)), "{rest:?}");
}

#[test]
fn an_idle_shard_is_asked_once_for_each_time_that_it_is_told_to_be_alive() {
    let supervised = Supervised::start("", &["--shards", "2"], &[("WATCHDOG_USEC", "40000")]);
    let told_alive = || supervised.rest().iter().filter(|told| is_alive(told)).count() as u64;
    (0..5).for_each(|_| drop(supervised.until(is_alive)));
    let least = 5 + told_alive();
    let asked = supervised.server.metrics().by_shard("throng_inbox_messages_total");
    let most = least + told_alive();
    // It is asked before this is told, and tells its count at the end of a turn.
    assert!(asked.iter().all(|asked| (least - 1..=most + 1).contains(asked)), "{asked:?}: {least} to {most}");
}

#[test]
fn a_drain_longer_than_the_unit_allows_asks_for_time() {
    let supervised = Supervised::start("drain_ms = 3600000", &["--shards", "1"], &[]);
    assert_eq!(supervised.next(), ["READY=1", "STATUS=0 connections, 1 shards"]);
    let _client = supervised.server.client();
    supervised.server.signal("TERM");
    assert_eq!(supervised.next(), ["STOPPING=1", "STATUS=ending; 1 connections, 1 shards"]);
    assert_eq!(supervised.next(), ["EXTEND_TIMEOUT_USEC=40000000"]);
}

#[test]
fn a_shard_that_hangs_is_told_and_nobody_is_alive_until_it_goes_on() {
    let supervised = Supervised::start("", &["--shards", "2"], &[("WATCHDOG_USEC", "40000")]);
    supervised.until(is_alive);
    let stopped = supervised.stop("shard-1");
    let silent = |told: &[String]| told == ["STATUS=not answered for 20 ms: shards [1]"];
    supervised.until(silent);
    for _ in 0..5 {
        assert!(silent(&supervised.next()));
    }
    let log = supervised.server.log();
    assert!(log.contains("not answered for 20 ms: shards [1]; if they stay silent"), "{log}");
    drop(stopped);
    supervised.until(is_alive);
}

#[test]
fn a_committer_that_hangs_on_its_disk_is_no_reason_to_start_again() {
    let config = "channel.without_namespace.history_size = 10\nchannel.without_namespace.history_ttl = '1h'\n\
                  store.commit_timeout_ms = 50";
    let supervised = Supervised::start(config, &["--shards", "1"], &[("WATCHDOG_USEC", "40000")]);
    let mut client = supervised.server.client();
    let _stopped = supervised.stop("committer");
    // The publish waits for the committer, in vain.
    let error = client.call(json!({ "publish": { "channel": "room", "data": 1 } }));
    assert_eq!(error["error"]["code"], 100, "{error}");
    drop(supervised.rest());
    (0..5).for_each(|_| drop(supervised.until(is_alive)));
}

#[test]
fn a_supervisor_that_does_not_read_stops_nothing() {
    let watchdog = [("WATCHDOG_USEC", "2000")];
    let mut supervised = Supervised::start("drain_ms = 0", &["--shards", "1"], &watchdog);
    supervised.until(is_alive);
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    let path = supervised.socket.local_addr().unwrap();
    while filler.send_to_addr(b"X=1", &path).is_ok() {}
    // Whoever tells anything now waits.
    let answer = supervised.server.admin_get("/healthz");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(supervised.server.client());
    supervised.server.signal("TERM");
    assert_eq!(supervised.server.wait().code(), Some(0));
}

#[test]
fn a_supervisor_that_does_not_read_from_the_start_on_does_not_stop_the_server_either() {
    let home = Scratch::new();
    let path = home.path().join("notify");
    let _socket = UnixDatagram::bind(&path).unwrap();
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"X=1", &path).is_ok() {}
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).stdin(Stdio::null());
    command.stderr(File::create(home.path().join(LOG)).unwrap()).env("NOTIFY_SOCKET", path);
    let mut server = Server::launch(command, home);
    assert!(server.admin_get("/healthz").starts_with("HTTP/1.1 200 "));
    drop(server.client());
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_supervisor_with_an_abstract_socket_is_told_too() {
    let name = format!("throng-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let home = Scratch::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--shards", "1"]);
    command.stdin(Stdio::null()).stderr(File::create(home.path().join(LOG)).unwrap());
    command.env("NOTIFY_SOCKET", format!("@{name}"));
    let server = Server::launch(command, home);
    let supervised = Supervised { server, socket };
    assert_eq!(supervised.next(), ["READY=1", "STATUS=0 connections, 1 shards"]);
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let watchdog = [("WATCHDOG_USEC", "40000"), ("WATCHDOG_PID", "1")];
    let mut supervised = Supervised::start("drain_ms = 0", &["--shards", "1"], &watchdog);
    // The first beat would come with the start.
    drop(supervised.server.client());
    supervised.server.signal("TERM");
    assert_eq!(supervised.server.wait().code(), Some(0));
    let told = supervised.rest();
    assert!(told.len() >= 2 && told.iter().all(|told| !is_alive(told)), "{told:?}");
}

#[test]
fn a_supervisor_that_is_gone_harms_nobody() {
    let home = Scratch::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).stdin(Stdio::null());
    command
        .stderr(File::create(home.path().join(LOG)).unwrap())
        .env("NOTIFY_SOCKET", home.path().join("gone"));
    let server = Server::launch(command, home);
    // The control plane serves this after it has tried to tell.
    assert!(server.admin_get("/readyz").starts_with("HTTP/1.1 200 "));
    drop(server.client());
    assert!(server.log().contains("the service manager cannot be told"), "{}", server.log());
}
