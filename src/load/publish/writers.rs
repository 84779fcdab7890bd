//! Connections that publish and wait for the answers, and the threads that drive them.
//!
//! A closed loop keeps so many publishes of each connection in flight; an open one publishes by a
//! schedule, whatever is answered, and a latency counts from the time at which a publish was due.
//!
//! Invariants: a connection has one thread, which alone knows what it has in flight; a connection that
//! ended is counted by its reason and the others go on.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use super::course::Course;
use super::{InFlight, Receipts};
use crate::load::connection::{Script, Tally, mask};
use crate::load::dialect::publish_id;
use crate::load::fleet::{Notice, connections_per_thread_max, raise_descriptor_limit};
use crate::load::pacer::Schedule;
use crate::load::speaker::{BUFFER_BYTES, Speaker};
use crate::load::watch::Watch;
use crate::load::worker::WAKE;
use crate::wire::frame::write_client_frame;

/// Publishes of one connection that may be in flight in an open loop; past it they wait, and are late.
pub const IN_FLIGHT_MAX: usize = 16 * 1024;
/// Longest answer to a publish that is not refused, with its line end.
const ANSWER_BYTES_MAX: usize = 64;

const _: () = assert!(IN_FLIGHT_MAX * ANSWER_BYTES_MAX <= BUFFER_BYTES);

/// Shortest and longest sleep of an open loop: how late a publish may leave, and an answer be read.
const SLEEP: [Duration; 2] = [Duration::from_micros(200), Duration::from_millis(20)];
/// Events taken per poll.
const EVENTS_MAX: usize = 1_024;

/// How much is published.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// So many publishes of each connection wait for their answers.
    InFlight(u64),
    /// So many publishes per second over all connections.
    Rate(f64),
}

/// What the writers are to be.
#[derive(Clone)]
pub struct WritersPlan {
    /// Where.
    pub address: SocketAddr,
    /// What their connections say first.
    pub script: Script,
    /// Connections.
    pub connections: u64,
    /// Threads that drive them.
    pub threads: u64,
    /// Rooms, taken in turn.
    pub rooms: u64,
    /// Bytes of each payload.
    pub payload_bytes: usize,
    /// How much.
    pub load: Load,
    /// The round of all rooms that they begin with, which is in the numbers of their publishes.
    pub first_round: u64,
    /// The clock of all times, and where members look up when a message was due.
    pub schedule: Arc<Schedule>,
}

/// What the threads share.
#[derive(Debug, Default)]
struct Shared {
    sent: AtomicU64,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    ended: Mutex<BTreeMap<String, u64>>,
}

enum Order {
    /// Publish, for so many rounds of all rooms or until told to stop.
    Publish(Option<u64>),
    /// Publish no more; note [`Notice::Drained`] when everything is answered.
    Stop,
}

/// The running threads.
pub struct Writers {
    threads: Vec<(Sender<Order>, Arc<Waker>, JoinHandle<()>)>,
    shared: Arc<Shared>,
    receipts: Vec<Arc<Mutex<Receipts>>>,
}

impl Writers {
    /// Connects all connections and starts the threads, which publish nothing yet.
    ///
    /// # Errors
    ///
    /// The dialect's publishes are not answered, or a connection did not become whole, with the reason.
    pub fn start(plan: &WritersPlan, notices: &Sender<Notice>) -> Result<Self, String> {
        plan.script.dialect.check_answers()?;
        let most = connections_per_thread_max(raise_descriptor_limit()?);
        if plan.connections > most {
            return Err(format!(
                "--connections {}: at most {most} can publish, which is what RLIMIT_NOFILE allows",
                plan.connections
            ));
        }
        let count = plan.threads.min(plan.connections).max(1);
        let receipts = (0..count).map(|_| Arc::default()).collect();
        let mut writers = Self { threads: Vec::new(), shared: Arc::new(Shared::default()), receipts };
        for number in 0..count {
            let failed = |error: io::Error| format!("publishing thread {number} cannot be started: {error}");
            let poll = Poll::new().map_err(failed)?;
            let waker = Arc::new(Waker::new(poll.registry(), WAKE).map_err(failed)?);
            let seats = (number..plan.connections).step_by(count as usize);
            let seats = seats.map(|connection| Seat::open(plan, connection, &poll));
            let seats = seats.collect::<Result<_, _>>()?;
            let (orders, receiver) = mpsc::channel();
            let thread = Thread {
                plan: plan.clone(),
                number,
                threads: count,
                poll,
                orders: receiver,
                notices: notices.clone(),
                shared: Arc::clone(&writers.shared),
                seats,
                buffer: vec![0; BUFFER_BYTES].into(),
                text: Vec::new(),
                state: State::Idle,
                pace: Pace { started: Instant::now(), written: 0 },
                receipts: Arc::clone(&writers.receipts[number as usize]),
                sent: 0,
            };
            let named = std::thread::Builder::new().name(format!("writer-{number}"));
            let thread = named.spawn(move || thread.run()).map_err(failed)?;
            writers.threads.push((orders, waker, thread));
        }
        Ok(writers)
    }

    /// Begins to publish, for `rounds` of all rooms or until [`Writers::stop`].
    pub fn publish(&self, rounds: Option<u64>) {
        self.order(|| Order::Publish(rounds));
    }

    /// Publishes no more. Every thread notes [`Notice::Drained`] once all of its publishes are answered, as
    /// it does at the end of the rounds that it was told to publish.
    pub fn stop(&self) {
        self.order(|| Order::Stop);
    }

    fn order(&self, order: impl Fn() -> Order) {
        for (orders, waker, _) in &self.threads {
            // A thread ends only when its sender is dropped, which is below; a full eventfd means that a
            // wake-up is pending already.
            let _ = orders.send(order());
            let _ = waker.wake();
        }
    }

    /// Threads running.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Publishes written so far.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(SeqCst)
    }

    /// Publishes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(SeqCst)
    }

    /// Publishes refused so far.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(SeqCst)
    }

    /// Answers since this was last called.
    pub fn take_receipts(&self) -> Receipts {
        let mut all = Receipts::default();
        for receipts in &self.receipts {
            all.merge(&std::mem::take(&mut *lock(receipts)));
        }
        all
    }

    /// Connections that ended, by reason.
    pub fn ended(&self) -> BTreeMap<String, u64> {
        lock(&self.shared.ended).clone()
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        for (orders, waker, thread) in self.threads.drain(..) {
            drop(orders);
            let _ = waker.wake();
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// One connection of a thread; its speaker is `None` once it has ended.
struct Seat {
    speaker: Option<Speaker>,
    number: u64,
    in_flight: InFlight,
    course: Course,
}

impl Seat {
    fn open(plan: &WritersPlan, number: u64, poll: &Poll) -> Result<Self, String> {
        let speaker = Speaker::connect(plan.address, &plan.script, number)?;
        let token = Token((number / plan.threads.min(plan.connections).max(1)) as usize);
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut SourceFd(&speaker.stream.as_raw_fd()), token, both)
            .map_err(|error| format!("a publishing connection cannot be watched: {error}"))?;
        let course = Course::new(number, plan.connections, plan.rooms, plan.first_round);
        Ok(Self { speaker: Some(speaker), number, in_flight: InFlight::default(), course })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Publishing,
    /// Everything that will be published is; answers are due.
    Draining,
}

/// The schedule of an open loop, as one thread follows it.
struct Pace {
    started: Instant,
    written: u64,
}

struct Thread {
    plan: WritersPlan,
    number: u64,
    threads: u64,
    poll: Poll,
    orders: Receiver<Order>,
    notices: Sender<Notice>,
    shared: Arc<Shared>,
    seats: Vec<Seat>,
    buffer: Box<[u8]>,
    text: Vec<u8>,
    state: State,
    pace: Pace,
    /// Locked for a batch of events: the scenario asks rarely and waits a batch at most.
    receipts: Arc<Mutex<Receipts>>,
    /// Publishes framed since the scenario was told.
    sent: u64,
}

impl Thread {
    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let shared_receipts = Arc::clone(&self.receipts);
        while self.take_orders() {
            self.publish_due();
            self.end_if_drained();
            self.shared.sent.fetch_add(std::mem::take(&mut self.sent), SeqCst);
            let timeout = self.nap();
            if let Err(error) = self.poll.poll(&mut events, timeout) {
                let interrupted = error.kind() == io::ErrorKind::Interrupted;
                assert!(interrupted, "epoll_wait fails only for arguments that are ours: {error}");
                continue;
            }
            let mut receipts = lock(&shared_receipts);
            let (acknowledged, refused) = (receipts.acknowledged(), receipts.refused());
            for event in events.iter().filter(|event| event.token() != WAKE) {
                let index = event.token().0;
                if let Err(reason) = self.serve(index, &mut receipts) {
                    self.end(index, reason);
                }
            }
            self.shared.acknowledged.fetch_add(receipts.acknowledged() - acknowledged, SeqCst);
            self.shared.refused.fetch_add(receipts.refused() - refused, SeqCst);
        }
    }

    /// False once the scenario has dropped its end.
    fn take_orders(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Publish(rounds)) => {
                    self.state = State::Publishing;
                    self.pace = Pace { started: Instant::now(), written: 0 };
                    for index in 0..self.seats.len() {
                        self.seats[index].course.go_on(rounds);
                        if matches!(self.plan.load, Load::InFlight(_))
                            && let Err(reason) = self.fill(index)
                        {
                            self.end(index, reason);
                        }
                    }
                }
                Ok(Order::Stop) => {
                    self.state = State::Draining;
                    self.seats.iter_mut().for_each(|seat| seat.course.stop());
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// When publish number `written` of this thread is due, in an open loop.
    fn due(&self, per_second: f64) -> Instant {
        let nth = (self.pace.written * self.threads + self.number) as f64;
        self.pace.started + Duration::from_secs_f64(nth / per_second)
    }

    /// Sleeps shortly if the next publish is due within a millisecond, which is as fine as a poll sleeps;
    /// how long that may.
    fn nap(&self) -> Option<Duration> {
        let Load::Rate(per_second) = self.plan.load else { return None };
        if self.state != State::Publishing {
            return None;
        }
        let wait = self.due(per_second).saturating_duration_since(Instant::now());
        if wait >= Duration::from_millis(1) {
            return Some(wait.min(SLEEP[1]));
        }
        std::thread::sleep(wait.max(SLEEP[0]));
        Some(Duration::ZERO)
    }

    /// In an open loop, publishes what is due by now, unless the connection whose turn it is has too much
    /// in flight.
    fn publish_due(&mut self) {
        let Load::Rate(per_second) = self.plan.load else { return };
        if self.state != State::Publishing || self.seats.is_empty() {
            return;
        }
        let shared_receipts = Arc::clone(&self.receipts);
        let mut receipts = lock(&shared_receipts);
        let now = Instant::now();
        let from = self.pace.written;
        let seats = self.seats.len();
        loop {
            let due = self.due(per_second);
            let index = self.pace.written as usize % seats;
            let is_full = self.seats[index].speaker.as_ref().is_some_and(Speaker::is_full);
            if due > now || is_full || self.seats[index].in_flight.len() >= IN_FLIGHT_MAX {
                break;
            }
            if self.seats[index].speaker.is_some() && self.frame(index, due) {
                let late_us = now.duration_since(due).as_micros() as u64;
                receipts.lateness_us.saturating_record(late_us.max(1));
            }
            self.pace.written += 1;
        }
        // One write for each connection that has something new.
        let touched = (self.pace.written - from).min(seats as u64) as usize;
        for nth in 0..touched {
            self.write((from as usize + nth) % seats);
        }
    }

    /// In a closed loop, publishes until as much of connection `index` is in flight as may be.
    fn fill(&mut self, index: usize) -> Result<(), String> {
        let Load::InFlight(most) = self.plan.load else { return Ok(()) };
        if self.state == State::Publishing && self.seats[index].speaker.is_some() {
            let now = Instant::now();
            while self.seats[index].in_flight.len() < most as usize && self.frame(index, now) {}
        }
        self.seats[index].speaker.as_mut().map_or(Ok(()), Speaker::write)
    }

    /// Frames the next publish of connection `index`; false if its course has ended.
    fn frame(&mut self, index: usize, due: Instant) -> bool {
        let Self { plan, seats, text, .. } = self;
        let seat = &mut seats[index];
        let (Some(speaker), Some((number, room))) = (&mut seat.speaker, seat.course.next()) else {
            return false;
        };
        let due_us = plan.schedule.us(due);
        text.clear();
        plan.script.dialect.publish(text, number, room, plan.payload_bytes);
        write_client_frame(&mut speaker.unsent, plan.script.dialect.opcode, text, mask(number));
        plan.schedule.set(number, due_us);
        seat.in_flight.published(publish_id(number), due_us);
        self.sent += 1;
        true
    }

    fn write(&mut self, index: usize) {
        if let Some(Err(reason)) = self.seats[index].speaker.as_mut().map(Speaker::write) {
            self.end(index, reason);
        }
    }

    /// Takes what came on connection `index`, and publishes in its place.
    fn serve(&mut self, index: usize, receipts: &mut Receipts) -> Result<(), String> {
        let Self { plan, seats, buffer, .. } = self;
        let Seat { speaker: Some(speaker), number, in_flight, .. } = &mut seats[index] else {
            return Ok(());
        };
        let now_us = plan.schedule.us(Instant::now());
        let mut watch = Watch::Answers { in_flight, receipts, now_us };
        speaker.read(*number, &plan.script, buffer, &mut Tally::default(), &mut watch)?;
        self.fill(index)
    }

    fn end(&mut self, index: usize, reason: String) {
        self.seats[index].speaker = None;
        self.seats[index].in_flight = InFlight::default();
        let mut ended = lock(&self.shared.ended);
        *ended.entry(reason).or_default() += 1;
    }

    /// Says so once everything that was to be published is answered.
    fn end_if_drained(&mut self) {
        let is_over =
            |seat: &Seat| seat.speaker.is_none() || (seat.course.is_over() && seat.in_flight.is_empty());
        if self.state != State::Idle && self.seats.iter().all(is_over) {
            self.state = State::Idle;
            self.shared.sent.fetch_add(std::mem::take(&mut self.sent), SeqCst);
            // The scenario stops listening only when it has stopped caring.
            let _ = self.notices.send(Notice::Drained);
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
