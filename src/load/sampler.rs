//! The highest that a gauge of the child was, looked at ten times a second on a thread of its own.
//!
//! Absent on purpose: what it was between two looks.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use super::metrics::Metrics;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A look at one gauge until this is finished.
pub struct Sampler {
    stop: Sender<()>,
    thread: JoinHandle<Option<u64>>,
}

impl Sampler {
    /// Begins to look at gauge `name`, over all shards, of the throng whose admin listener is at `address`.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn start(address: &str, name: &'static str) -> Result<Self, String> {
        let (stop, stopped) = mpsc::channel();
        let address = address.to_owned();
        let look = move || {
            let mut highest = None;
            while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                // A server that is busy may answer late, and then the next look counts.
                let now = Metrics::ask(&address).ok().and_then(|metrics| metrics.over_shards(name));
                highest = highest.max(now);
            }
            highest
        };
        let thread = std::thread::Builder::new().name("sampler".to_owned()).spawn(look);
        let thread = thread.map_err(|error| format!("the sampling thread cannot be started: {error}"))?;
        Ok(Self { stop, thread })
    }

    /// The highest that was seen, if any was.
    pub fn finish(self) -> Option<u64> {
        drop(self.stop);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
