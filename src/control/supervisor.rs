//! What supervises the process is told how it is, by systemd's protocol (sd_notify(3)): ready, alive,
//! ending. Where nothing supervises (no `NOTIFY_SOCKET`), nothing is told.
//!
//! Invariants:
//! - "alive" is told only when every shard has answered a question that was asked after the last time;
//! - it is the control plane that asks and tells: if that hangs, nothing is told;
//! - nobody is asked again before all have answered, so a shard that hangs gathers no questions;
//! - it is told by a thread that may wait: a service manager that does not read for a while stops nothing
//!   here.
//!
//! Absent on purpose: the committer. A disk that hangs is no reason to start again, which would not mend
//! the disk and would end every connection; rooms without history go on, and `keeper` answers the others.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::keeper::Inboxes;
use crate::shard::Stats;
use crate::shard::message::Message;

/// Most time that the end asks for at once; it asks again before that is over.
const EXTENSION: Duration = Duration::from_secs(30);

/// How often the end asks for more time.
const EXTENSION_INTERVAL: Duration = Duration::from_secs(10);

/// How long the process waits at its very end for a service manager that does not read.
const TOLD_PATIENCE: Duration = Duration::from_secs(1);

/// Time that the end may take behind the last client: the committer and the store.
const LAST_WRITES: Duration = Duration::from_secs(10);

// A request that is one interval late still comes before the time that the last one asked for is over.
const _: () = assert!(2 * EXTENSION_INTERVAL.as_secs() < EXTENSION.as_secs());

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = notify(states) {
        tracing::warn!(%error, "the service manager cannot be told ({states:?})");
    }
}

/// Sends `states` to the socket that `NOTIFY_SOCKET` names, if it names one.
fn notify(states: &[NotifyState<'_>]) -> io::Result<()> {
    let path = env::var_os("NOTIFY_SOCKET").unwrap_or_default();
    // sd-notify knows sockets with a place in the file system only.
    let Some(name) = path.as_bytes().strip_prefix(b"@") else { return sd_notify::notify(states) };
    let text: String = states.iter().map(|state| format!("{state}\n")).collect();
    let address = SocketAddr::from_abstract_name(name)?;
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address).map(drop)
}

/// Tells without making the control plane wait.
async fn tell_aside(states: Vec<NotifyState<'static>>, status: Option<String>) {
    let telling = tokio::task::spawn_blocking(move || {
        let status = status.as_deref().map(NotifyState::Status);
        tell(&states.into_iter().chain(status).collect::<Vec<_>>());
    });
    // A panic of that thread has ended the process.
    let _ = telling.await;
}

/// The end, which is being told.
#[derive(Debug)]
pub(super) struct Ending(oneshot::Receiver<()>);

impl Ending {
    /// Tells that the end has begun, and asks for the time that is `left` until the last close, and that its
    /// client has for an answer (`close_timeout`), again and again: the unit may allow less than the
    /// configuration. What is asked for never shortens what the unit allows.
    pub(super) fn begin(
        left: impl Fn() -> Duration + Send + 'static,
        close_timeout: Duration,
        stats: Arc<[Arc<Stats>]>,
    ) -> Self {
        let (begun, is_told) = oneshot::channel();
        // It ends with the runtime.
        drop(tokio::spawn(async move {
            tell_aside(vec![NotifyState::Stopping], Some(format!("ending; {}", status(&stats)))).await;
            // Nobody waits any more if the end was faster.
            let _ = begun.send(());
            extend(left, close_timeout).await;
        }));
        Ending(is_told)
    }

    /// Completes when the end has been told, or the service manager does not read.
    pub(super) async fn told(self) {
        let _ = timeout(TOLD_PATIENCE, self.0).await;
    }
}

async fn extend(left: impl Fn() -> Duration, close_timeout: Duration) {
    loop {
        let left = left();
        let asked = (left + close_timeout).min(EXTENSION) + LAST_WRITES;
        tell_aside(vec![NotifyState::ExtendTimeoutUsec(asked.as_micros() as u32)], None).await;
        if left.is_zero() {
            return;
        }
        sleep(left.min(EXTENSION_INTERVAL)).await;
    }
}

/// A line for people.
fn status(stats: &[Arc<Stats>]) -> String {
    let connections: u64 = stats.iter().map(|stats| stats.connections.get()).sum();
    format!("{connections} connections, {} shards", stats.len())
}

/// Tells that every shard listens, and then, for ever, that the process is alive, twice in the time after
/// which the supervisor takes it for dead, while every shard answers. Ends after the first where nobody
/// waits for more (`WATCHDOG_USEC`).
pub(super) async fn watch(mut roll: RollCall) {
    tell_aside(vec![NotifyState::Ready], Some(status(&roll.stats))).await;
    let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero()) else { return };
    let mut beats = interval(patience / 2);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        let silent = roll.call();
        if silent.is_empty() {
            tell_aside(vec![NotifyState::Watchdog], Some(status(&roll.stats))).await;
        } else {
            let beat_ms = (patience / 2).as_millis();
            let status = format!("not answered for {beat_ms} ms: shards {silent:?}");
            tracing::error!("{status}; if they stay silent, the service manager ends this process");
            tell_aside(Vec::new(), Some(status)).await;
        }
    }
}

/// Asks every shard whether it still takes in its inbox: one message for each question.
#[derive(Debug)]
pub(super) struct RollCall {
    inboxes: Inboxes,
    stats: Arc<[Arc<Stats>]>,
    /// Number of the question that was asked last; 0 is none, which everybody has answered.
    asked: u64,
}

impl RollCall {
    /// One for the shards that have `inboxes` and `stats`, in the same order.
    pub(super) fn new(inboxes: Inboxes, stats: Arc<[Arc<Stats>]>) -> Self {
        RollCall { inboxes, stats, asked: 0 }
    }

    /// The shards that have not answered the last question. If there is none the next one is asked.
    fn call(&mut self) -> Vec<usize> {
        let answers = self.stats.iter().map(|stats| stats.probe.get());
        let silent: Vec<_> =
            answers.enumerate().filter(|(_, answer)| *answer != self.asked).map(|(shard, _)| shard).collect();
        if silent.is_empty() {
            self.asked += 1;
            for inbox in self.inboxes.iter() {
                inbox.push(Message::Probe { number: self.asked }, 0);
                inbox.wake();
            }
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::Event;
    use crate::shard::Seat;

    #[test]
    fn all_are_asked_once_and_again_only_when_the_last_has_answered() {
        let stats: Arc<[Arc<Stats>]> = (0..2).map(|_| Arc::new(Stats::default())).collect();
        let (seats, inboxes): (Vec<_>, Vec<_>) = (0..2).map(|_| Seat::<Event>::new(1).unwrap()).unzip();
        let mut roll = RollCall::new(inboxes.into(), Arc::clone(&stats));
        let asked = |shard: usize| match seats[shard].next_message() {
            Some(Message::Probe { number }) => Some(number),
            None => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(roll.call(), [0; 0]);
        assert_eq!((asked(0), asked(1)), (Some(1), Some(1)));
        stats[0].probe.set(1);
        for _ in 0..3 {
            assert_eq!(roll.call(), [1]);
            assert_eq!((asked(0), asked(1)), (None, None));
        }
        stats[1].probe.set(1);
        assert_eq!(roll.call(), [0; 0]);
        assert_eq!((asked(0), asked(1)), (Some(2), Some(2)));
        assert_eq!(roll.call(), [0, 1]);
    }
}
