//! The task that samples the server for all who look, once a beat, while there are any.
//!
//! A beat reads what the shards count, a few files of /proc, and what rooms the shards found to be hottest,
//! for which it asks them by their inboxes.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval_at, timeout};

use super::latency::Window;
use super::rooms::hottest;
use super::snapshot::{Backlog, Closes, Connections, Rates, Reason, Room, Shard, Slow};
use super::walls::Seen;
use super::{Dashboard, Snapshot};
use crate::control::admin::Phase;
use crate::rooms::Heat;
use crate::shard::{Counter, Stats};

/// Time between two snapshots.
const BEAT: Duration = Duration::from_secs(1);

/// Time until the first one, so that who opens the page need not look at nothing for long.
const FIRST_BEAT: Duration = Duration::from_millis(250);

/// How long the shards' answers are waited for. One that is busy for longer is left out of this beat.
const HEAT_PATIENCE: Duration = Duration::from_millis(100);

/// Time between two looks at the machine's walls.
const WALLS_INTERVAL: Duration = Duration::from_secs(10);

/// Samples until nobody looks.
pub(super) async fn run(dashboard: Arc<Dashboard>) {
    let mut sampler = Sampler::begin(&dashboard);
    let mut beats = interval_at(tokio::time::Instant::now() + FIRST_BEAT, BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    drop(sampler.ask_heat());
    loop {
        beats.tick().await;
        if !dashboard.viewers.go_on() {
            dashboard.gateway.forget_heat();
            return;
        }
        let snapshot = sampler.beat().await;
        match serde_json::to_string(&snapshot) {
            Ok(json) => dashboard.viewers.show(json),
            // A number that JSON has no word for; the next beat may have others.
            Err(error) => tracing::warn!(%error, "the dashboard has no snapshot"),
        }
    }
}

/// What a rate is the difference of.
#[derive(Debug, Clone, Default)]
struct Counts {
    upgrades: u64,
    closes: u64,
    refusals: u64,
    messages_in: u64,
    deliveries: u64,
    writes: u64,
}

impl Counts {
    fn read(stats: &[Arc<Stats>]) -> Self {
        let sum = |count: fn(&Stats) -> &Counter| stats.iter().map(|stats| count(stats).get()).sum();
        Counts {
            upgrades: sum(|stats| &stats.upgrades),
            closes: stats.iter().flat_map(|stats| stats.closes.iter()).map(|(_, count)| count).sum(),
            refusals: stats.iter().flat_map(|stats| stats.refusals.iter()).map(|(_, count)| count).sum(),
            messages_in: sum(|stats| &stats.messages_in),
            deliveries: sum(|stats| &stats.deliveries),
            writes: sum(|stats| &stats.writes),
        }
    }

    /// What came in `seconds` since `before`.
    fn rates(&self, before: &Counts, seconds: f64) -> Rates {
        let (deliveries, writes) = (self.deliveries - before.deliveries, self.writes - before.writes);
        Rates {
            connects: (self.upgrades - before.upgrades) as f64 / seconds,
            closes: (self.closes - before.closes) as f64 / seconds,
            refusals: (self.refusals - before.refusals) as f64 / seconds,
            messages_in: (self.messages_in - before.messages_in) as f64 / seconds,
            deliveries: deliveries as f64 / seconds,
            writes: writes as f64 / seconds,
            coalescing: if writes == 0 { 0.0 } else { deliveries as f64 / writes as f64 },
        }
    }
}

/// What one shard had counted.
#[derive(Debug, Clone, Default)]
struct ShardCounts {
    deliveries: u64,
    turns: u64,
    ran: Option<Duration>,
}

/// What a beat is compared with.
struct Sampler<'a> {
    of: &'a Arc<Dashboard>,
    at: Instant,
    counts: Counts,
    shards: Vec<ShardCounts>,
    /// Where the kernel tells of the shards' threads.
    threads: Vec<Option<String>>,
    latency: Window,
    /// When the shards were asked last which rooms are hottest.
    asked: Instant,
    seen: Seen,
    seeing: Option<JoinHandle<Seen>>,
    saw: Instant,
}

impl<'a> Sampler<'a> {
    fn begin(of: &'a Arc<Dashboard>) -> Self {
        let now = Instant::now();
        let threads = of.machine.threads(of.stats.len());
        let mut sampler = Sampler {
            at: now,
            counts: Counts::read(&of.stats),
            shards: Vec::new(),
            latency: Window::new(&of.stats, now),
            asked: now,
            seen: Seen::default(),
            seeing: None,
            saw: now,
            threads,
            of,
        };
        sampler.shards = sampler.shard_counts();
        sampler.see();
        sampler
    }

    async fn beat(&mut self) -> Snapshot {
        let of = Arc::clone(self.of);
        let rooms = self.rooms().await;
        self.look_at_walls().await;
        let now = Instant::now();
        let seconds = (now - self.at).as_secs_f64().max(f64::EPSILON);
        self.at = now;
        let counts = Counts::read(&of.stats);
        let rates = counts.rates(&self.counts, seconds);
        self.counts = counts;
        let sum =
            |count: fn(&Stats) -> &Counter| of.stats.iter().map(|stats| count(stats).get()).sum::<u64>();
        let connections = sum(|stats| &stats.connections);
        let backlog = sum(|stats| &stats.backlog_bytes);
        Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            // A clock before 1970 counts as 1970.
            at_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            uptime_s: of.started.elapsed().as_secs(),
            phase: phase(of.health.phase()).to_owned(),
            connections: Connections {
                now: connections,
                // The shards tell it at the end of a turn, and their own number within it.
                peak: of.stats.first().map_or(0, |stats| stats.total.peak()).max(connections),
            },
            rates,
            latency: self.latency.beat(&of.stats, now),
            backlog: Backlog { bytes: backlog, bytes_max: of.backlog_bytes_max },
            slow: slow(&of.stats),
            closes: closes(&of.stats),
            memory: of.machine.memory(connections),
            shards: self.shards(seconds),
            rooms,
            limits: of.limits(&self.seen, connections, backlog),
            drain: of.drain.status(),
        }
    }

    /// Every shard, and what it did in the last `seconds`.
    fn shards(&mut self, seconds: f64) -> Vec<Shard> {
        let counts = self.shard_counts();
        let before = std::mem::replace(&mut self.shards, counts);
        let shards = self.of.stats.iter().zip(before.iter().zip(&self.shards));
        let shards = shards.map(|(stats, (before, now))| Shard {
            connections: stats.connections.get(),
            is_listening: stats.listening.get() > 0,
            deliveries: (now.deliveries - before.deliveries) as f64 / seconds,
            turns: (now.turns - before.turns) as f64 / seconds,
            backlog_bytes: stats.backlog_bytes.get(),
            cpu: now.ran.zip(before.ran).map(|(now, before)| {
                // The kernel's clock and ours are read at different times.
                (now.saturating_sub(before).as_secs_f64() / seconds).min(1.0)
            }),
        });
        shards.collect()
    }

    fn shard_counts(&self) -> Vec<ShardCounts> {
        let counts = self.of.stats.iter().zip(&self.threads).map(|(stats, thread)| ShardCounts {
            deliveries: stats.deliveries.get(),
            turns: stats.turns.get(),
            ran: thread.as_ref().and_then(|thread| self.of.machine.ran(thread)),
        });
        counts.collect()
    }

    /// Asks the shards which rooms are hottest; each answers once, with its number.
    fn ask_heat(&self) -> mpsc::UnboundedReceiver<(usize, Heat)> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.of.gateway.heat(move |shard, heat| {
            // The beat may have gone on without it.
            let _ = sender.send((shard, heat));
        });
        receiver
    }

    async fn rooms(&mut self) -> Vec<Room> {
        let elapsed = self.asked.elapsed();
        self.asked = Instant::now();
        let mut answers = self.ask_heat();
        let mut heats = Vec::with_capacity(self.of.stats.len());
        // A shard that has ended does not answer.
        let all = async {
            while let Some(heat) = answers.recv().await {
                heats.push(heat);
            }
        };
        let _: Result<(), _> = timeout(HEAT_PATIENCE, all).await;
        hottest(&heats, elapsed)
    }

    /// Begins to look at the walls, on a thread that may wait.
    fn see(&mut self) {
        let of = Arc::clone(self.of);
        self.saw = Instant::now();
        self.seeing = Some(spawn_blocking(move || of.see_walls()));
    }

    /// Takes what was seen of the walls, and looks again if that is old.
    async fn look_at_walls(&mut self) {
        if let Some(seeing) = self.seeing.take_if(|seeing| seeing.is_finished()) {
            // A panic of that thread has ended the process.
            self.seen = seeing.await.unwrap_or_default();
        } else if self.seeing.is_none() && self.saw.elapsed() >= WALLS_INTERVAL {
            self.see();
        }
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Ready => "ready",
        Phase::Draining => "draining",
    }
}

fn slow(stats: &[Arc<Stats>]) -> Slow {
    let mut closed: Vec<Reason> = Vec::new();
    for (reason, count) in stats.iter().flat_map(|stats| stats.slow_closes.iter()) {
        match closed.iter_mut().find(|known| known.reason == reason) {
            Some(known) => known.count += count,
            None => closed.push(Reason { reason: reason.to_owned(), count }),
        }
    }
    Slow { closed, recoveries: stats.iter().map(|stats| stats.slow_recoveries.get()).sum() }
}

fn closes(stats: &[Arc<Stats>]) -> Vec<Closes> {
    let mut sums = std::collections::BTreeMap::<u16, u64>::new();
    for (code, count) in stats.iter().flat_map(|stats| stats.closes.iter()) {
        *sums.entry(code).or_default() += count;
    }
    sums.into_iter().filter(|(_, count)| *count > 0).map(|(code, count)| Closes { code, count }).collect()
}
