//! `throng bench floor`: what the kernel makes possible, by bare sockets on both ends.
//!
//! Two questions, each with a server of its own ([`super::bare`]): what N accepted sockets that epoll
//! watches cost, and what one `send` to each of M sockets with a live reader costs. The clients, their
//! reading and counting, and the bytes on the wire are those of `idle` and `fanout`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::account::{Account, Ledger};
use super::bare::BareCounts;
use super::connection::{Handshake, Script};
use super::dialect::built_in;
use super::failures::explain;
use super::fleet::{Fleet, FleetPlan, Notice, Phase, connections_per_thread_max, raise_descriptor_limit};
use super::paced::check_payload;
use super::probe::{Probe, spent};
use super::progress::{self, Line, Waited};
use super::publisher::PublishPlan;
use super::report::{Origin, Outputs, Table, Timeline, number, per};
use super::server::{ChildServer, Server};
use super::{interrupt, kernel};

/// The subcommand of `throng bench` that runs the bare server.
pub const BARE_SERVER: &str = "bare-server";
/// Shards have room for this many twentieths of their even share, because the kernel spreads by a hash.
const ROOM_TWENTIETHS: u64 = 24;
/// Part of the measured seconds that is run before them, and the most of it.
const WARM_UP_PART: f64 = 0.2;
const WARM_UP_SECONDS_MAX: f64 = 1.0;
/// How long the server may take to accept what is connected. Longer than a lost answer to a SYN is
/// repeated after (1, 2, 4 s).
const ACCEPT_MAX: Duration = Duration::from_secs(15);
/// Between two looks whether it has.
const ACCEPT_LOOK: Duration = Duration::from_millis(1);
/// Looks in a row that must find nobody waiting.
const ACCEPT_LOOKS: u32 = 3;

/// What to run.
pub struct FloorOptions {
    /// Sockets to hold.
    pub connections: u64,
    /// Shards of the server that holds them, or one per core and enough for the descriptor limit.
    pub shards: Option<u64>,
    /// Seconds to hold them.
    pub hold_seconds: u64,
    /// Sockets that each message is sent to, beside the one that it came from.
    pub members: u64,
    /// Bytes of each payload, as for `fanout`.
    pub payload_bytes: usize,
    /// Seconds to measure sends.
    pub seconds: f64,
    /// Threads of the generator: to hold, or as few as the descriptor limit allows; to receive, or one.
    pub threads: Option<u64>,
    /// Source addresses, or as many as make ports cheap.
    pub source_ips: Option<u64>,
    /// Where the report goes as JSON.
    pub json: Option<PathBuf>,
    /// Where it goes as HTML.
    pub report: Option<PathBuf>,
}

/// What sending costs.
#[derive(Debug, Clone, Serialize)]
pub struct Sends {
    /// Sockets that each message is sent to.
    pub receivers: u64,
    /// Bytes of each send: a whole frame as throng would deliver it.
    pub frame_bytes: Option<f64>,
    /// Seconds measured.
    pub seconds: f64,
    /// Sends in them that have arrived.
    pub sends: u64,
    /// Sends per second.
    pub sends_per_second: f64,
    /// Server CPU per send in ns, its share of the read that brought the message included.
    pub server_cpu_ns_per_send: Option<f64>,
    /// Generator CPU per send in ns.
    pub client_cpu_ns_per_send: Option<f64>,
    /// Cores the server kept busy.
    pub server_cores: Option<f64>,
    /// Cores the generator kept busy.
    pub client_cores: Option<f64>,
    /// Median time from the write of a message until every receiver has it, in µs.
    pub round_p50_us: Option<u64>,
    /// 99th percentile of it in µs.
    pub round_p99_us: Option<u64>,
    /// Messages that live receivers did not get.
    pub lost: u64,
    /// Nothing arrived for ten seconds, so the run was given up.
    pub stalled: bool,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct FloorReport {
    /// Where and how.
    pub origin: Origin,
    /// The run was stopped before its end.
    pub interrupted: bool,
    /// Sockets asked for.
    pub connections: u64,
    /// Shards of the server that held them.
    pub shards: u64,
    /// Sockets whose connect succeeded.
    pub whole: u64,
    /// Connects that failed, by reason.
    pub failures: BTreeMap<String, u64>,
    /// Sockets that the server ended, by reason.
    pub drops: BTreeMap<String, u64>,
    /// From the first connect until the last socket was accepted.
    pub open_seconds: f64,
    /// Sockets connected by then.
    pub whole_over_time: Timeline,
    /// Accepts per second of it.
    pub accepts_per_second: f64,
    /// Server CPU per accept in µs, the registration with epoll included.
    pub server_cpu_us_per_accept: Option<f64>,
    /// Generator CPU per connect in µs.
    pub client_cpu_us_per_connect: Option<f64>,
    /// Memory per socket.
    pub account: Account,
    /// What sending costs, if the run came to it.
    pub sends: Option<Sends>,
    /// What the server that held the sockets counted.
    pub holding_server: Option<BareCounts>,
    /// What the server that sent counted, warm-up included.
    pub sending_server: Option<BareCounts>,
}

/// Runs it, prints the table on stdout and writes the JSON.
///
/// # Errors
///
/// The run could not start, the report could not be written, or the server skipped a send or could not
/// accept everybody, which makes the figures worthless.
pub fn run(options: &FloorOptions) -> Result<(), String> {
    check_payload(options.payload_bytes)?;
    let outputs = Outputs::open(options.json.as_deref(), options.report.as_deref())?;
    let (sender, notices) = mpsc::channel();
    interrupt::watch(sender.clone())?;
    let mut report = hold(options, &sender, &notices)?;
    let mut sent = Ok(());
    if !report.interrupted {
        sent = send(options, &mut report, &sender, &notices);
    }
    print!("{}", report.table().render());
    outputs.write(&report, &report.page())?;
    sent?;
    report.judge()
}

/// What arrives is framed as throng frames it, so it is told by the same dialect.
fn script(handshake: Handshake) -> Result<Script, String> {
    Ok(Script::bare(handshake, built_in("centrifuge")?))
}

fn bare_server(shards: u64) -> Result<Server, String> {
    Server::own(ChildServer::start_own(["bench", BARE_SERVER, "--shards", &shards.to_string()])?)
}

/// Shards that hold `connections`: one per core, or more if the descriptors of a table are fewer.
fn shards_needed(connections: u64, per_shard: u64) -> u64 {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    (connections * ROOM_TWENTIETHS / 20).div_ceil(per_shard).max(cores)
}

fn hold(
    options: &FloorOptions,
    sender: &Sender<Notice>,
    notices: &Receiver<Notice>,
) -> Result<FloorReport, String> {
    let per_shard = connections_per_thread_max(raise_descriptor_limit()?);
    let shards = options.shards.unwrap_or_else(|| shards_needed(options.connections, per_shard));
    let server = bare_server(shards)?;
    let threads = options.threads.map_or_else(|| Fleet::threads_needed(options.connections), Ok)?;
    let address = server.target.address;
    let plan = FleetPlan::new(address, script(Handshake::Silent)?, options.connections, threads);
    let plan = FleetPlan { source_ips: options.source_ips.unwrap_or(plan.source_ips), ..plan };
    let origin = Origin::now(&server.url, threads as usize, plan.source_ips);
    let own = Probe::own()?;
    let mut ledger = Ledger::open(&server, own, true);
    let (started, server_before, own_before) = (Instant::now(), server.cpu(), own.cpu().ok());
    let fleet = Fleet::start(plan, sender)?;
    let (mut waited, whole_over_time) = progress::until_open(&fleet, notices, options.connections);
    let own_open = own.cpu().ok();
    let accepted = wait_until_accepted(address.port());
    let open_seconds = accepted.duration_since(started).as_secs_f64();
    let server_open = server.cpu();
    let whole = fleet.counters.whole.load(SeqCst);
    ledger.note("open");
    if waited == Waited::Done {
        waited = progress::for_a_while(notices, Duration::from_secs(options.hold_seconds), || Line {
            text: "held".to_owned(),
            moved: true,
        });
        ledger.note("held");
    }
    let outcome = ledger.close(fleet);
    let account = ledger.account(whole);
    Ok(FloorReport {
        origin,
        interrupted: waited == Waited::Interrupted,
        connections: options.connections,
        shards,
        whole,
        failures: outcome.failures,
        drops: outcome.drops,
        open_seconds,
        whole_over_time,
        accepts_per_second: whole as f64 / open_seconds,
        server_cpu_us_per_accept: spent(server_before, server_open).and_then(|spent| per(spent * 1e6, whole)),
        client_cpu_us_per_connect: spent(own_before, own_open).and_then(|spent| per(spent * 1e6, whole)),
        account,
        sends: None,
        holding_server: counts(server),
        sending_server: None,
    })
}

/// Waits until nobody waits to be accepted on `port`; since when nobody did. The server reports
/// nothing while it runs, so the kernel is asked.
fn wait_until_accepted(port: u16) -> Instant {
    let end = Instant::now() + ACCEPT_MAX;
    let (mut since, mut looks) = (Instant::now(), 0);
    while looks < ACCEPT_LOOKS && Instant::now() < end {
        if kernel::accept_queue(port) > 0 {
            (since, looks) = (Instant::now(), 0);
        } else {
            looks += 1;
        }
        thread::sleep(ACCEPT_LOOK);
    }
    since
}

fn send(
    options: &FloorOptions,
    report: &mut FloorReport,
    sender: &Sender<Notice>,
    notices: &Receiver<Notice>,
) -> Result<(), String> {
    let receivers = options.members.saturating_add(1);
    let server = bare_server(1)?;
    let own = Probe::own()?;
    let threads = options.threads.unwrap_or(1);
    let plan = FleetPlan::new(server.target.address, script(Handshake::Hello)?, receivers, threads);
    let publish = PublishPlan {
        in_flight: 1,
        rooms: 1,
        payload_bytes: options.payload_bytes,
        members: receivers,
        bare: true,
    };
    let source_ips = options.source_ips.unwrap_or(plan.source_ips);
    let fleet = Fleet::start(FleetPlan { source_ips, publish: Some(publish), ..plan }, sender)?;
    let (waited, _) = progress::until_open(&fleet, notices, receivers);
    let whole = fleet.counters.whole.load(SeqCst);
    if waited != Waited::Done || whole < receivers {
        report.interrupted |= waited == Waited::Interrupted;
        let failures = fleet.reset().failures;
        return Err(explain(whole, receivers, &failures, server.target.address));
    }
    let mut seen = 0;
    let mut line = |fleet: &Fleet| {
        let messages = fleet.counters.messages.load(SeqCst);
        let moved = messages - seen;
        seen = messages;
        Line { text: format!("{} sends/s", number(moved as f64, 0)), moved: moved > 0 }
    };
    fleet.enter(Phase::WarmUp);
    let warm_up = Duration::from_secs_f64((options.seconds * WARM_UP_PART).min(WARM_UP_SECONDS_MAX));
    let mut waited = progress::for_a_while(notices, warm_up, || line(&fleet));
    fleet.enter(Phase::Measure);
    let look = || {
        let counters = &fleet.counters;
        let counted = (counters.messages.load(SeqCst), counters.read_bytes.load(SeqCst));
        (Instant::now(), server.cpu(), own.cpu().ok(), counted)
    };
    let from = look();
    if waited == Waited::Done {
        waited = progress::for_a_while(notices, Duration::from_secs_f64(options.seconds), || line(&fleet));
    }
    let to = look();
    fleet.enter(Phase::Drain);
    if waited != Waited::Stalled {
        // After a Ctrl-C too: what is on its way when connections close would count as lost.
        let drained = progress::wait(notices, |notice| *notice == Notice::Drained, || line(&fleet));
        waited = if waited == Waited::Done { drained } else { waited };
    }
    let outcome = fleet.reset();
    report.interrupted |= waited == Waited::Interrupted;
    let seconds = to.0.duration_since(from.0).as_secs_f64();
    let sends = to.3.0 - from.3.0;
    let (server_spent, client_spent) = (spent(from.1, to.1), spent(from.2, to.2));
    let rounds = outcome.rounds_us.filter(|rounds| !rounds.is_empty());
    let at = |quantile| rounds.as_ref().map(|rounds| rounds.value_at_quantile(quantile));
    report.sends = Some(Sends {
        receivers,
        frame_bytes: per((to.3.1 - from.3.1) as f64, sends),
        seconds,
        sends,
        sends_per_second: sends as f64 / seconds,
        server_cpu_ns_per_send: server_spent.and_then(|spent| per(spent * 1e9, sends)),
        client_cpu_ns_per_send: client_spent.and_then(|spent| per(spent * 1e9, sends)),
        server_cores: server_spent.map(|spent| spent / seconds),
        client_cores: client_spent.map(|spent| spent / seconds),
        round_p50_us: at(0.5),
        round_p99_us: at(0.99),
        lost: outcome.lost,
        stalled: waited == Waited::Stalled,
    });
    report.sending_server = counts(server);
    Ok(())
}

/// Ends the server; what it counted.
fn counts(server: Server) -> Option<BareCounts> {
    serde_json::from_str(&server.finish()?).ok()
}

impl FloorReport {
    /// Whether the figures are those of a floor: everybody was accepted and nothing was skipped.
    fn judge(&self) -> Result<(), String> {
        if let Some(held) = self.holding_server.filter(|held| held.accepted != self.whole) {
            return Err(format!(
                "{} sockets were connected but {} accepted (descriptors or memory ran out {} times): more --shards",
                self.whole, held.accepted, held.accept_failures
            ));
        }
        match self.sending_server {
            Some(sent) if sent.skipped > 0 => {
                Err(format!("{} sends found a full socket and were skipped: the readers lag", sent.skipped))
            }
            _ if self.whole == 0 => Err("not one socket was connected".to_owned()),
            _ => Ok(()),
        }
    }

    /// The report for people.
    pub fn table(&self) -> Table {
        let mut table = Table::default();
        let count = |value: u64| number(value as f64, 0);
        if self.interrupted {
            table.row("interrupted", "yes: figures up to then");
        }
        table.row("bare sockets connected and accepted", count(self.whole));
        table.reasons("failed", &self.failures);
        table.reasons("dropped", &self.drops);
        table.row("accepts per second", number(self.accepts_per_second, 0));
        table.row_if("server CPU per accept (µs)", self.server_cpu_us_per_accept, 1);
        table.row_if("client CPU per connect (µs)", self.client_cpu_us_per_connect, 1);
        self.account.rows(&mut table);
        let Some(sends) = &self.sends else { return table };
        if sends.stalled {
            table.row("stalled", "yes: figures up to then");
        }
        table.row("receivers of each message", count(sends.receivers));
        table.row_if("bytes per send", sends.frame_bytes, 1);
        table.row("sends per second", number(sends.sends_per_second, 0));
        table.row_if("server CPU per bare send (ns)", sends.server_cpu_ns_per_send, 0);
        table.row_if("client CPU per bare send (ns)", sends.client_cpu_ns_per_send, 0);
        table.row_if("server cores busy", sends.server_cores, 2);
        table.row_if("client cores busy", sends.client_cores, 2);
        table.row_if("round p50 (µs)", sends.round_p50_us.map(|us| us as f64), 0);
        table.row_if("round p99 (µs)", sends.round_p99_us.map(|us| us as f64), 0);
        table.row("lost", count(sends.lost));
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(whole: u64, accepted: u64, skipped: u64) -> FloorReport {
        FloorReport {
            origin: Origin::now("ws://x", 1, 0),
            interrupted: false,
            connections: whole,
            shards: 1,
            whole,
            failures: BTreeMap::new(),
            drops: BTreeMap::new(),
            open_seconds: 1.0,
            whole_over_time: Timeline::default(),
            accepts_per_second: whole as f64,
            server_cpu_us_per_accept: None,
            client_cpu_us_per_connect: None,
            account: Account::default(),
            sends: None,
            holding_server: Some(BareCounts { accepted, ..BareCounts::default() }),
            sending_server: Some(BareCounts { skipped, ..BareCounts::default() }),
        }
    }

    #[test]
    fn a_floor_that_skipped_or_did_not_accept_is_an_error() {
        assert_eq!(report(5, 5, 0).judge(), Ok(()));
        assert!(report(5, 4, 0).judge().unwrap_err().contains("--shards"));
        assert!(report(5, 5, 1).judge().unwrap_err().contains("skipped"));
        assert!(report(0, 0, 0).judge().is_err());
    }

    #[test]
    fn shards_have_room_for_an_uneven_spread() {
        assert_eq!(shards_needed(1_000_000, 19_000), 64);
        assert!(shards_needed(1, 19_000) >= 1);
    }
}
