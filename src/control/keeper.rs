//! The durable rooms in the life of a server: opens the store, runs the committer's thread, watches
//! that nobody waits for it too long, and ends it last.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::config::Config;
use super::data_dir::DataDir;
use crate::rooms::{Event, Links, Post, Shared, Ticket};
use crate::shard::inbox::Sender;
use crate::shard::message::Message;
use crate::store::committer::{self, Committer, Gauge};
use crate::store::{Embedded, EmbeddedOptions, Memory, StoreError, StoreStats};

/// Directory of the store inside the data directory.
const STORE: &str = "rooms";

/// How often the shards are told to look for those that have waited too long.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

/// The way to every shard.
pub(super) type Inboxes = Arc<[Sender<Message<Event>>]>;

/// The committer's thread, and the way to it.
#[derive(Debug)]
pub(super) struct Keeper {
    handle: committer::Handle<Ticket>,
    /// Told when the committer has ended and its store is closed.
    ended: oneshot::Receiver<()>,
    stats: Arc<StoreStats>,
}

impl Keeper {
    /// Opens the store in `dir` and starts the committer. To be called when every shard has a
    /// descriptor table of its own: a copy of the store's descriptors would keep its deleted files.
    ///
    /// # Errors
    ///
    /// The store cannot be opened; the text says why and what to do.
    pub(super) fn start(
        config: &Config,
        dir: &DataDir,
        (handle, intake): (committer::Handle<Ticket>, committer::Intake<Ticket>),
        shared: Arc<Shared>,
        inboxes: Inboxes,
    ) -> Result<Self, StoreError> {
        let store = &config.store;
        let options = EmbeddedOptions {
            cache_bytes_max: store.cache_bytes_max,
            disk_free_bytes_min: store.disk_free_bytes_min,
        };
        let path = dir.path().join(STORE);
        // After a crash what was not yet in files is read back, which may take a second or two.
        tracing::info!("opening the store in {}", path.display());
        let begun = Instant::now();
        let disk = Embedded::open(&path, options)?;
        tracing::info!("the store is open after {} ms", begun.elapsed().as_millis());
        let stats = disk.stats();
        let committer = Committer::new(
            intake,
            Post::new(shared, Links::of_no_shard(inboxes)),
            Box::new(Memory::new(store.cache_bytes_max)),
            Box::new(disk),
            Duration::from_millis(store.commit_timeout_ms.into()),
        );
        let (tell_end, ended) = oneshot::channel();
        thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || {
                committer.run();
                // Nobody listens any more if the server was told to end at once.
                let _ = tell_end.send(());
            })
            .map_err(|error| StoreError::Io(format!("cannot start the committer's thread: {error}")))?;
        Ok(Keeper { handle, ended, stats })
    }

    /// What the store does.
    pub(super) fn stats(&self) -> Arc<StoreStats> {
        Arc::clone(&self.stats)
    }

    /// What the committer does.
    pub(super) fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(self.handle.gauge())
    }

    /// Ends the committer; completes when everything that it was asked is done and the store closed.
    pub(super) async fn end(self) {
        self.handle.stop();
        // A panic of its thread has ended the process.
        let _ = self.ended.await;
    }
}

/// For ever: while anything waits for the committer, has the shards refuse what has waited for
/// `timeout_ms`. The disk may keep the committer itself from telling them.
pub(super) async fn watch(gauge: Arc<Gauge>, inboxes: Inboxes, timeout_ms: u64) {
    let mut interval = tokio::time::interval(WATCH_INTERVAL);
    loop {
        interval.tick().await;
        if gauge.waiting_bytes() == 0 {
            continue;
        }
        for inbox in inboxes.iter() {
            inbox.push(Message::Service(Event::Overdue { after_ms: timeout_ms }), 0);
            inbox.wake();
        }
    }
}
