//! The way of a drain: grace, doors, closes, nobody left. The control plane looks at what the shards count and
//! tells them the next thing to do; a drain that was taken back is undone from wherever it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::{Active, Drain, Step};
use crate::control::keeper::Inboxes;
use crate::rooms::Event;
use crate::shard::message::Message;

/// How often the shards' counts are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How often a drain that goes on is logged, at most.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Whoever asked how it stands within this time before the end hears of the end.
const WATCHED: Duration = Duration::from_secs(2);

/// How long the process waits for those to ask again.
const WATCHED_PATIENCE: Duration = Duration::from_secs(1);

/// Time in which an answer that was given leaves.
const ANSWER: Duration = Duration::from_millis(50);

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) enum End {
    /// Nobody is connected any more.
    Drained,
    /// It was taken back, and the server is ready again.
    Cancelled,
}

impl Drain {
    /// Completes when a drain has begun.
    pub(in crate::control) async fn begun(&self) {
        loop {
            let changed = self.changed.notified();
            if self.state().active.is_some() {
                return;
            }
            changed.await;
        }
    }

    /// Carries out the drain that has begun, on the shards behind `inboxes`.
    pub(in crate::control) async fn run(&self, inboxes: &Inboxes) -> End {
        let Some(Active { number, .. }) = self.state().active else { return End::Cancelled };
        if self.close_all(number, inboxes).await.is_some() {
            tracing::info!("drained: nobody is connected any more");
            return End::Drained;
        }
        tell(inboxes, || Message::Resume);
        self.until(|drain| drain.sum(|stats| &stats.is_retired) == 0).await;
        self.ready_again();
        tracing::warn!(connections = self.connections(), "the drain was cancelled; clients may connect");
        End::Cancelled
    }

    /// Every step of drain `number`; `None` if it was taken back.
    async fn close_all(&self, number: u64, inboxes: &Inboxes) -> Option<()> {
        let Step::Grace { until } = self.active(number)?.step else { return None };
        while Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            sleep(left.min(LOOK_INTERVAL)).await;
            self.active(number)?;
        }
        self.enter(number, Step::Shutting)?;
        tell(inboxes, || Message::Retire);
        let shards = self.stats.len() as u64;
        self.until(|drain| drain.sum(|stats| &stats.is_retired) == shards).await;
        let connections = self.connections();
        let over_ms = self.active(number)?.plan.closing_ms(connections);
        tracing::info!(connections, over_ms, "nobody is accepted any more; closing");
        let until = Instant::now() + Duration::from_millis(over_ms);
        self.enter(number, Step::Closing { until, total: connections })?;
        tell(inboxes, || Message::Drain { over_ms });
        let mut log = Log::default();
        // Every close was sent when the last connection is gone: shards count after what they do.
        while self.connections() > 0 {
            sleep(LOOK_INTERVAL).await;
            self.active(number)?;
            log.tell(self);
        }
        self.enter(number, Step::Drained)
    }

    /// Drain `number`, if it is still under way.
    fn active(&self, number: u64) -> Option<Active> {
        self.state().active.filter(|active| active.number == number)
    }

    /// Moves drain `number` on to `step`; `None` if it was taken back.
    fn enter(&self, number: u64, step: Step) -> Option<()> {
        self.state().active.as_mut().filter(|active| active.number == number).map(|active| active.step = step)
    }

    async fn until(&self, is_so: impl Fn(&Drain) -> bool) {
        while !is_so(self) {
            sleep(LOOK_INTERVAL / 4).await;
        }
    }

    /// Says that the server is ready, unless the next drain has begun meanwhile.
    pub(super) fn ready_again(&self) {
        let mut state = self.state();
        state.is_undoing = false;
        if state.active.is_none() {
            self.health.resume();
        }
    }

    /// Completes when whoever watches the drain has heard that it is over, or does not ask again.
    pub(in crate::control) async fn told(&self) {
        let over = Instant::now();
        let asked = self.state().asked;
        if asked.is_none_or(|asked| over.duration_since(asked) > WATCHED) {
            return;
        }
        let heard = async {
            loop {
                let changed = self.changed.notified();
                if self.state().asked.is_some_and(|asked| asked >= over) {
                    return;
                }
                changed.await;
            }
        };
        if timeout(WATCHED_PATIENCE, heard).await.is_ok() {
            sleep(ANSWER).await;
        }
    }

    /// Tells every shard to end.
    pub(in crate::control) fn dismiss(&self, inboxes: &Inboxes) {
        tell(inboxes, || Message::End);
    }
}

fn tell(inboxes: &Inboxes, message: impl Fn() -> Message<Event>) {
    for inbox in Arc::clone(inboxes).iter() {
        inbox.push(message(), 0);
        inbox.wake();
    }
}

/// What was last logged of a drain.
#[derive(Debug)]
struct Log {
    at: Instant,
    tenth: u64,
}

impl Default for Log {
    fn default() -> Self {
        Log { at: Instant::now(), tenth: 0 }
    }
}

impl Log {
    /// Logs a line when another tenth is done, or a while has passed.
    fn tell(&mut self, drain: &Drain) {
        let (total, closed) = (drain.total(), drain.closed());
        let tenth = (closed * 10).checked_div(total).unwrap_or(0);
        let is_news = tenth > self.tenth && self.at.elapsed() >= LOG_INTERVAL / 10;
        if is_news || self.at.elapsed() >= LOG_INTERVAL {
            *self = Log { at: Instant::now(), tenth };
            let left_ms = drain.left().as_millis() as u64;
            tracing::info!(closed, total, connections = drain.connections(), left_ms, "draining");
        }
    }
}
