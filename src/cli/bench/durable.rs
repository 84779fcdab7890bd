//! The subcommands about rooms with a history, and how a server that is started keeps it.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::loads::rate;
use super::{TargetArgs, seconds};
use crate::load::keep::{Durability, HISTORY_SIZE, Keep};
use crate::load::options::Common;
use crate::load::publish::{Load, PublishOptions};

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
    #[arg(long, value_name = "R", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    rooms: u64,
    /// Members of each room
    #[arg(long, value_name = "M", default_value_t = 0)]
    members: u64,
    /// Connections that publish
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    connections: u64,
    /// Closed loop: publishes of each connection that wait for their acknowledgement
    #[arg(long, value_name = "K", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=16_384))]
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
