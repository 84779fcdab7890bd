//! `throng plan`: parses, has [`crate::plan`] compute, and shows it as a table, JSON or a plot.
//!
//! A number that is out of range and numbers that contradict each other are the command line's fault
//! (exit code 2); a file that cannot be read, believed or written is not (1).

mod from;
mod plot;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::limits::{KERNEL_BYTES_PER_CONNECTION, USER_BYTES_PER_CONNECTION};
use crate::plan::quantity::{self, Quantity};
use crate::plan::{Decimal, Fleet, Inputs, Load, Node, Plan, RoomShare};

/// How many nodes a load takes, which resource decides it, and what to change to need fewer
///
/// Numbers may be abbreviated: 10M, 1.5k; bytes count in powers of 1,024: 28GiB = 28GB = 28G.
/// Fractions are 0.3 or 30%. What is not given is not judged.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    arg_required_else_help = true,
    after_help = "\
How many nodes hold 10 million connections, two of which may fail:
  throng plan --users 10M --memory 28GiB --descriptors 1M --survive 2

How many nodes chat rooms take, by deliveries measured with `throng bench ceiling --json FILE`:
  throng plan --publishes-per-second 2000 --room-sizes 10:0.7,500:0.25,5000:0.05 --active 0.4 \\
      --from ceiling.json --headroom 0.3 --plot rooms.html

What one node holds:
  throng plan --memory 28GiB --bytes-per-connection 20KiB --descriptors 1M

docs/PLANNING.md has the formulas and what they cannot know."
)]
pub(super) struct Args {
    /// Users connected at once
    #[arg(long, value_name = "N", help_heading = "Load", allow_hyphen_values = true, value_parser = whole(quantity::USERS))]
    users: Option<u64>,
    /// Connections of each user, on average
    #[arg(long, value_name = "X", help_heading = "Load", allow_hyphen_values = true, requires = "users",
        default_value = "1", value_parser = decimal(quantity::SESSIONS_PER_USER))]
    sessions_per_user: Decimal,
    /// Publishes per second over all rooms
    #[arg(long, value_name = "P", help_heading = "Load", allow_hyphen_values = true,
        value_parser = decimal(quantity::PUBLISHES_PER_SECOND))]
    publishes_per_second: Option<Decimal>,
    /// Members of a room; several sizes with the share of the publishes that go to each, as 10:0.7,500:0.3.
    /// A member is a subscribed connection: a user with two devices is two
    #[arg(long, value_name = "M[:SHARE],…", help_heading = "Load", allow_hyphen_values = true, alias = "room-size",
        value_delimiter = ',', value_parser = room)]
    room_sizes: Vec<RoomShare>,
    /// Fraction of a room's members that are connected when it is published to
    #[arg(long, value_name = "F", help_heading = "Load", allow_hyphen_values = true, default_value = "1",
        value_parser = decimal(quantity::ACTIVE))]
    active: Decimal,
    /// The publisher is a member of the room and does not get its own message
    #[arg(long, help_heading = "Load")]
    exclude_sender: bool,
    /// Bytes of the message that a member gets, the protocol's envelope included
    #[arg(long, value_name = "BYTES", help_heading = "Load", allow_hyphen_values = true,
        value_parser = whole(quantity::MESSAGE_BYTES))]
    message_bytes: Option<u64>,

    /// Memory for connections: what is left beside the system and other programs
    #[arg(long, value_name = "BYTES", help_heading = "One node", allow_hyphen_values = true,
        value_parser = whole(quantity::MEMORY))]
    memory: Option<u64>,
    /// Memory of one connection, in the kernel and in the server [default: 4054, idle, as measured of this build]
    #[arg(long, value_name = "BYTES", help_heading = "One node", allow_hyphen_values = true,
        value_parser = whole(quantity::BYTES_PER_CONNECTION))]
    bytes_per_connection: Option<u64>,
    /// Descriptors for connections, of all processes and tables: each shard of throng has a table of its own, so
    /// this is the hard limit times the shards
    #[arg(long, value_name = "N", help_heading = "One node", allow_hyphen_values = true,
        value_parser = whole(quantity::DESCRIPTORS))]
    descriptors: Option<u64>,
    /// Deliveries per second, each a write to a socket: the answer of `throng bench ceiling`
    #[arg(long, value_name = "N", help_heading = "One node", allow_hyphen_values = true,
        value_parser = whole(quantity::DELIVERIES_PER_SECOND))]
    deliveries_per_second: Option<u64>,
    /// Egress in Gbit/s; needs --message-bytes
    #[arg(long, value_name = "GBIT", help_heading = "One node", allow_hyphen_values = true,
        value_parser = decimal(quantity::EGRESS_GBIT))]
    egress_gbit: Option<Decimal>,
    /// JSON of `throng bench ceiling` (deliveries per second) or `throng bench idle` (bytes per connection); repeat
    /// it for both. An option beside it wins
    #[arg(long, value_name = "FILE", help_heading = "One node")]
    from: Vec<PathBuf>,

    /// Fraction of every limit to keep free for spikes
    #[arg(long, value_name = "F", help_heading = "All nodes", allow_hyphen_values = true, default_value = "0",
        value_parser = decimal(quantity::HEADROOM))]
    headroom: Decimal,
    /// Nodes that may fail at once while the others carry everything
    #[arg(long, value_name = "K", help_heading = "All nodes", allow_hyphen_values = true, default_value = "0",
        value_parser = whole(quantity::SURVIVE))]
    survive: u64,
    /// Factor on the nodes needed, such as 2 for a second site. With --survive, whichever asks for more counts
    #[arg(long, value_name = "X", help_heading = "All nodes", allow_hyphen_values = true, default_value = "1",
        value_parser = decimal(quantity::REDUNDANCY))]
    redundancy: Decimal,
    /// Nodes that there are: whether they are enough, and what each carries
    #[arg(long, value_name = "N", help_heading = "All nodes", allow_hyphen_values = true,
        value_parser = whole(quantity::NODES))]
    nodes: Option<u64>,

    /// Print the plan as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// Write a plot of the nodes over room sizes to this file, as one HTML page or one SVG picture
    #[arg(long, value_name = "FILE.html|.svg", help_heading = "Output", value_parser = plot::file)]
    plot: Option<PathBuf>,
}

// The help and docs/PLANNING.md name this default.
const _: () = assert!(KERNEL_BYTES_PER_CONNECTION + USER_BYTES_PER_CONNECTION == 4_054);

fn whole(quantity: Quantity) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text: &str| quantity.parse_whole(text)
}

fn decimal(quantity: Quantity) -> impl Fn(&str) -> Result<Decimal, String> + Clone {
    move |text: &str| quantity.parse(text)
}

/// `SIZE` or `SIZE:SHARE`.
fn room(text: &str) -> Result<RoomShare, String> {
    let (members, share) = text.split_once(':').unwrap_or((text, "1"));
    let members =
        quantity::ROOM_SIZE.parse_whole(members).map_err(|why| format!("the size {members}: {why}"))?;
    let share = quantity::ROOM_SHARE.parse(share).map_err(|why| format!("the share {share}: {why}"))?;
    Ok(RoomShare { members, share })
}

impl Args {
    /// The inputs as far as the command line gives them.
    fn inputs(&self) -> Inputs {
        Inputs {
            load: Load {
                users: self.users,
                sessions_per_user: self.sessions_per_user,
                publishes_per_second: self.publishes_per_second,
                rooms: self.room_sizes.clone(),
                active: self.active,
                excludes_sender: self.exclude_sender,
                message_bytes: self.message_bytes,
            },
            node: Node {
                memory_bytes: self.memory,
                bytes_per_connection: self
                    .bytes_per_connection
                    .unwrap_or(KERNEL_BYTES_PER_CONNECTION + USER_BYTES_PER_CONNECTION),
                descriptors: self.descriptors,
                deliveries_per_second: self.deliveries_per_second,
                egress_gbit_per_second: self.egress_gbit,
            },
            fleet: Fleet {
                headroom: self.headroom,
                survive: self.survive,
                redundancy: self.redundancy,
                nodes: self.nodes,
            },
        }
    }

    /// Whether the command line gives `option`, of those that a file may give instead.
    fn gives(&self, option: &str) -> bool {
        match option {
            "--deliveries-per-second" => self.deliveries_per_second.is_some(),
            _ => self.bytes_per_connection.is_some(),
        }
    }
}

/// Runs the subcommand.
pub(super) fn run(args: &Args) -> ExitCode {
    let mut inputs = args.inputs();
    let sources = match from::take(&args.from, &mut inputs, &|option| args.gives(option)) {
        Ok(sources) => sources,
        Err(error) => return super::report(Err(error)),
    };
    let mut plan = match Plan::new(inputs) {
        Ok(plan) => plan,
        Err(refusal) => {
            eprintln!("error: {refusal}\n\nFor more information, try 'throng plan --help'.");
            return ExitCode::from(2);
        }
    };
    plan.notes.splice(0..0, sources);
    if let Some(path) = &args.plot {
        match plot::write(&plan, path) {
            Ok(()) => {}
            Err(plot::NotDrawn::Lacks(error)) => {
                eprintln!("error: {error}");
                return ExitCode::from(2);
            }
            Err(plot::NotDrawn::Unwritable(error)) => return super::report(Err(error)),
        }
    }
    let text = if args.json { json(&plan) } else { table::text(&plan) };
    let printed = super::print(text.trim_end());
    if let (Ok(()), Some(plot)) = (&printed, &args.plot) {
        eprintln!("plot: {}", plot.display());
    }
    super::report(printed)
}

fn json(plan: &Plan) -> String {
    // Numbers, names and sentences only: there is nothing that JSON could not say.
    serde_json::to_string_pretty(plan).map_or_else(|error| error.to_string(), |text| text + "\n")
}
