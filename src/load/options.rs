//! What every scenario is told: which server, how it is reached, and where the answer goes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use super::continuity::Recovery;
use super::dialect::Dialect;
use super::fleet::Notice;
use super::interrupt;
use super::keep::Keep;
use super::report::Outputs;
use super::settings::Settings;

/// Options that every subcommand of `throng bench` takes.
#[derive(Debug, Clone)]
pub struct Common {
    /// The server, or `None` to start one.
    pub target: Option<String>,
    /// Its process.
    pub pid: Option<u32>,
    /// Arguments for a server that is started, split at spaces.
    pub serve_args: String,
    /// How a server that is started keeps its rooms; `None`: it does not. Of a server at `target` it says
    /// that its rooms have a history, whatever its kind.
    pub keep: Option<Keep>,
    /// What else a server that is started is configured with.
    pub settings: Settings,
    /// How it is spoken to.
    pub dialect: Arc<Dialect>,
    /// Loopback addresses to connect from, or as many as make ports cheap.
    pub source_ips: Option<u64>,
    /// Threads that hold the connections, or as few as the descriptor limit allows.
    pub threads: Option<u64>,
    /// Where the report goes as JSON.
    pub json: Option<PathBuf>,
    /// Where it goes as HTML.
    pub report: Option<PathBuf>,
}

impl Common {
    /// How members join: so that they can recover, if rooms have a history.
    pub fn recovery(&self) -> Recovery {
        if self.keep.is_some() { Recovery::Asked } else { Recovery::No }
    }

    /// What a run does first: opens the files of its report and begins to hear Ctrl-C.
    ///
    /// # Errors
    ///
    /// A file cannot be written, or the signals cannot be watched.
    pub fn prepare(&self) -> Result<(Outputs, Sender<Notice>, Receiver<Notice>), String> {
        let outputs = Outputs::open(self.json.as_deref(), self.report.as_deref())?;
        let (sender, notices) = mpsc::channel();
        interrupt::watch(sender.clone())?;
        Ok((outputs, sender, notices))
    }
}
