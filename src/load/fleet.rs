//! All connections of one run: how they are spread over threads, and what the threads share.
//!
//! Every worker thread has a descriptor table of its own, so RLIMIT_NOFILE counts per thread. What
//! threads share (pollers and their wakers) is therefore opened here, before any of them starts; a
//! worker's copy of such a descriptor has the same number in its own table.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, mpsc::Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::{Poll, Waker};

use super::connection::Script;
use super::failures;
use super::openings::Retry;
use super::pacer::Schedule;
use super::publisher::PublishPlan;
use super::source;
use super::watch::{Stopwatch, Timings};
use super::worker::{self, WAKE};
use crate::host::descriptors;

pub use super::counters::{Counters, Notice, Order, Phase};
pub use super::outcome::{End, Outcome};

/// Connections under way at once per worker unless asked otherwise: half of the smallest usual accept
/// queue (somaxconn 512 to 4096), so that no SYN is dropped and tried again a second later.
pub const AT_ONCE_MAX: usize = 256;

/// Descriptors a worker keeps for what is not a connection.
const DESCRIPTORS_RESERVED: u64 = 1_000;

/// What a fleet is to be.
pub struct FleetPlan {
    /// Where every connection goes.
    pub address: SocketAddr,
    /// What every connection says.
    pub script: Script,
    /// Connections to open, over all threads.
    pub connections: u64,
    /// Worker threads.
    pub threads: u64,
    /// Loopback source addresses that connections take in turn; 0 leaves the choice to the kernel.
    pub source_ips: u64,
    /// Poll without sleeping, so that no send of the server has to wake a worker.
    pub spin: bool,
    /// What the first connection of the first worker publishes, if the run is a closed loop.
    pub publish: Option<PublishPlan>,
    /// The schedule of the run's pacer, if the run is an open loop.
    pub schedule: Option<Arc<Schedule>>,
    /// Connections under way at once per worker.
    pub at_once_max: usize,
    /// How connections that were told to return do so, and are tried again when that failed.
    pub retry: Retry,
    /// Connections that an order is for.
    pub chosen: Chosen,
    /// Connections that stall notice nothing until they are woken or dropped, not even that they are closed:
    /// then they come back for what they missed.
    pub sleeps: bool,
    /// Keep how each connection that was whole ended.
    pub notes_ends: bool,
    /// Longest time in which a connection leaves its room and joins it again, where they are told to bounce.
    pub bounce_gap: Duration,
    /// Connects per second of those that come back, over all workers; `None`: as fast as they settle.
    pub return_rate: Option<f64>,
}

impl FleetPlan {
    /// A plan that opens `connections` and no more: no publishes, no orders, no retries.
    pub fn new(address: SocketAddr, script: Script, connections: u64, threads: u64) -> Self {
        Self {
            address,
            script,
            connections,
            threads,
            source_ips: source::sources_needed(connections, address),
            spin: false,
            publish: None,
            schedule: None,
            at_once_max: AT_ONCE_MAX,
            retry: Retry::Never,
            chosen: Chosen::None,
            sleeps: false,
            notes_ends: false,
            bounce_gap: Duration::ZERO,
            return_rate: None,
        }
    }
}

impl FleetPlan {
    /// Whether connection `number` is followed in its room's stream rather than timed: one that is told to
    /// return, or that sleeps and wakes.
    pub fn is_followed(&self, number: u64) -> bool {
        match self.chosen {
            Chosen::None => false,
            Chosen::From(_) => self.chosen.has(number),
            Chosen::Share(_) => self.sleeps && self.chosen.has(number),
        }
    }
}

/// Connections that stall or return when they are told to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Chosen {
    /// No connection.
    None,
    /// All whose number is at least this.
    From(u64),
    /// This share of all, 0 to 1, spread evenly over rooms and workers. Their receive buffers are small, so
    /// that the server soon feels one that does not read.
    Share(f64),
}

impl Chosen {
    /// Whether connection `number` is one of them.
    pub fn has(self, number: u64) -> bool {
        match self {
            Self::None => false,
            Self::From(first) => number >= first,
            // The golden ratio's multiples are spread evenly, so every run of numbers has its share.
            Self::Share(share) => (number as f64 * 0.618_033_988_749_894_9).fract() < share,
        }
    }
}

/// The running workers.
pub struct Fleet {
    workers: Vec<(Arc<Waker>, JoinHandle<Outcome>)>,
    stopwatches: Vec<Arc<Mutex<Stopwatch>>>,
    /// Totals, as fresh as the workers' last batches.
    pub counters: Arc<Counters>,
}

impl Fleet {
    /// Raises RLIMIT_NOFILE to its hard limit and starts the workers, which begin to open at once.
    ///
    /// # Errors
    ///
    /// The connections do not fit in the threads' descriptor tables, or a poller or thread cannot be made.
    pub fn start(plan: FleetPlan, notices: &Sender<Notice>) -> Result<Self, String> {
        let per_thread = connections_per_thread_max(raise_descriptor_limit()?);
        if plan.connections.div_ceil(plan.threads.max(1)) > per_thread {
            return Err(format!(
                "{} threads hold {} connections (RLIMIT_NOFILE allows {per_thread} in each); {} need --threads {}",
                plan.threads,
                plan.threads * per_thread,
                plan.connections,
                plan.connections.div_ceil(per_thread)
            ));
        }
        failures::check_box(plan.connections, plan.source_ips, plan.address.ip().is_loopback())?;
        let pollers = (0..plan.threads).map(|_| poller()).collect::<io::Result<Vec<_>>>();
        let pollers = pollers.map_err(|error| format!("a poller cannot be made: {error}"))?;
        let counters = Arc::new(Counters::default());
        let publisher_waker = Arc::clone(&pollers[0].1);
        let plan = Arc::new(plan);
        let stopwatches: Vec<_> = (0..plan.threads)
            .filter_map(|_| Some(Arc::new(Mutex::new(Stopwatch::new(Arc::clone(plan.schedule.as_ref()?))))))
            .collect();
        let mut workers = Vec::new();
        for (number, (poll, waker)) in pollers.into_iter().enumerate() {
            let seat = worker::Seat {
                number: number as u64,
                plan: Arc::clone(&plan),
                counters: Arc::clone(&counters),
                notices: notices.clone(),
                publisher_waker: Arc::clone(&publisher_waker),
                stopwatch: stopwatches.get(number).cloned(),
            };
            let thread = std::thread::Builder::new()
                .name(format!("load-{number}"))
                .spawn(move || worker::run(seat, poll))
                .map_err(|error| format!("worker thread {number} cannot be started: {error}"))?;
            workers.push((waker, thread));
        }
        Ok(Self { workers, stopwatches, counters })
    }

    /// As few threads as hold `connections` under the present hard limit of descriptors.
    ///
    /// # Errors
    ///
    /// As [`raise_descriptor_limit`].
    pub fn threads_needed(connections: u64) -> Result<u64, String> {
        Ok(connections.div_ceil(connections_per_thread_max(raise_descriptor_limit()?)).max(1))
    }

    /// Worker threads running.
    pub fn threads(&self) -> usize {
        self.workers.len()
    }

    /// Tells every worker to go on to `phase`.
    pub fn enter(&self, phase: Phase) {
        self.counters.enter(phase);
        self.wake();
    }

    /// Gives the chosen connections `order`.
    pub fn order(&self, order: Order) {
        self.counters.order(order);
        self.wake();
    }

    /// Makes them drop and come back at the same moment.
    pub fn drop_and_return(&self) {
        self.counters.order(Order::Return);
        self.order(Order::Drop);
    }

    /// What all workers saw of the paced messages since this was last called.
    pub fn take_timings(&self) -> Timings {
        let mut all = Timings::default();
        for stopwatch in &self.stopwatches {
            let mut stopwatch = stopwatch.lock().unwrap_or_else(PoisonError::into_inner);
            all.merge(&std::mem::take(&mut stopwatch.timings));
        }
        all
    }

    /// Messages timed since [`Fleet::take_timings`] was last called.
    pub fn timed(&self) -> u64 {
        let stopwatches = self.stopwatches.iter();
        stopwatches.map(|it| it.lock().unwrap_or_else(PoisonError::into_inner).timings.delays_us.len()).sum()
    }

    fn wake(&self) {
        for (waker, _) in &self.workers {
            // A full eventfd means that a wake-up is pending already, which is all this asks for.
            let _ = waker.wake();
        }
    }

    /// Closes every connection, ends the workers and gives what they know.
    pub fn close(self) -> Outcome {
        self.end(Phase::Close)
    }

    /// As [`Fleet::close`], by a reset of each connection: the server need not take part, and this
    /// machine keeps nothing of a million of them.
    pub fn reset(self) -> Outcome {
        self.end(Phase::Reset)
    }

    fn end(self, phase: Phase) -> Outcome {
        self.enter(phase);
        let mut outcome = Outcome::default();
        for (_, thread) in self.workers {
            match thread.join() {
                Ok(part) => outcome.merge(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        outcome
    }
}

fn poller() -> io::Result<(Poll, Arc<Waker>)> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WAKE)?;
    Ok((poll, Arc::new(waker)))
}

/// Raises the soft limit of descriptors to the hard one, which it returns.
///
/// # Errors
///
/// The kernel refuses, which it does not for a soft limit within the hard one.
pub fn raise_descriptor_limit() -> Result<u64, String> {
    descriptors::raise_limit().map_err(|error| format!("RLIMIT_NOFILE cannot be read or raised: {error}"))
}

/// Connections that one thread's table holds when RLIMIT_NOFILE is `limit`.
pub fn connections_per_thread_max(limit: u64) -> u64 {
    limit - DESCRIPTORS_RESERVED.min(limit / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_20000_holds_19000_connections_and_a_small_one_keeps_a_quarter_back() {
        assert_eq!(connections_per_thread_max(20_000), 19_000);
        assert_eq!(connections_per_thread_max(1_024), 768);
    }

    #[test]
    fn a_share_is_spread_evenly_over_every_run_of_numbers() {
        let chosen = Chosen::Share(0.01);
        for first in [0, 12_345, 900_000] {
            let count = (first..first + 10_000).filter(|number| chosen.has(*number)).count();
            assert!((98..=102).contains(&count), "{count} from {first}");
        }
        assert!(!Chosen::Share(0.0).has(0) && !Chosen::None.has(0));
        assert!(Chosen::From(5).has(5) && !Chosen::From(5).has(4));
    }
}
