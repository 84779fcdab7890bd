//! The subcommands about a crowd that comes and goes: `bounce` and `drain`.

use clap::Args;

use super::{TargetArgs, loads::positive};
use crate::load::drain::DrainOptions;
use crate::load::idle::CONNECTIONS_PER_ROOM;

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
