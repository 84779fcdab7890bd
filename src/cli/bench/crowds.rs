//! The subcommands about a crowd that comes and goes: `bounce` and `drain`.

use clap::Args;

use super::loads::{percent, positive};
use super::{TargetArgs, seconds};
use crate::load::bounce::BounceOptions;
use crate::load::drain::DrainOptions;
use crate::load::idle::CONNECTIONS_PER_ROOM;

/// `throng bench bounce`.
#[derive(Debug, Args)]
pub struct BounceArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Members of one room, all of which leave and join again all the time
    #[arg(long, value_name = "M", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    members: u64,
    /// Seconds in which each member leaves and joins again once; it is away for a quarter to three quarters of them
    #[arg(long, value_name = "S", default_value_t = 2.0, value_parser = gap)]
    gap: f64,
    /// Seconds to measure, after one gap to begin with
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// How long a join or leave has to last before the server that is started tells it; 0 tells each at once
    #[arg(long, value_name = "MS", default_value_t = 2_500, conflicts_with = "target", value_parser = clap::value_parser!(u64).range(..=60_000))]
    debounce_ms: u64,
    /// Share of the members that leaves for good in the end, which the others must be told
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, value_parser = percent)]
    gone: f64,
    /// The run fails if members are told of more joins and leaves than this, each in a second
    #[arg(long, value_name = "N", default_value_t = 2.0, value_parser = positive)]
    pushes_max: f64,
    /// The run fails if it takes longer than this until presence is right, once nobody bounces any more
    #[arg(long, value_name = "S", default_value_t = 5.0, value_parser = positive)]
    settle_max: f64,
}

impl From<BounceArgs> for BounceOptions {
    fn from(args: BounceArgs) -> Self {
        Self {
            members: args.members,
            gap_seconds: args.gap,
            seconds: args.seconds,
            debounce_ms: args.debounce_ms,
            gone: args.gone / 100.0,
            pushes_max: args.pushes_max,
            settle_seconds_max: args.settle_max,
            common: args.target.into(),
        }
    }
}

/// Seconds of a gap.
fn gap(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.01..=3_600.0).contains(&seconds) => Ok(seconds),
        _ => Err("a gap is a number of seconds from 0.01 to 3600".to_owned()),
    }
}

/// `throng bench drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Connections to open, and to see closed
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    connections: u64,
    /// Seconds over which the server closes them. One that is started is told so, and to end (SIGTERM); one at
    /// --target has to be drained by you, once all are connected
    #[arg(long, value_name = "S", default_value_t = 20.0, value_parser = over)]
    over: f64,
    /// Rooms, each connection joins one [default: one per 1000 connections]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u64).range(1..))]
    rooms: Option<u64>,
    /// The run fails if the closes of a second are further from even than this
    #[arg(long, value_name = "PERCENT", default_value_t = 20.0, value_parser = positive)]
    uneven_max: f64,
}

impl From<DrainArgs> for DrainOptions {
    fn from(args: DrainArgs) -> Self {
        Self {
            connections: args.connections,
            rooms: args.rooms.unwrap_or(args.connections.div_ceil(CONNECTIONS_PER_ROOM)),
            over_seconds: args.over,
            uneven_percent_max: args.uneven_max,
            common: args.target.into(),
        }
    }
}

/// Seconds of a drain: evenness is judged second by second.
fn over(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (1.0..=3_600.0).contains(&seconds) => Ok(seconds),
        _ => Err("a drain takes a number of seconds from 1 to 3600".to_owned()),
    }
}
