//! `throng bench`: parses, and hands over to [`crate::load`].

mod crowds;
mod durable;
mod floor;
mod loads;

use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use jsonwebtoken::EncodingKey;

use self::crowds::{BounceArgs, DrainArgs};
use self::durable::{HistoryArgs, PublishArgs, RecoverArgs};
use self::floor::{BareServerArgs, FloorArgs, HeartbeatArgs};
use self::loads::{CeilingArgs, SlowArgs, StormArgs};
use crate::load::dialect::{self, Dialect, Identity, Rooms};
use crate::load::fanout::{self, FanoutOptions};
use crate::load::floor::BARE_SERVER;
use crate::load::idle::{self, CONNECTIONS_PER_ROOM, IdleOptions};
use crate::load::options::Common;
use crate::load::paced::{self, PacedOptions};
use crate::load::settings::Settings;
use crate::load::{bare, bounce, ceiling, drain, heartbeat, publish, recover, slow, storm};

/// One question per subcommand.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// What N idle connections cost: memory on both sides of the kernel boundary, CPU to connect and to hold
    Idle(IdleArgs),
    /// What one delivery costs and how long it takes: a closed loop with K publishes in flight, or with --rate an open one
    Fanout(FanoutArgs),
    /// How many publishes per second are acknowledged, over many rooms and connections, and how long each waits
    Publish(PublishArgs),
    /// N clients drop, miss K messages and come back for them: whether all are whole, how long it takes, what is read
    Recover(RecoverArgs),
    /// N members drop at once and come back: time to whole, CPU per connect, what those notice who stay
    Storm(StormArgs),
    /// A share of the members stops reading: what the others see, memory held, closes
    Slow(SlowArgs),
    /// M members of a room leave and join again all the time: what the others are told, and who is there once it ends
    Bounce(BounceArgs),
    /// The server closes N connections over a time, as before a deploy: how evenly, in which order, who is cut off
    Drain(DrainArgs),
    /// What pings alone cost: CPU per ping and pong, and per connection and second
    Heartbeat(HeartbeatArgs),
    /// The highest rate at which messages still arrive in time: the number to plan with
    Ceiling(CeilingArgs),
    /// What the kernel makes possible: bytes and CPU per bare accepted socket, CPU per bare send
    Floor(FloorArgs),
    /// Print the file of a built-in dialect, which explains its keys: what to start one of your own from
    Dialect(DialectFileArgs),
    /// The server of `floor`
    #[command(name = BARE_SERVER, hide = true)]
    BareServer(BareServerArgs),
}

/// Longest time to hold connections: a year, after which sums of times could pass their types.
const HOLD_SECONDS_MAX: u64 = 31_536_000;

/// Which server, and how the generator reaches it.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// The server, as ws://HOST:PORT/PATH [default: start `throng serve` as a child]
    #[arg(long, value_name = "URL")]
    target: Option<String>,
    /// Process of the server at --target; without it there are no server figures
    #[arg(long, requires = "target")]
    pid: Option<u32>,
    /// Arguments for the `throng serve` that is started, split at spaces. Its rooms are kept in the
    /// system's temporary directory and removed at the end, unless --data is among them
    #[arg(long, default_value = "", allow_hyphen_values = true, conflicts_with = "target")]
    serve_args: String,
    #[command(flatten)]
    dialect: DialectArgs,
    /// Loopback addresses to connect from, 0 for the kernel's choice [default: one per 7000 connections]
    #[arg(long, value_name = "N")]
    source_ips: Option<u64>,
    /// Threads of the generator, each with a descriptor table of its own [default: as few as hold the connections]
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u64).range(1..))]
    threads: Option<u64>,
    /// Write the report to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report to this file as one HTML page with plots
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

impl From<TargetArgs> for Common {
    fn from(args: TargetArgs) -> Self {
        Self {
            target: args.target,
            pid: args.pid,
            serve_args: args.serve_args,
            keep: None,
            settings: Settings::default(),
            dialect: args.dialect.chosen(),
            source_ips: args.source_ips,
            threads: args.threads,
            json: args.json,
            report: args.report,
        }
    }
}

/// How the server is spoken to.
#[derive(Debug, Args)]
pub struct DialectArgs {
    /// How the server is spoken to; `throng bench dialect NAME` shows what that means
    #[arg(long, value_name = "NAME", default_value = "centrifuge", value_parser = built_in_dialect())]
    dialect: Arc<Dialect>,
    /// A dialect of your own, as a file of the same form
    #[arg(long, value_name = "FILE", conflicts_with = "dialect", value_parser = dialect::read)]
    dialect_file: Option<Arc<Dialect>>,
}

impl DialectArgs {
    /// The dialect that was asked for.
    fn chosen(self) -> Arc<Dialect> {
        self.dialect_file.unwrap_or(self.dialect)
    }
}

/// Takes the names of built-in dialects, and lists them in the help.
fn built_in_dialect() -> impl TypedValueParser<Value = Arc<Dialect>> {
    PossibleValuesParser::new(dialect::BUILT_IN_NAMES).try_map(|name| dialect::built_in(&name))
}

/// `throng bench dialect`.
#[derive(Debug, Args)]
pub struct DialectFileArgs {
    /// Which one
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(dialect::BUILT_IN_NAMES))]
    name: String,
}

/// `throng bench idle`.
#[derive(Debug, Args)]
pub struct IdleArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Connections to open
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    connections: u64,
    /// Seconds to hold the connections once they are open
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(..=HOLD_SECONDS_MAX))]
    hold: u64,
    /// Rooms, each connection joins one [default: one per 1000 connections]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u64).range(1..))]
    rooms: Option<u64>,
    /// Connect only, join no room
    #[arg(long, conflicts_with = "rooms")]
    no_subscribe: bool,
    /// Give each connection a token of its own, with sub "user-<i>"
    #[arg(long, requires = "token_secret")]
    named: bool,
    /// Stop the process of --pid for a moment (SIGSTOP), to tell the sides' kernel memory apart
    #[arg(long, requires = "pid")]
    stop_server: bool,
    /// HMAC secret (HS256) that signs the tokens of --named
    #[arg(long, value_name = "S")]
    token_secret: Option<String>,
    #[command(flatten)]
    history: HistoryArgs,
}

/// `throng bench fanout`.
#[derive(Debug, Args)]
pub struct FanoutArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Members of each room; in the closed loop beside the publisher
    #[arg(long, value_name = "M", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    members: u64,
    /// Members over all rooms, instead of --members
    #[arg(long, value_name = "N", conflicts_with = "members", value_parser = clap::value_parser!(u64).range(1..))]
    connections: Option<u64>,
    /// Closed loop: publishes written at once; the next follow when every member has all of them. Several numbers
    /// (1,4,16) are run one after the other
    #[arg(long, value_name = "K", default_value = "1", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..))]
    in_flight: Vec<u64>,
    /// Closed loop: rooms each member is in; publishes go to them in turn
    #[arg(long, value_name = "R", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    rooms_per_connection: u64,
    /// Closed loop: receive without sleeping: the server's sends then wake nobody, as if the clients were elsewhere
    #[arg(long)]
    spin: bool,
    /// Open loop: publishes per second over all rooms, by a fixed schedule
    #[arg(long, value_name = "P", conflicts_with_all = ["in_flight", "rooms_per_connection", "spin"], value_parser = loads::rate)]
    rate: Option<f64>,
    /// Open loop: rooms; each member is in one
    #[arg(long, value_name = "R", default_value_t = 1, requires = "rate", value_parser = clap::value_parser!(u64).range(1..))]
    rooms: u64,
    /// Open loop: connections that publish, beside the members
    #[arg(long, value_name = "P", default_value_t = 1, requires = "rate", value_parser = clap::value_parser!(u64).range(1..))]
    publishers: u64,
    /// Open loop: the rooms of the server that is started are in feed mode, and what they get is delivered every so
    /// many ms. At most 900, since the end of a run waits a second for the last messages
    #[arg(long, value_name = "MS", num_args = 0..=1, require_equals = true, default_missing_value = "250", requires = "rate", conflicts_with = "target", value_parser = clap::value_parser!(u64).range(1..=900))]
    feed: Option<u64>,
    /// Seconds to measure
    #[arg(long, value_name = "S", default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// Seconds to run before measuring
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds)]
    warm_up_seconds: f64,
    /// Bytes of each payload: of what stands for {payload} in the dialect's `publish`
    #[arg(long, value_name = "B", default_value_t = 64)]
    payload_bytes: usize,
    #[command(flatten)]
    history: HistoryArgs,
}

/// Runs one benchmark.
///
/// # Errors
///
/// Why it could not run, as a sentence for stderr.
pub fn run(bench: Bench) -> Result<(), String> {
    match bench {
        Bench::Idle(args) => idle::run(&args.into()),
        Bench::Fanout(args) => match args.rate {
            Some(rate) => paced::run(&args.paced(rate)?),
            None => fanout::run(&args.into()),
        },
        Bench::Publish(args) => publish::run(&args.into()),
        Bench::Recover(args) => recover::run(&args.try_into()?),
        Bench::Storm(args) => storm::run(&args.into()),
        Bench::Slow(args) => slow::run(&args.try_into()?),
        Bench::Bounce(args) => bounce::run(&args.into()),
        Bench::Drain(args) => drain::run(&args.into()),
        Bench::Heartbeat(args) => heartbeat::run(&args.into()),
        Bench::Ceiling(args) => ceiling::run(&args.try_into()?),
        Bench::Floor(args) => crate::load::floor::run(&args.into()),
        Bench::Dialect(args) => {
            print!("{}", dialect::built_in_text(&args.name).unwrap_or_default());
            Ok(())
        }
        Bench::BareServer(args) => bare::run(args.shards as usize),
    }
}

impl From<IdleArgs> for IdleOptions {
    fn from(args: IdleArgs) -> Self {
        let rooms = args.rooms.unwrap_or(args.connections.div_ceil(CONNECTIONS_PER_ROOM));
        let secret = args.token_secret.filter(|_| args.named);
        Self {
            connections: args.connections,
            hold_seconds: args.hold,
            rooms: if args.no_subscribe { Rooms::None } else { Rooms::Spread(rooms) },
            identity: secret.map_or(Identity::Anonymous, |secret| {
                Identity::Named(EncodingKey::from_secret(secret.as_bytes()))
            }),
            stop_server: args.stop_server,
            common: Common { keep: args.history.keep(), ..args.target.into() },
        }
    }
}

impl FanoutArgs {
    /// The open loop with `rate` publishes per second.
    ///
    /// # Errors
    ///
    /// The connections cannot be spread evenly over the rooms.
    fn paced(self, rate: f64) -> Result<PacedOptions, String> {
        Ok(PacedOptions {
            members: loads::members_of_each(self.connections, self.rooms, self.members)?,
            rooms: self.rooms,
            rate,
            publishers: self.publishers,
            warm_up_seconds: self.warm_up_seconds,
            seconds: self.seconds,
            payload_bytes: self.payload_bytes,
            feed_interval_ms: self.feed,
            common: Common { keep: self.history.keep(), ..self.target.into() },
        })
    }
}

impl From<FanoutArgs> for FanoutOptions {
    fn from(args: FanoutArgs) -> Self {
        Self {
            members: args.connections.unwrap_or(args.members),
            in_flight: args.in_flight,
            rooms_per_connection: args.rooms_per_connection,
            warm_up_seconds: args.warm_up_seconds,
            seconds: args.seconds,
            payload_bytes: args.payload_bytes,
            spin: args.spin,
            common: Common { keep: args.history.keep(), ..args.target.into() },
        }
    }
}

/// Seconds as a fraction, finite and not negative.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("seconds must be a number from 0 to 86400".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        bench: Bench,
    }

    fn parse(line: &str) -> Result<Bench, clap::Error> {
        Line::try_parse_from(line.split(' ')).map(|line| line.bench)
    }

    #[test]
    fn rooms_default_to_one_per_thousand_connections() {
        let Ok(Bench::Idle(args)) = parse("bench idle --connections 2500") else { panic!("is valid") };
        assert_eq!(IdleOptions::from(args).rooms, Rooms::Spread(3));
        let Ok(Bench::Idle(args)) = parse("bench idle --connections 9 --no-subscribe") else {
            panic!("is valid")
        };
        assert_eq!(IdleOptions::from(args).rooms, Rooms::None);
    }

    #[test]
    fn what_cannot_be_run_is_refused_before_anything_starts() {
        for line in [
            "bench idle",
            "bench idle --connections 0",
            "bench idle --connections 1 --named",
            "bench idle --connections 1 --pid 1",
            "bench idle --connections 1 --dialect klingon",
            "bench idle --connections 1 --dialect-file /nowhere.toml",
            "bench idle --connections 1 --dialect raw --dialect-file dialects/raw.toml",
            "bench dialect klingon",
            "bench fanout --in-flight 0",
            "bench fanout --seconds -1",
            "bench fanout --seconds NaN",
            "bench idle --connections 1 --stop-server",
            "bench floor --connections 0",
            "bench publish --durability disk",
            "bench idle --connections 1 --history=none",
            "bench storm --data-dir /tmp",
            "bench recover --durability none",
            "bench publish --rate 10 --in-flight 2",
            "bench publish --target ws://x --durability os",
            "bench heartbeat --ping-interval-ms 1",
            "bench heartbeat --target ws://x --ping-interval-ms 50",
            "bench fanout --feed",
            "bench fanout --rate 1 --feed=901",
            "bench fanout --rate 1 --feed --target ws://x",
            "bench slow --wake-seconds 3",
            "bench slow --target ws://x --patient",
            "bench storm --backoff fast",
            "bench storm --backoff official --at-once 5",
            "bench recover --backoff official --rate 5",
            "bench bounce --gap 0",
            "bench bounce --target ws://x --debounce-ms 5",
            "bench drain --over 0.5",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("bench fanout --members 10 --in-flight 4 --dialect raw").is_ok());
        assert!(parse("bench idle --connections 1 --history --hold 3").is_ok());
        assert!(parse("bench dialect nats").is_ok());
    }

    #[test]
    fn a_dialects_file_takes_the_place_of_the_built_in_one() {
        let chosen = |line: &str| match parse(line) {
            Ok(Bench::Fanout(args)) => FanoutOptions::from(args).common.dialect.name.clone(),
            _ => panic!("is valid"),
        };
        assert_eq!(chosen("bench fanout"), "centrifuge");
        assert_eq!(chosen("bench fanout --dialect nats"), "nats");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/dialects/raw.toml");
        assert_eq!(chosen(&format!("bench fanout --dialect-file {path}")), path);
    }
}
