//! The subcommands about rooms with a history, and how a server that is started keeps it.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::loads::{BACKOFFS, NO_BACKOFF, rate};
use super::{TargetArgs, seconds};
use crate::load::keep::{Durability, HISTORY_SIZE, Keep};
use crate::load::options::Common;
use crate::load::publish::{IN_FLIGHT_MAX, Load, PublishOptions};
use crate::load::recover::RecoverOptions;

/// What stands for rooms without a history.
const NO_HISTORY: &str = "none";

/// How the rooms of a server that is started keep what is published.
#[derive(Debug, Args)]
pub struct KeepArgs {
    /// Publications kept of each room
    #[arg(long, value_name = "N", default_value_t = HISTORY_SIZE, conflicts_with = "target", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    history_size: u64,
    /// Where its data directory is made, which is removed afterwards [default: the current directory]
    #[arg(long, value_name = "PARENT", conflicts_with = "target")]
    data_dir: Option<PathBuf>,
}

impl KeepArgs {
    /// Rooms that keep their publications as safely as `durability` says.
    fn keep(self, durability: Durability) -> Keep {
        Keep { durability, history_size: self.history_size, parent: self.data_dir }
    }
}

/// Whether rooms have a history.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Rooms have a history, kept as D says (fsync, os, memory), and members could recover. A server that is
    /// started is configured so; one at --target must be
    #[arg(long, value_name = "D", num_args = 0..=1, require_equals = true, default_missing_value = "fsync", value_parser = durability())]
    history: Option<Durability>,
    /// With --history: where the data directory of a server that is started is made [default: the current directory]
    #[arg(long, value_name = "PARENT", requires = "history", conflicts_with = "target")]
    data_dir: Option<PathBuf>,
}

impl HistoryArgs {
    /// How rooms are kept, if they are.
    pub(super) fn keep(self) -> Option<Keep> {
        self.history.map(|durability| Keep::new(durability, self.data_dir))
    }
}

/// Takes the name of a durability.
pub(super) fn durability() -> impl TypedValueParser<Value = Durability> {
    PossibleValuesParser::new(Durability::NAMES)
        .try_map(|name| Durability::named(&name).ok_or("no such durability"))
}

/// What an acknowledgement promises, if rooms have a history at all.
#[derive(Debug, Clone, Copy)]
struct Promise(Option<Durability>);

/// Takes the name of a durability, or `none` for rooms without a history.
fn promise() -> impl TypedValueParser<Value = Promise> {
    let names = Durability::NAMES.into_iter().chain([NO_HISTORY]);
    PossibleValuesParser::new(names).map(|name| Promise(Durability::named(&name)))
}

/// `throng bench publish`.
#[derive(Debug, Args)]
pub struct PublishArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Rooms, published to in turn
    #[arg(long, value_name = "R", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    rooms: u64,
    /// Members of each room
    #[arg(long, value_name = "M", default_value_t = 0)]
    members: u64,
    /// Connections that publish
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    connections: u64,
    /// Closed loop: publishes of each connection that wait for their acknowledgement
    #[arg(long, value_name = "K", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=IN_FLIGHT_MAX as u64))]
    in_flight: u64,
    /// Open loop: publishes per second over all connections, by a fixed schedule
    #[arg(long, value_name = "P", conflicts_with = "in_flight", value_parser = rate)]
    rate: Option<f64>,
    /// Bytes of each payload
    #[arg(long, value_name = "B", default_value_t = 200)]
    payload_bytes: usize,
    /// Seconds to measure
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// Seconds to run before measuring
    #[arg(long, value_name = "S", default_value_t = 2.0, value_parser = seconds)]
    warm_up_seconds: f64,
    /// When the server that is started acknowledges: `none` is rooms without a history
    #[arg(long, value_name = "D", default_value = "fsync", conflicts_with = "target", value_parser = promise())]
    durability: Promise,
    #[command(flatten)]
    keep: KeepArgs,
}

impl From<PublishArgs> for PublishOptions {
    fn from(args: PublishArgs) -> Self {
        let common = Common::from(args.target);
        let durability = args.durability.0.filter(|_| common.target.is_none());
        Self {
            rooms: args.rooms,
            members: args.members,
            connections: args.connections,
            load: args.rate.map_or(Load::InFlight(args.in_flight), Load::Rate),
            payload_bytes: args.payload_bytes,
            warm_up_seconds: args.warm_up_seconds,
            seconds: args.seconds,
            common: Common { keep: durability.map(|durability| args.keep.keep(durability)), ..common },
        }
    }
}

/// `throng bench recover`.
#[derive(Debug, Args)]
pub struct RecoverArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Clients that drop, all at once, and come back
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    connections: u64,
    /// Rooms, each client is in one
    #[arg(long, value_name = "R", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    rooms: u64,
    /// Messages published to each room while they are away
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    missed: u64,
    /// Connects per second of those that come back [default: as fast as --at-once lets them]
    #[arg(long, value_name = "C", value_parser = rate)]
    rate: Option<f64>,
    /// Connects under way at once, over all threads: more than the accept queues hold is tried again by
    /// TCP a second later
    #[arg(long, value_name = "K", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    at_once: u64,
    /// How each comes back: `none` as soon as --at-once lets it, and half a second after a failure; `official` by
    /// itself as the Centrifuge SDKs do: 0.5 to 1 s after the drop, later after each failure (20 s at most), with
    /// 5 s of patience for each step of a try
    #[arg(long, value_name = "B", default_value = NO_BACKOFF, conflicts_with_all = ["at_once", "rate"], value_parser = BACKOFFS)]
    backoff: String,
    /// Bytes of each payload
    #[arg(long, value_name = "B", default_value_t = 200)]
    payload_bytes: usize,
    /// End the server that was started by SIGKILL, and start it again before they come back
    #[arg(long, conflicts_with = "target")]
    restart: bool,
    /// How the server that is started keeps its rooms
    #[arg(long, value_name = "D", default_value = "fsync", conflicts_with = "target", value_parser = durability())]
    durability: Durability,
    #[command(flatten)]
    keep: KeepArgs,
}

impl TryFrom<RecoverArgs> for RecoverOptions {
    type Error = String;

    fn try_from(args: RecoverArgs) -> Result<Self, String> {
        if args.rooms > args.connections {
            return Err(format!(
                "--rooms {}: more than --connections {} can be in",
                args.rooms, args.connections
            ));
        }
        if args.restart && !args.durability.is_on_disk() {
            return Err(
                "--restart: nothing of rooms in memory outlives the server; give --durability os".to_owned()
            );
        }
        Ok(Self {
            connections: args.connections,
            rooms: args.rooms,
            missed: args.missed,
            payload_bytes: args.payload_bytes,
            at_once: (args.backoff == NO_BACKOFF).then_some(args.at_once),
            rate: args.rate,
            restart: args.restart,
            common: Common { keep: Some(args.keep.keep(args.durability)), ..args.target.into() },
        })
    }
}
