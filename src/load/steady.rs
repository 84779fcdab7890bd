//! Rooms full of members and a pacer that publishes to them: the load under which `fanout --rate`,
//! `ceiling`, `slow` and `storm` look at a server, one window of time after another.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use serde::Serialize;

use super::connection::Script;
use super::continuity::Recovery;
use super::cost::{Bottleneck, Contest, Cost, Spent};
use super::dialect::{Identity, Rooms};
use super::failures::not_open;
use super::fleet::{Chosen, Fleet, FleetPlan, Notice, Outcome};
use super::metrics::Metrics;
use super::openings::Retry;
use super::options::Common;
use super::pacer::{Pacer, PacerPlan, Schedule};
use super::percentiles::Percentiles;
use super::progress::{self, Line, Waited};
use super::report::{Table, number, per};
use super::server::Server;
use super::watch::Timings;

/// Between two looks whether the last messages of a window have arrived.
const ARRIVAL_LOOK: Duration = Duration::from_millis(50);
/// Looks without a new message after which the rest counts as missing.
const ARRIVAL_LOOKS: u32 = 20;

/// The load.
#[derive(Debug, Clone)]
pub struct SteadyPlan {
    /// Rooms; members and publishes are spread over them evenly.
    pub rooms: u64,
    /// Members over all rooms.
    pub members: u64,
    /// Connections that publish, beside the members.
    pub publishers: u64,
    /// Bytes of each payload.
    pub payload_bytes: usize,
    /// Members that an order is for.
    pub chosen: Chosen,
    /// Those of them that stall notice nothing until they are woken.
    pub sleeps: bool,
    /// Connects under way at once per thread, or the fleet's own number.
    pub at_once_max: Option<usize>,
    /// How those that drop come back, and are tried again when that failed.
    pub retry: Retry,
    /// How members join, if not as the options say.
    pub recovery: Option<Recovery>,
}

impl SteadyPlan {
    /// A load that nothing is ordered of: no connection is chosen, none is tried twice.
    pub fn new(rooms: u64, members: u64, publishers: u64, payload_bytes: usize) -> Self {
        Self {
            rooms,
            members,
            publishers,
            payload_bytes,
            chosen: Chosen::None,
            sleeps: false,
            at_once_max: None,
            retry: Retry::Never,
            recovery: None,
        }
    }
}

/// Members that are whole and a pacer that waits for its first rate.
pub struct Steady<'a> {
    /// The members.
    pub fleet: Fleet,
    /// The server they are connected to.
    pub server: &'a Server,
    /// Threads that hold the members.
    pub threads: u64,
    /// Source addresses they connect from.
    pub source_ips: u64,
    plan: SteadyPlan,
    pacer: Pacer,
}

/// A window that has begun.
pub struct Begun {
    rate: f64,
    contest: Contest,
    messages: u64,
    reads: u64,
    dropped: u64,
    metrics: Option<Metrics>,
}

/// What one window showed.
#[derive(Debug, Clone, Serialize)]
pub struct Window {
    /// Publishes per second that the schedule asked for, over all rooms.
    pub publishes_per_second: f64,
    /// From the first publish until the last message arrived or was given up.
    pub seconds: f64,
    /// Publishes written.
    pub publishes: u64,
    /// Publishes that were due and never written, because the server did not take more.
    pub unwritten: u64,
    /// Messages that members who read should have got.
    pub deliveries_due: u64,
    /// Messages that members got.
    pub deliveries: u64,
    /// The same per second.
    pub deliveries_per_second: f64,
    /// From the time a publish was due to the read that brought it to a member.
    pub delay: Option<Percentiles>,
    /// How late publishes were written: the generator's own part of every delay.
    pub lateness: Option<Percentiles>,
    /// Messages out of order, at any member.
    pub reordered: u64,
    /// Members that the server ended meanwhile.
    pub dropped: u64,
    /// What the server spent.
    pub server: Option<Cost>,
    /// What the generator spent.
    pub client: Cost,
    /// Server CPU per delivery in ns.
    pub server_cpu_ns_per_delivery: Option<f64>,
    /// Generator CPU per delivery in ns.
    pub client_cpu_ns_per_delivery: Option<f64>,
    /// Messages per read of the generator.
    pub messages_per_read: Option<f64>,
    /// Messages per write of the server, as it counts them itself.
    pub messages_per_write: Option<f64>,
    /// Who was saturated.
    pub bottleneck: Bottleneck,
    /// Why publishing ended early.
    pub publishing_ended: Option<String>,
}

impl<'a> Steady<'a> {
    /// Opens the members and the publishing connections.
    ///
    /// # Errors
    ///
    /// A connection did not become whole, or the user stopped the run before all were.
    pub fn open(
        common: &Common,
        plan: SteadyPlan,
        server: &'a Server,
        sender: &Sender<Notice>,
        notices: &Receiver<Notice>,
    ) -> Result<Self, String> {
        let threads = common.threads.map_or_else(|| Fleet::threads_needed(plan.members), Ok)?;
        let dialect = &common.dialect;
        let script = |rooms| Script::new(Arc::clone(dialect), rooms, Identity::Anonymous, &server.target);
        let schedule = Arc::new(Schedule::new());
        let recovery = plan.recovery.clone().unwrap_or_else(|| common.recovery());
        let members = script(Rooms::Spread(plan.rooms))?.with_recovery(recovery)?;
        let base = FleetPlan::new(server.target.address, members, plan.members, threads);
        let source_ips = common.source_ips.unwrap_or(base.source_ips);
        let fleet_plan = FleetPlan {
            source_ips,
            schedule: Some(Arc::clone(&schedule)),
            at_once_max: plan.at_once_max.unwrap_or(base.at_once_max),
            retry: plan.retry,
            chosen: plan.chosen,
            sleeps: plan.sleeps,
            ..base
        };
        let fleet = Fleet::start(fleet_plan, sender)?;
        let (waited, _) = progress::until_open(&fleet, notices, plan.members);
        let whole = fleet.counters.whole.load(SeqCst);
        if waited != Waited::Done || whole < plan.members {
            let reasons = fleet.close().failures;
            return Err(not_open(waited, whole, plan.members, &reasons, server.target.address));
        }
        // Where a room is part of the path, a connection publishes only to the room it is in.
        let (publisher_rooms, publishers) = if dialect.is_room_in_path() {
            (Rooms::Spread(plan.rooms), plan.rooms)
        } else {
            (Rooms::None, plan.publishers)
        };
        let pacer_plan = PacerPlan {
            address: server.target.address,
            script: script(publisher_rooms)?,
            publishers,
            rooms: plan.rooms,
            payload_bytes: plan.payload_bytes,
        };
        let pacer = Pacer::start(pacer_plan, schedule, Arc::clone(&fleet.counters))?;
        Ok(Self { fleet, server, threads, source_ips, plan, pacer })
    }

    /// Begins a window with `rate` publishes per second over all rooms; none at all if it is 0.
    pub fn begin(&self, rate: f64) -> Begun {
        self.fleet.take_timings();
        let counters = &self.fleet.counters;
        let begun = Begun {
            rate,
            contest: Contest::begin(self.server.probe),
            messages: counters.messages.load(SeqCst),
            reads: counters.reads.load(SeqCst),
            dropped: counters.dropped.load(SeqCst),
            metrics: self.server.metrics(),
        };
        if rate > 0.0 {
            self.pacer.pace(rate);
        }
        begun
    }

    /// Ends a window during which `readers` members were reading.
    pub fn finish(&self, begun: &Begun, readers: u64) -> Window {
        // Who was saturated shows while publishes came, not while the last messages are waited for.
        let bottleneck = begun.contest.spent().bottleneck;
        let paced = self.pacer.stop();
        let deliveries_due = (paced.published as f64 * readers as f64 / self.plan.rooms as f64) as u64;
        let counters = &self.fleet.counters;
        // Members that were told to return get messages too, but only the readers' are timed.
        if readers < self.plan.members {
            await_arrival(deliveries_due, || self.fleet.timed());
        } else {
            await_arrival(begun.messages + deliveries_due, || counters.messages.load(SeqCst));
        }
        // A server that does not take what is published is behind, whether its threads are seen to run or wait.
        let is_refusing = bottleneck == Bottleneck::None && paced.unwritten > 0;
        let bottleneck = if is_refusing { Bottleneck::Server } else { bottleneck };
        let Spent { server, client, seconds, .. } = begun.contest.spent();
        let deliveries = counters.messages.load(SeqCst) - begun.messages;
        let Timings { delays_us, reordered, .. } = self.fleet.take_timings();
        let metrics = self.server.metrics().zip(begun.metrics.as_ref());
        Window {
            publishes_per_second: begun.rate,
            seconds,
            publishes: paced.published,
            unwritten: paced.unwritten,
            deliveries_due,
            deliveries,
            deliveries_per_second: deliveries as f64 / seconds,
            delay: Percentiles::of(&delays_us),
            lateness: Percentiles::of(&paced.lateness_us),
            reordered,
            dropped: counters.dropped.load(SeqCst) - begun.dropped,
            server,
            client,
            server_cpu_ns_per_delivery: server.and_then(|cost| per(cost.cpu_seconds * 1e9, deliveries)),
            client_cpu_ns_per_delivery: per(client.cpu_seconds * 1e9, deliveries),
            messages_per_read: per(deliveries as f64, counters.reads.load(SeqCst) - begun.reads),
            messages_per_write: metrics.and_then(|(after, before)| after.messages_per_write_since(before)),
            bottleneck,
            publishing_ended: paced.ended,
        }
    }

    /// A whole window of `seconds` with all members reading, with a line per second.
    pub fn window(&self, rate: f64, seconds: f64, notices: &Receiver<Notice>) -> (Window, Waited) {
        self.window_of(rate, seconds, self.plan.members, notices)
    }

    /// The same with `readers` of them reading and timed.
    pub fn window_of(
        &self,
        rate: f64,
        seconds: f64,
        readers: u64,
        notices: &Receiver<Notice>,
    ) -> (Window, Waited) {
        let begun = self.begin(rate);
        let waited = self.wait(seconds, notices);
        (self.finish(&begun, readers), waited)
    }

    /// Lets `seconds` pass, with a line of deliveries each.
    pub fn wait(&self, seconds: f64, notices: &Receiver<Notice>) -> Waited {
        let mut before = self.fleet.counters.messages.load(SeqCst);
        progress::for_a_while(notices, Duration::from_secs_f64(seconds), || {
            let messages = self.fleet.counters.messages.load(SeqCst);
            let text = format!("{} deliveries/s", number((messages - before) as f64, 0));
            before = messages;
            Line { text, moved: self.pacer.ended().is_none() }
        })
    }

    /// Publishes answered with an error so far.
    pub fn refused(&self) -> u64 {
        self.fleet.counters.refusals.load(SeqCst)
    }

    /// Closes every connection; what the workers know.
    pub fn close(self) -> Outcome {
        drop(self.pacer);
        self.fleet.close()
    }
}

/// Waits until as many messages as are `due` have arrived, or no more come.
pub fn await_arrival(due: u64, arrived: impl Fn() -> u64) {
    let (mut before, mut still) = (0, 0);
    while still < ARRIVAL_LOOKS {
        let now = arrived();
        if now >= due {
            return;
        }
        still = if now == before { still + 1 } else { 0 };
        before = now;
        std::thread::sleep(ARRIVAL_LOOK);
    }
}

impl Window {
    /// Adds the window's rows to `table`.
    pub fn rows(&self, table: &mut Table) {
        let count = |value: u64| number(value as f64, 0);
        table.row("publishes per second, scheduled", number(self.publishes_per_second, 1));
        table.row("publishes", count(self.publishes));
        if self.unwritten > 0 {
            table.row("publishes due that the server did not take", count(self.unwritten));
        }
        table.row("deliveries", count(self.deliveries));
        if self.deliveries < self.deliveries_due {
            table.row("deliveries missing", count(self.deliveries_due - self.deliveries));
        }
        table.row("deliveries per second", number(self.deliveries_per_second, 0));
        table.percentiles("delay from schedule to member", self.delay.as_ref());
        if let Some(lateness) = &self.lateness {
            table.row("  of it the generator's lateness, p99 (µs)", count(lateness.p99_us));
        }
        table.row_if("server CPU per delivery (ns)", self.server_cpu_ns_per_delivery, 0);
        table.row_if("client CPU per delivery (ns)", self.client_cpu_ns_per_delivery, 0);
        table.row_if("server cores busy", self.server.map(|cost| cost.cores), 2);
        table.row("client cores busy", number(self.client.cores, 2));
        table.row_if("messages per read", self.messages_per_read, 2);
        table.row_if("messages per write of the server", self.messages_per_write, 2);
        table.row("bottleneck", self.bottleneck.sentence());
        if let Some(reason) = &self.publishing_ended {
            table.row("publishing ended early", reason.as_str());
        }
    }
}
