//! `throng top` from outside: against a server, and against one that breaks off, without a terminal.
//!
//! What it looks like in one is in `src/cli/top/tests.rs`.

pub mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use common::{Scratch, Server};
use serde_json::Value;

fn top(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    command.arg("top").args(arguments).env_remove("THRONG_API_KEY").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn once(arguments: &[&str]) -> Output {
    top(&[&["--once"], arguments].concat()).output().unwrap()
}

/// A child that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn one_snapshot_is_told_as_text_or_as_json() {
    let server = Server::with_shards("", 2);
    let _client = server.client();
    server.wait_for("the client", |metrics| metrics.sum("throng_connections") == 1);
    let admin = server.admin().to_string();
    let told = once(&["--admin", &admin]);
    let (out, err) = (text(&told.stdout), text(&told.stderr));
    assert!(told.status.success(), "{err}");
    assert!(out.contains("phase ") && out.contains("1 now, 1 peak") && out.contains("shard 1"), "{out}");
    assert!(out.contains("walls, the nearest first"), "{out}");
    let json: Value = serde_json::from_slice(&once(&["--admin", &admin, "--json"]).stdout).unwrap();
    assert_eq!((&json["connections"]["now"], &json["phase"]), (&Value::from(1), &Value::from("ready")));
}

#[test]
fn without_a_terminal_each_beat_is_a_line_and_it_ends_with_its_reader() {
    let server = Server::start("");
    let mut child = Ended(top(&["--admin", &format!("http://{}", server.admin())]).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains(" ready: 0 connections, +0/s -0/s, 0 deliveries/s"), "{line}");
    }
    drop(lines);
    assert!(child.0.wait().unwrap().success(), "as with `throng top | head`");
}

#[test]
fn the_key_is_shown_from_wherever_it_is_said() {
    let config = "http_api.key = 'a-key-of-at-least-16'";
    let server = Server::start(config);
    // Asked through a name that is not this machine's, only the key opens it.
    let fake = Forwarder::to(&server);
    let admin = format!("http://{}", fake.address);
    let refused = once(&["--admin", &admin]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("http_api.key"), "{}", text(&refused.stderr));
    assert!(once(&["--admin", &admin, "--key", "a-key-of-at-least-16"]).status.success());
    let file = Scratch::new();
    let file = file.write("throng.toml", config);
    assert!(once(&["--admin", &admin, "--config", file.to_str().unwrap()]).status.success());
    let mut by_environment = top(&["--once", "--admin", &admin]);
    assert!(by_environment.env("THRONG_API_KEY", "a-key-of-at-least-16").output().unwrap().status.success());
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let told = once(&["--admin", &address]);
    let err = text(&told.stderr);
    assert_eq!(told.status.code(), Some(1));
    assert!(
        err.contains(&format!("nothing listens on http://{address}")) && err.contains("--admin"),
        "{err}"
    );
}

#[test]
fn a_stream_that_breaks_off_is_told_once_and_asked_for_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = listener.local_addr().unwrap().to_string();
    let mut child = Ended(top(&["--admin", &admin, "--json"]).spawn().unwrap());
    let answers = thread::spawn(move || {
        // Events in parts that end anywhere, one stream after another.
        for parts in
            [&["data: {\"beat\"", ":1}\n\ndata: {\"cut\""][..], &["da", "ta: {\"beat\":2}\r\n", "\r\n"]]
        {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                request.read_line(&mut line).unwrap();
            }
            stream.set_nodelay(true).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").unwrap();
            for part in parts {
                stream.write_all(part.as_bytes()).unwrap();
            }
        }
        listener
    });
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    for beat in 1..=2 {
        assert_eq!(lines.next().unwrap().unwrap(), format!("{{\"beat\":{beat}}}"));
    }
    drop(answers.join().unwrap());
    let mut errors = BufReader::new(child.0.stderr.take().unwrap()).lines();
    let told = errors.next().unwrap().unwrap();
    assert!(told.contains("ended") && told.ends_with("trying again"), "{told}");
}

/// What passes requests on as a proxy does, and says so.
struct Forwarder {
    address: std::net::SocketAddr,
}

impl Forwarder {
    fn to(server: &Server) -> Forwarder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let admin = server.admin();
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut inner = stream.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && inner.read(&mut byte).unwrap() == 1 {
                    head.push(byte[0]);
                }
                let head =
                    text(&head).replacen("\r\n\r\n", "\r\nVia: 1.1 proxy\r\nConnection: close\r\n\r\n", 1);
                let mut outer = std::net::TcpStream::connect(admin).unwrap();
                outer.write_all(head.as_bytes()).unwrap();
                drop(std::io::copy(&mut outer, &mut inner));
            }
        });
        Forwarder { address }
    }
}

/// `throng top` in a terminal of its own: what it wrote there when it had ended, and how it ended.
fn in_a_terminal(server: &Server, end: impl FnOnce(&mut Child)) -> (String, bool) {
    let command =
        format!("stty cols 80 rows 24; exec {} top --admin {}", env!("CARGO_BIN_EXE_throng"), server.admin());
    // util-linux's `script` gives a program a terminal; it passes on what is written to its stdin.
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]).env("TERM", "xterm-256color");
    let mut script = Ended(script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut out = script.0.stdout.take().unwrap();
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    // Cells that stay blank are not written, so words come one by one.
    while !String::from_utf8_lossy(&seen).contains("deliveries") {
        let bytes = out.read(&mut buffer).unwrap();
        assert!(bytes > 0, "it ended before it showed anything: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..bytes]);
    }
    end(&mut script.0);
    // A terminal that is closed may be told as an error.
    drop(out.read_to_end(&mut seen));
    (String::from_utf8_lossy(&seen).into_owned(), script.0.wait().unwrap().success())
}

#[test]
fn a_terminal_is_given_back_whether_a_key_or_a_signal_ends_it() {
    let server = Server::start("");
    let by_key = |script: &mut Child| script.stdin.take().unwrap().write_all(b"?xq").unwrap();
    let by_signal = |script: &mut Child| {
        let children = format!("/proc/{0}/task/{0}/children", script.id());
        let top = std::fs::read_to_string(children).unwrap();
        let status = Command::new("kill").args(["-s", "TERM", top.trim()]).status().unwrap();
        assert!(status.success());
    };
    let ends: [&dyn Fn(&mut Child); 2] = [&by_key, &by_signal];
    for end in ends {
        let (seen, succeeded) = in_a_terminal(&server, end);
        assert!(succeeded, "{seen}");
        let [taken, given] = ["\u{1b}[?1049h", "\u{1b}[?1049l"].map(|code| seen.rfind(code));
        assert!(taken.is_some() && given > taken, "the alternate screen is left: {seen:?}");
    }
}
