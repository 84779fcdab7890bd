//! The terminal: taken over, drawn on, and given back whatever ends `throng top`.
//!
//! A panic gives it back by ratatui's hook; SIGTERM, SIGHUP and SIGINT are waited for by a thread, so that
//! they end the loop as a key does.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use serde_json::Value;

use super::draw;
use super::feed::Notice;
use super::view::{Step, View};
use crate::cli::admin::{Admin, Trouble};

/// Longest that a beat waits to be drawn, or a signal to be heeded.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Has `sender` tell when the process is asked to end. Must run before any other thread starts: threads
/// inherit the blocked signals.
///
/// # Errors
///
/// The signals cannot be blocked, or no thread can be started to wait for them.
pub(super) fn watch_signals(sender: SyncSender<Notice>) -> Result<(), String> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block().map_err(|error| format!("signals cannot be blocked: {}", error.desc()))?;
    let wait = move || {
        while signals.wait().is_ok() {
            if sender.try_send(Notice::End).is_err() {
                // Nobody listens any more, or not soon enough.
                ratatui::restore();
                std::process::exit(130);
            }
        }
    };
    let started = thread::Builder::new().name("signals".to_owned()).spawn(wait);
    started.map(drop).map_err(|error| format!("the signal thread cannot be started: {error}"))
}

/// Shows what `notices` tell of `admin`'s server until the user has seen enough.
///
/// # Errors
///
/// The terminal cannot be used.
pub(super) fn run(
    admin: &Admin,
    sender: &SyncSender<Notice>,
    notices: &Receiver<Notice>,
) -> Result<(), String> {
    let result = ratatui::try_init().and_then(|mut terminal| watch(&mut terminal, admin, sender, notices));
    let restored = ratatui::try_restore();
    result.and(restored).map_err(|error| format!("the terminal cannot be used: {error}"))
}

fn watch(
    terminal: &mut DefaultTerminal,
    admin: &Admin,
    sender: &SyncSender<Notice>,
    notices: &Receiver<Notice>,
) -> io::Result<()> {
    let mut view = View::new(admin.url());
    terminal.draw(|frame| draw::draw(frame, &view))?;
    loop {
        let mut is_changed = false;
        if event::poll(LOOK_EVERY)? {
            is_changed = true;
            let step = match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => view.press(key),
                _ => Step::Stay,
            };
            match step {
                Step::Stay => {}
                Step::Quit => return Ok(()),
                Step::Post(path) => post(admin.clone(), path, sender.clone())?,
            }
        }
        for notice in notices.try_iter() {
            is_changed = true;
            if view.take(notice) == Step::Quit {
                return Ok(());
            }
        }
        if is_changed {
            terminal.draw(|frame| draw::draw(frame, &view))?;
        }
    }
}

/// Asks the server for something aside, and has what came of it told.
fn post(admin: Admin, path: &'static str, sender: SyncSender<Notice>) -> io::Result<()> {
    let ask = move || {
        let answer: Result<Value, Trouble> = admin.post(path, "{}");
        let told = match answer {
            Ok(_) if path.ends_with("cancel") => "The drain is cancelled.".to_owned(),
            Ok(_) => "The drain has begun; d cancels it.".to_owned(),
            Err(trouble) => trouble.text(),
        };
        // The loop may have ended.
        drop(sender.send(Notice::Told(told)));
    };
    thread::Builder::new().name("ask".to_owned()).spawn(ask).map(drop)
}
