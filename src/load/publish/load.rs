//! One run of `throng bench publish`: its options, its course and its report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use serde::Serialize;

use super::{Load, Receipts, Writers, WritersPlan};
use crate::load::connection::Script;
use crate::load::cost::{Bottleneck, Contest, Cost};
use crate::load::dialect::{Identity, Rooms};
use crate::load::disk::{Disk, FileSystem, sync_rate};
use crate::load::failures::{not_open, server_stayed};
use crate::load::fleet::{Fleet, FleetPlan, Notice};
use crate::load::metrics::StoreWork;
use crate::load::options::Common;
use crate::load::paced::check_payload;
use crate::load::pacer::Schedule;
use crate::load::percentiles::Percentiles;
use crate::load::progress::{self, Line, Waited};
use crate::load::report::{Origin, Table, Timeline, number, per};
use crate::load::server::Server;
use crate::load::steady::await_arrival;

/// How long the disk's own fsyncs are timed, before the load and after it.
const DISK_TIME: Duration = Duration::from_millis(1_500);

/// What to run. Whether rooms have a history is [`Common::keep`]'s to say.
pub struct PublishOptions {
    /// Which server, and where the answer goes.
    pub common: Common,
    /// Rooms.
    pub rooms: u64,
    /// Members of each.
    pub members: u64,
    /// Connections that publish.
    pub connections: u64,
    /// How much they publish.
    pub load: Load,
    /// Bytes of each payload.
    pub payload_bytes: usize,
    /// Seconds to run before measuring.
    pub warm_up_seconds: f64,
    /// Seconds to measure.
    pub seconds: f64,
}

/// The answer. What has no source is absent.
#[derive(Debug, Serialize)]
pub struct PublishReport {
    /// Where and how.
    pub origin: Origin,
    /// The run was stopped before its end.
    pub interrupted: bool,
    /// Nothing was answered for ten seconds, so the run was given up.
    pub stalled: bool,
    /// How the server was spoken to.
    pub dialect: String,
    /// What an acknowledgement promised: `fsync`, `os`, `memory`, `none` without history, or `the target's`.
    pub durability: String,
    /// Rooms.
    pub rooms: u64,
    /// Members of each.
    pub members_per_room: u64,
    /// Connections that publish.
    pub connections: u64,
    /// Publishes of each connection in flight, in a closed loop.
    pub in_flight: Option<u64>,
    /// Publishes per second that the schedule asked for, in an open loop.
    pub scheduled_per_second: Option<f64>,
    /// Bytes of each payload.
    pub payload_bytes: usize,
    /// Seconds measured.
    pub seconds: f64,
    /// Publishes written in them.
    pub publishes: u64,
    /// Publishes that were due and not written, because too much was in flight.
    pub unwritten: u64,
    /// Publishes acknowledged in them.
    pub acknowledged: u64,
    /// The same per second.
    pub acknowledged_per_second: f64,
    /// (seconds since the first measured publish, publishes acknowledged by then).
    pub timeline: Timeline,
    /// From the time a publish was due to its acknowledgement.
    pub latency: Option<Percentiles>,
    /// How late publishes were written: the generator's own part of every latency in an open loop.
    pub lateness: Option<Percentiles>,
    /// Refusals by code and message.
    pub errors: BTreeMap<String, u64>,
    /// Publishes without an answer ten seconds after the last.
    pub unanswered: u64,
    /// Answers to what was not asked.
    pub unasked: u64,
    /// Publishing connections that ended, by reason.
    pub ended: BTreeMap<String, u64>,
    /// What the members saw.
    pub delivered: Option<Delivered>,
    /// The disk under the data directory.
    pub disk: Option<Disk>,
    /// What the server's store did in the measured seconds.
    pub store: Option<StoreWork>,
    /// What the server spent.
    pub server: Option<Cost>,
    /// What the generator spent.
    pub client: Cost,
    /// Server CPU per acknowledged publish, deliveries included.
    pub server_cpu_us_per_publish: Option<f64>,
    /// Generator CPU per acknowledged publish.
    pub client_cpu_us_per_publish: Option<f64>,
    /// Who was saturated.
    pub bottleneck: Bottleneck,
}

/// What members saw of all acknowledged publishes, those of the warm-up included.
#[derive(Debug, Clone, Serialize)]
pub struct Delivered {
    /// Messages due.
    pub due: u64,
    /// Messages that came.
    pub deliveries: u64,
    /// From the time a publish was due to the read that brought it, in the measured seconds.
    pub delay: Option<Percentiles>,
    /// Messages out of order at a member; not known where connections share rooms.
    pub reordered: Option<u64>,
    /// Members that the server ended, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// Runs it, prints the table on stdout and writes the files.
///
/// # Errors
///
/// The run could not start, nothing was acknowledged, or the report could not be written. Publishes that
/// are refused are figures, not errors.
pub fn run(options: &PublishOptions) -> Result<(), String> {
    check_payload(options.payload_bytes)?;
    let common = &options.common;
    let (outputs, sender, notices) = common.prepare()?;
    let members = options.rooms.saturating_mul(options.members);
    let server = Server::of(common, members.saturating_add(options.connections))?;
    let report = measure(options, &server, members, &sender, &notices)?;
    print!("{}", report.table().render());
    outputs.write(&report, &report.page())?;
    server_stayed(&report.ended, report.connections)?;
    if report.acknowledged == 0 && !report.interrupted {
        return Err(report.nothing());
    }
    Ok(())
}

/// The members, if there are any, all whole.
fn open_members(
    options: &PublishOptions,
    server: &Server,
    members: u64,
    schedule: &Arc<Schedule>,
    sender: &Sender<Notice>,
    notices: &Receiver<Notice>,
) -> Result<Option<Fleet>, String> {
    if members == 0 {
        return Ok(None);
    }
    let address = server.target.address;
    let common = &options.common;
    let rooms = Rooms::Spread(options.rooms);
    let script = Script::new(Arc::clone(&common.dialect), rooms, Identity::Anonymous, &server.target)?
        .with_recovery(common.recovery())?;
    let plan = FleetPlan::new(address, script, members, Fleet::threads_needed(members)?);
    let plan = FleetPlan {
        source_ips: common.source_ips.unwrap_or(plan.source_ips),
        schedule: Some(Arc::clone(schedule)),
        ..plan
    };
    let fleet = Fleet::start(plan, sender)?;
    let (waited, _) = progress::until_open(&fleet, notices, members);
    let whole = fleet.counters.whole.load(SeqCst);
    if waited != Waited::Done || whole < members {
        let reasons = fleet.close().failures;
        return Err(not_open(waited, whole, members, &reasons, address));
    }
    Ok(Some(fleet))
}

fn measure(
    options: &PublishOptions,
    server: &Server,
    members: u64,
    sender: &Sender<Notice>,
    notices: &Receiver<Notice>,
) -> Result<PublishReport, String> {
    let common = &options.common;
    let script = Script::new(Arc::clone(&common.dialect), Rooms::None, Identity::Anonymous, &server.target)?;
    let schedule = Arc::new(Schedule::new());
    let mut disk = open_disk(common, server)?;
    let fleet = open_members(options, server, members, &schedule, sender, notices)?;
    let plan = WritersPlan {
        address: server.target.address,
        script,
        connections: options.connections,
        threads: common.threads.unwrap_or(1),
        rooms: options.rooms,
        payload_bytes: options.payload_bytes,
        load: options.load,
        first_round: 0,
        schedule,
    };
    let writers = Writers::start(&plan, sender)?;
    let origin = Origin::now(&server.url, writers.threads(), 0);

    writers.publish(None);
    let (mut waited, _) = wait(&writers, notices, options.warm_up_seconds);
    writers.take_receipts();
    let _ = fleet.as_ref().map(Fleet::take_timings);
    let (sent_before, before) = (writers.sent(), writers.acknowledged());
    let (contest, metrics) = (Contest::begin(server.probe), server.metrics());
    let mut timeline = Timeline::default();
    if waited == Waited::Done {
        (waited, timeline) = wait(&writers, notices, options.seconds);
    }
    let spent = contest.spent();
    let (acknowledged, publishes) = (writers.acknowledged() - before, writers.sent() - sent_before);
    let store = server.metrics().zip(metrics).map(|(after, before)| after.store_since(&before));

    writers.stop();
    let drained = drain(&writers, notices);
    waited = if waited == Waited::Done { drained } else { waited };
    let Receipts { latency_us, lateness_us, errors, unasked } = writers.take_receipts();
    let delivered =
        fleet.map(|fleet| Delivered::of(fleet, writers.acknowledged() * options.members, options));
    let (ended, unanswered) = (writers.ended(), writers.sent() - writers.acknowledged() - writers.refused());
    drop(writers);
    if let Some((disk, directory)) = disk.as_mut().zip(server.directory()) {
        disk.after = Some(sync_rate(directory, DISK_TIME)?);
    }
    let (in_flight, scheduled_per_second) = match options.load {
        Load::InFlight(most) => (Some(most), None),
        Load::Rate(rate) => (None, Some(rate)),
    };
    let due = scheduled_per_second.map_or(0, |rate| (rate * spent.seconds) as u64);
    Ok(PublishReport {
        origin,
        interrupted: waited == Waited::Interrupted,
        stalled: waited == Waited::Stalled,
        dialect: common.dialect.name.clone(),
        durability: match (&common.keep, server.is_own()) {
            (_, false) => "the target's".to_owned(),
            (Some(keep), true) => keep.durability.name().to_owned(),
            (None, true) => "none".to_owned(),
        },
        rooms: options.rooms,
        members_per_room: options.members,
        connections: options.connections,
        in_flight,
        scheduled_per_second,
        payload_bytes: options.payload_bytes,
        seconds: spent.seconds,
        publishes,
        // One more or less is due at either end of the window.
        unwritten: due.saturating_sub(publishes + 1),
        acknowledged,
        acknowledged_per_second: acknowledged as f64 / spent.seconds,
        timeline,
        latency: Percentiles::of(&latency_us),
        lateness: Percentiles::of(&lateness_us),
        errors,
        unanswered,
        unasked,
        ended,
        delivered,
        disk,
        store: store.filter(|_| common.keep.is_some()),
        server: spent.server,
        client: spent.client,
        server_cpu_us_per_publish: spent.server.and_then(|cost| per(cost.cpu_seconds * 1e6, acknowledged)),
        client_cpu_us_per_publish: per(spent.client.cpu_seconds * 1e6, acknowledged),
        bottleneck: spent.bottleneck,
    })
}

/// The disk of a child whose rooms are kept on one, its fsyncs timed once.
fn open_disk(common: &Common, server: &Server) -> Result<Option<Disk>, String> {
    let is_on_disk = common.keep.as_ref().is_some_and(|keep| keep.durability.is_on_disk());
    let Some(directory) = server.directory().filter(|_| is_on_disk) else { return Ok(None) };
    let file_system = FileSystem::of(directory)?;
    if file_system.is_in_memory() {
        eprintln!("note: the data directory is on {}; see --data-dir", file_system.words());
    }
    Ok(Some(Disk { file_system, before: Some(sync_rate(directory, DISK_TIME)?), after: None }))
}

/// Lets `seconds` pass, with a line of acknowledgements each.
fn wait(writers: &Writers, notices: &Receiver<Notice>, seconds: f64) -> (Waited, Timeline) {
    let line = line(writers);
    progress::counting(notices, Duration::from_secs_f64(seconds), || writers.acknowledged(), line)
}

/// Waits until everything is answered, or nothing has been for ten seconds.
pub fn drain(writers: &Writers, notices: &Receiver<Notice>) -> Waited {
    let mut drained = 0;
    let done = |notice: &Notice| {
        drained += usize::from(*notice == Notice::Drained);
        drained == writers.threads()
    };
    progress::wait(notices, done, line(writers))
}

fn line(writers: &Writers) -> impl FnMut() -> Line {
    let (mut before, mut refused_before) = (writers.acknowledged(), writers.refused());
    move || {
        let (now, refused) = (writers.acknowledged(), writers.refused());
        let [new, newly_refused] = [now - before, refused - refused_before];
        (before, refused_before) = (now, refused);
        let text = format!(
            "{} publishes/s acknowledged, {} refused",
            number(new as f64, 0),
            number(newly_refused as f64, 0)
        );
        Line { text, moved: new + newly_refused > 0 }
    }
}

impl Delivered {
    /// Waits until the `due` messages have come or no more do, and closes the members.
    fn of(fleet: Fleet, due: u64, options: &PublishOptions) -> Self {
        await_arrival(due, || fleet.counters.messages.load(SeqCst));
        let (deliveries, timings) = (fleet.counters.messages.load(SeqCst), fleet.take_timings());
        Self {
            due,
            deliveries,
            delay: Percentiles::of(&timings.delays_us),
            reordered: (options.rooms >= options.connections).then_some(timings.reordered),
            drops: fleet.close().drops,
        }
    }
}

impl PublishReport {
    /// Why there is nothing to tell.
    fn nothing(&self) -> String {
        let mut text = "not one publish was acknowledged".to_owned();
        for (reason, count) in &self.errors {
            text.push_str(&format!("\n  {} × {reason}", number(*count as f64, 0)));
            if reason.starts_with("103 ") {
                text.push_str(": the server lets nobody publish there; give clients leave to, or a token");
            }
        }
        text
    }

    /// The report for people.
    pub fn table(&self) -> Table {
        let mut table = Table::default();
        let count = |value: u64| number(value as f64, 0);
        if self.interrupted || self.stalled {
            table.row(if self.stalled { "stalled" } else { "interrupted" }, "yes: figures up to then");
        }
        table.row("durability", self.durability.as_str());
        table.row("rooms", count(self.rooms));
        table.row("publishing connections", count(self.connections));
        if let Some(in_flight) = self.in_flight {
            table.row("publishes in flight on each", count(in_flight));
        }
        table.row_if("publishes per second, scheduled", self.scheduled_per_second, 1);
        table.row("seconds", number(self.seconds, 1));
        table.row("publishes", count(self.publishes));
        if self.unwritten > 0 {
            table.row("publishes due and not written", count(self.unwritten));
        }
        table.row("publishes acknowledged", count(self.acknowledged));
        table.row("acknowledged per second", number(self.acknowledged_per_second, 0));
        table.percentiles("publish to acknowledgement", self.latency.as_ref());
        if let Some(lateness) = &self.lateness {
            table.row("  of it the generator's lateness, p99 (µs)", count(lateness.p99_us));
        }
        table.row("publishes refused", count(self.errors.values().sum()));
        table.reasons("refused", &self.errors);
        table.row("publishes never answered", count(self.unanswered));
        if self.unasked > 0 {
            table.row("answers to nothing that was asked", count(self.unasked));
        }
        table.reasons("publishing connection ended", &self.ended);
        if let Some(delivered) = &self.delivered {
            delivered.rows(self.members_per_room, &mut table);
        }
        if let Some(disk) = &self.disk {
            disk.rows(&mut table);
        }
        if let Some(store) = &self.store {
            store.writing(&mut table);
        }
        table.row_if("server CPU per publish (µs)", self.server_cpu_us_per_publish, 2);
        table.row_if("client CPU per publish (µs)", self.client_cpu_us_per_publish, 2);
        table.row_if("server cores busy", self.server.map(|cost| cost.cores), 2);
        table.row("client cores busy", number(self.client.cores, 2));
        table.row("bottleneck", self.bottleneck.sentence());
        table
    }
}

impl Delivered {
    fn rows(&self, members_per_room: u64, table: &mut Table) {
        let count = |value: u64| number(value as f64, 0);
        table.row("members of each room", count(members_per_room));
        table.row("deliveries, with those of the warm-up", count(self.deliveries));
        table.row("deliveries missing", count(self.due.saturating_sub(self.deliveries)));
        table.percentiles("delay to a member", self.delay.as_ref());
        if let Some(reordered) = self.reordered {
            table.row("reordered", count(reordered));
        }
        table.reasons("member ended", &self.drops);
    }
}
