//! The life of a server: start the shards, say that it is ready, wait until a signal or an operator says to
//! drain, drain, which may be taken back, and end.
//!
//! The order of the start is what private descriptor tables need: first every shard's poll and
//! waker and the runtime, then the threads, each of which copies the table with exactly those in it, then all
//! other sockets, each in the table of the thread that uses it. Sockets that were handed to the process
//! are in every table then; each thread closes those that are not its own.
//!
//! Invariant: the process is whole or gone. A panic in any thread, or a shard whose poll fails,
//! ends it with a message; what supervises it starts it again.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::access::Access;
use super::admin::{self, AdminState, Health, Phase};
use super::api::Api;
use super::config::Config;
use super::crew::Crew;
use super::dashboard::{Dashboard, Sources};
use super::data_dir::DataDir;
use super::demo::Demo;
use super::drain::Drain;
use super::drain::course::End;
use super::failure::{Failure, cannot_listen, failure};
use super::keeper::{self, Keeper};
use super::store_metrics::StoreCollector;
use super::supervisor::{self, Ending, RollCall};
use super::watermark::{MemoryGauges, Watermark};
use crate::host::inherited::Inherited;
use crate::host::{descriptors, memory, processors};
use crate::limits::RUNTIME_THREADS_MAX;
use crate::rooms::{Gateway, Links, Shared};
use crate::shard::Stats;
use crate::store::committer;

/// Exit code after a panic; the one that Rust's own runtime uses.
const EXIT_PANIC: i32 = 101;

/// Runs a server until it is told to end, on `inherited` sockets if there are any: 0 after a drain, 1 if
/// it could not start or go on.
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
    let total = Arc::default();
    let stats: Arc<[Arc<Stats>]> =
        (0..shards).map(|_| Arc::new(Stats { total: Arc::clone(&total), ..Stats::default() })).collect();
    // The runtime and its signals wake by descriptors too, from whatever thread a shard or a
    // signal handler runs on.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(RUNTIME_THREADS_MAX).build().map_err(failure)?;
    let mut signals = runtime.block_on(async { Signals::new() }).map_err(failure)?;
    let (committer, intake) = committer::channel(config.store.queue_bytes_max);
    let mut settings = config.rooms_settings();
    let demo = Arc::new(Demo::prepare(&config, &mut settings).map_err(failure)?);
    let shared = Arc::new(Shared::new(settings, shards).map_err(failure)?);
    let mut crew = Crew::hire(&config, &shared, &committer, &cpus, &stats, descriptors_max, inherited)?;
    let inboxes = Arc::clone(&crew.inboxes);
    let links = Links::of_no_shard(Arc::clone(&inboxes));
    let gateway = Gateway::new(Arc::clone(&shared), links, committer.clone());
    let inherited = descriptors::open_count().map_err(failure)? as u64;
    let keeper = Keeper::start(&config, &data_dir, (committer, intake), shared, inboxes).map_err(failure)?;

    let health = Arc::new(Health::default());
    let result = runtime.block_on(async {
        let admin = tokio::net::TcpListener::bind(config.admin)
            .await
            .map_err(|error| cannot_listen("admin", config.admin, &error))?;
        let admin_address = admin.local_addr().map_err(failure)?;
        let counts = StoreCollector { stats: keeper.stats(), gauge: keeper.gauge() };
        let api = Arc::new(Api::new(&config, gateway.clone(), Arc::clone(&stats)));
        let access = Arc::new(Access::new(&config.http_api));
        let drain = Arc::new(Drain::new(&config, Arc::clone(&health), Arc::clone(&stats)));
        let memory = MemoryGauges::default();
        let sources = Sources {
            stats: Arc::clone(&stats),
            gateway,
            health: Arc::clone(&health),
            drain: Arc::clone(&drain),
            committer: keeper.gauge(),
            inherited,
        };
        let dashboard = Dashboard::new(&config, sources);
        let registry = AdminState::registry(Arc::clone(&stats), counts, &memory, &api, &drain, &dashboard);
        let state = AdminState {
            health: Arc::clone(&health),
            registry,
            api,
            drain: Arc::clone(&drain),
            access,
            dashboard,
            demo: Arc::clone(&demo),
        };
        let timeout_ms = u64::from(config.store.commit_timeout_ms);
        let watching = tokio::spawn(keeper::watch(keeper.gauge(), Arc::clone(&crew.inboxes), timeout_ms));
        let serving = tokio::spawn(admin::serve(admin, state, std::future::pending()));

        if let Some(watermark) = Watermark::new(&config.admission, Arc::clone(&crew.gate), memory) {
            // It ends with the runtime.
            drop(tokio::spawn(watermark.start()));
        }
        let addresses = crew.open_doors(&config)?;
        demo.opened(&addresses);
        health.enter(Phase::Ready);
        announce(&config, &addresses, admin_address, shards).map_err(failure)?;
        let roll = RollCall::new(Arc::clone(&crew.inboxes), Arc::clone(&stats));
        let supervising = tokio::spawn(supervisor::watch(roll));

        let close_timeout = Duration::from_millis(config.limits.close_timeout_ms.into());
        let Some(ending) = until_drained(&drain, &mut crew, &mut signals, close_timeout).await? else {
            return Ok(());
        };
        // Shards end one by one now and answer no more.
        supervising.abort();
        drain.dismiss(&crew.inboxes);
        tokio::select! {
            () = second(&drain, &mut signals) => {
                tracing::warn!("second signal: ending without waiting for clients");
                return Ok(());
            }
            result = crew.ended() => result?,
        }
        watching.abort();
        tokio::select! {
            () = second(&drain, &mut signals) => {
                tracing::warn!(
                    "second signal: ending without waiting for the disk; what it has not taken nobody was told of"
                );
            }
            () = keeper.end() => {}
        }
        drain.told().await;
        serving.abort();
        ending.told().await;
        Ok(())
    });
    // Whoever waits aside, for a service manager that does not read, say, is not waited for.
    runtime.shutdown_background();
    result
}

/// Serves until a drain, whoever asks for it, has left nobody; `None` if a second signal ends it before.
async fn until_drained(
    drain: &Arc<Drain>,
    crew: &mut Crew,
    signals: &mut Signals,
    close_timeout: Duration,
) -> Result<Option<Ending>, Failure> {
    let inboxes = Arc::clone(&crew.inboxes);
    let begin_end = || {
        let drain = Arc::clone(drain);
        let stats = drain.stats();
        Ending::begin(move || drain.left(), close_timeout, stats)
    };
    let mut ending = None;
    loop {
        let draining = async {
            drain.begun().await;
            drain.run(&inboxes).await
        };
        let mut draining = std::pin::pin!(draining);
        let end = loop {
            tokio::select! {
                end = &mut draining => break end,
                error = crew.failed() => return Err(error),
                () = signals.next() => {
                    if !drain.begin_for_good() {
                        tracing::warn!("second signal: ending without waiting for clients");
                        return Ok(None);
                    }
                    ending = Some(begin_end());
                }
            }
        };
        if end == End::Drained {
            // Who asked for it over the admin listener could take it back until now.
            return Ok(Some(ending.unwrap_or_else(begin_end)));
        }
    }
}

/// Completes at a signal that is not the first: a drain may have begun without one.
async fn second(drain: &Drain, signals: &mut Signals) {
    loop {
        signals.next().await;
        if !drain.begin_for_good() {
            return;
        }
    }
}

/// Writes the readiness line: the only line on stdout, for people and for programs that wait for it.
fn announce(config: &Config, clients: &[SocketAddr], admin: SocketAddr, shards: usize) -> io::Result<()> {
    let urls: Vec<_> = clients.iter().map(|address| format!("ws://{address}{}", config.path)).collect();
    tracing::info!(access = config.access(), "clients may connect");
    if config.has_demo() {
        tracing::info!("a chat to try it with: http://{admin}/demo");
    }
    let mut out = io::stdout().lock();
    writeln!(out, "throng ready: clients {}, admin http://{admin}, {shards} shards", urls.join(" "))?;
    out.flush()
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
