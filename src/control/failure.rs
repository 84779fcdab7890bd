//! Why a server did not start or could not go on, in the words that it ends with.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why a server did not start or could not go on.
#[derive(Debug)]
pub(super) struct Failure(pub(super) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What `what` says, as the end of a server.
pub(super) fn failure(what: impl fmt::Display) -> Failure {
    Failure(what.to_string())
}

/// That `address` cannot be listened on for `what`, `admin` or `clients`, and what helps.
pub(super) fn cannot_listen(what: &str, address: SocketAddr, error: &io::Error) -> Failure {
    let beside = if what == "clients" {
        ", or, if it is a throng of this user, start beside it with --reuse-port"
    } else {
        ""
    };
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another process listens there (`ss -ltnp 'sport = :{}'` names it, or no process if it is a throng, \
             whose shards have descriptor tables of their own); stop it or choose another address{beside}",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address (`ip address` lists them)".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE; choose a port above".to_owned()
        }
        _ => "choose another address".to_owned(),
    };
    let option = if what == "admin" { "`admin` or --admin" } else { "`listen` or --listen" };
    Failure(format!("cannot listen on {address} for {what}: {error}; {remedy} ({option})"))
}
