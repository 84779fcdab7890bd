//! The open loop: publishes that leave by a fixed schedule, however the server keeps up.
//!
//! A delay counts from the time at which a publish was due, not from when it was written, so a server
//! (or a generator) that falls behind cannot hide it: no coordinated omission. The pacer has a thread
//! and connections of its own; those receive nothing that is counted.
//!
//! Invariants: publishes are numbered from 0 over the whole run, number `s` goes to room
//! `s % rooms`, and always on the same connection for one room, so rooms keep their order.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::connection::{Connection, Script, Stage, Tally, mask};
use super::fleet::Counters;
use super::watch::{Watch, histogram_us};
use crate::wire::frame::write_client_frame;

/// Publishes whose due times are remembered. One that arrives a million publishes late would be taken
/// for a younger one; at 10,000 per second that is 100 s.
const REMEMBERED: usize = 1 << 20;
/// Bytes that may wait for one publishing connection; past it the pacer writes nothing and falls behind.
const UNSENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a publishing connection may take to become whole.
const SETUP_MAX: Duration = Duration::from_secs(10);
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
            .map(|number| Publisher::connect(&plan, number))
            .collect::<Result<Vec<_>, _>>()?;
        let (orders, receiver) = mpsc::channel();
        let ended = Arc::new(Mutex::new(None));
        let mut run =
            Run { plan, publishers, schedule, counters, next: 0, pace: None, ended: Arc::clone(&ended) };
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
    publishers: Vec<Publisher>,
    schedule: Arc<Schedule>,
    counters: Arc<Counters>,
    next: u64,
    pace: Option<Pace>,
    ended: Arc<Mutex<Option<String>>>,
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
        if self.publishers.iter().any(Publisher::is_full) {
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
        let is_behind = ended.is_some() || self.publishers.iter().any(Publisher::is_full);
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
            let done = publisher.write().and_then(|()| publisher.read(number as u64, &self.plan, &mut tally));
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

/// One publishing connection.
struct Publisher {
    stream: TcpStream,
    connection: Connection,
    unsent: Vec<u8>,
    buffer: Vec<u8>,
}

impl Publisher {
    /// Connects and waits until connection `number` is whole.
    fn connect(plan: &PacerPlan, number: u64) -> Result<Self, String> {
        let said =
            |error: io::Error| format!("the publishing connection to {} failed: {error}", plan.address);
        let stream = TcpStream::connect_timeout(&plan.address, SETUP_MAX).map_err(said)?;
        stream.set_nodelay(true).map_err(said)?;
        stream.set_read_timeout(Some(SETUP_MAX)).map_err(said)?;
        let mut publisher =
            Self { stream, connection: Connection::new(), unsent: Vec::new(), buffer: vec![0; 64 * 1024] };
        let mut request = Vec::new();
        plan.script.upgrade_request(number, &mut request);
        publisher.stream.write_all(&request).map_err(said)?;
        publisher.connection.stage = Stage::Upgrading;
        let end = Instant::now() + SETUP_MAX;
        while publisher.connection.stage != Stage::Whole {
            if Instant::now() >= end {
                return Err(format!("the publishing connection to {}: {}", plan.address, no_answer()));
            }
            let read = publisher.read_once(number, plan, &mut Tally::default());
            read.map_err(|reason| format!("the publishing connection to {}: {reason}", plan.address))?;
            let unsent = std::mem::take(&mut publisher.unsent);
            publisher.stream.write_all(&unsent).map_err(said)?;
        }
        publisher.stream.set_nonblocking(true).map_err(said)?;
        Ok(publisher)
    }

    /// True while it may not be given more.
    fn is_full(&self) -> bool {
        self.unsent.len() > UNSENT_BYTES_MAX
    }

    fn write(&mut self) -> Result<(), String> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        match self.stream.write(&self.unsent) {
            Ok(written) => {
                self.unsent.drain(..written);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(format!("write: {error}")),
        }
    }

    fn read(&mut self, number: u64, plan: &PacerPlan, tally: &mut Tally) -> Result<(), String> {
        while self.read_once(number, plan, tally)? {}
        Ok(())
    }

    /// Reads once and takes what came; false if nothing did.
    fn read_once(&mut self, number: u64, plan: &PacerPlan, tally: &mut Tally) -> Result<bool, String> {
        let held = self.connection.partial.len();
        if held == self.buffer.len() {
            return Err(format!("the server sent a frame longer than {held} bytes"));
        }
        self.buffer[..held].copy_from_slice(&self.connection.partial);
        let came = match self.stream.read(&mut self.buffer[held..]) {
            Ok(0) => return Err("closed by the server without a close frame".to_owned()),
            Ok(came) => came,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && self.connection.stage == Stage::Whole =>
            {
                return Ok(false);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(no_answer());
            }
            Err(error) => return Err(format!("read: {error}")),
        };
        let bytes = &self.buffer[..held + came];
        let taken = self.connection.receive(
            bytes,
            number,
            &plan.script,
            &mut self.unsent,
            tally,
            &mut Watch::Count,
        )?;
        self.connection.partial = bytes[taken..].into();
        Ok(true)
    }
}

fn no_answer() -> String {
    format!("not whole within {} s: the server does not answer", SETUP_MAX.as_secs())
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
