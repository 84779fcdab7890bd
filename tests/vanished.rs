//! Peers whose network is gone without a word: the server finds them by pings, by the kernel's probes, and by what it
//! has sent them.
//!
//! Runs in two network namespaces of its own, joined by a pair of virtual devices, which takes root and `ip`;
//! without those it says so and tests nothing.

pub mod common;

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use common::{Client, PATIENCE, Scratch, Server, server::LOG};
use nix::sched::{CloneFlags, setns, unshare};
use serde_json::json;

/// The server's and the clients' address: of those that are for examples (RFC 5737).
const HERE: &str = "192.0.2.1";
const THERE: &str = "192.0.2.2";

/// Hardware address of the clients' end, which the server's end is told for good, so that nothing asks for it.
const THERE_HARDWARE: &str = "02:00:00:00:00:02";

/// Runs `ip` with `words` in this thread's namespace; `false` if it fails.
fn ip(words: &str) -> bool {
    let done = Command::new("ip").args(words.split(' ')).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

/// This thread's network namespace.
fn namespace() -> File {
    File::open("/proc/thread-self/ns/net").unwrap()
}

/// Another network, and the way to it from this thread's, which is a new one too.
struct Elsewhere {
    namespace: File,
}

impl Elsewhere {
    /// `None` if this machine does not let us.
    fn make() -> Option<Elsewhere> {
        let there =
            thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET).is_ok().then(namespace)).join().unwrap()?;
        unshare(CloneFlags::CLONE_NEWNET).ok()?;
        let elsewhere = Elsewhere { namespace: there };
        let here = namespace();
        let is_made =
            elsewhere.run(|| ip("link add there address 02:00:00:00:00:02 type veth peer name here"));
        let path = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&here));
        let is_joined = is_made
            && elsewhere.run(|| ip(&format!("link set here netns {path}")))
            && elsewhere.run(|| ip(&format!("addr add {THERE}/24 dev there")) && ip("link set there up"))
            && ip("link set lo up")
            && ip(&format!("addr add {HERE}/24 dev here"))
            && ip("link set here up")
            && ip(&format!("neigh replace {THERE} lladdr {THERE_HARDWARE} nud permanent dev here"));
        is_joined.then_some(elsewhere)
    }

    /// Does `work` there.
    fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let enter = || setns(&self.namespace, CloneFlags::CLONE_NEWNET).unwrap();
        thread::scope(|scope| {
            let doing = scope.spawn(|| {
                enter();
                work()
            });
            doing.join().unwrap()
        })
    }

    /// Loses everything that is sent there from now on, without telling anybody.
    fn vanish(&self) {
        assert!(self.run(|| ip("addr flush dev there")));
    }

    /// A client there, connected to `server` and a member of `room`.
    fn client(&self, server: &Server) -> Client {
        self.run(|| {
            let stream = TcpStream::connect_timeout(&server.address(), PATIENCE).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut client = Client::upgrade(stream, "/connection/websocket", &[]).unwrap();
            client.connect(json!({}));
            client.subscribe("room");
            client
        })
    }
}

/// A server on `HERE`, which answers this thread's questions about its metrics.
fn server(config: &str) -> Server {
    let home = Scratch::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    let listen = SocketAddr::new(HERE.parse().unwrap(), 0).to_string();
    command.args(["serve", "--shards", "1", "--listen", &listen, "--admin", "127.0.0.1:0", "--config"]);
    command
        .arg(home.write("throng.toml", &format!("insecure = true\nlimits.close_timeout_ms = 200\n{config}")));
    command.stdin(Stdio::null()).stderr(File::create(home.path().join(LOG)).unwrap());
    Server::launch(command, home)
}

#[test]
fn a_peer_whose_network_is_gone_is_found_by_each_of_the_ways_there_are() {
    // A thread of its own, which takes its namespace with it.
    let test = thread::spawn(|| {
        let Some(elsewhere) = Elsewhere::make() else {
            return eprintln!("not tested: needs root and iproute2 to make network namespaces");
        };
        let pinged = server("client.ping_interval_ms = 1000\nclient.pong_timeout_ms = 400");
        let probed =
            server("client.ping_interval_ms = 0\nsocket.keepalive_s = 1\nsocket.user_timeout_ms = 1000");
        let sent_to = server("client.ping_interval_ms = 0\nsocket.user_timeout_ms = 1000");
        let unnoticed = server("client.ping_interval_ms = 0");
        let servers = [&pinged, &probed, &sent_to, &unnoticed];
        let clients = servers.map(|server| elsewhere.client(server));
        elsewhere.vanish();
        let metrics = pinged.wait_for("no pong", |metrics| metrics.closes(3012) == 1);
        assert_eq!(metrics.closes(1006), 0);
        pinged
            .wait_for("the end of the one who was pinged", |metrics| metrics.sum("throng_connections") == 0);
        let is_gone = "the end of the one who is gone";
        // One of its own network, which stays.
        let mut publisher = Client::upgrade(sent_to.tcp(), "/connection/websocket", &[]).unwrap();
        publisher.connect(json!({}));
        publisher.publish("room", json!("are you there?"));
        sent_to.wait_for(is_gone, |metrics| metrics.closes(1006) == 1);
        publisher.publish("room", json!("go on"));
        // Nothing is on the way to this one: the second probe finds that the first was not answered.
        probed.wait_for(is_gone, |metrics| metrics.closes(1006) == 1);
        // Nobody asked this one.
        assert_eq!(unnoticed.metrics().sum("throng_connections"), 1);
        drop(clients);
    });
    test.join().unwrap();
}
