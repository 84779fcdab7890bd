//! What `throng bench slow` found, as figures and as a table.

use std::collections::BTreeMap;

use serde::Serialize;

use super::SlowOptions;
use crate::load::fleet::Outcome;
use crate::load::percentiles::Percentiles;
use crate::load::report::{Origin, Table, number};
use crate::load::steady::Window;

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
    /// With every member reading. Where the stalled ones recover, delays are of the others here too.
    pub before: Window,
    /// With the share stalled; delays are of those who read.
    pub during: Option<Window>,
    /// While they read again; delays are of those who always did.
    pub after: Option<Window>,
    /// p99 of the delay with the share stalled, divided by that without.
    pub p99_ratio: Option<f64>,
    /// The same while they read again.
    pub p99_ratio_after: Option<f64>,
    /// Growth of the server's PSS at the end of the second window.
    pub server_user_bytes_grown: Option<i64>,
    /// Growth of the machine's TCP buffers at the end of the second window.
    pub tcp_buffer_bytes_grown: Option<i64>,
    /// Bytes that the server may hold for all slow members together.
    pub backlog_budget_bytes: Option<u64>,
    /// The most that it held, as it counts that itself, looked at ten times a second.
    pub backlog_peak_bytes: Option<u64>,
    /// Messages that members who read had not got at the end.
    pub lost: u64,
    /// Publishes that were answered with an error.
    pub refused: u64,
    /// Members that the server ended, by reason.
    pub drops: BTreeMap<String, u64>,
    /// What became of those that woke.
    pub recovered: Option<Recovered>,
}

/// What became of the members that read again.
#[derive(Debug, Default, Serialize)]
pub struct Recovered {
    /// Those that had every publication in the end, each once and in order.
    pub whole: u64,
    /// From the moment they were woken until the last of them had; `None` if one never did.
    pub caught_up_seconds: Option<f64>,
    /// Subscriptions that the server had ended, and that were asked for again.
    pub rejoined: u64,
    /// Connections that the server had closed, and that came back.
    pub reconnected: u64,
    /// Tries to come back that failed, each repeated later.
    pub failed_tries: u64,
    /// Answers that gave back exactly what was missed.
    pub answers: u64,
    /// Publications in them.
    pub publications: u64,
    /// What was wrong, and how often.
    pub wrong: BTreeMap<String, u64>,
}

impl SlowReport {
    /// A report of the first window.
    pub(super) fn new(origin: Origin, options: &SlowOptions, stalled: u64, before: Window) -> Self {
        Self {
            origin,
            interrupted: false,
            dialect: options.common.dialect.name.clone(),
            rooms: options.rooms,
            members_per_room: options.members,
            stalled,
            payload_bytes: options.payload_bytes,
            before,
            during: None,
            after: None,
            p99_ratio: None,
            p99_ratio_after: None,
            server_user_bytes_grown: None,
            tcp_buffer_bytes_grown: None,
            backlog_budget_bytes: None,
            backlog_peak_bytes: None,
            lost: 0,
            refused: 0,
            drops: BTreeMap::new(),
            recovered: None,
        }
    }

    /// Adds what the workers know.
    pub(super) fn end(&mut self, outcome: Outcome) {
        (self.lost, self.drops) = (outcome.lost, outcome.drops);
        if let Some(recovered) = &mut self.recovered {
            recovered.answers = outcome.found.recovered;
            recovered.publications = outcome.found.publications;
            recovered.wrong = outcome.found.wrong;
        }
        let p99 = |window: &Window| window.delay.as_ref().map(|delay: &Percentiles| delay.p99_us as f64);
        let before = p99(&self.before);
        let ratio = |window: &Option<Window>| Some(window.as_ref().and_then(p99)? / before?);
        (self.p99_ratio, self.p99_ratio_after) = (ratio(&self.during), ratio(&self.after));
    }

    /// Whether those that woke are whole, the others lost nothing, and memory kept within its bound.
    ///
    /// # Errors
    ///
    /// It was not so: what was wrong. A run that was interrupted or recovers nobody is judged by nothing.
    pub(in crate::load) fn verdict(&self) -> Result<(), String> {
        let Some(recovered) = self.recovered.as_ref().filter(|_| !self.interrupted) else { return Ok(()) };
        let count = |value: u64| number(value as f64, 0);
        let mut wrong = Vec::new();
        if recovered.whole < self.stalled {
            wrong.push(format!("{} are not whole", count(self.stalled - recovered.whole)));
        }
        wrong.extend(recovered.wrong.iter().map(|(what, many)| format!("{} × {what}", count(*many))));
        if self.lost > 0 {
            wrong.push(format!("{} messages were lost by members who read", count(self.lost)));
        }
        if self.refused > 0 {
            wrong.push(format!("{} publishes were refused, so numbers mean nothing", count(self.refused)));
        }
        let peak = self.backlog_peak_bytes.zip(self.backlog_budget_bytes);
        if let Some((peak, budget)) = peak.filter(|(peak, budget)| peak > budget) {
            wrong.push(format!(
                "{} bytes waited for slow members, of {} that may",
                count(peak),
                count(budget)
            ));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(format!(
            "of {} members that were stalled and woke:\n  {}",
            count(self.stalled),
            wrong.join("\n  ")
        ))
    }

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
        if let Some(after) = &self.after {
            table.heading("the share reads again: what the others see");
            after.rows(&mut table);
        }
        table.heading("in all");
        table.row_if("p99 with stalled members, relative", self.p99_ratio, 2);
        table.row_if("p99 while they read again, relative", self.p99_ratio_after, 2);
        table.row_if("server user bytes grown", self.server_user_bytes_grown.map(|bytes| bytes as f64), 0);
        table.row_if("TCP buffer bytes grown", self.tcp_buffer_bytes_grown.map(|bytes| bytes as f64), 0);
        table.row_if("bytes waiting for slow members, most", self.backlog_peak_bytes.map(|it| it as f64), 0);
        table.row_if("bytes that may wait for them", self.backlog_budget_bytes.map(|it| it as f64), 0);
        table.row("lost by members who read", count(self.lost));
        if self.refused > 0 {
            table.row("refused publishes", count(self.refused));
        }
        table.row("members ended by the server", count(self.drops.values().sum()));
        table.reasons("ended", &self.drops);
        if let Some(recovered) = &self.recovered {
            recovered.rows(&mut table);
        }
        table
    }
}

impl Recovered {
    fn rows(&self, table: &mut Table) {
        let count = |value: u64| number(value as f64, 0);
        table.heading("those that woke");
        table.row("whole in the end", count(self.whole));
        table.row_if("seconds until all were", self.caught_up_seconds, 2);
        table.row("subscriptions ended by the server, joined again", count(self.rejoined));
        table.row("connections closed by the server, back again", count(self.reconnected));
        table.row("failed tries", count(self.failed_tries));
        table.row("answers with exactly what was missed", count(self.answers));
        table.row("publications in them", count(self.publications));
        table.reasons("wrong", &self.wrong);
    }
}
