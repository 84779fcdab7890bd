//! What comes from the server: a thread that reads its events, and starts anew when they break off.

use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::events::Events;
use crate::cli::admin::{Admin, Trouble};

/// Where the events are.
const PATH: &str = "/dashboard/events";

/// Time before the server is asked again. It sends an event each second, so sooner is no use.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Events that may wait for whoever draws.
const WAITING_MAX: usize = 16;

/// What the thread tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// An event's data: a snapshot as JSON.
    Event(String),
    /// The events broke off, or did not begin; in words.
    Lost(String),
    /// What came of something that the user asked the server for, in words.
    Told(String),
    /// The process is asked to end.
    End,
}

/// A way to tell, and what is told.
pub(super) fn channel() -> (SyncSender<Notice>, Receiver<Notice>) {
    sync_channel(WAITING_MAX)
}

/// Starts to read the events of `admin`'s server. It ends with the process, or when nobody listens.
///
/// # Errors
///
/// No thread can be started.
pub(super) fn start(admin: Admin, sender: SyncSender<Notice>) -> Result<(), String> {
    let read = move || {
        while let Err(error) = read(&admin, &sender) {
            if sender.send(Notice::Lost(error)).is_err() {
                return;
            }
            thread::sleep(AGAIN_AFTER);
        }
    };
    let started = thread::Builder::new().name("events".to_owned()).spawn(read);
    started.map(drop).map_err(|error| format!("no thread to read events: {error}"))
}

/// Reads until nobody listens.
fn read(admin: &Admin, sender: &SyncSender<Notice>) -> Result<(), String> {
    let mut stream = admin.open(PATH).map_err(Trouble::text)?;
    let mut events = Events::default();
    let mut buffer = [0; 16 * 1024];
    let mut is_heard = true;
    while is_heard {
        let bytes = match stream.read(&mut buffer) {
            Ok(0) => return Err(format!("{} ended", admin.url())),
            Ok(bytes) => bytes,
            Err(error) => return Err(format!("{} broke off: {error}", admin.url())),
        };
        events.push(&buffer[..bytes], |data| {
            let text = String::from_utf8_lossy(data).into_owned();
            is_heard &= sender.send(Notice::Event(text)).is_ok();
        })?;
    }
    Ok(())
}
