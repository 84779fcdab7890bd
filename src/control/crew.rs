//! The shards' threads: each made with its table of descriptors, given its listeners, and waited for.
//!
//! The order is that of [`super::server`]: [`Crew::hire`] returns when every thread has copied the process's
//! table, and [`Crew::open_doors`] has each open its sockets in its own. A thread that ends says why.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::capacity;
use super::config::Config;
use super::failure::{Failure, cannot_listen};
use super::keeper::Inboxes;
use crate::host::inherited::{Copies, Inherited};
use crate::host::listen::{self, Listeners};
use crate::host::{descriptors, processors};
use crate::rooms::{Event, Links, Rooms, Shared, Ticket};
use crate::shard::{Gate, Seat, Shard, Stats};
use crate::store::committer;

/// The shards' threads and the ways to reach them.
#[derive(Debug)]
pub(super) struct Crew {
    /// What wakes each shard and tells it what to do.
    pub(super) inboxes: Inboxes,
    /// By what all of them let clients in.
    pub(super) gate: Arc<Gate>,
    /// Where each thread waits for the addresses to open its listeners on.
    orders: Vec<mpsc::Sender<Vec<SocketAddr>>>,
    /// Every shard has sockets that were handed over.
    are_inherited: bool,
    opened: mpsc::Receiver<Result<(), Failure>>,
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
    gate: Arc<Gate>,
    rooms: Rooms,
    cpu: Option<usize>,
    descriptors_max: u64,
    /// Sockets that were handed over for this shard, and the copies of all shards'.
    inherited: Option<(Vec<TcpListener>, Copies)>,
    orders: mpsc::Receiver<Vec<SocketAddr>>,
    opened: mpsc::Sender<Result<(), Failure>>,
    ended: UnboundedSender<Result<(), Failure>>,
    tables_copied: Arc<Barrier>,
}

impl Crew {
    /// Starts a thread for every shard. When this returns each has its own descriptor table.
    pub(super) fn hire(
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
        let gate = Arc::new(Gate::default());
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
                gate: Arc::clone(&gate),
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
        Ok(Crew { inboxes, gate, orders, are_inherited: copies.is_some(), opened, ends, running: shards })
    }

    /// Opens every shard's listeners; returns the addresses with the ports that the kernel chose.
    pub(super) fn open_doors(&mut self, config: &Config) -> Result<Vec<SocketAddr>, Failure> {
        let mut addresses = Vec::with_capacity(config.listen.len());
        let mut claims = Vec::new();
        let claim = if config.reuse_port { listen::share } else { listen::claim };
        for wanted in &config.listen {
            if self.are_inherited {
                addresses.push(*wanted);
                continue;
            }
            let (address, claim) =
                claim(*wanted).map_err(|error| cannot_listen("clients", *wanted, &error))?;
            addresses.push(address);
            claims.push(claim);
        }
        for order in &self.orders {
            // A thread that is gone has sent why, which the loop below receives.
            let _ = order.send(addresses.clone());
        }
        for _ in &self.orders {
            self.opened.recv().expect("every thread answers or the process has ended")?;
        }
        Ok(addresses)
    }

    /// Completes when a shard has failed.
    pub(super) async fn failed(&mut self) -> Failure {
        while let Some(end) = self.ends.recv().await {
            self.running -= 1;
            if let Err(error) = end {
                return error;
            }
        }
        Failure("every shard ended unasked".to_owned())
    }

    /// Completes when every shard has ended.
    pub(super) async fn ended(&mut self) -> Result<(), Failure> {
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
        let unshared = unshared.map_err(|error| {
            Failure(format!(
                "a shard cannot have a descriptor table of its own: {error}; allow unshare(2) in the container's \
                 seccomp profile, or start with --shared-fd-table"
            ))
        });
        let prepared = unshared.and_then(|()| {
            let pinned = self.cpu.map_or(Ok(()), processors::pin);
            pinned.map_err(|error| {
                Failure(format!("a shard cannot be pinned to its core: {error}; pin_shards = false"))
            })
        });
        let Ok(addresses) = self.orders.recv() else { return Ok(()) };
        let open = || {
            let reserved = capacity::reserved(&self.config, self.shards)?;
            let allowed =
                capacity::connections_max(&self.config, self.descriptors_max, reserved, self.shards);
            if self.index == 0 {
                capacity::tell(&self.config, self.shards, reserved);
            }
            self.stats.connections_max.set(allowed as u64);
            let settings = self.config.shard_settings(self.shards, allowed);
            let listeners = match sockets {
                Some(sockets) => Listeners::inherit(sockets, &settings.socket)?,
                None => Listeners::open(&addresses, &settings.socket)?,
            };
            let shard = Shard::open(self.seat, listeners, settings, self.stats, self.rooms)?;
            Ok(shard.behind(self.gate))
        };
        let shard =
            prepared.and_then(|()| open().map_err(|error| cannot_listen("clients", addresses[0], &error)));
        let (answer, shard) = match shard {
            Ok(shard) => (Ok(()), Some(shard)),
            Err(error) => (Err(error), None),
        };
        // Without the other end the start has failed elsewhere and the process is ending.
        let _ = self.opened.send(answer);
        shard.map_or(Ok(()), Shard::run)
    }
}
