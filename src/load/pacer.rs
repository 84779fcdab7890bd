//! The open loop: publishes that leave by a fixed schedule, however the server keeps up.
//!
//! A delay counts from the time at which a publish was due, not from when it was written, so a server
//! (or a generator) that falls behind cannot hide it: no coordinated omission. The pacer has a thread
//! and connections of its own; those receive nothing that is counted.
//!
//! Invariants: publishes are numbered from 0 over the whole run, number `s` goes to room
//! `s % rooms`, and always on the same connection for one room, so rooms keep their order.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::connection::{Script, Tally, mask};
use super::fleet::Counters;
use super::speaker::{BUFFER_BYTES, Speaker};
use super::watch::{Watch, histogram_us};
use crate::wire::frame::write_client_frame;

/// Publishes whose due times are remembered. One that arrives a million publishes late would be taken
/// for a younger one; at 10,000 per second that is 100 s.
const REMEMBERED: usize = 1 << 20;
/// Longest sleep of the pacer: how late it may see an order or a ping.
const SLEEP_MAX: Duration = Duration::from_millis(20);
/// Sleep while a server takes no more of what waits: how late the next part of it may leave.
const RETRY_AFTER: Duration = Duration::from_micros(200);

/// When each publish was due, shared by the pacer and the workers.
#[derive(Debug)]
pub struct Schedule {
    /// What all times count from.
    origin: Instant,
    due_us: Box<[AtomicU64]>,
}

impl Schedule {
    /// An empty schedule whose origin is now.
    pub fn new() -> Self {
        Self { origin: Instant::now(), due_us: (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect() }
    }

    /// µs since the origin.
    pub fn us(&self, at: Instant) -> u64 {
        at.duration_since(self.origin).as_micros() as u64
    }

    /// Notes when publish `number` is due.
    pub fn set(&self, number: u64, due_us: u64) {
        self.due_us[number as usize % REMEMBERED].store(due_us, SeqCst);
    }

    /// When publish `number` was due, in µs since the origin.
    pub fn due_us(&self, number: u64) -> u64 {
        self.due_us[number as usize % REMEMBERED].load(SeqCst)
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new()
    }
}

/// What a pacer publishes, and how it reaches the server.
pub struct PacerPlan {
    /// Where.
    pub address: SocketAddr,
    /// What its connections say first.
    pub script: Script,
    /// Connections that publish.
    pub publishers: u64,
    /// Rooms that publishes go to in turn.
    pub rooms: u64,
    /// Bytes of each payload.
    pub payload_bytes: usize,
}

/// What was published by one pace.
#[derive(Debug, Clone)]
pub struct Paced {
    /// Publishes that were due and written.
    pub published: u64,
    /// Publishes that were due and could not be written before the pace ended: the server took none.
    pub unwritten: u64,
    /// How late each was written, in µs: the generator's own part of every delay.
    pub lateness_us: Histogram<u64>,
    /// Why publishing ended early.
    pub ended: Option<String>,
}

impl Default for Paced {
    fn default() -> Self {
        Self { published: 0, unwritten: 0, lateness_us: histogram_us(), ended: None }
    }
}

enum Order {
    /// Publish this often per second, beginning now.
    Start(f64),
    /// Stop, and say what was published.
    Stop(Sender<Paced>),
}

/// The publishing thread.
pub struct Pacer {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
    ended: Arc<Mutex<Option<String>>>,
}

impl Pacer {
    /// Connects the publishing connections and starts the thread, which publishes nothing yet.
    ///
    /// # Errors
    ///
    /// A connection did not become whole, with the reason.
    pub fn start(plan: PacerPlan, schedule: Arc<Schedule>, counters: Arc<Counters>) -> Result<Self, String> {
        let publishers = (0..plan.publishers)
            .map(|number| Speaker::connect(plan.address, &plan.script, number))
            .collect::<Result<Vec<_>, _>>()?;
        let (orders, receiver) = mpsc::channel();
        let ended = Arc::new(Mutex::new(None));
        let mut run = Run {
            plan,
            publishers,
            schedule,
            counters,
            next: 0,
            pace: None,
            ended: Arc::clone(&ended),
            buffer: vec![0; BUFFER_BYTES].into(),
        };
        let thread = std::thread::Builder::new()
            .name("pacer".to_owned())
            .spawn(move || run.run(&receiver))
            .map_err(|error| format!("the publishing thread cannot be started: {error}"))?;
        Ok(Self { orders: Some(orders), thread: Some(thread), ended })
    }

    /// Begins to publish `per_second` times a second.
    pub fn pace(&self, per_second: f64) {
        self.order(Order::Start(per_second));
    }

    /// Stops publishing; what was published since [`Pacer::pace`].
    pub fn stop(&self) -> Paced {
        let (sender, paced) = mpsc::channel();
        self.order(Order::Stop(sender));
        paced.recv().unwrap_or_default()
    }

    /// Why publishing is over for good, if it is.
    pub fn ended(&self) -> Option<String> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // The thread ends only after the sender is dropped, which is below.
            let _ = orders.send(order);
        }
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A pace under way.
struct Pace {
    started: Instant,
    interval: Duration,
    /// Publishes of this pace written so far.
    written: u64,
    paced: Paced,
}

impl Pace {
    fn due(&self) -> Instant {
        self.started + self.interval.mul_f64(self.written as f64)
    }
}

struct Run {
    plan: PacerPlan,
    publishers: Vec<Speaker>,
    schedule: Arc<Schedule>,
    counters: Arc<Counters>,
    next: u64,
    pace: Option<Pace>,
    ended: Arc<Mutex<Option<String>>>,
    buffer: Box<[u8]>,
}

impl Run {
    fn run(&mut self, orders: &Receiver<Order>) {
        loop {
            match orders.recv_timeout(self.sleep(Instant::now())) {
                Ok(Order::Start(per_second)) => {
                    self.pace = Some(Pace {
                        started: Instant::now(),
                        interval: Duration::from_secs_f64(1.0 / per_second),
                        written: 0,
                        paced: Paced::default(),
                    });
                }
                Ok(Order::Stop(reply)) => {
                    self.publish_due();
                    // A scenario that no longer listens has been interrupted.
                    let _ = reply.send(self.stop());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.publish_due();
            self.exchange();
        }
    }

    /// How long nothing is to be done: until the next publish is due, if one may be written then.
    fn sleep(&self, now: Instant) -> Duration {
        if self.publishers.iter().any(Speaker::is_full) {
            return RETRY_AFTER;
        }
        let is_writing = self.publishers.iter().any(|publisher| !publisher.unsent.is_empty());
        let longest = if is_writing { RETRY_AFTER } else { SLEEP_MAX };
        let pace = self.pace.as_ref().filter(|_| !self.publishers.is_empty());
        pace.map_or(longest, |pace| pace.due().saturating_duration_since(now).min(longest))
    }

    fn stop(&mut self) -> Paced {
        let Some(pace) = self.pace.take() else { return Paced::default() };
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_behind = ended.is_some() || self.publishers.iter().any(Speaker::is_full);
        let due = pace.started.elapsed().div_duration_f64(pace.interval) as u64 + 1;
        let unwritten = if is_behind { due.saturating_sub(pace.written) } else { 0 };
        Paced { published: pace.written, unwritten, ended, ..pace.paced }
    }

    /// Frames every publish that is due by now, unless a connection has too much waiting already.
    fn publish_due(&mut self) {
        let Some(pace) = &mut self.pace else { return };
        if self.publishers.is_empty() {
            return;
        }
        let mut text = Vec::with_capacity(self.plan.payload_bytes + 64);
        let mut now = Instant::now();
        loop {
            let due = pace.due();
            if due > now {
                let later = Instant::now();
                if due > later {
                    break;
                }
                now = later;
            }
            let (number, room) = (self.next, self.next % self.plan.rooms);
            let count = self.publishers.len() as u64;
            let publisher = &mut self.publishers[(room % count) as usize];
            if publisher.is_full() {
                break;
            }
            text.clear();
            self.plan.script.dialect.publish(&mut text, number, room, self.plan.payload_bytes);
            write_client_frame(&mut publisher.unsent, self.plan.script.dialect.opcode, &text, mask(number));
            self.schedule.set(number, self.schedule.us(due));
            let late_us = now.saturating_duration_since(due).as_micros() as u64;
            pace.paced.lateness_us.saturating_record(late_us.max(1));
            pace.written += 1;
            self.next += 1;
        }
        self.counters.published.store(self.next, SeqCst);
    }

    /// Writes what waits and reads what came; a connection that ended ends the publishing.
    fn exchange(&mut self) {
        let mut tally = Tally::default();
        let ended = self.publishers.iter_mut().enumerate().find_map(|(number, publisher)| {
            let (script, buffer) = (&self.plan.script, &mut self.buffer);
            let done = publisher
                .write()
                .and_then(|()| publisher.read(number as u64, script, buffer, &mut tally, &mut Watch::Count));
            done.err()
        });
        self.counters.refusals.fetch_add(tally.refusals, SeqCst);
        if let Some(reason) = ended {
            self.publishers.clear();
            *self.ended.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(format!("a publishing connection ended: {reason}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_due_by_its_interval_and_never_by_what_was_written_late() {
        let started = Instant::now();
        let pace =
            |written| Pace { started, interval: Duration::from_millis(10), written, paced: Paced::default() };
        assert_eq!(pace(0).due(), started);
        assert_eq!(pace(250).due(), started + Duration::from_millis(2_500));
    }

    #[test]
    fn due_times_are_remembered_by_number_and_overwritten_a_million_publishes_later() {
        let schedule = Schedule::new();
        schedule.set(7, 70);
        assert_eq!(schedule.due_us(7), 70);
        schedule.set(7 + REMEMBERED as u64, 99);
        assert_eq!(schedule.due_us(7), 99);
    }
}
