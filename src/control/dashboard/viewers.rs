//! Who looks at the dashboard: how many, and what they are sent.
//!
//! Each gets the latest snapshot, encoded once for all. One who reads slowly misses some and keeps nothing
//! waiting.
//!
//! Invariant: one sampler runs while there are viewers, and a second at most after the last has gone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt as _};

use super::Dashboard;

/// Viewers at once: each is a connection of the admin listener and a line of JSON each second.
pub(super) const VIEWERS_MAX: usize = 64;

#[derive(Debug, Default)]
struct State {
    viewers: usize,
    is_sampling: bool,
}

/// Who looks.
#[derive(Debug)]
pub(super) struct Viewers {
    state: Mutex<State>,
    latest: watch::Sender<Arc<str>>,
}

impl Default for Viewers {
    fn default() -> Self {
        Viewers { state: Mutex::default(), latest: watch::Sender::new(Arc::from("")) }
    }
}

impl Viewers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more who looks at `owner`, which has these viewers, unless they are too many; and whether a sampler
    /// must be started.
    pub(super) fn enter(&self, owner: &Arc<Dashboard>) -> Option<(Viewer, bool)> {
        let mut state = self.state();
        if state.viewers >= VIEWERS_MAX {
            return None;
        }
        state.viewers += 1;
        let is_first = !std::mem::replace(&mut state.is_sampling, true);
        drop(state);
        Some((Viewer { owner: Arc::clone(owner), receiver: self.latest.subscribe() }, is_first))
    }

    /// Whether there is anybody to sample for. If not, the sampler that asks must end.
    pub(super) fn go_on(&self) -> bool {
        let mut state = self.state();
        state.is_sampling = state.viewers > 0;
        state.is_sampling
    }

    /// Shows a snapshot to everybody.
    pub(super) fn show(&self, json: String) {
        self.latest.send_replace(json.into());
    }

    /// How many there are, and whether a sampler runs.
    pub(super) fn count(&self) -> (usize, bool) {
        let state = self.state();
        (state.viewers, state.is_sampling)
    }
}

/// One who looks, until it is dropped.
#[derive(Debug)]
pub(super) struct Viewer {
    owner: Arc<Dashboard>,
    receiver: watch::Receiver<Arc<str>>,
}

impl Viewer {
    /// The snapshots from the next one on, as JSON.
    pub(super) fn snapshots(self) -> impl Stream<Item = Arc<str>> {
        let snapshots = WatchStream::from_changes(self.receiver.clone());
        // Who looks counts for as long as there is the stream.
        snapshots.map(move |json| {
            let _looks = &self;
            json
        })
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.owner.viewers.state().viewers -= 1;
    }
}
