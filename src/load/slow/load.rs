//! One run of `throng bench slow`.
//!
//! Two windows under the same load, first with every member reading and then with the share stalled.
//! The stalled ones have the smallest receive buffer that Linux gives, so that the server soon feels them.
//! Where they recover, a third window follows in which they read again, while publishing goes on.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::{Recovered, SlowReport};
use crate::load::continuity::{Recovery, Streams};
use crate::load::fleet::{Chosen, Notice, Order};
use crate::load::keep::{Durability, Keep};
use crate::load::kernel;
use crate::load::openings::Retry;
use crate::load::options::Common;
use crate::load::paced::check_payload;
use crate::load::progress::{self, Line, Waited};
use crate::load::report::{Origin, number};
use crate::load::sampler::Sampler;
use crate::load::server::Server;
use crate::load::settings::{CLIENT, LIMITS, ROOMS, Settings};
use crate::load::steady::{Steady, SteadyPlan};
use crate::load::storm::RETRY_AFTER;

/// Before anything is kept: the first second pays for code and tables that are touched for the first time.
const WARM_UP_SECONDS: f64 = 1.0;
/// Between two looks whether all have caught up.
const CAUGHT_UP_LOOK: Duration = Duration::from_millis(50);
/// What the server holds for slow members, by its own account.
const BACKLOG: &str = "throng_backlog_bytes";
/// What a server may hold for all of them unless it is told otherwise. Source: throng.example.toml.
const BACKLOG_TOTAL_BYTES: u64 = 1 << 30;
/// Publications that a server may be asked to keep of a room and to give back at once.
const PUBLICATIONS_MAX: f64 = 1_000_000.0;

/// The longest time that a throng may be told to wait.
const PATIENCE_MS: u64 = 524_032;

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
    /// Bytes that may wait for one slow member of a server that is started.
    pub backlog_bytes: Option<u64>,
    /// The same for all of them together.
    pub backlog_total_bytes: Option<u64>,
    /// A server that is started closes nobody because nothing is taken or no ping answered for a while.
    pub patient: bool,
    /// The stalled ones read again, and must be whole then.
    pub recover: Option<RecoverPlan>,
}

/// Rooms with a history, in which those who were slow get what they missed.
#[derive(Debug, Clone)]
pub struct RecoverPlan {
    /// How rooms are kept.
    pub durability: Durability,
    /// Where the data directory is made.
    pub data_dir: Option<std::path::PathBuf>,
    /// Seconds of the window in which they read again.
    pub wake_seconds: f64,
}

impl SlowOptions {
    /// What a server that is started is told.
    fn common(&self) -> Result<Common, String> {
        let mut common = self.common.clone();
        let mut settings = Settings::default();
        for (key, bytes) in
            [("backlog_bytes_max", self.backlog_bytes), ("backlog_total_bytes_max", self.backlog_total_bytes)]
        {
            settings = bytes.into_iter().fold(settings, |settings, bytes| settings.with(LIMITS, key, bytes));
        }
        if self.patient {
            settings = settings
                .with(LIMITS, "write_timeout_ms", PATIENCE_MS)
                .with(CLIENT, "ping_interval_ms", PATIENCE_MS)
                .with(CLIENT, "pong_timeout_ms", PATIENCE_MS / 2);
        }
        if let Some(recover) = &self.recover {
            let seconds = 2.0 * (WARM_UP_SECONDS + self.seconds) + recover.wake_seconds;
            let publications = (self.rate / self.rooms as f64 * seconds).ceil() + 1_000.0;
            if publications > PUBLICATIONS_MAX {
                return Err(format!(
                    "--rate and --seconds make {} publications in a room, more than the {} of a history: nobody \
                     could recover; ask for less",
                    number(publications, 0),
                    number(PUBLICATIONS_MAX, 0)
                ));
            }
            settings = settings.with_text(ROOMS, "slow", "recover").with(
                CLIENT,
                "recovery_max_publication_limit",
                publications as u64,
            );
            let keep = Keep::new(recover.durability, recover.data_dir.clone());
            common.keep = Some(Keep { history_size: publications as u64, ..keep });
        }
        common.settings = common.settings.and(&settings);
        Ok(common)
    }
}

/// Runs it, prints the table on stdout and writes the JSON.
///
/// # Errors
///
/// The run could not start, a member did not become whole, the report could not be written, or with `recover`
/// one that was stalled was not whole in the end, or more waited for them than may.
pub fn run(options: &SlowOptions) -> Result<(), String> {
    check_payload(options.payload_bytes)?;
    let common = &options.common()?;
    let (outputs, sender, notices) = common.prepare()?;
    let members = options.rooms.saturating_mul(options.members);
    let server = Server::of(common, members)?;
    let chosen = Chosen::Share(options.share);
    let streams = options.recover.as_ref().map(|_| Streams::new(options.rooms)).transpose()?;
    let plan = SteadyPlan {
        chosen,
        sleeps: options.recover.is_some(),
        retry: Retry::After(RETRY_AFTER),
        recovery: streams.map(|streams| Recovery::Followed(Arc::new(streams.numbered()))),
        ..SteadyPlan::new(options.rooms, members, options.publishers, options.payload_bytes)
    };
    let steady = Steady::open(common, plan, &server, &sender, &notices)?;
    // Counted now that this box is known to hold them.
    let stalled = (0..members).filter(|number| chosen.has(*number)).count() as u64;
    let origin = Origin::now(&server.url, steady.threads as usize, steady.source_ips);
    // Those who are followed are not timed, so both windows are of the same members.
    let readers = if options.recover.is_some() { members - stalled } else { members };
    let (mut before, mut waited) = steady.window_of(options.rate, WARM_UP_SECONDS, readers, &notices);
    if waited == Waited::Done {
        (before, waited) = steady.window_of(options.rate, options.seconds, readers, &notices);
    }
    let budget = options.backlog_total_bytes.unwrap_or(BACKLOG_TOTAL_BYTES);
    let mut report = SlowReport::new(origin, options, stalled, before);
    report.interrupted = waited == Waited::Interrupted;
    report.backlog_budget_bytes = server.admin().map(|_| budget);
    if waited == Waited::Done {
        let memory = || server.probe.and_then(|probe| Some(probe.memory().ok()?.pss_bytes as i64));
        let (user, kernel) = (memory(), kernel::sample().tcp_buffer_bytes as i64);
        let sampler = server.admin().map(|admin| Sampler::start(admin, BACKLOG)).transpose()?;
        steady.fleet.order(Order::Stall);
        let begun = steady.begin(options.rate);
        waited = steady.wait(options.seconds, &notices);
        report.server_user_bytes_grown = memory().zip(user).map(|(now, before)| now - before);
        report.tcp_buffer_bytes_grown = Some(kernel::sample().tcp_buffer_bytes as i64 - kernel);
        report.during = Some(steady.finish(&begun, members - stalled));
        if let Some(recover) = options.recover.as_ref().filter(|_| waited == Waited::Done) {
            waited = wake(recover, &steady, &mut report, &notices);
        }
        report.backlog_peak_bytes = sampler.and_then(Sampler::finish);
        report.interrupted = waited == Waited::Interrupted;
    }
    report.refused = steady.refused();
    report.end(steady.close());
    print!("{}", report.table().render());
    outputs.write(&report, &report.page())?;
    report.verdict()
}

/// Lets the stalled ones read again while publishing goes on, and then waits until they have everything.
fn wake(
    plan: &RecoverPlan,
    steady: &Steady<'_>,
    report: &mut SlowReport,
    notices: &Receiver<Notice>,
) -> Waited {
    let counters = &steady.fleet.counters;
    let readers = report.rooms * report.members_per_room - report.stalled;
    counters.behind.store(report.stalled, SeqCst);
    let begun = steady.begin(report.before.publishes_per_second);
    let woken = Instant::now();
    steady.fleet.order(Order::Wake);
    let mut waited = steady.wait(plan.wake_seconds, notices);
    report.after = Some(steady.finish(&begun, readers));
    steady.fleet.order(Order::Judge);
    if waited == Waited::Done {
        let mut before = (u64::MAX, u64::MAX);
        let line = || {
            let now = (counters.behind.load(SeqCst), counters.read_bytes.load(SeqCst));
            let moved = now != before;
            before = now;
            Line { text: format!("{} of those that woke are behind", number(now.0 as f64, 0)), moved }
        };
        waited = progress::until(notices, CAUGHT_UP_LOOK, || counters.behind.load(SeqCst) == 0, line);
    }
    let caught_up_seconds = (counters.behind.load(SeqCst) == 0).then(|| woken.elapsed().as_secs_f64());
    report.recovered = Some(Recovered {
        whole: report.stalled - counters.behind.load(SeqCst),
        caught_up_seconds,
        rejoined: counters.rejoins.load(SeqCst),
        reconnected: counters.back.load(SeqCst),
        failed_tries: counters.failed_tries.load(SeqCst),
        ..Recovered::default()
    });
    waited
}
