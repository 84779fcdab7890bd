//! `throng serve`: the file, the command line over it, the log, then the server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use super::logging;
use crate::control::config::{Config, ConfigError, Overrides, SHARDS_MAX, parse_address};
use crate::control::server;
use crate::host::inherited::Inherited;

/// Serve WebSockets until SIGTERM or SIGINT
///
/// Without options: clients on 127.0.0.1:8000 at /connection/websocket, health and metrics on
/// 127.0.0.1:8001, durable rooms in ./throng-data. An option here wins over the same one in the
/// configuration file.
///
/// Sockets that systemd hands over (systemd/throng.socket) replace the addresses for clients, and
/// there are as many shards as sockets for one address.
///
/// Once every shard listens, one line on stdout says so. SIGTERM or SIGINT (`throng drain` too) has
/// /readyz say 503, closes the connections over `drain_ms`, after `drain_grace_ms`, and exits 0; a second
/// signal ends at once.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Configuration file; throng.example.toml explains every option
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address for clients, as IP:PORT; repeat it for several. Replaces the file's list
    #[arg(short, long, value_name = "ADDR", value_parser = parse_address)]
    listen: Vec<SocketAddr>,
    /// Address for /healthz, /readyz, /metrics and the server API, as IP:PORT
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    admin: Option<SocketAddr>,
    /// Directory of the durable rooms [default: ./throng-data]
    ///
    /// Histories of rooms, and how far their users have read. It is made if it is missing, for the
    /// server's user alone to read: what clients said is in it. It is locked while the server
    /// runs; if another process holds it, the server does not start and says which one
    #[arg(long, value_name = "DIR", verbatim_doc_comment)]
    data: Option<PathBuf>,
    /// Shards, each a thread with its own listeners; 0 for as many as there are cores
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=SHARDS_MAX as u64))]
    shards: Option<u64>,
    /// Bind each shard's thread to a core
    #[arg(long)]
    pin_shards: bool,
    /// Let all shards share one table of file descriptors, and so one RLIMIT_NOFILE
    #[arg(long)]
    shared_fd_table: bool,
    /// Start beside other servers of this user on the same addresses, as for a deploy
    ///
    /// Give it an --admin and a --data of its own. New connections are spread over the shards of both
    /// until `throng drain` ends the other one; rooms are of one process each
    #[arg(long, verbatim_doc_comment)]
    reuse_port: bool,
}

impl Args {
    fn config(self, inherited: Option<&Inherited>) -> Result<Config, ConfigError> {
        let config = match &self.config {
            Some(file) => Config::load(file)?,
            None => Config::default(),
        };
        let config = config.with(Overrides {
            listen: self.listen,
            admin: self.admin,
            data: self.data,
            shards: self.shards.map(|shards| shards as usize),
            pin_shards: self.pin_shards,
            shared_fd_table: self.shared_fd_table,
            reuse_port: self.reuse_port,
        })?;
        match inherited {
            Some(inherited) => config.on_sockets(inherited.addresses(), inherited.shards()),
            None => Ok(config),
        }
    }
}

/// Runs the subcommand: the server's exit code, or 1 if it could not be configured.
pub(super) fn run(args: Args) -> ExitCode {
    if let Err(error) = logging::start() {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    // Before any thread is started: it changes the environment.
    let inherited = match Inherited::take() {
        Ok(inherited) => inherited,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    match args.config(inherited.as_ref()) {
        Ok(config) => {
            for warning in config.warnings() {
                tracing::warn!("{warning}");
            }
            if let Some(inherited) = &inherited {
                let (sockets, addresses) = (inherited.shards(), inherited.addresses());
                tracing::info!(
                    sockets,
                    ?addresses,
                    "sockets for clients were handed over; `listen` is not used"
                );
            }
            server::run(config, inherited)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
