//! One run of `throng bench bounce`.
//!
//! The members join without being told who comes, so that filling the room is cheap; each asks to be told when it
//! joins again for the first time. It begins once the witness was told of all of them: a member that nobody was told
//! of has nothing to be taken back. One gap passes before anything is counted.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use super::BounceReport;
use super::report::Settled;
use super::witness::Witness;
use crate::load::connection::Script;
use crate::load::continuity::Recovery;
use crate::load::cost::Contest;
use crate::load::dialect::{Identity, Rooms};
use crate::load::failures::not_open;
use crate::load::fleet::{Chosen, Fleet, FleetPlan, Notice, Order};
use crate::load::options::Common;
use crate::load::progress::{self, Line, Waited};
use crate::load::report::{Origin, number};
use crate::load::server::Server;
use crate::load::settings::{ROOMS, Settings};

/// How much longer than it may take it is waited for presence to be right: to tell how long it takes.
const SETTLE_TIMES: f64 = 2.0;
/// How long the witness has to be right without a break.
const RIGHT_FOR: Duration = Duration::from_millis(500);
/// Between two looks at what it knows.
const LOOK: Duration = Duration::from_millis(5);

/// What to run.
pub struct BounceOptions {
    /// Which server, and where the answer goes.
    pub common: Common,
    /// Members of the one room, all of which bounce.
    pub members: u64,
    /// Each leaves and joins again once in so many seconds.
    pub gap_seconds: f64,
    /// Seconds to measure.
    pub seconds: f64,
    /// How long a join or leave has to last before a server that is started tells it; 0: each is told at once.
    pub debounce_ms: u64,
    /// Share of the members that is gone in the end, 0 to 1.
    pub gone: f64,
    /// Pushes per member and second that are allowed.
    pub pushes_max: f64,
    /// Seconds after the end within which everybody has to know who is there.
    pub settle_seconds_max: f64,
}

/// Runs it, prints the table on stdout and writes the files.
///
/// # Errors
///
/// The run could not start, the report could not be written, members were told more than is allowed, or presence
/// was not right in time.
pub fn run(options: &BounceOptions) -> Result<(), String> {
    let settings = Settings::default().with(ROOMS, "presence", true).with(ROOMS, "join_leave", true).with(
        ROOMS,
        "join_leave_debounce_ms",
        options.debounce_ms,
    );
    let common =
        &Common { settings: options.common.settings.clone().and(&settings), ..options.common.clone() };
    let (outputs, sender, notices) = common.prepare()?;
    let server = Server::of(common, options.members.saturating_add(1))?;
    let report = measure(options, common, &server, &sender, &notices)?;
    print!("{}", report.table().render());
    outputs.write(&report, &report.page())?;
    report.verdict()
}

fn measure(
    options: &BounceOptions,
    common: &Common,
    server: &Server,
    sender: &Sender<Notice>,
    notices: &Receiver<Notice>,
) -> Result<BounceReport, String> {
    let threads = common.threads.map_or_else(|| Fleet::threads_needed(options.members), Ok)?;
    let rooms = Rooms::Spread(1);
    let script = Script::new(Arc::clone(&common.dialect), rooms, Identity::Anonymous, &server.target)?;
    let told = script.clone().with_recovery(Recovery::Told)?;
    let witness = Witness::start(server.target.address, told.clone())?;
    let gone = (options.members as f64 * options.gone) as u64;
    let base = FleetPlan::new(
        server.target.address,
        script.joins_again_as(Recovery::Told),
        options.members,
        threads,
    );
    let source_ips = common.source_ips.unwrap_or(base.source_ips);
    let plan = FleetPlan {
        source_ips,
        chosen: Chosen::From(options.members - gone),
        bounce_gap: Duration::from_secs_f64(options.gap_seconds),
        ..base
    };
    let origin = Origin::now(&server.url, threads as usize, source_ips);
    let fleet = Fleet::start(plan, sender)?;
    let (waited, _) = progress::until_open(&fleet, notices, options.members);
    let whole = fleet.counters.whole.load(SeqCst);
    if waited != Waited::Done || whole < options.members {
        let reasons = fleet.close().failures;
        return Err(not_open(waited, whole, options.members, &reasons, server.target.address));
    }
    let mut report = BounceReport::new(origin, options, server.is_own(), gone);
    let mut run = Run { fleet, witness, notices, report: &mut report };
    let mut waited = run.await_told();
    if waited == Waited::Stalled || run.witness.known().told <= options.members && waited == Waited::Done {
        return Err(format!(
            "the witness was told of {} of {} members: rooms at --target need presence and join_leave",
            number(run.witness.known().told as f64 - 1.0, 0),
            number(options.members as f64, 0)
        ));
    }
    if waited == Waited::Done {
        waited = run.bounce(server, options);
    }
    let ended = run.witness.ended();
    let outcome = run.fleet.close();
    report.interrupted = waited == Waited::Interrupted;
    report.drops = outcome.drops;
    match ended {
        Some(reason) if !report.interrupted => Err(format!("the witness's connection ended: {reason}")),
        _ => Ok(report),
    }
}

struct Run<'a> {
    fleet: Fleet,
    witness: Witness,
    notices: &'a Receiver<Notice>,
    report: &'a mut BounceReport,
}

impl Run<'_> {
    /// Waits until the witness was told of everybody.
    fn await_told(&self) -> Waited {
        let (due, mut before) = (self.report.members + 1, 0);
        let is_done = || self.witness.known().told >= due || self.witness.ended().is_some();
        progress::until(self.notices, LOOK, is_done, || {
            let told = self.witness.known().told;
            let moved = told != before;
            before = told;
            let [told, due] = [told, due].map(|count| number(count as f64, 0));
            Line { text: format!("the witness was told of {told} of {due} members"), moved }
        })
    }

    /// Everything after the opening: one gap to begin with, what is measured, and the end.
    fn bounce(&mut self, server: &Server, options: &BounceOptions) -> Waited {
        self.fleet.order(Order::Bounce);
        let mut waited = self.wait(options.gap_seconds);
        if waited == Waited::Done {
            let (contest, before) = (Contest::begin(server.probe), self.counts());
            let metrics = server.metrics();
            waited = self.wait(options.seconds);
            let metrics = server.metrics().zip(metrics);
            self.report.messages_per_write =
                metrics.and_then(|(after, before)| after.messages_per_write_since(&before));
            let after = self.counts();
            let grown = [0, 1, 2, 3].map(|nth: usize| after[nth] - before[nth]);
            self.report.note(&contest.spent(), grown);
        }
        if waited == Waited::Done {
            waited = self.settle();
        }
        let counters = &self.fleet.counters;
        self.report.unanswered = (counters.leaves.load(SeqCst) + counters.joins.load(SeqCst))
            .saturating_sub(counters.replies.load(SeqCst) + counters.refusals.load(SeqCst));
        self.report.refused = counters.refusals.load(SeqCst);
        self.report.contradictions = self.witness.known().contradictions;
        waited
    }

    /// Leaves, joins, lines and frames that told of such so far.
    fn counts(&self) -> [u64; 4] {
        let counters = &self.fleet.counters;
        [&counters.leaves, &counters.joins, &counters.comings, &counters.coming_frames]
            .map(|counter| counter.load(SeqCst))
    }

    fn wait(&self, seconds: f64) -> Waited {
        let counters = &self.fleet.counters;
        let grown = |of: &AtomicU64, before: &mut u64| {
            let now = of.load(SeqCst);
            let grown = number((now - *before) as f64, 0);
            *before = now;
            grown
        };
        let (mut joins, mut comings) = (counters.joins.load(SeqCst), counters.comings.load(SeqCst));
        progress::for_a_while(self.notices, Duration::from_secs_f64(seconds), || {
            let (joins, comings) =
                (grown(&counters.joins, &mut joins), grown(&counters.comings, &mut comings));
            Line { text: format!("{joins} joins/s, {comings} joins and leaves told/s"), moved: true }
        })
    }

    /// Stops the bouncing, and waits until the witness knows who is there.
    fn settle(&mut self) -> Waited {
        let (threads, mut settled) = (self.fleet.threads(), 0);
        self.fleet.order(Order::Settle);
        let is_last = |notice: &Notice| {
            settled += usize::from(*notice == Notice::Settled);
            settled == threads
        };
        let line = || Line { text: "the last join again, or leave for good".to_owned(), moved: true };
        let waited = progress::wait(self.notices, is_last, line);
        if waited != Waited::Done {
            return waited;
        }
        let (over, before) = (Instant::now(), self.witness.known());
        self.witness.ask();
        let due = self.report.members - self.report.gone + 1;
        let longest = Duration::from_secs_f64(self.report.settle_seconds_max * SETTLE_TIMES) + RIGHT_FOR;
        let watched = Cell::new((Streak::default(), Streak::default()));
        let is_right = || {
            let known = self.witness.known();
            // An answer from before the end is none.
            let counted = known.counted.filter(|_| known.answers > before.answers);
            let (mut by_count, mut by_told) = watched.get();
            by_count.see(counted == Some(due), over.elapsed());
            by_told.see(known.told == due, over.elapsed());
            watched.set((by_count, by_told));
            let has_lasted = by_count.has_lasted(over.elapsed()) && by_told.has_lasted(over.elapsed());
            has_lasted || over.elapsed() > longest || self.witness.ended().is_some()
        };
        let waited = progress::until(self.notices, LOOK, is_right, || {
            let known = self.witness.known();
            let counted = known.counted.map_or("unknown".to_owned(), |counted| number(counted as f64, 0));
            let [told, due] = [known.told, due].map(|count| number(count as f64, 0));
            Line {
                text: format!("{due} are there: {counted} by count, {told} by what was told"),
                moved: true,
            }
        });
        let (by_count, by_told) = watched.get();
        let seconds = |streak: Streak| {
            let since = streak.since.filter(|_| streak.has_lasted(over.elapsed()));
            since.map(|since| since.as_secs_f64())
        };
        let known = self.witness.known();
        self.report.settled = Some(Settled {
            due,
            counted: known.counted,
            told: known.told,
            counted_right_seconds: seconds(by_count),
            told_right_seconds: seconds(by_told),
        });
        waited
    }
}

/// For how long something has been right without a break.
#[derive(Debug, Clone, Copy, Default)]
struct Streak {
    since: Option<Duration>,
}

impl Streak {
    fn see(&mut self, is_right: bool, now: Duration) {
        self.since = is_right.then(|| self.since.unwrap_or(now));
    }

    fn has_lasted(self, now: Duration) -> bool {
        self.since.is_some_and(|since| now >= since + RIGHT_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_is_what_stays_right_from_then_on() {
        let (mut streak, ms) = (Streak::default(), Duration::from_millis);
        for (at, is_right) in [(0, true), (100, false), (200, true), (600, true)] {
            streak.see(is_right, ms(at));
            assert!(!streak.has_lasted(ms(at)), "at {at}");
        }
        assert!(streak.has_lasted(ms(700)));
        assert_eq!(streak.since, Some(ms(200)));
    }
}
