//! One thread of the generator: its own descriptor table, its own poller, its share of the connections.
//!
//! It opens with a bounded number under way, reads everything into one shared buffer, and adds what it
//! counted to the shared counters once per batch of events. Sockets are registered once, edge-triggered;
//! a short read means that the socket is empty, so most events cost one `read`.
//!
//! Which connection is opened when is [`Openings`]' business; when all have settled, the scenario is told.

mod bouncing;
mod ending;
mod returning;
mod rounds;
mod waking;

use std::io::{self, Read, Write};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Sender};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use self::bouncing::Bouncing;
use self::returning::Returning;
use self::waking::Waking;
use super::connection::{Connection, Handshake, Stage, Tally};
use super::continuity::Continuity;
use super::dialect::Rooms;
use super::fleet::{Chosen, Counters, FleetPlan, Notice, Order, Outcome, Phase};
use super::openings::Openings;
use super::publisher::Publisher;
use super::source;
use super::watch::{Stopwatch, Watch, Witness};
use crate::host::descriptors;

/// The token of a worker's waker; connections are numbered from 0.
pub const WAKE: Token = Token(usize::MAX);

/// The shared read buffer, and so the longest frame that a connection may receive: a server may answer with all
/// that a client missed in one.
pub const BUFFER_BYTES: usize = 1024 * 1024;
/// Connections opened between two polls: those who come back all at once must not keep the others from being read.
const OPEN_BATCH: usize = 128;
/// Events taken per poll.
const EVENTS_MAX: usize = 1024;
/// Receive buffer of a connection that will stop reading: the least the kernel gives, doubled by it.
const STALLING_RECEIVE_BYTES: usize = 2304;

/// What a worker is given.
pub struct Seat {
    /// Its number, from 0; worker 0 publishes if the run does.
    pub number: u64,
    /// The run's plan.
    pub plan: Arc<FleetPlan>,
    /// The shared totals.
    pub counters: Arc<Counters>,
    /// Where the scenario listens.
    pub notices: Sender<Notice>,
    /// Wakes worker 0 when the last member's last message arrived elsewhere.
    pub publisher_waker: Arc<Waker>,
    /// Where it keeps the delays of a paced run.
    pub stopwatch: Option<Arc<Mutex<Stopwatch>>>,
}

/// A connection with its socket; `None` once it has ended.
#[derive(Default)]
struct Slot {
    stream: Option<TcpStream>,
    connection: Connection,
}

/// What was counted since the shared counters were last brought up to date.
#[derive(Default)]
struct Fresh {
    whole: u64,
    failed: u64,
    dropped: u64,
    back: u64,
    failed_tries: u64,
    leaves: u64,
    joins: u64,
    reads: u64,
    read_bytes: u64,
    tally: Tally,
}

struct Worker {
    seat: Seat,
    poll: Poll,
    slots: Vec<Slot>,
    openings: Openings,
    /// The last look at it ended before it was empty.
    may_open_more: bool,
    announced: bool,
    returning: Returning,
    waking: Waking,
    bouncing: Bouncing,
    /// When each connection became whole, where ends are noted.
    whole_at: Vec<Option<Instant>>,
    /// All of them have ended, and the scenario knows.
    is_gone: bool,
    /// Where its connections are in their rooms' streams, if that is followed.
    continuity: Option<Continuity>,
    buffer: Vec<u8>,
    outbound: Vec<u8>,
    fresh: Fresh,
    witness: Witness,
    publisher: Option<Publisher>,
    /// Bytes of a round that the kernel did not take yet.
    unsent: Vec<u8>,
    measuring: bool,
    drained: bool,
    outcome: Outcome,
}

/// Runs worker `seat` on `poll` until the phase is [`Phase::Close`].
pub fn run(seat: Seat, poll: Poll) -> Outcome {
    // Without a table of its own this thread shares one with the others, and all it loses is room.
    if let Err(error) = descriptors::unshare_table() {
        eprintln!("worker {}: no descriptor table of its own: {error}", seat.number);
    }
    let threads = seat.plan.threads;
    let share = seat.plan.connections / threads + u64::from(seat.number < seat.plan.connections % threads);
    let publisher = seat.plan.publish.filter(|_| seat.number == 0).map(Publisher::new);
    let rooms = seat.plan.publish.map_or(1, |publish| publish.rooms);
    let notes_ends = seat.plan.notes_ends;
    let openings = Openings::new(share as usize, seat.plan.at_once_max);
    let continuity = seat.plan.script.recovery.streams().map(Continuity::new);
    let mut worker = Worker {
        seat,
        poll,
        slots: (0..share).map(|_| Slot::default()).collect(),
        openings,
        may_open_more: false,
        announced: false,
        returning: Returning::default(),
        waking: Waking::default(),
        bouncing: Bouncing::default(),
        is_gone: false,
        whole_at: vec![None; if notes_ends { share as usize } else { 0 }],
        continuity,
        buffer: vec![0; BUFFER_BYTES],
        outbound: Vec::new(),
        fresh: Fresh::default(),
        witness: Witness::new(rooms),
        publisher,
        unsent: Vec::new(),
        measuring: false,
        drained: false,
        outcome: Outcome::default(),
    };
    worker.run();
    worker.finish()
}

impl Worker {
    fn run(&mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let stopwatch = self.seat.stopwatch.clone();
        while self.seat.counters.phase() < Phase::Close as u8 {
            self.drop_and_return();
            self.wake_and_judge();
            self.bounce();
            self.give_up();
            self.open();
            self.add_up();
            self.drive_publisher();
            let timeout = self.timeout();
            if let Err(error) = self.poll.poll(&mut events, timeout) {
                let interrupted = error.kind() == io::ErrorKind::Interrupted;
                assert!(interrupted, "epoll_wait fails only for arguments that are ours: {error}");
                continue;
            }
            // Locked for the batch: the scenario asks rarely and waits a batch at most.
            let mut stopwatch =
                stopwatch.as_ref().map(|shared| shared.lock().unwrap_or_else(PoisonError::into_inner));
            for event in &events {
                if event.token() == WAKE {
                    continue;
                }
                let index = event.token().0;
                if let Err(reason) = self.ready(index, event.is_read_closed(), &mut stopwatch) {
                    self.end(index, reason);
                }
            }
        }
        self.add_up();
    }

    /// How long nothing is to be done unless an event comes.
    fn timeout(&self) -> Option<Duration> {
        let is_busy = self.returning.is_busy() || self.waking.is_busy() || self.may_open_more;
        if self.seat.plan.spin || is_busy {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let at = [self.bouncing.due(), self.returning.due()].into_iter().flatten().min();
        let wait = at.map(|at| at.saturating_duration_since(now));
        self.openings.wait(now).into_iter().chain(wait).min()
    }

    /// Opens connections as long as there is one to open and not too many are under way.
    fn open(&mut self) {
        self.may_open_more = true;
        for _ in 0..OPEN_BATCH {
            let Some(index) = self.openings.next(Instant::now()) else {
                self.may_open_more = false;
                return;
            };
            self.note_connect(index);
            match self.start(index) {
                Ok(stream) => {
                    let connection = self.slots[index].connection.again();
                    self.slots[index] = Slot { stream: Some(stream), connection };
                }
                Err(error) => self.end(index, said("connect", &error)),
            }
        }
    }

    /// Starts to connect connection `index`.
    fn start(&self, index: usize) -> io::Result<TcpStream> {
        let plan = &self.seat.plan;
        let number = self.number(index);
        // Neighbours in time take different source addresses, so all of them fill evenly.
        let source = (plan.source_ips > 0).then(|| source::source_address(number % plan.source_ips));
        let stalls = matches!(plan.chosen, Chosen::Share(_)) && plan.chosen.has(number);
        let receive_bytes = stalls.then_some(STALLING_RECEIVE_BYTES);
        let mut stream = TcpStream::from_std(source::connect(plan.address, source, receive_bytes)?);
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(index), both)?;
        Ok(stream)
    }

    /// The number of connection `index` over all workers.
    fn number(&self, index: usize) -> u64 {
        index as u64 * self.seat.plan.threads + self.seat.number
    }

    /// Handles one event of connection `index`. The error is why the connection ends.
    fn ready(
        &mut self,
        index: usize,
        read_closed: bool,
        stopwatch: &mut Option<MutexGuard<'_, Stopwatch>>,
    ) -> Result<(), String> {
        let number = self.number(index);
        let plan = &self.seat.plan;
        let stalled = self.is_stalled(number);
        if stalled && (plan.sleeps || !read_closed) {
            return Ok(());
        }
        let Some(Slot { stream: Some(stream), connection }) = self.slots.get_mut(index) else {
            return Ok(());
        };
        if connection.stage == Stage::Connecting {
            // The first write tells whether the connect worked: its errno is the connect's.
            plan.script.upgrade_request(number, &mut self.outbound);
            let written = stream.write(&self.outbound);
            self.outbound.clear();
            match written {
                Ok(_) if plan.script.handshake == Handshake::Silent => {
                    connection.stage = Stage::Whole;
                    self.note_whole(index);
                }
                Ok(_) => {
                    connection.stage = Stage::Upgrading;
                    if index == 0 && self.publisher.is_some() {
                        // A round must not wait for the acknowledgement of the one before.
                        stream.set_nodelay(true).map_err(|error| said("TCP_NODELAY", &error))?;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(said("connect", &error)),
            }
            return Ok(());
        }
        if index == 0 && !self.unsent.is_empty() {
            self.flush_round()?;
        }
        // What a stalled connection still finds when it is closed came too late by its own fault, and of
        // a storm those who stay tell.
        let is_timed = !stalled && !self.seat.plan.is_followed(number);
        self.read(index, read_closed, stopwatch.as_deref_mut().filter(|_| is_timed))
    }

    /// Reads until the socket of connection `index` is empty, which a short read shows, and answers.
    fn read(
        &mut self,
        index: usize,
        read_closed: bool,
        mut stopwatch: Option<&mut Stopwatch>,
    ) -> Result<(), String> {
        let number = self.number(index);
        let is_witness = self.seat.plan.publish.is_some() && index + 1 == self.slots.len();
        loop {
            let Slot { stream: Some(stream), connection } = &mut self.slots[index] else { return Ok(()) };
            let held = connection.partial.len();
            if held == BUFFER_BYTES {
                return Err(format!("the server sent a frame longer than {BUFFER_BYTES} bytes"));
            }
            self.buffer[..held].copy_from_slice(&connection.partial);
            let came = match stream.read(&mut self.buffer[held..]) {
                Ok(0) => return Err("closed by the server without a close frame".to_owned()),
                Ok(came) => came,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(said("read", &error)),
            };
            self.fresh.reads += 1;
            self.fresh.read_bytes += came as u64;
            let bytes = &self.buffer[..held + came];
            let stage = connection.stage;
            let mut watch = match (&self.seat.plan.schedule, stopwatch.as_deref_mut()) {
                (Some(schedule), Some(stopwatch)) => {
                    Watch::Delay { stopwatch, now_us: schedule.us(Instant::now()) }
                }
                // The last connection of the share is this worker's witness.
                _ if is_witness => Watch::Order(&mut self.witness),
                _ => self.continuity.as_mut().map_or(Watch::Count, Watch::Stream),
            };
            let (script, tally) = (&self.seat.plan.script, &mut self.fresh.tally);
            let taken = connection.receive(bytes, number, script, &mut self.outbound, tally, &mut watch);
            let is_whole = !stage.is_open() && connection.stage.is_open();
            let is_greeting = stage == Stage::Upgrading && connection.stage == Stage::Greeting;
            let taken = match taken {
                Ok(taken) => taken,
                Err(reason) => {
                    // It was whole for a moment, and counts as that.
                    if is_whole {
                        self.note_whole(index);
                    }
                    return Err(reason);
                }
            };
            let rest = &bytes[taken..];
            if held + rest.len() > 0 {
                connection.partial = rest.into();
            }
            if index == 0 && !self.unsent.is_empty() {
                // The rest of a round comes first: an answer in between would be in the middle of a frame.
                self.unsent.append(&mut self.outbound);
            }
            if !self.outbound.is_empty() {
                let written = stream.write(&self.outbound).map_err(|error| said("write", &error))?;
                // A greeting or a pong fits in the socket buffer of any server that reads.
                if written < self.outbound.len() {
                    return Err("the server does not read: a write was cut short".to_owned());
                }
                self.outbound.clear();
            }
            if is_whole {
                self.note_whole(index);
            }
            if is_greeting {
                self.note_greeting(index);
            }
            if self.waking.is_judging() {
                self.judge(index);
            }
            if held + came < BUFFER_BYTES && !read_closed {
                return Ok(());
            }
        }
    }

    /// Brings the shared counters up to date, wakes the publisher if its round just became complete,
    /// and tells the scenario when every connection of this worker is settled.
    fn add_up(&mut self) {
        let counters = &self.seat.counters;
        let fresh = std::mem::take(&mut self.fresh);
        let before = counters.messages.fetch_add(fresh.tally.messages, SeqCst);
        let goal = counters.goal.load(SeqCst);
        if self.publisher.is_none() && before < goal && before + fresh.tally.messages >= goal {
            // A full eventfd means that a wake-up is pending already.
            let _ = self.seat.publisher_waker.wake();
        }
        for (total, count) in [
            (&counters.whole, fresh.whole),
            (&counters.failed, fresh.failed),
            (&counters.dropped, fresh.dropped),
            (&counters.back, fresh.back),
            (&counters.failed_tries, fresh.failed_tries),
            (&counters.pings, fresh.tally.pings),
            (&counters.refusals, fresh.tally.refusals),
            (&counters.replies, fresh.tally.replies),
            (&counters.comings, fresh.tally.comings),
            (&counters.coming_frames, fresh.tally.coming_frames),
            (&counters.rejoins, fresh.tally.rejoins),
            (&counters.leaves, fresh.leaves),
            (&counters.joins, fresh.joins),
            (&counters.reads, fresh.reads),
            (&counters.read_bytes, fresh.read_bytes),
        ] {
            if count > 0 {
                total.fetch_add(count, SeqCst);
            }
        }
        if !self.is_gone && counters.is_ordered(Order::TellGone) && self.is_empty() {
            self.is_gone = true;
            let _ = self.seat.notices.send(Notice::Gone);
        }
        if !self.announced && !self.returning.is_busy() && self.openings.is_done() {
            self.announced = true;
            // The scenario stops listening only when it has stopped caring.
            let _ = self.seat.notices.send(Notice::Opened);
        }
    }
}

impl Worker {
    /// Messages that connection `number` has received once everything published has arrived.
    fn messages_due(&self, number: u64) -> u64 {
        let published = self.seat.counters.published.load(SeqCst);
        match self.seat.plan.script.rooms {
            Rooms::None => 0,
            Rooms::Each(_) => published,
            // Publish `s` goes to room `s % rooms`.
            Rooms::Spread(rooms) => (published + rooms - 1 - number % rooms) / rooms,
        }
    }
}

/// A failed call in words that connections with the same trouble share: `connect: ECONNREFUSED`.
fn said(call: &str, error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{call}: {:?}", nix::errno::Errno::from_raw(number)),
        None => format!("{call}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_is_named_by_its_errno() {
        assert_eq!(
            said("connect", &io::Error::from_raw_os_error(libc::ECONNREFUSED)),
            "connect: ECONNREFUSED"
        );
        assert_eq!(said("read", &io::Error::other("odd")), "read: odd");
    }
}
