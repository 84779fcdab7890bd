//! One run of `throng bench drain`.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use super::DrainReport;
use super::spread::Spread;
use crate::load::connection::Script;
use crate::load::cost::Contest;
use crate::load::dialect::{Identity, Rooms};
use crate::load::failures::not_open;
use crate::load::fleet::{Fleet, FleetPlan, Order};
use crate::load::options::Common;
use crate::load::progress::{self, Waited};
use crate::load::report::Origin;
use crate::load::server::Server;
use crate::load::settings::SERVER;

/// What to run.
pub struct DrainOptions {
    /// Which server, and where the answer goes.
    pub common: Common,
    /// Connections to open.
    pub connections: u64,
    /// Rooms that they are spread over.
    pub rooms: u64,
    /// Seconds over which they are to be closed. A server that is started is told so.
    pub over_seconds: f64,
    /// What a second may be off from even, in percent.
    pub uneven_percent_max: f64,
}

/// Runs it, prints the table on stdout and writes the files.
///
/// # Errors
///
/// The run could not start, the report could not be written, somebody was cut off without a close frame or not
/// closed at all, or the closes were not even.
pub fn run(options: &DrainOptions) -> Result<(), String> {
    let drain_ms = (options.over_seconds * 1e3) as u64;
    let settings = options.common.settings.clone().with(SERVER, "drain_ms", drain_ms);
    let common = &Common { settings, ..options.common.clone() };
    let (outputs, sender, notices) = common.prepare()?;
    let mut server = Server::of(common, options.connections)?;
    let threads = common.threads.map_or_else(|| Fleet::threads_needed(options.connections), Ok)?;
    let rooms = Rooms::Spread(options.rooms);
    let script = Script::new(Arc::clone(&common.dialect), rooms, Identity::Anonymous, &server.target)?;
    let base = FleetPlan::new(server.target.address, script, options.connections, threads);
    let source_ips = common.source_ips.unwrap_or(base.source_ips);
    let origin = Origin::now(&server.url, threads as usize, source_ips);
    let fleet = Fleet::start(FleetPlan { source_ips, notes_ends: true, ..base }, &sender)?;
    let (waited, _) = progress::until_open(&fleet, &notices, options.connections);
    let whole = fleet.counters.whole.load(SeqCst);
    if waited != Waited::Done || whole < options.connections {
        let reasons = fleet.close().failures;
        return Err(not_open(waited, whole, options.connections, &reasons, server.target.address));
    }
    let mut report = DrainReport::new(origin, options, server.is_own());
    let contest = Contest::begin(server.probe);
    if server.is_own() {
        eprintln!("all connections are whole; telling the server to end");
    } else {
        eprintln!("all connections are whole: drain the server now, within ten seconds");
    }
    fleet.order(Order::TellGone);
    let told = Instant::now();
    server.ask_to_end()?;
    let (waited, timeline) = progress::until_ended(&fleet, &notices, options.connections);
    report.client = contest.spent().client;
    report.interrupted = waited == Waited::Interrupted;
    report.timeline = timeline;
    let outcome = fleet.close();
    report.ended = outcome.ends.len() as u64;
    report.cut_off = outcome.ends.iter().filter(|end| end.code.is_none()).count() as u64;
    for code in outcome.ends.iter().filter_map(|end| end.code) {
        *report.codes.entry(code).or_default() += 1;
    }
    report.spread = Spread::of(&outcome.ends, told, options.over_seconds);
    report.drops = outcome.drops;
    print!("{}", report.table().render());
    outputs.write(&report, &report.page())?;
    report.verdict()
}
