//! Ctrl-C and SIGTERM, so that a run that is stopped still prints what it has measured.

use std::sync::mpsc::Sender;

use nix::sys::signal::{SigSet, Signal};

use super::fleet::Notice;
use super::{freeze, server};

/// Turns the first SIGINT or SIGTERM into [`Notice::Interrupted`]; the second ends the process as usual.
///
/// Must run before any other thread starts: threads inherit the blocked signals.
///
/// # Errors
///
/// The signals cannot be blocked or the waiting thread cannot be started.
pub fn watch(notices: Sender<Notice>) -> Result<(), String> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block().map_err(|error| format!("signals cannot be blocked: {}", error.desc()))?;
    let wait = move || {
        if signals.wait().is_ok() {
            // A run that has ended no longer listens, and then there is nothing to stop.
            let _ = notices.send(Notice::Interrupted);
        }
        if signals.wait().is_ok() {
            // No destructor runs from here on.
            freeze::thaw();
            server::end_child();
            std::process::exit(130);
        }
    };
    let started = std::thread::Builder::new().name("signals".to_owned()).spawn(wait);
    started.map(drop).map_err(|error| format!("the signal thread cannot be started: {error}"))
}
