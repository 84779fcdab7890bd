//! The committer: one thread that orders all that happens to rooms with history.
//!
//! It works in rounds. A round takes in everything that came while the last one was made durable,
//! asks the stores one by one, commits once, and then tells the [`Outlet`] what came of each, in
//! the order they were asked. So a slow disk makes rounds larger, not fewer per second of work,
//! and whoever is told where a stream is hears of everything after that from the same queue.
//!
//! Invariants:
//! - nobody hears of a publication before it is as durable as its room asks;
//! - of a round whose commit failed nobody with a room on the disk hears anything but error 100;
//! - what waits is bounded in bytes: `Handle::ask` refuses above it. Askers that waited longer than
//!   the deadline have been told so; what is still in the queue then is not done.
//!
//! Rooms in memory are told before those on the disk, which their order is not mixed with. They share
//! the thread: while the disk hangs, they wait too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::protocol::ErrorCode;
use crate::store::op::{Answer, Ask};
use crate::store::work::{Kept, Stores};
use crate::store::{Position, Store, StoreError};

/// Most asks in one round, so that answers to the first do not wait for ever.
const ROUND_ASKS_MAX: usize = 16 * 1024;

/// Time for the asks of one round, for the same reason: some have the disk read.
const ROUND_TIME: Duration = Duration::from_millis(50);

/// Bytes of answers after which a round ends: they are held until its commit.
const ROUND_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Time between two sweeps when nothing is left to free.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Time between two log lines about asks that fail one by one.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// Where the committer tells what came of what it was asked.
pub trait Outlet: Send + 'static {
    /// Who asked.
    type Ticket: Send + 'static;

    /// A publication that was asked for at `since` is kept: deliver it to the members of `room`, then tell its publisher.
    fn published(
        &mut self,
        room: &str,
        position: Position,
        body: &Bytes,
        since: Instant,
        ticket: Self::Ticket,
    );

    /// Anything else that came of a question about `room` (empty for a question about several).
    fn answered(&mut self, room: &str, ticket: Self::Ticket, answer: Result<Answer, ErrorCode>);

    /// The round is over: whoever was told something may be woken.
    fn flush(&mut self);
}

/// Counts what the committer does, for whoever watches.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Bytes of all that waits.
    waiting_bytes: AtomicUsize,
    /// Rounds so far.
    pub rounds: AtomicU64,
    /// Asks that were not done because they had waited too long.
    pub late: AtomicU64,
    /// Clients that were told error 100 because they had waited too long.
    pub overdue: AtomicU64,
    /// Commits that failed.
    pub failed_commits: AtomicU64,
}

impl Gauge {
    /// Bytes of all that waits or is being worked on.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes.load(Ordering::Relaxed)
    }
}

/// An ask on its way.
struct Op<T> {
    ask: Ask,
    ticket: T,
    bytes: usize,
    since: Instant,
}

enum Message<T> {
    Op(Op<T>),
    Stop,
}

/// The end that askers hold.
pub struct Handle<T> {
    sender: Sender<Message<T>>,
    gauge: Arc<Gauge>,
    queue_bytes_max: usize,
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Handle {
            sender: self.sender.clone(),
            gauge: Arc::clone(&self.gauge),
            queue_bytes_max: self.queue_bytes_max,
        }
    }
}

impl<T> std::fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("gauge", &self.gauge).finish_non_exhaustive()
    }
}

impl<T> Handle<T> {
    /// Asks; the answer comes through the outlet with `ticket`. Never blocks.
    ///
    /// # Errors
    ///
    /// So much waits already that nothing more is taken: the ticket comes back, for error 111.
    pub fn ask(&self, ask: Ask, ticket: T) -> Result<(), T> {
        let bytes = ask.bytes();
        if self.is_full() {
            return Err(ticket);
        }
        self.gauge.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let op = Op { ask, ticket, bytes, since: Instant::now() };
        match self.sender.send(Message::Op(op)) {
            Ok(()) => Ok(()),
            // The committer ends last; an ask that comes even later is refused like one too many.
            Err(mpsc::SendError(Message::Op(op))) => Err(op.ticket),
            Err(mpsc::SendError(Message::Stop)) => unreachable!("an op was sent"),
        }
    }

    /// Whether nothing more is taken for now.
    pub fn is_full(&self) -> bool {
        self.gauge.waiting_bytes() >= self.queue_bytes_max
    }

    /// What the committer does.
    pub fn gauge(&self) -> &Arc<Gauge> {
        &self.gauge
    }

    /// Ends the committer once everything that was asked before is done.
    pub fn stop(&self) {
        // Without a receiver it has ended.
        let _ = self.sender.send(Message::Stop);
    }
}

/// The end that the committer's thread takes.
pub struct Intake<T> {
    receiver: Receiver<Message<T>>,
    gauge: Arc<Gauge>,
}

/// The way to a committer whose thread may start later; it takes up to `queue_bytes_max` of asks.
pub fn channel<T>(queue_bytes_max: usize) -> (Handle<T>, Intake<T>) {
    let (sender, receiver) = mpsc::channel();
    let gauge = Arc::new(Gauge::default());
    (Handle { sender, gauge: Arc::clone(&gauge), queue_bytes_max }, Intake { receiver, gauge })
}

/// What came of an ask before it is committed.
struct Outcome<T> {
    room: Box<str>,
    ticket: T,
    /// When it was asked.
    since: Instant,
    result: Result<Kept, ErrorCode>,
}

/// The committer.
pub struct Committer<O: Outlet> {
    intake: Intake<O::Ticket>,
    outlet: O,
    stores: Stores,
    deadline: Duration,
    round: Round<O::Ticket>,
    /// The disk has refused a commit, which was logged, and has taken none since.
    is_failing: bool,
    /// When it was last logged that a single ask failed.
    warned: Option<Instant>,
}

/// What a round has done so far.
struct Round<T> {
    bytes: usize,
    /// Of the answers.
    answered_bytes: usize,
    in_memory: Vec<Outcome<T>>,
    on_disk: Vec<Outcome<T>>,
}

impl<O: Outlet> Committer<O> {
    /// A committer that keeps rooms of durability `memory` in `memory` and all others on `disk`. What
    /// waits longer than `deadline` is refused.
    pub fn new(
        intake: Intake<O::Ticket>,
        outlet: O,
        memory: Box<dyn Store>,
        disk: Box<dyn Store>,
        deadline: Duration,
    ) -> Self {
        let round = Round { bytes: 0, answered_bytes: 0, in_memory: Vec::new(), on_disk: Vec::new() };
        Committer {
            intake,
            outlet,
            stores: Stores { memory, disk },
            deadline,
            round,
            is_failing: false,
            warned: None,
        }
    }

    /// Works until `Handle::stop`; what was asked before that is done.
    pub fn run(mut self) {
        let mut sweep_at = Instant::now();
        loop {
            let wait = sweep_at.saturating_duration_since(Instant::now());
            let goes_on = match self.intake.receiver.recv_timeout(wait) {
                Ok(Message::Op(op)) => self.work(op),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => false,
                Err(RecvTimeoutError::Timeout) => true,
            };
            if !goes_on {
                return;
            }
            if sweep_at <= Instant::now() {
                let has_more = self.sweep();
                sweep_at = Instant::now() + if has_more { Duration::ZERO } else { SWEEP_INTERVAL };
            }
        }
    }

    /// One round: `first` and all that waits behind it; `false` if the committer was told to stop.
    fn work(&mut self, first: Op<O::Ticket>) -> bool {
        let (begun, now_ms) = (Instant::now(), unix_ms());
        self.take(first, begun, now_ms);
        let mut goes_on = true;
        for _ in 1..ROUND_ASKS_MAX {
            let now = Instant::now();
            if now - begun > ROUND_TIME || self.round.answered_bytes > ROUND_BYTES_MAX {
                break;
            }
            match self.intake.receiver.try_recv() {
                Ok(Message::Op(op)) => self.take(op, now, now_ms),
                Ok(Message::Stop) => {
                    goes_on = false;
                    break;
                }
                Err(_) => break,
            }
        }
        self.end_round();
        goes_on
    }

    fn take(&mut self, op: Op<O::Ticket>, now: Instant, now_ms: u64) {
        self.round.bytes += op.bytes;
        let is_in_memory = op.ask.is_of_memory();
        let is_late = now.saturating_duration_since(op.since) > self.deadline;
        let (room, result) = if is_late {
            self.intake.gauge.late.fetch_add(1, Ordering::Relaxed);
            (op.ask.into_room(), Err(ErrorCode::Internal))
        } else {
            let (room, result) = self.stores.answer(op.ask, now_ms);
            (room, result.unwrap_or_else(|error| Err(self.failed(&error))))
        };
        self.round.answered_bytes += result.as_ref().map_or(0, Kept::answer_bytes);
        let outcome = Outcome { room, ticket: op.ticket, since: op.since, result };
        let outcomes = if is_in_memory { &mut self.round.in_memory } else { &mut self.round.on_disk };
        outcomes.push(outcome);
    }

    /// Commits, and tells everybody.
    fn end_round(&mut self) {
        self.intake.gauge.rounds.fetch_add(1, Ordering::Relaxed);
        // Memory keeps what it is given at once; nobody in it waits for the disk in this round.
        if let Err(error) = self.stores.memory.commit() {
            self.refused(&error);
        }
        let in_memory = std::mem::take(&mut self.round.in_memory);
        self.round.in_memory = self.tell(in_memory);
        if !self.round.on_disk.is_empty() {
            let mut on_disk = std::mem::take(&mut self.round.on_disk);
            match self.stores.disk.commit() {
                Ok(()) => self.recovered(&on_disk),
                Err(error) => {
                    let code = self.refused(&error);
                    self.intake.gauge.failed_commits.fetch_add(1, Ordering::Relaxed);
                    on_disk.iter_mut().for_each(|outcome| outcome.result = Err(code));
                }
            }
            self.round.on_disk = self.tell(on_disk);
        }
        self.round.answered_bytes = 0;
        let bytes = std::mem::take(&mut self.round.bytes);
        self.intake.gauge.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Tells what came of a round; gives the emptied list back for the next one.
    fn tell(&mut self, mut outcomes: Vec<Outcome<O::Ticket>>) -> Vec<Outcome<O::Ticket>> {
        if outcomes.is_empty() {
            return outcomes;
        }
        for Outcome { room, ticket, since, result } in outcomes.drain(..) {
            match result {
                Ok(Kept::Published(position, body)) => {
                    self.outlet.published(&room, position, &body, since, ticket);
                }
                Ok(Kept::Answer(answer)) => self.outlet.answered(&room, ticket, Ok(answer)),
                Err(code) => self.outlet.answered(&room, ticket, Err(code)),
            }
        }
        self.outlet.flush();
        outcomes
    }

    /// Frees what is no longer kept; returns whether there is more.
    fn sweep(&mut self) -> bool {
        let now_ms = unix_ms();
        let mut has_more = false;
        for store in [&mut self.stores.memory, &mut self.stores.disk] {
            match store.sweep(now_ms) {
                Ok(more) => has_more |= more,
                Err(error) => tracing::warn!("cannot free old history, will try again: {error}"),
            }
        }
        has_more
    }

    /// Takes note that a single ask failed, which is logged once in a while: one damaged room must not
    /// fill the log.
    fn failed(&mut self, error: &StoreError) -> ErrorCode {
        if self.warned.is_none_or(|at| at.elapsed() > WARN_INTERVAL) {
            tracing::error!("a room with history is answered error 100: {error}");
            self.warned = Some(Instant::now());
        }
        ErrorCode::Internal
    }

    /// Takes note of a commit that failed, which is logged once until one succeeds.
    fn refused(&mut self, error: &StoreError) -> ErrorCode {
        if !self.is_failing {
            tracing::error!("history is refused with error 100 until this is repaired: {error}");
            self.is_failing = true;
        }
        ErrorCode::Internal
    }

    /// Takes note of a commit that succeeded.
    fn recovered(&mut self, outcomes: &[Outcome<O::Ticket>]) {
        let has_kept = || outcomes.iter().any(|outcome| matches!(outcome.result, Ok(Kept::Published(..))));
        if self.is_failing && has_kept() {
            tracing::info!("history is kept again");
            self.is_failing = false;
        }
    }
}

fn unix_ms() -> u64 {
    // Before 1970 nothing is kept for long, and nothing breaks.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests;
