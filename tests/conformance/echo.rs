//! The echo example as a process of its own, ended when it is dropped.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use crate::peer::Peer;

/// Where cargo puts the example beside the binary under test. It is built once more before its first
/// use: `cargo test --test conformance` alone builds no examples, and would judge an old one.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = Path::new(env!("CARGO_BIN_EXE_throng")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--example", "echo", "--manifest-path"]);
    cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    cargo.arg("--target-dir").arg(directory.parent().unwrap());
    if directory.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success(), "the echo example must build");
    directory.join("examples").join("echo")
});

/// A running echo server.
pub struct Echo {
    process: Child,
    address: SocketAddr,
}

impl Echo {
    /// Starts a server on a free port.
    pub fn start() -> Echo {
        let mut process =
            Command::new(&*PROGRAM).args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().trim_start_matches("echo ready: ws://").trim_end_matches('/');
        let address = address.parse().unwrap_or_else(|_| panic!("not a readiness line: {line:?}"));
        Echo { process, address }
    }

    /// An upgraded connection to it.
    pub fn connect(&self) -> Peer {
        Peer::connect(self.address)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // It may have ended already, which the test has noticed by other means.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
