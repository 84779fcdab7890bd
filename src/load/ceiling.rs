//! `throng bench ceiling`: the highest rate at which members still get their messages in time.
//!
//! The rate grows by half at each step until one fails, and then the gap between the last good and the
//! first bad rate is halved a few times. This is the active ceiling of a box, the number to plan with.

use serde::Serialize;

use super::cost::Bottleneck;
use super::failures::server_stayed;
use super::options::Common;
use super::paced::check_payload;
use super::progress::Waited;
use super::report::{Origin, Table, number};
use super::server::Server;
use super::steady::{Steady, SteadyPlan, Window};

/// Factor between two rates while none has failed.
const GROWTH: f64 = 1.5;
/// Share of the due messages that must have arrived: the rest may be on its way when a step ends.
const ARRIVED_MIN: f64 = 0.999;
/// Rates are told apart down to this ratio.
const PRECISION: f64 = 1.06;
/// Steps before growing is given up: 1.5^40 is ten million times the first rate.
const STEPS_MAX: usize = 40;

/// What to run.
pub struct CeilingOptions {
    /// Which server, and where the answer goes.
    pub common: Common,
    /// Rooms.
    pub rooms: u64,
    /// Members of each.
    pub members: u64,
    /// The first rate, in publishes per second over all rooms.
    pub rate: f64,
    /// p99 of the delay that a good step stays under, in ms.
    pub p99_ms_max: f64,
    /// Connections that publish.
    pub publishers: u64,
    /// Seconds of each step.
    pub step_seconds: f64,
    /// Bytes of each payload.
    pub payload_bytes: usize,
}

/// One rate that was tried.
#[derive(Debug, Serialize)]
pub struct Step {
    /// What was seen.
    pub window: Window,
    /// Why it failed, or `None` if it was good.
    pub failed: Option<String>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct CeilingReport {
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
    /// Bytes of each payload as published.
    pub payload_bytes: usize,
    /// p99 of the delay that a good step stayed under, in ms.
    pub p99_ms_max: f64,
    /// Highest good rate in publishes per second; 0 if none was good.
    pub publishes_per_second: f64,
    /// The same in deliveries per second: what `throng plan` takes.
    pub deliveries_per_second: f64,
    /// Server CPU per delivery at it, in ns.
    pub server_cpu_ns_per_delivery: Option<f64>,
    /// Who was saturated at the lowest rate that failed.
    pub bottleneck: Bottleneck,
    /// Every rate tried, in order.
    pub steps: Vec<Step>,
}

/// Which rate comes next.
#[derive(Debug)]
struct Search {
    good: f64,
    bad: Option<f64>,
    next: f64,
}

impl Search {
    fn new(first: f64) -> Self {
        Self { good: 0.0, bad: None, next: first }
    }

    /// Takes how the step at `next` went; false when the ceiling is known well enough.
    fn step(&mut self, is_good: bool) -> bool {
        if is_good {
            self.good = self.next;
        } else {
            self.bad = Some(self.next);
        }
        self.next = match self.bad {
            None => self.good * GROWTH,
            Some(bad) if self.good == 0.0 => bad / 2.0,
            Some(bad) => (self.good * bad).sqrt(),
        };
        self.bad.is_none_or(|bad| bad / self.good.max(f64::MIN_POSITIVE) > PRECISION) && self.next >= 1e-3
    }
}

/// Runs it, prints the table on stdout and writes the JSON.
///
/// # Errors
///
/// The run could not start, a member did not become whole, or the report could not be written.
pub fn run(options: &CeilingOptions) -> Result<(), String> {
    check_payload(options.payload_bytes)?;
    let common = &options.common;
    let (outputs, sender, notices) = common.prepare()?;
    let members = options.rooms.saturating_mul(options.members);
    let server = Server::of(common, members)?;
    let plan = SteadyPlan::new(options.rooms, members, options.publishers, options.payload_bytes);
    let steady = Steady::open(common, plan, &server, &sender, &notices)?;
    let origin = Origin::now(&server.url, steady.threads as usize, steady.source_ips);
    let mut report = CeilingReport {
        origin,
        interrupted: false,
        dialect: common.dialect.name.clone(),
        rooms: options.rooms,
        members_per_room: options.members,
        payload_bytes: options.payload_bytes,
        p99_ms_max: options.p99_ms_max,
        publishes_per_second: 0.0,
        deliveries_per_second: 0.0,
        server_cpu_ns_per_delivery: None,
        bottleneck: Bottleneck::None,
        steps: Vec::new(),
    };
    let mut search = Search::new(options.rate);
    for _ in 0..STEPS_MAX {
        let (window, waited) = steady.window(search.next, options.step_seconds, &notices);
        if waited == Waited::Interrupted {
            report.interrupted = true;
            break;
        }
        let failed = verdict(&window, options.p99_ms_max);
        let said = failed.as_deref().unwrap_or("good");
        eprintln!("        {} publishes/s: {said}", number(window.publishes_per_second, 1));
        let is_over = window.publishing_ended.is_some();
        let goes_on = search.step(failed.is_none());
        report.steps.push(Step { window, failed });
        if is_over || !goes_on {
            break;
        }
    }
    let outcome = steady.close();
    report.derive();
    print!("{}", report.table().render());
    outputs.write(&report, &report.page())?;
    server_stayed(&outcome.drops, members)
}

/// Why a step failed, or `None` if it was good.
fn verdict(window: &Window, p99_ms_max: f64) -> Option<String> {
    if let Some(reason) = &window.publishing_ended {
        return Some(reason.clone());
    }
    if window.dropped > 0 {
        return Some(format!("{} members were dropped", window.dropped));
    }
    if window.unwritten > window.publishes / 1_000 {
        return Some(format!("{} publishes were not taken", window.unwritten));
    }
    if (window.deliveries as f64) < window.deliveries_due as f64 * ARRIVED_MIN {
        return Some(format!("{} deliveries fell behind", window.deliveries_due - window.deliveries));
    }
    let p99_ms = window.delay.as_ref().map_or(0.0, |delay| delay.p99_us as f64 / 1e3);
    (p99_ms > p99_ms_max).then(|| format!("p99 was {} ms", number(p99_ms, 1)))
}

impl CeilingReport {
    /// Fills the ceiling from the steps.
    fn derive(&mut self) {
        let rate = |step: &&Step| step.window.publishes_per_second;
        let good = self.steps.iter().filter(|step| step.failed.is_none());
        if let Some(best) = good.max_by(|a, b| rate(a).total_cmp(&rate(b))) {
            self.publishes_per_second = best.window.publishes_per_second;
            self.deliveries_per_second = self.publishes_per_second * self.members_per_room as f64;
            self.server_cpu_ns_per_delivery = best.window.server_cpu_ns_per_delivery;
        }
        let bad = self.steps.iter().filter(|step| step.failed.is_some());
        if let Some(worst) = bad.min_by(|a, b| rate(a).total_cmp(&rate(b))) {
            self.bottleneck = worst.window.bottleneck;
        }
    }

    /// The report for people.
    pub fn table(&self) -> Table {
        let mut table = Table::default();
        if self.interrupted {
            table.row("interrupted", "yes: figures up to then");
        }
        table.row("rooms", number(self.rooms as f64, 0));
        table.row("members of each", number(self.members_per_room as f64, 0));
        for step in &self.steps {
            let p99_ms = step.window.delay.as_ref().map_or(0.0, |delay| delay.p99_us as f64 / 1e3);
            table.row(
                format!("{} publishes/s", number(step.window.publishes_per_second, 1)),
                match &step.failed {
                    None => format!("p99 {} ms", number(p99_ms, 1)),
                    Some(why) => format!("failed: {why}"),
                },
            );
        }
        table.row("ceiling, publishes per second", number(self.publishes_per_second, 1));
        table.row("ceiling, deliveries per second", number(self.deliveries_per_second, 0));
        table.row_if("server CPU per delivery there (ns)", self.server_cpu_ns_per_delivery, 0);
        table.row("beyond it", self.bottleneck.sentence());
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rates tried for a server whose ceiling is `ceiling`, and the answer.
    fn search(first: f64, ceiling: f64) -> (usize, f64) {
        let (mut search, mut steps) = (Search::new(first), 1);
        while search.step(search.next <= ceiling) {
            steps += 1;
            assert!(steps < STEPS_MAX);
        }
        (steps, search.good)
    }

    #[test]
    fn the_search_ends_close_below_the_ceiling_from_either_side() {
        for first in [1.0, 90.0, 5_000.0] {
            let (_, good) = search(first, 1_000.0);
            assert!((1_000.0 / PRECISION..=1_000.0).contains(&good), "{good} from {first}");
        }
    }

    #[test]
    fn a_server_that_takes_nothing_ends_the_search() {
        assert_eq!(search(10.0, 0.0).1, 0.0);
    }
}
