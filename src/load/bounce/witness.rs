//! A member that stays all the time: it is told who comes and goes, and asks how many are there.
//!
//! Absent on purpose: a socket that blocks. The thread looks every few milliseconds, which no figure depends on but
//! the time until somebody knows, by so much.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Roster;
use crate::load::connection::{Script, Tally, mask};
use crate::load::speaker::{BUFFER_BYTES, Speaker};
use crate::load::watch::Watch;
use crate::wire::frame::write_client_frame;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Between two questions.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// What it knows now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// Members by what it was told, itself included.
    pub told: u64,
    /// Members by the last answer; `None` before there is one.
    pub counted: Option<u64>,
    /// Questions that were answered.
    pub answers: u64,
    /// Lines that told who came or went.
    pub comings: u64,
    /// What it was told that cannot be.
    pub contradictions: u64,
}

/// The running witness.
pub struct Witness {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    known: Mutex<Known>,
    asks: AtomicBool,
    ends: AtomicBool,
    /// Why its connection ended.
    ended: Mutex<Option<String>>,
}

impl Witness {
    /// Connects the witness, connection 0 of `script`, to `address`.
    ///
    /// # Errors
    ///
    /// It did not become whole, or its thread cannot be started.
    pub fn start(address: SocketAddr, script: Script) -> Result<Self, String> {
        let mut roster = Roster::default();
        let mut watch_joining = Watch::Roster(&mut roster);
        let speaker = Speaker::connect_watched(address, &script, 0, &mut watch_joining);
        let mut speaker = speaker.map_err(|error| format!("the witness, which is a member: {error}"))?;
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let watch = move || {
            if let Err(reason) = watch(&mut speaker, &script, roster, &own) {
                *own.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
            }
        };
        let thread = std::thread::Builder::new().name("witness".to_owned()).spawn(watch);
        let thread = thread.map_err(|error| format!("the witness's thread cannot be started: {error}"))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Lets it ask from now on how many are there.
    pub fn ask(&self) {
        self.shared.asks.store(true, SeqCst);
    }

    /// What it knows.
    pub fn known(&self) -> Known {
        *self.shared.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why its connection ended, if it has.
    pub fn ended(&self) -> Option<String> {
        self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.shared.ends.store(true, SeqCst);
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

fn watch(speaker: &mut Speaker, script: &Script, mut roster: Roster, shared: &Shared) -> Result<(), String> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut tally, mut asked, mut questions) = (Tally::default(), Instant::now(), 0);
    while !shared.ends.load(SeqCst) {
        if shared.asks.load(SeqCst) && questions == roster.answers && asked.elapsed() >= ASK_EVERY {
            let question = script.dialect.count_members(0);
            write_client_frame(&mut speaker.unsent, script.dialect.opcode, &question, mask(questions));
            (asked, questions) = (Instant::now(), questions + 1);
        }
        speaker.write()?;
        speaker.read(0, script, &mut buffer, &mut tally, &mut Watch::Roster(&mut roster))?;
        *shared.known.lock().unwrap_or_else(PoisonError::into_inner) = Known {
            told: roster.members(),
            counted: roster.counted,
            answers: roster.answers,
            comings: roster.comings,
            contradictions: roster.contradictions,
        };
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
