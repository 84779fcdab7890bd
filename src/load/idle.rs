//! `throng bench idle`: open N connections, hold them, close them, and say what each step costs.
//!
//! Memory is [`super::account`]'s business; what is here is CPU: of a connect, and of an idle minute, in
//! which all that happens is the server's heartbeats.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::account::{Account, Ledger};
use super::connection::Script;
use super::cost::{Bottleneck, Contest};
use super::dialect::{Identity, Rooms};
use super::failures::explain;
use super::fleet::{Fleet, FleetPlan, Notice};
use super::options::Common;
use super::probe::{Probe, spent};
use super::progress::{self, Line, Waited};
use super::report::{Origin, Table, Timeline, number, per};
use super::server::Server;
use super::source;

/// Connections per room unless asked otherwise.
pub const CONNECTIONS_PER_ROOM: u64 = 1_000;
/// Seconds in the minute that the CPU of holding is told for.
const MINUTE: f64 = 60.0;

/// What to run.
pub struct IdleOptions {
    /// Which server, and where the answer goes.
    pub common: Common,
    /// Connections to open.
    pub connections: u64,
    /// Seconds to hold.
    pub hold_seconds: u64,
    /// Rooms that connections join, one each.
    pub rooms: Rooms,
    /// Tokens they bring.
    pub identity: Identity,
    /// Whether a server that this run did not start may be stopped for a moment (SIGSTOP), to tell the
    /// sides' memory apart.
    pub stop_server: bool,
}

/// The answer. Figures that were not reached (an interrupted run) or have no source (no `--pid`) are absent.
#[derive(Debug, Default, Serialize)]
pub struct IdleReport {
    /// Where and how.
    pub origin: Option<Origin>,
    /// The run was stopped before its end.
    pub interrupted: bool,
    /// Rooms had a history, and every connection could have recovered.
    pub history: bool,
    /// Connections asked for.
    pub connections: u64,
    /// Connections that became whole.
    pub whole: u64,
    /// Connections that failed before, by reason.
    pub failures: BTreeMap<String, u64>,
    /// Connections that were whole and that the server ended, by reason.
    pub drops: BTreeMap<String, u64>,
    /// Connections still under way when opening was given up.
    pub unfinished: u64,
    /// From the first connect to the last connection whole or failed.
    pub open_seconds: f64,
    /// Whole connections per second of it.
    pub connects_per_second: f64,
    /// Seconds since the first connect, and the connections whole by then.
    pub whole_over_time: Timeline,
    /// Server CPU per whole connection while opening.
    pub server_cpu_us_per_connect: Option<f64>,
    /// Generator CPU per whole connection while opening.
    pub client_cpu_us_per_connect: Option<f64>,
    /// Who was saturated while opening.
    pub bottleneck: Bottleneck,
    /// Memory per whole connection.
    pub account: Account,
    /// Seconds held.
    pub hold_seconds: f64,
    /// Pings received while holding, each answered by a pong.
    pub hold_pings: u64,
    /// Server CPU in ms per minute held, for all connections.
    pub server_cpu_ms_per_minute: Option<f64>,
    /// Generator CPU in ms per minute held, for all connections.
    pub client_cpu_ms_per_minute: Option<f64>,
    /// Server CPU in ns per connection and second held.
    pub server_cpu_ns_per_connection_second: Option<f64>,
}

/// Runs it, prints the table on stdout and writes the files.
///
/// # Errors
///
/// The run could not start, the report could not be written, or not one connection became whole.
/// Some failed connections are figures, not errors.
pub fn run(options: &IdleOptions) -> Result<(), String> {
    let common = &options.common;
    let (outputs, sender, notices) = common.prepare()?;
    let server = Server::of(common, options.connections)?;
    let threads = options.common.threads.map_or_else(|| Fleet::threads_needed(options.connections), Ok)?;
    let address = server.target.address;
    let source_ips =
        options.common.source_ips.unwrap_or_else(|| source::sources_needed(options.connections, address));
    let script =
        Script::new(options.common.dialect.clone(), options.rooms, options.identity.clone(), &server.target)?
            .with_recovery(common.recovery())?;
    let plan = FleetPlan { source_ips, ..FleetPlan::new(address, script, options.connections, threads) };
    let mut report = IdleReport {
        origin: Some(Origin::now(&server.url, threads as usize, source_ips)),
        history: common.keep.is_some(),
        connections: options.connections,
        ..IdleReport::default()
    };
    measure(options, plan, &server, &sender, &notices, &mut report)?;
    print!("{}", report.table().render());
    outputs.write(&report, &report.page())?;
    if report.whole == 0 || !report.failures.is_empty() {
        let said = explain(report.whole, report.connections, &report.failures, address);
        if report.whole == 0 {
            return Err(said);
        }
        eprintln!("note: {said}");
    }
    Ok(())
}

fn measure(
    options: &IdleOptions,
    plan: FleetPlan,
    server: &Server,
    sender: &mpsc::Sender<Notice>,
    notices: &mpsc::Receiver<Notice>,
    report: &mut IdleReport,
) -> Result<(), String> {
    let own = Probe::own()?;
    let cpu = |probe: Option<Probe>| probe.and_then(|probe| probe.cpu().ok());
    let mut ledger = Ledger::open(server, own, server.is_own() || options.stop_server);
    let (started, server_before, own_before) = (Instant::now(), server.cpu(), own.cpu().ok());

    let contest = Contest::begin(server.probe);
    let fleet = Fleet::start(plan, sender)?;
    let (waited, timeline) = progress::until_open(&fleet, notices, options.connections);
    report.bottleneck = contest.spent().bottleneck;
    report.whole_over_time = timeline;
    report.open_seconds = started.elapsed().as_secs_f64();
    let (server_open, own_open) = (server.cpu(), cpu(Some(own)));
    report.whole = fleet.counters.whole.load(SeqCst);
    report.unfinished = options.connections - report.whole - fleet.counters.failed.load(SeqCst);
    report.connects_per_second = report.whole as f64 / report.open_seconds;
    report.server_cpu_us_per_connect =
        spent(server_before, server_open).and_then(|spent| per(spent * 1e6, report.whole));
    report.client_cpu_us_per_connect =
        spent(own_before, own_open).and_then(|spent| per(spent * 1e6, report.whole));
    ledger.note("open");

    if waited != Waited::Interrupted {
        let (held, server_before, own_before) = (Instant::now(), server.cpu(), own.cpu().ok());
        let pings_before = fleet.counters.pings.load(SeqCst);
        let waited = progress::for_a_while(notices, Duration::from_secs(options.hold_seconds), || {
            let counters = &fleet.counters;
            let (pings, dropped) = (counters.pings.load(SeqCst), counters.dropped.load(SeqCst));
            let text = format!("held, {} pings answered, {dropped} dropped", pings - pings_before);
            Line { text, moved: true }
        });
        report.interrupted = waited == Waited::Interrupted;
        report.hold_seconds = held.elapsed().as_secs_f64();
        report.hold_pings = fleet.counters.pings.load(SeqCst) - pings_before;
        let (server_spent, own_spent) =
            (spent(server_before, server.cpu()), spent(own_before, own.cpu().ok()));
        let per_minute = |spent: f64| spent * 1e3 * MINUTE / report.hold_seconds;
        report.server_cpu_ms_per_minute = server_spent.map(per_minute);
        report.client_cpu_ms_per_minute = own_spent.map(per_minute);
        report.server_cpu_ns_per_connection_second =
            server_spent.and_then(|spent| per(spent * 1e9 / report.hold_seconds, report.whole));
        ledger.note("held");
    } else {
        report.interrupted = true;
    }

    let outcome = ledger.close(fleet);
    (report.failures, report.drops) = (outcome.failures, outcome.drops);
    report.account = ledger.account(report.whole);
    Ok(())
}

impl IdleReport {
    /// The report for people.
    pub fn table(&self) -> Table {
        let mut table = Table::default();
        let count = |value: u64| number(value as f64, 0);
        if self.interrupted {
            table.row("interrupted", "yes: figures up to then");
        }
        if self.history {
            table.row("rooms have a history", "yes");
        }
        table.row("connections whole", count(self.whole));
        table.row("connections failed", count(self.failures.values().sum()));
        table.reasons("failed", &self.failures);
        table.row("connections dropped by the server", count(self.drops.values().sum()));
        table.reasons("dropped", &self.drops);
        if self.unfinished > 0 {
            table.row("under way when opening was given up", count(self.unfinished));
        }
        table.row("seconds to open", number(self.open_seconds, 2));
        table.row("connects per second", number(self.connects_per_second, 0));
        table.row_if("server CPU per connect (µs)", self.server_cpu_us_per_connect, 1);
        table.row_if("client CPU per connect (µs)", self.client_cpu_us_per_connect, 1);
        table.row("bottleneck while opening", self.bottleneck.sentence());
        table.row("seconds held", number(self.hold_seconds, 1));
        table.row("pings received, pongs sent while held", count(self.hold_pings));
        table.row_if("idle minute: server CPU, all connections (ms)", self.server_cpu_ms_per_minute, 1);
        table.row_if("idle minute: client CPU, all connections (ms)", self.client_cpu_ms_per_minute, 1);
        table.row_if(
            "server CPU per connection and second held (ns)",
            self.server_cpu_ns_per_connection_second,
            0,
        );
        self.account.rows(&mut table);
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_tells_what_was_reached_and_leaves_out_what_has_no_source() {
        let report = IdleReport {
            interrupted: true,
            whole: 10,
            server_cpu_ms_per_minute: Some(1_234.5),
            ..IdleReport::default()
        };
        let text = report.table().render();
        assert!(text.contains("interrupted") && text.contains("1,234.5"), "{text}");
        assert!(!text.contains("NaN") && !text.contains("per connection and second"), "{text}");
    }
}
