//! `throng bench storm`: N members drop at the same moment and come back; how long until all are whole,
//! what a connect costs then, and what those notice who stayed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::continuity::{Recovery, Streams};
use super::fleet::{Chosen, Notice};
use super::openings::Retry;
use super::options::Common;
use super::paced::check_payload;
use super::percentiles::Percentiles;
use super::progress::{self, Waited};
use super::report::{Origin, Table, Timeline, number, per};
use super::server::Server;
use super::steady::{Steady, SteadyPlan, Window};

/// Time until a failed connect is tried again.
pub const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Seconds of the window before the storm.
const CALM_SECONDS: f64 = 2.0;

/// What to run.
pub struct StormOptions {
    /// Which server, and where the answer goes.
    pub common: Common,
    /// Connections that drop and come back.
    pub connections: u64,
    /// Members that stay.
    pub stayers: u64,
    /// Rooms that both are spread over.
    pub rooms: u64,
    /// Connects under way at once, over all threads; `None`: as the official SDKs come back, each by itself.
    pub at_once: Option<u64>,
    /// Publishes per second over all rooms.
    pub rate: f64,
    /// Bytes of each payload.
    pub payload_bytes: usize,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct StormReport {
    /// Where and how.
    pub origin: Origin,
    /// The run was stopped before its end.
    pub interrupted: bool,
    /// How the server was spoken to.
    pub dialect: String,
    /// Rooms had a history, and those that came back recovered.
    pub history: bool,
    /// Connections that dropped.
    pub connections: u64,
    /// Those of them that came back.
    pub back: u64,
    /// Those of them that were given what they missed, without a hole.
    pub recovered: u64,
    /// What was wrong with the messages of those that dropped, where rooms had a history.
    pub wrong: BTreeMap<String, u64>,
    /// Tries that failed, each repeated later.
    pub failed_tries: u64,
    /// The same by reason.
    pub failures: BTreeMap<String, u64>,
    /// Members that stayed.
    pub stayers: u64,
    /// Rooms.
    pub rooms: u64,
    /// Connects under way at once; `None`: as the official SDKs come back.
    pub at_once: Option<u64>,
    /// From the drop until the last one was back.
    pub seconds_to_whole: f64,
    /// Connections that came back per second of it.
    pub connects_per_second: f64,
    /// Server CPU per connection that came back, drops and deliveries meanwhile included.
    pub server_cpu_us_per_connect: Option<f64>,
    /// Generator CPU per connection that came back.
    pub client_cpu_us_per_connect: Option<f64>,
    /// From the drop until each one was back.
    pub returns: Option<Percentiles>,
    /// (seconds since the drop, connections back).
    pub timeline: Timeline,
    /// What the stayers saw before.
    pub calm: Window,
    /// What they saw during the storm; its deliveries are all members'.
    pub during: Option<Window>,
    /// p99 of their delay during the storm, divided by that before.
    pub p99_ratio: Option<f64>,
    /// Messages that stayers had not got at the end.
    pub lost: u64,
    /// Members that the server ended, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// Runs it, prints the table on stdout and writes the JSON.
///
/// # Errors
///
/// The run could not start, a connection did not become whole the first time, or the report could
/// not be written.
pub fn run(options: &StormOptions) -> Result<(), String> {
    check_payload(options.payload_bytes)?;
    let common = &options.common;
    let (outputs, sender, notices) = common.prepare()?;
    let members = options.connections.saturating_add(options.stayers);
    let server = Server::of(common, members)?;
    let threads = common.threads.map_or_else(|| super::fleet::Fleet::threads_needed(members), Ok)?;
    let streams = common.keep.as_ref().map(|_| Streams::new(options.rooms)).transpose()?;
    let plan = SteadyPlan {
        chosen: Chosen::From(options.stayers),
        at_once_max: options.at_once.map(|at_once| at_once.div_ceil(threads) as usize),
        retry: options.at_once.map_or(Retry::Backoff, |_| Retry::After(RETRY_AFTER)),
        recovery: streams.map(|streams| Recovery::Followed(Arc::new(streams))),
        ..SteadyPlan::new(options.rooms, members, 1, options.payload_bytes)
    };
    let steady = Steady::open(common, plan, &server, &sender, &notices)?;
    let origin = Origin::now(&server.url, steady.threads as usize, steady.source_ips);
    let (calm, waited) = steady.window(options.rate, CALM_SECONDS, &notices);
    let mut report = StormReport {
        origin,
        interrupted: waited == Waited::Interrupted,
        dialect: common.dialect.name.clone(),
        history: common.keep.is_some(),
        connections: options.connections,
        back: 0,
        recovered: 0,
        wrong: BTreeMap::new(),
        failed_tries: 0,
        failures: BTreeMap::new(),
        stayers: options.stayers,
        rooms: options.rooms,
        at_once: options.at_once,
        seconds_to_whole: 0.0,
        connects_per_second: 0.0,
        server_cpu_us_per_connect: None,
        client_cpu_us_per_connect: None,
        returns: None,
        timeline: Timeline::default(),
        calm,
        during: None,
        p99_ratio: None,
        lost: 0,
        drops: BTreeMap::new(),
    };
    if waited == Waited::Done {
        report.ride_out(&steady, &notices);
    }
    let outcome = steady.close();
    report.returns = outcome.returns_us.as_ref().and_then(Percentiles::of);
    (report.recovered, report.wrong) = (outcome.found.recovered, outcome.found.wrong);
    (report.lost, report.drops, report.failures) = (outcome.lost, outcome.drops, outcome.failures);
    print!("{}", report.table().render());
    outputs.write(&report, &report.page())?;
    report.verdict()
}

impl StormReport {
    /// Drops the chosen and waits until they are back or none has come back for ten seconds.
    fn ride_out(&mut self, steady: &Steady<'_>, notices: &mpsc::Receiver<Notice>) {
        let counters = &steady.fleet.counters;
        let begun = steady.begin(self.calm.publishes_per_second);
        let dropped = Instant::now();
        steady.fleet.drop_and_return();
        let waited;
        (waited, self.timeline) = progress::until_back(&steady.fleet, notices, self.connections);
        self.seconds_to_whole = dropped.elapsed().as_secs_f64();
        self.interrupted = waited == Waited::Interrupted;
        self.back = counters.back.load(SeqCst);
        self.failed_tries = counters.failed_tries.load(SeqCst);
        self.connects_per_second = self.back as f64 / self.seconds_to_whole;
        let during = steady.finish(&begun, self.stayers);
        self.server_cpu_us_per_connect =
            during.server.and_then(|cost| per(cost.cpu_seconds * 1e6, self.back));
        self.client_cpu_us_per_connect = per(during.client.cpu_seconds * 1e6, self.back);
        let p99 = |window: &Window| window.delay.as_ref().map(|delay| delay.p99_us as f64);
        self.p99_ratio = p99(&during).zip(p99(&self.calm)).map(|(with, without)| with / without);
        self.during = Some(during);
    }

    /// Whether everybody came back, and was whole where that can be known.
    ///
    /// # Errors
    ///
    /// It was not so: how many, and why. An interrupted run is judged by nothing.
    fn verdict(&self) -> Result<(), String> {
        if self.interrupted {
            return Ok(());
        }
        let mut wrong = Vec::new();
        if self.back < self.connections {
            wrong.push(format!("{} never came back", self.connections - self.back));
        }
        if self.history && self.recovered < self.back {
            wrong.push(format!("{} were not given what they missed", self.back - self.recovered));
        }
        wrong.extend(self.wrong.iter().map(|(what, many)| format!("{many} × {what}")));
        if wrong.is_empty() {
            return Ok(());
        }
        Err(format!("of {} connections that dropped:\n  {}", self.connections, wrong.join("\n  ")))
    }

    /// The report for people.
    pub fn table(&self) -> Table {
        let mut table = Table::default();
        let count = |value: u64| number(value as f64, 0);
        if self.interrupted {
            table.row("interrupted", "yes: figures up to then");
        }
        table.row("connections that dropped", count(self.connections));
        table.row("connections back", count(self.back));
        if self.history {
            table.row("connections that recovered", count(self.recovered));
            table.reasons("wrong", &self.wrong);
        }
        if self.at_once.is_none() {
            table.row("they come back", "as the official SDKs do");
        }
        table.row("failed tries", count(self.failed_tries));
        table.reasons("failed", &self.failures);
        table.row("seconds until all were whole", number(self.seconds_to_whole, 2));
        table.row("connects per second", number(self.connects_per_second, 0));
        table.percentiles("until a connection was back", self.returns.as_ref());
        table.row_if("server CPU per connect (µs)", self.server_cpu_us_per_connect, 1);
        table.row_if("client CPU per connect (µs)", self.client_cpu_us_per_connect, 1);
        table.row("members that stayed", count(self.stayers));
        table.percentiles("their delay before", self.calm.delay.as_ref());
        if let Some(during) = &self.during {
            table.percentiles("their delay during the storm", during.delay.as_ref());
            table.row_if("their p99 during the storm, relative", self.p99_ratio, 2);
            table.row("bottleneck", during.bottleneck.sentence());
        }
        table.row("lost by members who stayed", count(self.lost));
        table.row("members ended by the server", count(self.drops.values().sum()));
        table.reasons("ended", &self.drops);
        table
    }
}
