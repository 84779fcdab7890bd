//! `throng bench floor`, its hidden server, and `throng bench heartbeat`: what their options are.

use std::path::PathBuf;

use clap::Args;

use super::{HOLD_SECONDS_MAX, TargetArgs, seconds};
use crate::load::floor::FloorOptions;
use crate::load::heartbeat::HeartbeatOptions;

/// `throng bench floor`.
#[derive(Debug, Args)]
pub struct FloorArgs {
    /// Sockets to connect and hold, for memory and the cost of an accept
    #[arg(long, value_name = "N", default_value_t = 15_000, value_parser = clap::value_parser!(u64).range(1..))]
    connections: u64,
    /// Threads of the server that holds them [default: one per core, more if descriptors need it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    shards: Option<u64>,
    /// Seconds to hold them
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=HOLD_SECONDS_MAX))]
    hold: u64,
    /// Sockets that each message is sent to, beside its sender's
    #[arg(long, value_name = "M", default_value_t = 1_000)]
    members: u64,
    /// Seconds to measure sends
    #[arg(long, value_name = "S", default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// Bytes of each payload, as for fanout: the same bytes are sent as throng would
    #[arg(long, value_name = "B", default_value_t = 64)]
    payload_bytes: usize,
    /// Threads of the generator [default: as few as hold the sockets; one to receive]
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u64).range(1..))]
    threads: Option<u64>,
    /// Loopback addresses to connect from, 0 for the kernel's choice [default: one per 7000 sockets]
    #[arg(long, value_name = "N")]
    source_ips: Option<u64>,
    /// Write the report to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report to this file as one HTML page with plots
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

/// The server of `throng bench floor`.
#[derive(Debug, Args)]
pub struct BareServerArgs {
    /// Threads, each with a listener of its own
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub(super) shards: u64,
}

/// `throng bench heartbeat`.
#[derive(Debug, Args)]
pub struct HeartbeatArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Connections to open
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    connections: u64,
    /// Time between two pings to a connection; for the server that is started, so not with --target
    #[arg(long, value_name = "MS", default_value_t = 1_000, conflicts_with = "target", value_parser = clap::value_parser!(u64).range(2..=524_032))]
    ping_interval_ms: u64,
    /// Seconds to measure
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// Receive without sleeping: the server's pings then wake nobody, as if the clients were elsewhere
    #[arg(long)]
    spin: bool,
}

impl From<FloorArgs> for FloorOptions {
    fn from(args: FloorArgs) -> Self {
        Self {
            connections: args.connections,
            shards: args.shards,
            hold_seconds: args.hold,
            members: args.members,
            payload_bytes: args.payload_bytes,
            seconds: args.seconds,
            threads: args.threads,
            source_ips: args.source_ips,
            json: args.json,
            report: args.report,
        }
    }
}

impl From<HeartbeatArgs> for HeartbeatOptions {
    fn from(args: HeartbeatArgs) -> Self {
        Self {
            common: args.target.into(),
            connections: args.connections,
            ping_interval_ms: args.ping_interval_ms,
            seconds: args.seconds,
            spin: args.spin,
        }
    }
}
