//! A server process of one's own, on ports that the kernel chose.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Client, Metrics, PATIENCE, Scratch, token};

/// The server's log, in its home.
pub const LOG: &str = "throng.log";

/// Pause between two looks at something that cannot be waited for.
const POLL_PAUSE: Duration = Duration::from_millis(5);

/// A running server. It is killed when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    clients: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
    /// Where it runs, so that its data are its own.
    _home: Scratch,
}

impl Server {
    /// A server with one shard and the TOML text `config`; `""` is an insecure server.
    ///
    /// The ports are given on the command line, so `config` needs no `listen` and no `admin`.
    pub fn start(config: &str) -> Server {
        Server::with_shards(config, 1)
    }

    /// The same with as many shards.
    pub fn with_shards(config: &str, shards: usize) -> Server {
        Server::with_arguments(config, &["--shards", &shards.to_string()])
    }

    /// The same with any more arguments of `throng serve`.
    pub fn with_arguments(config: &str, arguments: &[&str]) -> Server {
        let home = Scratch::new();
        let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--config"]);
        command.arg(home.write("throng.toml", config)).args(arguments).stdin(Stdio::null());
        command.stderr(File::create(home.path().join(LOG)).unwrap());
        Server::launch(command, home)
    }

    /// What `command` becomes, which writes its log into the file `throng.log` in `home`.
    pub fn launch(mut command: Command, home: Scratch) -> Server {
        let log = home.path().join(LOG);
        let mut child = command.current_dir(home.path()).stdout(Stdio::piped()).spawn().unwrap();
        // The command has descriptors of its own that the child was given.
        drop(command);
        let ready = first_line(&mut child);
        let addresses = ready.as_deref().and_then(addresses);
        let Some((clients, admin)) = addresses else {
            drop(child.kill());
            drop(child.wait());
            panic!("no readiness line but {ready:?}; the log says:\n{}", read(&log));
        };
        Server { child, clients, admin, log, _home: home }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.clients
    }

    /// Where health and metrics are.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Process id, for /proc.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// A TCP connection to the clients' port, with `PATIENCE` as timeouts.
    pub fn tcp(&self) -> TcpStream {
        dial(self.clients)
    }

    /// A client that has upgraded and said nothing yet.
    pub fn upgrade(&self) -> Client {
        self.upgrade_on("/connection/websocket", &[])
    }

    /// The same on another path or query, with more headers.
    pub fn upgrade_on(&self, path: &str, headers: &[(&str, &str)]) -> Client {
        Client::upgrade(self.tcp(), path, headers).unwrap_or_else(|refusal| panic!("refused: {refusal}"))
    }

    /// A client that has connected without a token.
    pub fn client(&self) -> Client {
        let mut client = self.upgrade();
        client.connect(json!({}));
        client
    }

    /// A client that has connected as `user`, with a token signed with `SECRET`.
    pub fn client_as(&self, user: &str) -> Client {
        self.client_with(json!({ "sub": user }))
    }

    /// A client that has connected with a token of these claims, signed with `SECRET`.
    pub fn client_with(&self, claims: serde_json::Value) -> Client {
        let mut client = self.upgrade();
        client.connect(json!({ "token": token(&claims) }));
        client
    }

    /// Sends `request` to the clients' port as it is and returns all that comes back until the
    /// server closes.
    pub fn raw(&self, request: &[u8]) -> String {
        exchange(self.tcp(), request)
    }

    /// Sends `request` to the clients' port as it is and returns the head of the response, which an
    /// upgrade that succeeded ends with.
    pub fn response_head(&self, request: &[u8]) -> String {
        let mut stream = self.tcp();
        stream.write_all(request).unwrap();
        let mut head = String::new();
        let mut lines = BufReader::new(stream);
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).unwrap() > 0, "the response ends in its head: {head:?}");
        }
        head
    }

    /// Status line, headers and body of `GET path` at the admin port.
    pub fn admin_get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: throng\r\nConnection: close\r\n\r\n");
        exchange(dial(self.admin), request.as_bytes())
    }

    /// The metrics as of now.
    pub fn metrics(&self) -> Metrics {
        Metrics::parse(&self.admin_get("/metrics"))
    }

    /// One metric as of now, by its name with labels, such as `throng_closes_total{code="3501"}`.
    pub fn metric(&self, name: &str) -> u64 {
        self.metrics().get(name)
    }

    /// Waits until the metrics are as `wanted`, and returns them; `what` is said if they never are.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Metrics) -> bool) -> Metrics {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics();
            if wanted(&metrics) {
                return metrics;
            }
            assert!(Instant::now() < deadline, "waited in vain for: {what}\n{metrics:#?}");
            thread::sleep(POLL_PAUSE);
        }
    }

    /// Sends a signal by its name without SIG: `TERM`, `INT`, `STOP`.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        // The shell's own `kill` is there on every machine.
        let status = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status().unwrap();
        assert!(status.success(), "signal {name} to {pid}");
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end; its log:\n{}", self.log());
            thread::sleep(POLL_PAUSE);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

/// The first line that the child prints; none if it ends or stays silent.
fn first_line(child: &mut Child) -> Option<String> {
    let stdout = child.stdout.take().unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        if stdout.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            drop(sender.send(line));
        }
        // Whatever else is printed is read, so that the server never waits for this end.
        drop(std::io::copy(&mut stdout, &mut std::io::sink()));
    });
    receiver.recv_timeout(PATIENCE).ok()
}

/// The two addresses in `throng ready: clients ws://ADDR/path, admin http://ADDR, N shards`.
fn addresses(ready: &str) -> Option<(SocketAddr, SocketAddr)> {
    let address_after = |mark: &str| {
        let rest = &ready[ready.find(mark)? + mark.len()..];
        rest[..rest.find(['/', ',', ' '])?].parse().ok()
    };
    Some((address_after("ws://")?, address_after("http://")?))
}

fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn exchange(mut stream: TcpStream, request: &[u8]) -> String {
    stream.write_all(request).unwrap();
    let mut response = Vec::new();
    // A reset after the response is an end as well.
    if let Err(error) = stream.read_to_end(&mut response) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    String::from_utf8_lossy(&response).into_owned()
}

fn read(log: &Path) -> String {
    fs::read_to_string(log).unwrap_or_default()
}
