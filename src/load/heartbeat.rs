//! `throng bench heartbeat`: what pings alone cost, per ping and per connection and second.
//!
//! Connections are opened and left alone; all that happens is the server's ping and the client's pong.
//! A server that this run starts gets a configuration with a short interval, so that seconds show what
//! an hour would; a foreign one pings when it likes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::connection::Script;
use super::dialect::{Identity, Rooms};
use super::failures::explain;
use super::fleet::{Fleet, FleetPlan, Notice};
use super::options::Common;
use super::probe::{Probe, spent};
use super::progress::{self, Line, Waited};
use super::report::{Origin, Table, number, per};
use super::server::Server;
use super::settings::{CLIENT, Settings};

/// Below this part of the pings that the interval promises, the server was behind.
const BEHIND_PART: f64 = 0.9;

/// What to run.
pub struct HeartbeatOptions {
    /// Which server, and where the answer goes.
    pub common: Common,
    /// Connections to open.
    pub connections: u64,
    /// Time between two pings of a server that is started, in ms.
    pub ping_interval_ms: u64,
    /// Seconds to measure.
    pub seconds: f64,
    /// Receive without sleeping, so that no ping has to wake the generator.
    pub spin: bool,
}

/// The answer. Server figures are absent when its process is unknown.
#[derive(Debug, Default, Serialize)]
pub struct HeartbeatReport {
    /// Where and how.
    pub origin: Option<Origin>,
    /// The run was stopped before its end.
    pub interrupted: bool,
    /// Connections that were whole.
    pub connections: u64,
    /// The interval that a started server was told, in ms.
    pub ping_interval_ms: Option<u64>,
    /// Connections that failed, by reason.
    pub failures: BTreeMap<String, u64>,
    /// Connections that the server ended, by reason.
    pub drops: BTreeMap<String, u64>,
    /// Seconds measured.
    pub seconds: f64,
    /// Pings in them, each answered by a pong.
    pub pings: u64,
    /// Pings that the interval promises for them.
    pub pings_expected: Option<f64>,
    /// Server CPU per ping and its pong in ns.
    pub server_cpu_ns_per_ping: Option<f64>,
    /// Generator CPU per ping and its pong in ns.
    pub client_cpu_ns_per_ping: Option<f64>,
    /// Server CPU per connection and second in ns, at this interval.
    pub server_cpu_ns_per_connection_second: Option<f64>,
    /// Cores the server kept busy.
    pub server_cores: Option<f64>,
    /// Cores the generator kept busy.
    pub client_cores: Option<f64>,
}

/// Runs it, prints the table on stdout and writes the JSON.
///
/// # Errors
///
/// The run could not start, no connection became whole, no ping came, or the report could not be written.
pub fn run(options: &HeartbeatOptions) -> Result<(), String> {
    let common = &options.common;
    let (outputs, sender, notices) = common.prepare()?;
    let configured = Common { settings: settings(options.ping_interval_ms), ..common.clone() };
    let server = Server::of(&configured, options.connections)?;
    let report = measure(options, &server, &sender, &notices)?;
    print!("{}", report.table().render());
    outputs.write(&report, &report.page())?;
    if report.pings == 0 && !report.interrupted {
        return Err(format!("no ping came in {:.1} s", report.seconds));
    }
    Ok(())
}

fn measure(
    options: &HeartbeatOptions,
    server: &Server,
    sender: &Sender<Notice>,
    notices: &Receiver<Notice>,
) -> Result<HeartbeatReport, String> {
    let own = Probe::own()?;
    let threads = options.common.threads.map_or_else(|| Fleet::threads_needed(options.connections), Ok)?;
    let common = &options.common;
    let dialect = Arc::clone(&common.dialect);
    let rooms = if dialect.is_room_in_path() { Rooms::Spread(1) } else { Rooms::None };
    let script = Script::new(dialect, rooms, Identity::Anonymous, &server.target)?;
    let plan = FleetPlan::new(server.target.address, script, options.connections, threads);
    let plan =
        FleetPlan { source_ips: common.source_ips.unwrap_or(plan.source_ips), spin: options.spin, ..plan };
    let origin = Origin::now(&server.url, threads as usize, plan.source_ips);
    let fleet = Fleet::start(plan, sender)?;
    let (mut waited, _) = progress::until_open(&fleet, notices, options.connections);
    let whole = fleet.counters.whole.load(SeqCst);
    if whole == 0 {
        let failures = fleet.close().failures;
        return Err(explain(0, options.connections, &failures, server.target.address));
    }
    let interval = Duration::from_millis(options.ping_interval_ms);
    if waited == Waited::Done && server.is_own() {
        // From here on every connection has its place in the interval.
        waited =
            progress::for_a_while(notices, interval, || Line { text: "settling".to_owned(), moved: true });
    }
    let look = || (Instant::now(), server.cpu(), own.cpu().ok(), fleet.counters.pings.load(SeqCst));
    let from = look();
    if waited == Waited::Done {
        waited = progress::for_a_while(notices, Duration::from_secs_f64(options.seconds), || {
            let pings = fleet.counters.pings.load(SeqCst) - from.3;
            Line { text: format!("{} pings answered", number(pings as f64, 0)), moved: true }
        });
    }
    let to = look();
    let outcome = fleet.reset();
    let (seconds, pings) = (to.0.duration_since(from.0).as_secs_f64(), to.3 - from.3);
    let (server_spent, client_spent) = (spent(from.1, to.1), spent(from.2, to.2));
    Ok(HeartbeatReport {
        origin: Some(origin),
        interrupted: waited == Waited::Interrupted,
        connections: whole,
        ping_interval_ms: server.is_own().then_some(options.ping_interval_ms),
        failures: outcome.failures,
        drops: outcome.drops,
        seconds,
        pings,
        pings_expected: server.is_own().then(|| whole as f64 * seconds / interval.as_secs_f64()),
        server_cpu_ns_per_ping: server_spent.and_then(|spent| per(spent * 1e9, pings)),
        client_cpu_ns_per_ping: client_spent.and_then(|spent| per(spent * 1e9, pings)),
        server_cpu_ns_per_connection_second: server_spent.and_then(|spent| per(spent * 1e9 / seconds, whole)),
        server_cores: server_spent.map(|spent| spent / seconds),
        client_cores: client_spent.map(|spent| spent / seconds),
    })
}

impl HeartbeatReport {
    /// The report for people.
    pub fn table(&self) -> Table {
        let mut table = Table::default();
        let count = |value: u64| number(value as f64, 0);
        if self.interrupted {
            table.row("interrupted", "yes: figures up to then");
        }
        table.row("connections", count(self.connections));
        table.reasons("failed", &self.failures);
        table.reasons("dropped", &self.drops);
        table.row_if("ping interval (ms)", self.ping_interval_ms.map(|ms| ms as f64), 0);
        table.row("seconds measured", number(self.seconds, 1));
        table.row("pings, each answered", count(self.pings));
        if let Some(expected) = self.pings_expected.filter(|most| (self.pings as f64) < most * BEHIND_PART) {
            table.row("the server is behind: the interval promises", number(expected, 0));
        }
        table.row_if("server CPU per ping and pong (ns)", self.server_cpu_ns_per_ping, 0);
        table.row_if("client CPU per ping and pong (ns)", self.client_cpu_ns_per_ping, 0);
        table.row_if(
            "server CPU per connection and second (ns)",
            self.server_cpu_ns_per_connection_second,
            0,
        );
        table.row_if("server cores busy", self.server_cores, 2);
        table.row_if("client cores busy", self.client_cores, 2);
        table
    }
}

/// The started server's configuration. A pong may take half of the interval.
fn settings(ping_interval_ms: u64) -> Settings {
    let pong_timeout_ms = (ping_interval_ms / 2).max(1);
    Settings::default().with(CLIENT, "ping_interval_ms", ping_interval_ms).with(
        CLIENT,
        "pong_timeout_ms",
        pong_timeout_ms,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_that_did_not_come_are_told() {
        let report = HeartbeatReport { pings: 80, pings_expected: Some(100.0), ..HeartbeatReport::default() };
        assert!(report.table().render().contains("behind"));
        let report = HeartbeatReport { pings: 95, ..report };
        assert!(!report.table().render().contains("behind"));
    }

    #[test]
    fn a_configuration_lets_a_pong_take_less_than_the_interval() {
        for interval in [2, 1_000] {
            let text = settings(interval).file();
            let table: toml::Table = text.parse().unwrap();
            let client = table["client"].as_table().unwrap();
            assert!(client["pong_timeout_ms"].as_integer() < client["ping_interval_ms"].as_integer());
        }
    }
}
