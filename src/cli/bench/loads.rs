//! The subcommands whose load is rooms × members × rate: `fanout --rate`, `ceiling`, `slow`, `storm`.

use std::path::PathBuf;

use clap::Args;

use super::durable::{HistoryArgs, durability};
use super::{TargetArgs, seconds};
use crate::load::ceiling::CeilingOptions;
use crate::load::keep::Durability;
use crate::load::options::Common;
use crate::load::slow::{RecoverPlan, SlowOptions};
use crate::load::storm::StormOptions;

/// What stands for coming back as fast as it goes.
pub(super) const NO_BACKOFF: &str = "none";
/// The ways to come back.
pub(super) const BACKOFFS: [&str; 2] = [NO_BACKOFF, "official"];

/// `throng bench ceiling`.
#[derive(Debug, Args)]
pub struct CeilingArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    crowd: CrowdArgs,
    /// Publishes per second over all rooms, to begin with
    #[arg(long, value_name = "P", default_value_t = 10.0, value_parser = rate)]
    rate: f64,
    /// A rate is too high when the 99th percentile of the delay passes this many ms
    #[arg(long, value_name = "MS", default_value_t = 100.0, value_parser = positive)]
    p99_ms: f64,
    /// Seconds at each rate
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    step_seconds: f64,
}

/// `throng bench slow`.
#[derive(Debug, Args)]
pub struct SlowArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    crowd: CrowdArgs,
    /// Share of the members that stops reading, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, value_parser = percent)]
    stalled: f64,
    /// Publishes per second over all rooms
    #[arg(long, value_name = "P", default_value_t = 10.0, value_parser = rate)]
    rate: f64,
    /// Seconds to measure with every member reading, and again with the share stalled
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// Bytes that the server that is started may hold for one slow member [default: its own]
    #[arg(long, value_name = "B", conflicts_with = "target")]
    backlog_bytes: Option<u64>,
    /// Bytes that it may hold for all of them together [default: its own]
    #[arg(long, value_name = "B", conflicts_with = "target")]
    backlog_total_bytes: Option<u64>,
    /// The server that is started closes nobody because a second passed without progress (3009) or no pong came
    /// (3012): what it does about slow members is then all that it does
    #[arg(long, conflicts_with = "target")]
    patient: bool,
    /// The stalled ones read again at the end, and must then get every message once and in order. Rooms have a
    /// history, kept as D says (fsync, os, memory), and slow = "recover". A server that is started is configured
    /// so; one at --target must be
    #[arg(long, value_name = "D", num_args = 0..=1, require_equals = true, default_missing_value = "fsync", value_parser = durability())]
    recover: Option<Durability>,
    /// With --recover: seconds during which they read again while publishing goes on
    #[arg(long, value_name = "S", default_value_t = 5.0, requires = "recover", value_parser = seconds)]
    wake_seconds: f64,
    /// With --recover: where the data directory of a server that is started is made [default: the current directory]
    #[arg(long, value_name = "PARENT", requires = "recover", conflicts_with = "target")]
    data_dir: Option<PathBuf>,
}

/// `throng bench storm`.
#[derive(Debug, Args)]
pub struct StormArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Connections that drop, all at once, and come back
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    connections: u64,
    /// Members that stay, whose messages are timed
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    stayers: u64,
    /// Rooms that all of them are spread over [default: one per 1000 connections]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u64).range(1..))]
    rooms: Option<u64>,
    /// Connects under way at once, over all threads: more than the accept queues hold is tried again by
    /// TCP a second later
    #[arg(long, value_name = "K", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    at_once: u64,
    /// How each comes back: `none` as soon as --at-once lets it, and half a second after a failure; `official` by
    /// itself as the Centrifuge SDKs do: 0.5 to 1 s after the drop, later after each failure (20 s at most), with
    /// 5 s of patience for each step of a try
    #[arg(long, value_name = "B", default_value = NO_BACKOFF, conflicts_with_all = ["at_once"], value_parser = BACKOFFS)]
    backoff: String,
    /// Publishes per second over all rooms meanwhile; 0 for none
    #[arg(long, value_name = "P", default_value_t = 10.0, value_parser = rate_or_none)]
    rate: f64,
    /// Bytes of each payload
    #[arg(long, value_name = "B", default_value_t = 64)]
    payload_bytes: usize,
    #[command(flatten)]
    history: HistoryArgs,
}

/// Who is in which room, and who publishes what.
#[derive(Debug, Args)]
pub struct CrowdArgs {
    /// Rooms; each member is in one
    #[arg(long, value_name = "R", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    rooms: u64,
    /// Members of each room
    #[arg(long, value_name = "M", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    members: u64,
    /// Members over all rooms, instead of --members
    #[arg(long, value_name = "N", conflicts_with = "members", value_parser = clap::value_parser!(u64).range(1..))]
    connections: Option<u64>,
    /// Connections that publish, beside the members
    #[arg(long, value_name = "P", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    publishers: u64,
    /// Bytes of each payload
    #[arg(long, value_name = "B", default_value_t = 64)]
    payload_bytes: usize,
}

impl CrowdArgs {
    fn members_of_each(&self) -> Result<u64, String> {
        members_of_each(self.connections, self.rooms, self.members)
    }
}

/// Members of each of `rooms` rooms: `connections` spread evenly if given, else `members`.
///
/// # Errors
///
/// The connections cannot be spread evenly.
pub(super) fn members_of_each(connections: Option<u64>, rooms: u64, members: u64) -> Result<u64, String> {
    match connections {
        Some(connections) if connections % rooms != 0 => Err(format!(
            "--connections {connections} cannot be spread evenly over --rooms {rooms}; {} can",
            connections.next_multiple_of(rooms)
        )),
        Some(connections) => Ok(connections / rooms),
        None => Ok(members),
    }
}

impl TryFrom<CeilingArgs> for CeilingOptions {
    type Error = String;

    fn try_from(args: CeilingArgs) -> Result<Self, String> {
        Ok(Self {
            rooms: args.crowd.rooms,
            members: args.crowd.members_of_each()?,
            rate: args.rate,
            p99_ms_max: args.p99_ms,
            publishers: args.crowd.publishers,
            step_seconds: args.step_seconds,
            payload_bytes: args.crowd.payload_bytes,
            common: args.target.into(),
        })
    }
}

impl TryFrom<SlowArgs> for SlowOptions {
    type Error = String;

    fn try_from(args: SlowArgs) -> Result<Self, String> {
        Ok(Self {
            rooms: args.crowd.rooms,
            members: args.crowd.members_of_each()?,
            share: args.stalled / 100.0,
            rate: args.rate,
            publishers: args.crowd.publishers,
            seconds: args.seconds,
            payload_bytes: args.crowd.payload_bytes,
            backlog_bytes: args.backlog_bytes,
            backlog_total_bytes: args.backlog_total_bytes,
            patient: args.patient,
            recover: args.recover.map(|durability| RecoverPlan {
                durability,
                data_dir: args.data_dir,
                wake_seconds: args.wake_seconds,
            }),
            common: args.target.into(),
        })
    }
}

impl From<StormArgs> for StormOptions {
    fn from(args: StormArgs) -> Self {
        Self {
            connections: args.connections,
            stayers: args.stayers,
            rooms: args.rooms.unwrap_or(args.connections.saturating_add(args.stayers).div_ceil(1_000)),
            at_once: (args.backoff == NO_BACKOFF).then_some(args.at_once),
            rate: args.rate,
            payload_bytes: args.payload_bytes,
            common: Common { keep: args.history.keep(), ..args.target.into() },
        }
    }
}

/// A number above 0 and not absurd.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 1e9 => Ok(number),
        _ => Err("must be a number above 0, at most 1000000000".to_owned()),
    }
}

/// Publishes per second: from one in 1,000 seconds to a million.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (1e-3..=1e6).contains(&rate) => Ok(rate),
        _ => Err("publishes per second must be a number from 0.001 to 1000000".to_owned()),
    }
}

fn rate_or_none(text: &str) -> Result<f64, String> {
    if text == "0" { Ok(0.0) } else { rate(text) }
}

pub(super) fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("a share must be a number from 0 to 100, in percent".to_owned()),
    }
}
