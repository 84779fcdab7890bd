//! The life of a server: start the shards, say that it is ready, wait for a signal, drain, end.
//!
//! The order of the start is what private descriptor tables need: first every shard's poll and
//! waker and the runtime, then the threads, each of which copies the table with exactly those in it, then all
//! other sockets, each in the table of the thread that uses it. Sockets that were handed to the process
//! are in every table then; each thread closes those that are not its own.
//!
//! Invariant: the process is whole or gone. A panic in any thread, or a shard whose poll fails,
//! ends it with a message; what supervises it starts it again.

use std::fmt;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::admin::{self, AdminState, Health, Phase};
use super::api::Api;
use super::capacity;
use super::config::Config;
use super::data_dir::DataDir;
use super::keeper::{self, Inboxes, Keeper};
use super::store_metrics::StoreCollector;
use super::supervisor::{self, Ending, RollCall};
use crate::host::inherited::{Copies, Inherited};
use crate::host::listen::{self, Listeners};
use crate::host::{descriptors, memory, processors};
use crate::limits::RUNTIME_THREADS_MAX;
use crate::rooms::{Event, Gateway, Links, Rooms, Shared, Ticket};
use crate::shard::message::Message;
use crate::shard::{Seat, Shard, Stats};
use crate::store::committer;

/// Exit code after a panic; the one that Rust's own runtime uses.
const EXIT_PANIC: i32 = 101;

/// Why a server did not start or could not go on.
#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn failure(what: impl fmt::Display) -> Failure {
    Failure(what.to_string())
}

/// Runs a server until it is told to end, on `inherited` sockets if there are any: 0 after a drain, 1 if it could not start or go on.
pub fn run(config: Config, inherited: Option<Inherited>) -> ExitCode {
    end_on_panic();
    match serve(config, inherited) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes a panic in any thread end the process: a server with a dead shard would look healthy and
/// lose a part of its clients.
pub fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        let thread = thread::current();
        eprintln!(
            "error: thread `{}` of throng panicked; the process ends so that it can be started again. \
             Please report this with the lines above.",
            thread.name().unwrap_or("unnamed")
        );
        std::process::exit(EXIT_PANIC);
    }));
}

fn serve(config: Config, inherited: Option<Inherited>) -> Result<(), Failure> {
    memory::fix_mmap_threshold();
    let descriptors_max = descriptors::raise_limit().map_err(failure)?;
    let data_dir = DataDir::open(&config.data).map_err(failure)?;
    let cpus = processors::available().map_err(failure)?;
    let shards = if config.shards > 0 { config.shards } else { cpus.len() };
    let stats: Arc<[Arc<Stats>]> = (0..shards).map(|_| Arc::new(Stats::default())).collect();
    // The runtime and its signals wake by descriptors too, from whatever thread a shard or a
    // signal handler runs on.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(RUNTIME_THREADS_MAX).build().map_err(failure)?;
    let mut signals = runtime.block_on(async { Signals::new() }).map_err(failure)?;
    let (committer, intake) = committer::channel(config.store.queue_bytes_max);
    let shared = Arc::new(Shared::new(config.rooms_settings(), shards).map_err(failure)?);
    let mut crew = Crew::hire(&config, &shared, &committer, &cpus, &stats, descriptors_max, inherited)?;
    let inboxes = Arc::clone(&crew.inboxes);
    let links = Links::of_no_shard(Arc::clone(&inboxes));
    let gateway = Gateway::new(Arc::clone(&shared), links, committer.clone());
    let keeper = Keeper::start(&config, &data_dir, (committer, intake), shared, inboxes).map_err(failure)?;

    let health = Arc::new(Health::default());
    let result = runtime.block_on(async {
        let admin = tokio::net::TcpListener::bind(config.admin)
            .await
            .map_err(|error| cannot_listen("admin", config.admin, &error))?;
        let admin_address = admin.local_addr().map_err(failure)?;
        let counts = StoreCollector { stats: keeper.stats(), gauge: keeper.gauge() };
        let api = Api::new(&config, gateway, Arc::clone(&stats));
        let state = AdminState::new(Arc::clone(&health), Arc::clone(&stats), counts, api);
        let timeout_ms = u64::from(config.store.commit_timeout_ms);
        let watching = tokio::spawn(keeper::watch(keeper.gauge(), Arc::clone(&crew.inboxes), timeout_ms));
        let serving = tokio::spawn(admin::serve(admin, state, std::future::pending()));

        let addresses = crew.open_doors(&config)?;
        health.enter(Phase::Ready);
        announce(&config, &addresses, admin_address, shards).map_err(failure)?;
        let roll = RollCall::new(Arc::clone(&crew.inboxes), Arc::clone(&stats));
        let supervising = tokio::spawn(supervisor::watch(roll));

        tokio::select! {
            _ = signals.next() => {}
            error = crew.failed() => return Err(error),
        }
        health.enter(Phase::Draining);
        tracing::info!(drain_ms = config.drain_ms, "draining; a second signal ends at once");
        // Shards end one by one now and answer no more.
        supervising.abort();
        let drain_ms = u64::from(config.drain_ms) + u64::from(config.limits.close_timeout_ms);
        let ending = Ending::begin(Duration::from_millis(drain_ms), Arc::clone(&stats));
        crew.drain(config.drain_ms.into());
        tokio::select! {
            _ = signals.next() => {
                tracing::warn!("second signal: ending without waiting for clients");
                return Ok(());
            }
            result = crew.ended() => result?,
        }
        serving.abort();
        watching.abort();
        tokio::select! {
            _ = signals.next() => {
                tracing::warn!("second signal: ending without waiting for the disk; what it has not taken nobody was told of");
            }
            () = keeper.end() => {}
        }
        ending.told().await;
        Ok(())
    });
    // Whoever waits aside, for a service manager that does not read, say, is not waited for.
    runtime.shutdown_background();
    result
}

/// Writes the readiness line: the only line on stdout, for people and for programs that wait for it.
fn announce(config: &Config, clients: &[SocketAddr], admin: SocketAddr, shards: usize) -> io::Result<()> {
    let urls: Vec<_> = clients.iter().map(|address| format!("ws://{address}{}", config.path)).collect();
    tracing::info!(access = config.access(), "clients may connect");
    let mut out = io::stdout().lock();
    writeln!(out, "throng ready: clients {}, admin http://{admin}, {shards} shards", urls.join(" "))?;
    out.flush()
}

fn cannot_listen(what: &str, address: SocketAddr, error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another process listens there (`ss -ltnp 'sport = :{}'` names it, or no process if it is a throng, \
             whose shards have descriptor tables of their own); stop it or choose another address",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address (`ip address` lists them)".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE; choose a port above".to_owned()
        }
        _ => "choose another address".to_owned(),
    };
    let option = if what == "admin" { "`admin` or --admin" } else { "`listen` or --listen" };
    Failure(format!("cannot listen on {address} for {what}: {error}; {remedy} ({option})"))
}

/// SIGTERM and SIGINT.
#[derive(Debug)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The shards' threads and the ways to reach them.
#[derive(Debug)]
struct Crew {
    inboxes: Inboxes,
    /// Where each thread waits for the addresses to open its listeners on.
    orders: Vec<mpsc::Sender<Vec<SocketAddr>>>,
    /// Every shard has sockets that were handed over.
    are_inherited: bool,
    opened: mpsc::Receiver<io::Result<()>>,
    ends: UnboundedReceiver<Result<(), Failure>>,
    running: usize,
}

/// What a shard's thread is told before it starts.
struct Post {
    index: usize,
    seat: Seat<Event>,
    config: Config,
    shards: usize,
    stats: Arc<Stats>,
    rooms: Rooms,
    cpu: Option<usize>,
    descriptors_max: u64,
    /// Sockets that were handed over for this shard, and the copies of all shards'.
    inherited: Option<(Vec<TcpListener>, Copies)>,
    orders: mpsc::Receiver<Vec<SocketAddr>>,
    opened: mpsc::Sender<io::Result<()>>,
    ended: UnboundedSender<Result<(), Failure>>,
    tables_copied: Arc<Barrier>,
}

impl Crew {
    /// Starts a thread for every shard. When this returns each has its own descriptor table.
    fn hire(
        config: &Config,
        shared: &Arc<Shared>,
        committer: &committer::Handle<Ticket>,
        cpus: &[usize],
        stats: &[Arc<Stats>],
        descriptors_max: u64,
        inherited: Option<Inherited>,
    ) -> Result<Self, Failure> {
        let shards = stats.len();
        let (mut sockets, copies) = inherited.map(Inherited::split).unzip();
        let mut seats = Vec::with_capacity(shards);
        let mut inboxes = Vec::with_capacity(shards);
        for _ in 0..shards {
            let (seat, inbox) = Seat::new(config.limits.inbox_bytes_max).map_err(|error| {
                Failure(format!(
                    "cannot make {shards} event loops: {error}; each needs 3 of {descriptors_max} descriptors \
                     (`ulimit -Hn` or fewer --shards)"
                ))
            })?;
            seats.push(seat);
            inboxes.push(inbox);
        }
        let inboxes: Inboxes = inboxes.into();
        let (opened_sender, opened) = mpsc::channel();
        let (ended_sender, ends) = unbounded_channel();
        let tables_copied = Arc::new(Barrier::new(shards + 1));
        let mut orders = Vec::with_capacity(shards);
        for (index, seat) in seats.into_iter().enumerate() {
            let (order_sender, order_receiver) = mpsc::channel();
            orders.push(order_sender);
            let post = Post {
                index,
                seat,
                config: config.clone(),
                shards,
                stats: Arc::clone(&stats[index]),
                rooms: Rooms::new(
                    Arc::clone(shared),
                    Links::new(index, Arc::clone(&inboxes)),
                    committer.clone(),
                ),
                cpu: config.pin_shards.then(|| cpus[index % cpus.len()]),
                descriptors_max,
                inherited: sockets
                    .as_mut()
                    .map(|sockets| std::mem::take(&mut sockets[index]))
                    .zip(copies.clone()),
                orders: order_receiver,
                opened: opened_sender.clone(),
                ended: ended_sender.clone(),
                tables_copied: Arc::clone(&tables_copied),
            };
            let thread = thread::Builder::new().name(format!("shard-{index}"));
            thread.spawn(move || post.stand()).map_err(|error| {
                Failure(format!(
                    "cannot start thread {index} of {shards}: {error} (`ulimit -u` or fewer --shards)"
                ))
            })?;
        }
        tables_copied.wait();
        if let Some(copies) = copies.as_ref().filter(|_| config.private_fd_tables) {
            copies.close_except(&[]);
        }
        Ok(Crew { inboxes, orders, are_inherited: copies.is_some(), opened, ends, running: shards })
    }

    /// Opens every shard's listeners; returns the addresses with the ports that the kernel chose.
    fn open_doors(&mut self, config: &Config) -> Result<Vec<SocketAddr>, Failure> {
        let mut addresses = Vec::with_capacity(config.listen.len());
        let mut claims = Vec::new();
        for wanted in &config.listen {
            if self.are_inherited {
                addresses.push(*wanted);
                continue;
            }
            let (address, claim) =
                listen::claim(*wanted).map_err(|error| cannot_listen("clients", *wanted, &error))?;
            addresses.push(address);
            claims.push(claim);
        }
        for order in &self.orders {
            // A thread that is gone has sent why, which the loop below receives.
            let _ = order.send(addresses.clone());
        }
        for _ in &self.orders {
            let opened = self.opened.recv().expect("every thread answers or the process has ended");
            opened.map_err(|error| cannot_listen("clients", addresses[0], &error))?;
        }
        Ok(addresses)
    }

    /// Completes when a shard has failed.
    async fn failed(&mut self) -> Failure {
        while let Some(end) = self.ends.recv().await {
            self.running -= 1;
            if let Err(error) = end {
                return error;
            }
        }
        Failure("every shard ended unasked".to_owned())
    }

    fn drain(&self, over_ms: u64) {
        for inbox in self.inboxes.iter() {
            inbox.push(Message::Drain { over_ms }, 0);
            inbox.wake();
        }
    }

    /// Completes when every shard has ended.
    async fn ended(&mut self) -> Result<(), Failure> {
        while self.running > 0 {
            self.ends.recv().await.expect("a thread that runs holds a sender")?;
            self.running -= 1;
        }
        Ok(())
    }
}

impl Post {
    /// The life of a shard's thread.
    fn stand(self) {
        let ended = self.ended.clone();
        let index = self.index;
        let result = self.run().map_err(|error| Failure(format!("shard {index} failed: {error}")));
        // Nobody listens any more when the process is ending already.
        let _ = ended.send(result);
    }

    fn run(self) -> io::Result<()> {
        let unshared = if self.config.private_fd_tables { descriptors::unshare_table() } else { Ok(()) };
        let (mut sockets, copies) = self.inherited.unzip();
        if let (Some(sockets), Some(copies), true) = (&mut sockets, copies, self.config.private_fd_tables) {
            match unshared {
                Ok(()) => copies.close_except(sockets),
                // The start has failed, and in this table, which is everybody's, another thread closes them.
                Err(_) => std::mem::take(sockets).into_iter().for_each(std::mem::forget),
            }
        }
        self.tables_copied.wait();
        let prepared = unshared.and_then(|()| self.cpu.map_or(Ok(()), processors::pin));
        let Ok(addresses) = self.orders.recv() else { return Ok(()) };
        let shard = prepared.and_then(|()| {
            let reserved = capacity::reserved(&self.config, self.shards)?;
            let allowed =
                capacity::connections_max(&self.config, self.descriptors_max, reserved, self.shards);
            if self.index == 0 {
                capacity::tell(&self.config, self.shards, reserved);
            }
            let settings = self.config.shard_settings(self.shards, allowed);
            let listeners = match sockets {
                Some(sockets) => Listeners::inherit(sockets, &settings.socket)?,
                None => Listeners::open(&addresses, &settings.socket)?,
            };
            Shard::open(self.seat, listeners, settings, self.stats, self.rooms)
        });
        let (answer, shard) = match shard {
            Ok(shard) => (Ok(()), Some(shard)),
            Err(error) => (Err(error), None),
        };
        // Without the other end the start has failed elsewhere and the process is ending.
        let _ = self.opened.send(answer);
        shard.map_or(Ok(()), Shard::run)
    }
}
