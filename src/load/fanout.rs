//! `throng bench fanout`: one publisher, M members, K publishes in flight; what one delivery costs.
//!
//! A closed loop: the next K publishes leave when every member, the publisher among them, has all of
//! the last K. Both CPU figures are of the measured seconds only, after a warm-up.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::connection::Script;
use super::cost::{Bottleneck, Contest};
use super::dialect::{Identity, Rooms};
use super::failures::{not_open, server_stayed};
use super::fleet::{Fleet, FleetPlan, Notice, Phase};
use super::options::Common;
use super::paced::check_payload;
use super::probe::{Probe, spent};
use super::progress::{self, Line, Waited};
use super::publisher::PublishPlan;
use super::report::{Origin, Series, Table, number, per};
use super::server::Server;

/// What to run.
pub struct FanoutOptions {
    /// Which server, and where the answer goes.
    pub common: Common,
    /// Members beside the publisher.
    pub members: u64,
    /// Publishes per round: one run for each number, at least one.
    pub in_flight: Vec<u64>,
    /// Rooms that every member is in; publishes go to them in turn.
    pub rooms_per_connection: u64,
    /// Seconds to run before measuring.
    pub warm_up_seconds: f64,
    /// Seconds to measure.
    pub seconds: f64,
    /// Bytes of each payload: of what stands for `{payload}` in the dialect's `publish`.
    pub payload_bytes: usize,
    /// Receive without sleeping.
    pub spin: bool,
}

/// Times of rounds, from the write of K publishes to the last member's last message.
#[derive(Debug, Serialize)]
pub struct RoundTimes {
    /// Median in µs.
    pub p50_us: u64,
    /// 90th percentile in µs.
    pub p90_us: u64,
    /// 99th percentile in µs.
    pub p99_us: u64,
    /// Longest in µs.
    pub max_us: u64,
}

/// The answer. Server figures are absent when its process is unknown.
#[derive(Debug, Serialize)]
pub struct FanoutReport {
    /// Where and how.
    pub origin: Origin,
    /// The run was stopped before its end.
    pub interrupted: bool,
    /// Nothing arrived for ten seconds, so the run was given up.
    pub stalled: bool,
    /// How the server was spoken to.
    pub dialect: String,
    /// Rooms had a history, and every member could have recovered.
    pub history: bool,
    /// Connections that receive each publish: the members and the publisher.
    pub receivers: u64,
    /// Publishes per round.
    pub in_flight: u64,
    /// Rooms per connection.
    pub rooms_per_connection: u64,
    /// Bytes of each payload as published.
    pub payload_bytes: usize,
    /// Bytes of each message as delivered, without frame header and newline.
    pub message_bytes: usize,
    /// Seconds measured.
    pub seconds: f64,
    /// Publishes in them.
    pub publishes: u64,
    /// Deliveries in them.
    pub deliveries: u64,
    /// Deliveries per second.
    pub deliveries_per_second: f64,
    /// Server CPU per delivery in ns.
    pub server_cpu_ns_per_delivery: Option<f64>,
    /// Generator CPU per delivery in ns.
    pub client_cpu_ns_per_delivery: Option<f64>,
    /// Cores the server kept busy.
    pub server_cores: Option<f64>,
    /// Cores the generator kept busy.
    pub client_cores: Option<f64>,
    /// Who was saturated; not known of a generator that was told to spin.
    pub bottleneck: Option<Bottleneck>,
    /// Messages per read of the generator: how well the server coalesces.
    pub messages_per_read: Option<f64>,
    /// Bytes received per delivery, headers and newlines included.
    pub wire_bytes_per_delivery: Option<f64>,
    /// Times of the measured rounds.
    pub round: Option<RoundTimes>,
    /// The same as a curve: quantiles and times in µs. Empty without a round.
    pub distribution: Vec<Series>,
    /// Messages that members still connected at the end had not got.
    pub lost: u64,
    /// Messages they got more than once.
    pub duplicated: u64,
    /// Out of order at one member per thread.
    pub reordered: u64,
    /// Publishes that were answered with an error.
    pub refused: u64,
    /// Members that the server ended, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// Totals at one moment.
struct Moment {
    at: Instant,
    server: Option<Duration>,
    own: Option<Duration>,
    messages: u64,
    reads: u64,
    read_bytes: u64,
    published: u64,
}

impl Moment {
    fn now(fleet: &Fleet, server: &Server, own: Probe) -> Self {
        let counters = &fleet.counters;
        Self {
            at: Instant::now(),
            server: server.cpu(),
            own: own.cpu().ok(),
            messages: counters.messages.load(SeqCst),
            reads: counters.reads.load(SeqCst),
            read_bytes: counters.read_bytes.load(SeqCst),
            published: counters.published.load(SeqCst),
        }
    }
}

/// Runs it, prints the table on stdout and writes the files.
///
/// # Errors
///
/// The options contradict each other, the run could not start, a member did not become whole, or
/// the report could not be written. What is lost while running is a figure, not an error.
pub fn run(options: &FanoutOptions) -> Result<(), String> {
    check_payload(options.payload_bytes)?;
    let common = &options.common;
    let (outputs, sender, notices) = common.prepare()?;
    let server = Server::of(common, options.members)?;
    let mut runs = Vec::new();
    for in_flight in &options.in_flight {
        let report = measure(options, *in_flight, &server, &sender, &notices)?;
        print!("{}", report.table().render());
        let is_over = report.interrupted || report.stalled;
        runs.push(report);
        if is_over {
            break;
        }
        if runs.len() < options.in_flight.len() {
            println!();
        }
    }
    let gone = runs.last().map_or(Ok(()), |last| server_stayed(&last.drops, last.receivers));
    match runs.as_slice() {
        [report] => outputs.write(report, &report.page())?,
        _ => {
            let sweep = FanoutSweep { runs };
            outputs.write(&sweep, &sweep.page())?;
        }
    }
    gone
}

/// One run for each number of publishes in flight.
#[derive(Debug, Serialize)]
pub struct FanoutSweep {
    /// In the order in which they ran.
    pub runs: Vec<FanoutReport>,
}

fn measure(
    options: &FanoutOptions,
    in_flight: u64,
    server: &Server,
    sender: &mpsc::Sender<Notice>,
    notices: &mpsc::Receiver<Notice>,
) -> Result<FanoutReport, String> {
    let own = Probe::own()?;
    let receivers = options.members.saturating_add(1);
    let threads = options.common.threads.map_or_else(|| Fleet::threads_needed(receivers), Ok)?;
    let plan = plan(options, in_flight, server, receivers, threads)?;
    let origin = Origin::now(&server.url, threads as usize, plan.source_ips);
    let fleet = Fleet::start(plan, sender)?;
    let (waited, _) = progress::until_open(&fleet, notices, receivers);
    let whole = fleet.counters.whole.load(SeqCst);
    if waited != Waited::Done || whole < receivers {
        let reasons = fleet.close().failures;
        return Err(not_open(waited, whole, receivers, &reasons, server.target.address));
    }

    let mut seen = 0;
    let mut line = |fleet: &Fleet| {
        let messages = fleet.counters.messages.load(SeqCst);
        let moved = messages - seen;
        seen = messages;
        Line { text: format!("{} deliveries/s", number(moved as f64, 0)), moved: moved > 0 }
    };
    fleet.enter(Phase::WarmUp);
    let warm_up = Duration::from_secs_f64(options.warm_up_seconds);
    let mut waited = progress::for_a_while(notices, warm_up, || line(&fleet));
    fleet.enter(Phase::Measure);
    let from = Moment::now(&fleet, server, own);
    let contest = Contest::begin(server.probe);
    if waited == Waited::Done {
        let seconds = Duration::from_secs_f64(options.seconds);
        waited = progress::for_a_while(notices, seconds, || line(&fleet));
    }
    let to = Moment::now(&fleet, server, own);
    let bottleneck = (!options.spin).then(|| contest.spent().bottleneck);
    fleet.enter(Phase::Drain);
    if waited != Waited::Stalled {
        // After a Ctrl-C too: what is on its way when connections close would count as lost.
        let drained = progress::wait(notices, |notice| *notice == Notice::Drained, || line(&fleet));
        waited = if waited == Waited::Done { drained } else { waited };
    }
    let refused = fleet.counters.refusals.load(SeqCst);
    let outcome = fleet.close();

    let rounds = outcome.rounds_us.filter(|rounds| !rounds.is_empty());
    let seconds = to.at.duration_since(from.at).as_secs_f64();
    let deliveries = to.messages - from.messages;
    let server_seconds = spent(from.server, to.server);
    let client_seconds = spent(from.own, to.own);
    Ok(FanoutReport {
        origin,
        interrupted: waited == Waited::Interrupted,
        stalled: waited == Waited::Stalled,
        dialect: options.common.dialect.name.clone(),
        history: options.common.keep.is_some(),
        receivers,
        in_flight,
        rooms_per_connection: options.rooms_per_connection,
        payload_bytes: options.payload_bytes,
        message_bytes: outcome.message_bytes,
        seconds,
        publishes: to.published - from.published,
        deliveries,
        deliveries_per_second: deliveries as f64 / seconds,
        server_cpu_ns_per_delivery: server_seconds.and_then(|spent| per(spent * 1e9, deliveries)),
        client_cpu_ns_per_delivery: client_seconds.and_then(|spent| per(spent * 1e9, deliveries)),
        server_cores: server_seconds.map(|spent| spent / seconds),
        client_cores: client_seconds.map(|spent| spent / seconds),
        bottleneck,
        messages_per_read: per(deliveries as f64, to.reads - from.reads),
        wire_bytes_per_delivery: per((to.read_bytes - from.read_bytes) as f64, deliveries),
        round: rounds.as_ref().map(times),
        distribution: rounds.iter().map(|rounds| Series::distribution("rounds", rounds)).collect(),
        lost: outcome.lost,
        duplicated: outcome.duplicated,
        reordered: outcome.reordered,
        refused,
        drops: outcome.drops,
    })
}

fn plan(
    options: &FanoutOptions,
    in_flight: u64,
    server: &Server,
    receivers: u64,
    threads: u64,
) -> Result<FleetPlan, String> {
    let rooms = options.rooms_per_connection;
    let dialect = options.common.dialect.clone();
    let script = Script::new(dialect, Rooms::Each(rooms), Identity::Anonymous, &server.target)?
        .with_recovery(options.common.recovery())?;
    let plan = FleetPlan::new(server.target.address, script, receivers, threads);
    Ok(FleetPlan {
        source_ips: options.common.source_ips.unwrap_or(plan.source_ips),
        spin: options.spin,
        publish: Some(PublishPlan {
            in_flight,
            rooms,
            payload_bytes: options.payload_bytes,
            members: receivers,
            bare: false,
        }),
        ..plan
    })
}

fn times(rounds: &Histogram<u64>) -> RoundTimes {
    RoundTimes {
        p50_us: rounds.value_at_quantile(0.5),
        p90_us: rounds.value_at_quantile(0.9),
        p99_us: rounds.value_at_quantile(0.99),
        max_us: rounds.max(),
    }
}

impl FanoutReport {
    /// The report for people.
    pub fn table(&self) -> Table {
        let mut table = Table::default();
        let count = |value: u64| number(value as f64, 0);
        if self.interrupted || self.stalled {
            table.row(if self.stalled { "stalled" } else { "interrupted" }, "yes: figures up to then");
        }
        if self.history {
            table.row("rooms have a history", "yes");
        }
        table.row("receivers (members and publisher)", count(self.receivers));
        table.row("in flight", count(self.in_flight));
        table.row("bytes per message", count(self.message_bytes as u64));
        table.row("publishes", count(self.publishes));
        table.row("deliveries", count(self.deliveries));
        table.row("deliveries per second", number(self.deliveries_per_second, 0));
        table.row_if("server CPU per delivery (ns)", self.server_cpu_ns_per_delivery, 0);
        table.row_if("client CPU per delivery (ns)", self.client_cpu_ns_per_delivery, 0);
        table.row_if("server cores busy", self.server_cores, 2);
        table.row_if("client cores busy", self.client_cores, 2);
        if let Some(bottleneck) = self.bottleneck {
            table.row("bottleneck", bottleneck.sentence());
        }
        table.row_if("messages per read", self.messages_per_read, 2);
        table.row_if("bytes on the wire per delivery", self.wire_bytes_per_delivery, 1);
        if let Some(round) = &self.round {
            table.row("round p50 (µs)", count(round.p50_us));
            table.row("round p90 (µs)", count(round.p90_us));
            table.row("round p99 (µs)", count(round.p99_us));
            table.row("round max (µs)", count(round.max_us));
        }
        table.row("lost", count(self.lost));
        table.row("duplicated", count(self.duplicated));
        table.row("reordered at the witnesses", count(self.reordered));
        table.row("refused publishes", count(self.refused));
        table.reasons("dropped", &self.drops);
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_rounds_are_within_the_three_digits_of_the_histogram() {
        let mut rounds = Histogram::new(3).unwrap();
        (1..=1000).for_each(|us| rounds.record(us).unwrap());
        let times = times(&rounds);
        assert_eq!((times.p50_us, times.p90_us, times.p99_us, times.max_us), (500, 900, 990, 1000));
    }
}
