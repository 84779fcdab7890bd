//! `throng bench idle`: open N connections, hold them, close them, and say what each step costs.
//!
//! User memory is the growth of the server's PSS, all of it, divided by the connections; kernel memory
//! is the growth of the machine's slabs, so with both ends here it is that of a pair.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::connection::Script;
use super::dialect::{Dialect, Identity, Rooms};
use super::failures::explain;
use super::fleet::{Fleet, FleetPlan, Notice};
use super::kernel::{self, KernelSample};
use super::probe::{Memory, Probe};
use super::progress::{self, Line, Waited};
use super::report::{Origin, Outputs, Table, Timeline, number, per};
use super::server::Server;
use super::{interrupt, source};

/// Connections per room unless asked otherwise.
pub const CONNECTIONS_PER_ROOM: u64 = 1_000;
/// How long the server may take to give memory back after all clients have left.
const RELEASE_MAX: Duration = Duration::from_secs(10);
/// Between two looks at the memory it gives back.
const RELEASE_LOOK: Duration = Duration::from_millis(500);
/// Looks in a row that must find the memory unchanged: a server gives back once it has nothing to do.
const RELEASE_LOOKS: u32 = 4;
/// A change of PSS between two looks that counts as none.
const RELEASE_STILL_BYTES: u64 = 64 * 1024;

/// What to run.
pub struct IdleOptions {
    /// The server, or `None` to start one.
    pub target: Option<String>,
    /// Its process.
    pub pid: Option<u32>,
    /// Arguments for a server that is started, split at spaces.
    pub serve_args: String,
    /// How it is spoken to.
    pub dialect: Arc<Dialect>,
    /// Connections to open.
    pub connections: u64,
    /// Worker threads, or as few as the descriptor limit allows.
    pub threads: Option<u64>,
    /// Source addresses, or as many as make ports cheap.
    pub source_ips: Option<u64>,
    /// Seconds to hold.
    pub hold_seconds: u64,
    /// Rooms that connections join, one each.
    pub rooms: Rooms,
    /// Tokens they bring.
    pub identity: Identity,
    /// Where the report goes as JSON.
    pub json: Option<PathBuf>,
    /// Where the report goes as HTML.
    pub report: Option<PathBuf>,
}

/// Server and kernel at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// `before`, `open`, `held` or `closed`.
    pub when: &'static str,
    /// The server's memory, if its process is known and alive.
    pub server: Option<Memory>,
    /// The machine's kernel memory.
    pub kernel: KernelSample,
}

/// The answer. Figures that were not reached (an interrupted run) or have no source (no `--pid`) are absent.
#[derive(Debug, Default, Serialize)]
pub struct IdleReport {
    /// Where and how.
    pub origin: Option<Origin>,
    /// The run was stopped before its end.
    pub interrupted: bool,
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
    /// Growth of the server's PSS per whole connection.
    pub server_user_bytes_per_connection: Option<f64>,
    /// Growth of all slabs of the machine per whole connection.
    pub kernel_slab_bytes_per_pair: Option<f64>,
    /// The same by cache.
    pub kernel_cache_bytes_per_pair: BTreeMap<String, f64>,
    /// Seconds held.
    pub hold_seconds: f64,
    /// Pings received while holding, each answered by a pong.
    pub hold_pings: u64,
    /// Server CPU in ms per second held.
    pub server_cpu_ms_per_hold_second: Option<f64>,
    /// Generator CPU in ms per second held.
    pub client_cpu_ms_per_hold_second: Option<f64>,
    /// Growth of the server's PSS that is left after all connections are closed.
    pub server_user_bytes_left: Option<i64>,
    /// What the figures are made of.
    pub samples: Vec<Sample>,
}

/// Runs it, prints the table on stdout and writes the files.
///
/// # Errors
///
/// The run could not start, the report could not be written, or not one connection became whole.
/// Some failed connections are figures, not errors.
pub fn run(options: &IdleOptions) -> Result<(), String> {
    let outputs = Outputs::open(options.json.as_deref(), options.report.as_deref())?;
    let (sender, notices) = mpsc::channel();
    interrupt::watch(sender.clone())?;
    let server =
        Server::resolve(options.target.as_deref(), options.pid, &options.serve_args, options.connections)?;
    let threads = options.threads.map_or_else(|| Fleet::threads_needed(options.connections), Ok)?;
    let address = server.target.address;
    let source_ips =
        options.source_ips.unwrap_or_else(|| source::sources_needed(options.connections, address));
    let script =
        Script::new(options.dialect.clone(), options.rooms, options.identity.clone(), &server.target)?;
    let plan = FleetPlan { source_ips, ..FleetPlan::new(address, script, options.connections, threads) };
    let mut report = IdleReport {
        origin: Some(Origin::now(&server.url, threads as usize, source_ips)),
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
    let sample = |when| Sample {
        when,
        server: server.probe.and_then(|probe| probe.memory().ok()),
        kernel: kernel::sample(),
    };
    report.samples.push(sample("before"));
    let (started, server_before, own_before) = (Instant::now(), server.cpu(), own.cpu().ok());

    let fleet = Fleet::start(plan, sender)?;
    let (waited, timeline) = progress::until_open(&fleet, notices, options.connections);
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
    report.samples.push(sample("open"));

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
        let per_second = |spent: f64| spent * 1e3 / report.hold_seconds;
        report.server_cpu_ms_per_hold_second = spent(server_before, server.cpu()).map(per_second);
        report.client_cpu_ms_per_hold_second = spent(own_before, own.cpu().ok()).map(per_second);
        report.samples.push(sample("held"));
    } else {
        report.interrupted = true;
    }

    let outcome = fleet.close();
    (report.failures, report.drops) = (outcome.failures, outcome.drops);
    wait_for_release(server);
    report.samples.push(sample("closed"));
    report.derive_memory();
    Ok(())
}

/// Seconds of CPU between two readings of one clock.
fn spent(before: Option<Duration>, after: Option<Duration>) -> Option<f64> {
    Some(after?.saturating_sub(before?).as_secs_f64())
}

/// Waits until the server's PSS stands still: it notices and frees in its own time.
fn wait_for_release(server: &Server) {
    let Some(probe) = server.probe else { return };
    let end = Instant::now() + RELEASE_MAX;
    let (mut before, mut still) = (u64::MAX, 0);
    while let Ok(memory) = probe.memory()
        && still < RELEASE_LOOKS
        && Instant::now() < end
    {
        still = if memory.pss_bytes.abs_diff(before) > RELEASE_STILL_BYTES { 0 } else { still + 1 };
        before = memory.pss_bytes;
        std::thread::sleep(RELEASE_LOOK);
    }
}

impl IdleReport {
    /// Fills the memory figures from the samples.
    fn derive_memory(&mut self) {
        let find = |when| self.samples.iter().find(|sample| sample.when == when);
        let (Some(before), Some(open)) = (find("before"), find("open")) else { return };
        let held = find("held").unwrap_or(open);
        let grown = |from: u64, to: u64| to as f64 - from as f64;
        if let (Some(from), Some(to)) = (before.server, held.server) {
            self.server_user_bytes_per_connection = per(grown(from.pss_bytes, to.pss_bytes), self.whole);
        }
        if let (Some(from), Some(to)) = (before.server, find("closed").and_then(|closed| closed.server)) {
            self.server_user_bytes_left = Some(to.pss_bytes as i64 - from.pss_bytes as i64);
        }
        self.kernel_slab_bytes_per_pair =
            per(grown(before.kernel.slab_bytes, held.kernel.slab_bytes), self.whole);
        let by_cache = held.kernel.cache_bytes.iter().filter_map(|(name, bytes)| {
            let from = before.kernel.cache_bytes.get(name).copied().unwrap_or(0);
            Some((name.clone(), per(grown(from, *bytes), self.whole)?))
        });
        self.kernel_cache_bytes_per_pair = by_cache.collect();
    }

    /// The report for people.
    pub fn table(&self) -> Table {
        let mut table = Table::default();
        let count = |value: u64| number(value as f64, 0);
        if self.interrupted {
            table.row("interrupted", "yes: figures up to then");
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
        table.row_if("server user bytes per connection", self.server_user_bytes_per_connection, 0);
        table.row_if("kernel slab bytes per pair (both ends)", self.kernel_slab_bytes_per_pair, 0);
        for (name, bytes) in &self.kernel_cache_bytes_per_pair {
            table.row(format!("  {name}"), number(*bytes, 0));
        }
        table.row("seconds held", number(self.hold_seconds, 1));
        table.row("pings received, pongs sent while held", count(self.hold_pings));
        table.row_if("server CPU per second held (ms)", self.server_cpu_ms_per_hold_second, 2);
        table.row_if("client CPU per second held (ms)", self.client_cpu_ms_per_hold_second, 2);
        table.row_if(
            "server user bytes left after closing",
            self.server_user_bytes_left.map(|bytes| bytes as f64),
            0,
        );
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(when: &'static str, pss_bytes: u64, tcp_bytes: u64) -> Sample {
        let kernel = KernelSample {
            cache_bytes: BTreeMap::from([("TCP".to_owned(), tcp_bytes)]),
            slab_bytes: 2 * tcp_bytes,
            ..KernelSample::default()
        };
        Sample { when, server: Some(Memory { pss_bytes, ..Memory::default() }), kernel }
    }

    #[test]
    fn memory_per_connection_is_growth_divided_and_what_is_left_may_be_negative() {
        let samples = vec![
            sample("before", 1_000, 0),
            sample("open", 2_000, 50),
            sample("held", 3_000, 100),
            sample("closed", 900, 0),
        ];
        let mut report = IdleReport { whole: 10, samples, ..IdleReport::default() };
        report.derive_memory();
        assert_eq!(report.server_user_bytes_per_connection, Some(200.0));
        assert_eq!(report.kernel_cache_bytes_per_pair["TCP"], 10.0);
        assert_eq!(report.kernel_slab_bytes_per_pair, Some(20.0));
        assert_eq!(report.server_user_bytes_left, Some(-100));
        assert!(report.table().render().contains("-100"));
    }

    #[test]
    fn a_run_where_nothing_opened_divides_by_nothing() {
        let samples = vec![sample("before", 1_000, 0), sample("open", 2_000, 50)];
        let mut report = IdleReport { samples, ..IdleReport::default() };
        report.derive_memory();
        assert_eq!(report.server_user_bytes_per_connection, None);
        assert!(!report.table().render().contains("NaN"));
    }
}
