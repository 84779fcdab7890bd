//! One run of `throng bench recover`.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use super::RecoverReport;
use crate::load::connection::Script;
use crate::load::continuity::{Missed, Recovery, Streams};
use crate::load::cost::Contest;
use crate::load::dialect::{Identity, Rooms};
use crate::load::failures::not_open;
use crate::load::fleet::{Chosen, Fleet, FleetPlan, Notice, Order};
use crate::load::openings::Retry;
use crate::load::options::Common;
use crate::load::paced::check_payload;
use crate::load::pacer::Schedule;
use crate::load::percentiles::Percentiles;
use crate::load::progress::{self, Line, Waited};
use crate::load::publish::{Load, Writers, WritersPlan, drain};
use crate::load::report::{Origin, number};
use crate::load::server::Server;
use crate::load::steady::await_arrival;
use crate::load::storm::RETRY_AFTER;

/// Connections that publish what is missed, at most: so many rooms at once.
const WRITERS_MAX: u64 = 16;
/// Publishes of each that are in flight.
const IN_FLIGHT: u64 = 64;
/// Messages that every room gets before its members drop, and again when they are back.
const LIVE_ROUNDS: u64 = 1;

/// What to run. [`Common::keep`] is how rooms of a server that is started are kept.
pub struct RecoverOptions {
    /// Which server, and where the answer goes.
    pub common: Common,
    /// Clients, each in one room.
    pub connections: u64,
    /// Rooms that they are spread over.
    pub rooms: u64,
    /// Messages in each room that they miss.
    pub missed: u64,
    /// Bytes of each payload.
    pub payload_bytes: usize,
    /// Connects under way at once, over all threads; `None`: as the official SDKs come back, each by itself.
    pub at_once: Option<u64>,
    /// Connects per second of those that come back; `None`: as fast as they go.
    pub rate: Option<f64>,
    /// End the server by SIGKILL and start it again before they come back.
    pub restart: bool,
}

impl RecoverOptions {
    /// Whether clients are connected when the server is ended, and come back from that moment on as SDKs do: what
    /// they miss is then what they have not read. Otherwise they are gone before, and come back once it is ready.
    fn is_sudden(&self) -> bool {
        self.restart && self.at_once.is_none()
    }
}

/// Runs it, prints the table on stdout and writes the files.
///
/// # Errors
///
/// The run could not start, the report could not be written, or a client was not whole in the end.
pub fn run(options: &RecoverOptions) -> Result<(), String> {
    check_payload(options.payload_bytes)?;
    let common = &options.common;
    let (outputs, sender, notices) = common.prepare()?;
    let mut server = Server::of(common, options.connections.saturating_add(WRITERS_MAX))?;
    let report = measure(options, &mut server, &sender, &notices)?;
    print!("{}", report.table().render());
    outputs.write(&report, &report.page())?;
    report.verdict()
}

/// What one run has at hand.
struct Run<'a> {
    options: &'a RecoverOptions,
    fleet: Fleet,
    streams: Arc<Streams>,
    plan: WritersPlan,
    sender: &'a Sender<Notice>,
    notices: &'a Receiver<Notice>,
}

fn measure(
    options: &RecoverOptions,
    server: &mut Server,
    sender: &Sender<Notice>,
    notices: &Receiver<Notice>,
) -> Result<RecoverReport, String> {
    let common = &options.common;
    let threads = common.threads.map_or_else(|| Fleet::threads_needed(options.connections), Ok)?;
    let streams = Arc::new(Streams::new(options.rooms)?);
    let script = |rooms| Script::new(Arc::clone(&common.dialect), rooms, Identity::Anonymous, &server.target);
    let members =
        script(Rooms::Spread(options.rooms))?.with_recovery(Recovery::Followed(Arc::clone(&streams)))?;
    let plan = WritersPlan {
        address: server.target.address,
        script: script(Rooms::None)?,
        connections: options.rooms.min(WRITERS_MAX),
        threads: 1,
        rooms: options.rooms,
        payload_bytes: options.payload_bytes,
        load: Load::InFlight(IN_FLIGHT),
        first_round: 0,
        schedule: Arc::new(Schedule::new()),
    };
    let base = FleetPlan::new(server.target.address, members, options.connections, threads);
    let fleet_plan = FleetPlan {
        source_ips: common.source_ips.unwrap_or(base.source_ips),
        at_once_max: options.at_once.map_or(base.at_once_max, |at_once| at_once.div_ceil(threads) as usize),
        retry: options.at_once.map_or(Retry::Backoff, |_| Retry::After(RETRY_AFTER)),
        chosen: Chosen::From(0),
        sleeps: options.is_sudden(),
        return_rate: options.rate,
        ..base
    };
    let origin = Origin::now(&server.url, threads as usize, fleet_plan.source_ips);
    let mut report = RecoverReport::new(origin, options, server.is_own());
    let fleet = Fleet::start(fleet_plan, sender)?;
    let (waited, _) = progress::until_open(&fleet, notices, options.connections);
    let whole = fleet.counters.whole.load(SeqCst);
    if waited != Waited::Done || whole < options.connections {
        let reasons = fleet.close().failures;
        return Err(not_open(waited, whole, options.connections, &reasons, server.target.address));
    }
    if streams.wrong() > 0 {
        let wrong = fleet.close().found.wrong;
        let wrong: Vec<_> = wrong.iter().map(|(what, many)| format!("\n  {many} × {what}")).collect();
        return Err(format!("there is nothing to recover:{}", wrong.concat()));
    }
    let mut run = Run { options, fleet, streams, plan, sender, notices };
    let waited = run.drop_and_return(server, &mut report)?;
    report.interrupted = waited == Waited::Interrupted;
    let outcome = run.fleet.close();
    report.returns = outcome.returns_us.as_ref().and_then(Percentiles::of);
    report.recoveries = outcome.reconnects_us.as_ref().and_then(Percentiles::of);
    report.recovered = outcome.found.recovered;
    report.publications = outcome.found.publications;
    report.wrong = outcome.found.wrong;
    (report.failures, report.drops) = (outcome.failures, outcome.drops);
    Ok(report)
}

impl Run<'_> {
    /// Everything after the opening: live messages, the drop, what is missed, the return, live messages.
    fn drop_and_return(&mut self, server: &mut Server, report: &mut RecoverReport) -> Result<Waited, String> {
        let mut writers = Writers::start(&self.plan, self.sender)?;
        let mut waited = self.publish(&writers, LIVE_ROUNDS)?;
        report.live_due += self.options.connections * LIVE_ROUNDS;
        if waited == Waited::Done {
            self.await_live(report);
            if self.options.is_sudden() {
                // They are to be there when the server is ended, and not to have read what is published until then.
                eprintln!("publishing what nobody reads any more");
                self.fleet.order(Order::Stall);
            } else {
                eprintln!("dropping all connections and publishing what they miss");
                self.fleet.order(Order::Drop);
                waited = self.await_dropped();
            }
        }
        if waited == Waited::Done && self.options.missed > 0 {
            waited = self.publish(&writers, self.options.missed)?;
        }
        if waited != Waited::Done {
            return Ok(waited);
        }
        self.streams.miss(Missed { first_round: LIVE_ROUNDS, rounds: self.options.missed });
        let mut ordered = Instant::now();
        if self.options.restart {
            drop(writers);
            eprintln!("ending the server by SIGKILL and starting it again");
            server.kill()?;
            if self.options.is_sudden() {
                self.fleet.drop_and_return();
            }
            report.restart_seconds = Some(server.start_again()?.as_secs_f64());
            self.plan.first_round = LIVE_ROUNDS + self.options.missed;
            writers = Writers::start(&self.plan, self.sender)?;
        }
        if !self.options.is_sudden() {
            ordered = Instant::now();
        }
        waited = self.come_back(server, report, ordered);
        if waited == Waited::Done {
            waited = self.publish(&writers, LIVE_ROUNDS)?;
            report.live_due += self.options.connections * LIVE_ROUNDS;
            self.await_live(report);
        }
        Ok(waited)
    }

    /// Publishes `rounds` messages to every room.
    fn publish(&self, writers: &Writers, rounds: u64) -> Result<Waited, String> {
        let due = writers.acknowledged() + rounds * self.options.rooms;
        writers.publish(Some(rounds));
        let waited = drain(writers, self.notices);
        let errors = writers.take_receipts().errors;
        if waited == Waited::Done && writers.acknowledged() < due {
            let reasons = errors.into_iter().chain(writers.ended());
            let reasons: Vec<_> = reasons.map(|(reason, count)| format!("{count} × {reason}")).collect();
            return Err(format!("what clients are to miss cannot be published: {}", reasons.join("; ")));
        }
        Ok(waited)
    }

    /// Waits until every connection has the live messages that are due.
    fn await_live(&self, report: &mut RecoverReport) {
        let messages = &self.fleet.counters.messages;
        await_arrival(report.live_due, || messages.load(SeqCst));
        report.live = messages.load(SeqCst);
    }

    fn await_dropped(&self) -> Waited {
        let mut dropped = 0;
        let done = |notice: &Notice| {
            dropped += usize::from(*notice == Notice::Dropped);
            dropped == self.fleet.threads()
        };
        progress::wait(self.notices, done, || Line { text: "dropping".to_owned(), moved: true })
    }

    /// Lets all connections come back, and notes what that took since they were `ordered` to, which is when the
    /// server was ended if it was.
    fn come_back(&self, server: &Server, report: &mut RecoverReport, ordered: Instant) -> Waited {
        let metrics = server.metrics();
        report.memory_before_bytes = server.probe.and_then(|probe| Some(probe.memory().ok()?.rss_bytes));
        let contest = Contest::begin(server.probe);
        self.fleet.order(Order::Return);
        let (waited, timeline) = progress::until_back(&self.fleet, self.notices, self.options.connections);
        let spent = contest.spent();
        let seconds = ordered.elapsed().as_secs_f64();
        let counters = &self.fleet.counters;
        report.back = counters.back.load(SeqCst);
        report.failed_tries = counters.failed_tries.load(SeqCst);
        report.store = server.metrics().zip(metrics).map(|(after, before)| after.store_since(&before));
        report.memory_peak_bytes = server.probe.and_then(|probe| probe.peak_bytes());
        report.timeline = timeline;
        report.note(&spent, seconds);
        if waited == Waited::Stalled {
            let missing = number((self.options.connections - report.back) as f64, 0);
            eprintln!("{missing} connections are not back, and for ten seconds none came");
        }
        waited
    }
}
