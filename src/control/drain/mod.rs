//! A drain of the whole server: who asked for it, how it stands, and whether it may still be taken back.
//!
//! A drain is one flow whoever asks, a signal or the admin listener: a grace, in which `/readyz` says 503 and
//! everybody is served as before, so that a balancer notices; then the doors are shut and the connections
//! closed; then the process ends (`course`). Here is the state that the flow and those who watch it share.
//!
//! Invariants:
//! - `/readyz` says 503 before whoever asked for a drain is answered;
//! - a drain that somebody else relies on is not taken back: after a signal a service manager waits for the end,
//!   and after the last connection has gone the shards end.

pub(super) mod course;
mod gauges;
mod http;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::admin::{Health, Phase};
use super::config::Config;
use super::dashboard::snapshot;
use crate::shard::{Counter, Stats};

pub(super) use gauges::Gauges;
pub(super) use http::router;

/// What a drain is to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// Time between saying that the server is not ready and the first close.
    grace_ms: u64,
    /// Time to spread the closes over.
    over_ms: u64,
    /// Most closes in a second; 0 for no bound.
    rate_max: u64,
}

impl Plan {
    /// What `config` says.
    fn new(config: &Config) -> Self {
        Plan {
            grace_ms: config.drain_grace_ms.into(),
            over_ms: config.drain_ms.into(),
            rate_max: config.drain_rate_max.into(),
        }
    }

    /// How long it takes to close `connections`: longer than `over_ms` where the rate asks for it.
    fn closing_ms(self, connections: u64) -> u64 {
        match self.rate_max {
            _ if connections == 0 => 0,
            0 => self.over_ms,
            rate => self.over_ms.max(connections.saturating_mul(1_000).div_ceil(rate)),
        }
    }
}

/// How far a drain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nobody is closed before this.
    Grace { until: Instant },
    /// The doors are being shut; how many there are to close is not known yet.
    Shutting,
    /// The last is closed at this.
    Closing {
        until: Instant,
        /// Connections that there were to close.
        total: u64,
    },
    /// All are gone, and the shards are told to end.
    Drained,
}

/// A drain under way.
#[derive(Debug, Clone, Copy)]
struct Active {
    /// Tells this drain from the one before.
    number: u64,
    plan: Plan,
    step: Step,
    /// It ends with the process, whatever anybody asks.
    is_final: bool,
}

#[derive(Debug, Default)]
struct State {
    active: Option<Active>,
    /// A drain that was taken back is being undone: doors are not open yet.
    is_undoing: bool,
    /// Drains so far.
    count: u64,
    /// When somebody last asked how it stands.
    asked: Option<Instant>,
}

/// Why a drain cannot be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Irrevocable {
    /// There is none.
    NotDraining,
    /// A signal told the process to end.
    Signal,
    /// Everybody is gone, and the process is ending.
    TooLate,
}

/// A drain, under way or not.
#[derive(Debug)]
pub(super) struct Drain {
    plan: Plan,
    health: Arc<Health>,
    stats: Arc<[Arc<Stats>]>,
    state: Mutex<State>,
    /// The state was changed, or the end was told to somebody.
    changed: Notify,
}

impl Drain {
    /// No drain yet, of the shards that count in `stats`.
    pub(super) fn new(config: &Config, health: Arc<Health>, stats: Arc<[Arc<Stats>]>) -> Self {
        Drain { plan: Plan::new(config), health, stats, state: Mutex::default(), changed: Notify::new() }
    }

    /// The counts of the shards that are drained.
    pub(super) fn stats(&self) -> Arc<[Arc<Stats>]> {
        Arc::clone(&self.stats)
    }

    /// Begins a drain, unless one is under way, which goes on as it is.
    fn begin(&self, plan: Plan) {
        self.begin_in(&mut self.state(), plan);
    }

    /// The same while `state` is locked; returns the drain that is under way.
    fn begin_in<'a>(&self, state: &'a mut State, plan: Plan) -> &'a mut Active {
        if state.active.is_none() {
            state.active = Some(self.prepare(state.count + 1, plan));
            state.count += 1;
        }
        state.active.as_mut().expect("it was there, or has begun")
    }

    /// Says that the server is not ready any more, because of a drain.
    fn prepare(&self, number: u64, plan: Plan) -> Active {
        let step = Step::Grace { until: Instant::now() + Duration::from_millis(plan.grace_ms) };
        self.health.enter(Phase::Draining);
        tracing::info!(
            grace_ms = plan.grace_ms,
            over_ms = plan.over_ms,
            rate_max = plan.rate_max,
            "draining; a second signal ends at once"
        );
        self.changed.notify_waiters();
        Active { number, plan, step, is_final: false }
    }

    /// Begins a drain because a signal says so, or makes the one that is under way one that nobody takes back.
    /// `false` if a signal has done so before.
    pub(super) fn begin_for_good(&self) -> bool {
        let mut state = self.state();
        let active = self.begin_in(&mut state, self.plan);
        !std::mem::replace(&mut active.is_final, true)
    }

    /// Takes the drain back.
    ///
    /// # Errors
    ///
    /// There is none, or it goes on whatever anybody asks.
    fn cancel(&self) -> Result<(), Irrevocable> {
        let mut state = self.state();
        match state.active {
            None => return Err(Irrevocable::NotDraining),
            Some(Active { step: Step::Drained, .. }) => return Err(Irrevocable::TooLate),
            Some(Active { is_final: true, .. }) => return Err(Irrevocable::Signal),
            Some(Active { step, .. }) => {
                state.active = None;
                state.is_undoing |= !matches!(step, Step::Grace { .. });
                // Else the server is ready once its doors are open again.
                if !state.is_undoing {
                    self.health.resume();
                }
            }
        }
        self.changed.notify_waiters();
        Ok(())
    }

    /// How it stands.
    pub(super) fn status(&self) -> snapshot::Drain {
        let active = self.state().active;
        let left = self.left_of(active).as_millis() as u64;
        let (state, total, closed) = match active.map(|active| active.step) {
            None => ("none", 0, 0),
            Some(Step::Grace { .. }) => ("grace", self.connections(), 0),
            Some(Step::Shutting) => ("closing", self.connections(), 0),
            Some(Step::Closing { total, .. }) => ("closing", total, self.closed()),
            Some(Step::Drained) => ("drained", self.total(), self.total()),
        };
        snapshot::Drain { state: state.to_owned(), total, closed, left_ms: left }
    }

    /// The same for somebody who watches, and may want to hear of the end.
    fn watched(&self) -> snapshot::Drain {
        let status = self.status();
        self.state().asked = Some(Instant::now());
        self.changed.notify_waiters();
        status
    }

    /// Time until the last close, if all goes as planned; zero without a drain.
    pub(super) fn left(&self) -> Duration {
        self.left_of(self.state().active)
    }

    fn left_of(&self, active: Option<Active>) -> Duration {
        let Some(Active { plan, step, .. }) = active else { return Duration::ZERO };
        let closing = || Duration::from_millis(plan.closing_ms(self.connections()));
        match step {
            Step::Grace { until } => until.saturating_duration_since(Instant::now()) + closing(),
            Step::Shutting => closing(),
            Step::Closing { .. } if self.connections() == 0 => Duration::ZERO,
            Step::Closing { until, .. } => until.saturating_duration_since(Instant::now()),
            Step::Drained => Duration::ZERO,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic ends the process before anybody could see what it left behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sum(&self, count: fn(&Stats) -> &Counter) -> u64 {
        self.stats.iter().map(|stats| count(stats).get()).sum()
    }

    fn connections(&self) -> u64 {
        self.sum(|stats| &stats.connections)
    }

    fn total(&self) -> u64 {
        self.sum(|stats| &stats.drain_total)
    }

    fn closed(&self) -> u64 {
        self.sum(|stats| &stats.drain_closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(config: &Config) -> (Drain, Arc<Health>) {
        let health = Arc::new(Health::default());
        health.enter(Phase::Ready);
        let stats = (0..2).map(|_| Arc::new(Stats::default())).collect();
        (Drain::new(config, Arc::clone(&health), stats), health)
    }

    #[test]
    fn a_bounded_rate_makes_a_drain_longer_and_never_shorter() {
        let plan = |over_ms, rate_max| Plan { grace_ms: 0, over_ms, rate_max };
        assert_eq!(plan(10_000, 0).closing_ms(1_000_000), 10_000);
        assert_eq!(plan(10_000, 50_000).closing_ms(1_000_000), 20_000);
        assert_eq!(plan(10_000, 200_000).closing_ms(1_000_000), 10_000);
        assert_eq!(plan(0, 3).closing_ms(10), 3_334);
        assert_eq!(plan(10_000, 3).closing_ms(0), 0);
        assert_eq!(plan(0, 1).closing_ms(u64::MAX), u64::MAX);
    }

    #[test]
    fn whoever_is_answered_finds_a_server_that_is_not_ready() {
        let (drain, health) = drain(&Config { drain_grace_ms: 60_000, drain_ms: 500, ..Config::default() });
        assert_eq!(drain.status(), snapshot::Drain { state: "none".to_owned(), ..Default::default() });
        assert_eq!(drain.cancel(), Err(Irrevocable::NotDraining));
        drain.stats[1].connections.set(3);
        drain.begin(drain.plan);
        assert_eq!(health.phase(), Phase::Draining);
        let status = drain.status();
        assert_eq!((status.state.as_str(), status.total, status.closed), ("grace", 3, 0));
        assert!((500..=60_500).contains(&status.left_ms), "{status:?}");
        assert_eq!(drain.cancel(), Ok(()));
        assert_eq!((drain.status().state.as_str(), health.phase()), ("none", Phase::Ready));
    }

    #[test]
    fn the_server_is_not_ready_while_doors_that_a_drain_has_shut_are_being_opened() {
        let (drain, health) = drain(&Config { drain_grace_ms: 60_000, ..Config::default() });
        drain.begin(drain.plan);
        drain.state().active.as_mut().unwrap().step = Step::Shutting;
        assert_eq!(drain.cancel(), Ok(()));
        drain.begin(drain.plan);
        assert_eq!(drain.cancel(), Ok(()), "in its grace, while the first is undone");
        assert_eq!(health.phase(), Phase::Draining);
        drain.ready_again();
        assert_eq!(health.phase(), Phase::Ready);
    }

    #[test]
    fn what_a_signal_asks_for_is_not_taken_back() {
        let (drain, _) = drain(&Config::default());
        assert!(drain.begin_for_good());
        assert_eq!(drain.cancel(), Err(Irrevocable::Signal));
        assert!(!drain.begin_for_good(), "the second signal");
    }

    #[test]
    fn a_signal_makes_a_drain_that_was_asked_for_final_and_does_not_hurry_it() {
        let (drain, _) = drain(&Config { drain_grace_ms: 60_000, ..Config::default() });
        drain.begin(drain.plan);
        assert!(drain.begin_for_good(), "it is the first signal");
        assert_eq!(drain.state().active.unwrap().number, 1, "and no new drain");
        assert_eq!(drain.status().state, "grace");
        assert_eq!(drain.cancel(), Err(Irrevocable::Signal));
    }
}
