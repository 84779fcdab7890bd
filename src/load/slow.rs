//! `throng bench slow`: a share of the members stops reading; what the others see, what the server
//! holds for them, and how it closes them.
//!
//! Two windows under the same load, first with every member reading and then with the share stalled.
//! The stalled ones have the smallest receive buffer that Linux gives, so that the server soon feels them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::fleet::{Chosen, Order};
use super::kernel;
use super::options::Common;
use super::paced::check_payload;
use super::percentiles::Percentiles;
use super::progress::Waited;
use super::report::{Origin, Table, number};
use super::server::Server;
use super::steady::{Steady, SteadyPlan, Window};

/// Before anything is kept: the first second pays for code and tables that are touched for the first time.
const WARM_UP_SECONDS: f64 = 1.0;

/// What to run.
pub struct SlowOptions {
    /// Which server, and where the answer goes.
    pub common: Common,
    /// Rooms.
    pub rooms: u64,
    /// Members of each.
    pub members: u64,
    /// Share of the members that stops reading, 0 to 1.
    pub share: f64,
    /// Publishes per second over all rooms.
    pub rate: f64,
    /// Connections that publish.
    pub publishers: u64,
    /// Seconds of each window.
    pub seconds: f64,
    /// Bytes of each payload.
    pub payload_bytes: usize,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct SlowReport {
    /// Where and how.
    pub origin: Origin,
    /// The run was stopped before its end.
    pub interrupted: bool,
    /// How the server was spoken to.
    pub dialect: String,
    /// Rooms.
    pub rooms: u64,
    /// Members of each.
    pub members_per_room: u64,
    /// Members that stopped reading.
    pub stalled: u64,
    /// Bytes of each payload as published.
    pub payload_bytes: usize,
    /// With every member reading.
    pub before: Window,
    /// With the share stalled; delays are of those who read.
    pub during: Option<Window>,
    /// p99 of the delay with the share stalled, divided by that without.
    pub p99_ratio: Option<f64>,
    /// Growth of the server's PSS at the end of the second window.
    pub server_user_bytes_grown: Option<i64>,
    /// Growth of the machine's TCP buffers at the end of the second window.
    pub tcp_buffer_bytes_grown: Option<i64>,
    /// Messages that members who read had not got at the end.
    pub lost: u64,
    /// Members that the server ended, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// Runs it, prints the table on stdout and writes the JSON.
///
/// # Errors
///
/// The run could not start, a member did not become whole, or the report could not be written.
pub fn run(options: &SlowOptions) -> Result<(), String> {
    check_payload(options.payload_bytes)?;
    let common = &options.common;
    let (outputs, sender, notices) = common.prepare()?;
    let members = options.rooms.saturating_mul(options.members);
    let server = Server::of(common, members)?;
    let chosen = Chosen::Share(options.share);
    let plan = SteadyPlan {
        chosen,
        ..SteadyPlan::new(options.rooms, members, options.publishers, options.payload_bytes)
    };
    let steady = Steady::open(common, plan, &server, &sender, &notices)?;
    // Counted now that this box is known to hold them.
    let stalled = (0..members).filter(|number| chosen.has(*number)).count() as u64;
    let origin = Origin::now(&server.url, steady.threads as usize, steady.source_ips);
    let (mut before, mut waited) = steady.window(options.rate, WARM_UP_SECONDS, &notices);
    if waited == Waited::Done {
        (before, waited) = steady.window(options.rate, options.seconds, &notices);
    }
    let mut report = SlowReport {
        origin,
        interrupted: waited == Waited::Interrupted,
        dialect: common.dialect.name.clone(),
        rooms: options.rooms,
        members_per_room: options.members,
        stalled,
        payload_bytes: options.payload_bytes,
        before,
        during: None,
        p99_ratio: None,
        server_user_bytes_grown: None,
        tcp_buffer_bytes_grown: None,
        lost: 0,
        drops: BTreeMap::new(),
    };
    if waited == Waited::Done {
        let memory = || server.probe.and_then(|probe| Some(probe.memory().ok()?.pss_bytes as i64));
        let (user, kernel) = (memory(), kernel::sample().tcp_buffer_bytes as i64);
        steady.fleet.order(Order::Stall);
        let begun = steady.begin(options.rate);
        report.interrupted = steady.wait(options.seconds, &notices) == Waited::Interrupted;
        report.server_user_bytes_grown = memory().zip(user).map(|(now, before)| now - before);
        report.tcp_buffer_bytes_grown = Some(kernel::sample().tcp_buffer_bytes as i64 - kernel);
        report.during = Some(steady.finish(&begun, members - stalled));
    }
    let outcome = steady.close();
    (report.lost, report.drops) = (outcome.lost, outcome.drops);
    let p99 = |window: &Window| window.delay.as_ref().map(|delay: &Percentiles| delay.p99_us as f64);
    report.p99_ratio =
        report.during.as_ref().and_then(p99).zip(p99(&report.before)).map(|(with, without)| with / without);
    print!("{}", report.table().render());
    outputs.write(&report, &report.page())
}

impl SlowReport {
    /// The report for people.
    pub fn table(&self) -> Table {
        let mut table = Table::default();
        let count = |value: u64| number(value as f64, 0);
        if self.interrupted {
            table.row("interrupted", "yes: figures up to then");
        }
        table.row("rooms", count(self.rooms));
        table.row("members of each", count(self.members_per_room));
        table.row("members that stop reading", count(self.stalled));
        table.heading("every member reads");
        self.before.rows(&mut table);
        if let Some(during) = &self.during {
            table.heading("the share is stalled: what the others see");
            during.rows(&mut table);
        }
        table.row_if("p99 with stalled members, relative", self.p99_ratio, 2);
        table.row_if("server user bytes grown", self.server_user_bytes_grown.map(|bytes| bytes as f64), 0);
        table.row_if("TCP buffer bytes grown", self.tcp_buffer_bytes_grown.map(|bytes| bytes as f64), 0);
        table.row("lost by members who read", count(self.lost));
        table.row("members ended by the server", count(self.drops.values().sum()));
        table.reasons("ended", &self.drops);
        table
    }
}
