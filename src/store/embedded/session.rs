//! What one run of the store leaves for the next: the format of the directory, and whether the
//! machine failed in between.
//!
//! Messages of `os` durability are with the operating system when they are acknowledged. They
//! survive the end of this process in any way, but when the machine itself fails, the last of them
//! may be gone. Their numbers must not be given again in the same epoch, or a reader would take
//! another message for the one that it missed. So the directory tells whether it was closed, and in
//! which boot of the machine it was opened: *opened, not closed, another boot* is a **loss**. Losses
//! are counted, each room's record tells how many there had been when its epoch began, and a
//! room of `os` durability with an older count begins a new epoch when it is next used.
//!
//! Rooms of `fsync` durability never notice.
//!
//! `session` is one line: *state losses boot journals*. `making` is written before the engine's files
//! are made and replaced when all are there: nothing was acknowledged before, so what is found then is
//! made anew. In every other state files that are missing are missing (`files.rs`). A journal is
//! written as *number*`:`*bytes*; without any, their lengths were about to change.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::super::StoreError;
use super::fault::{damaged, io_error};
use super::files::{self, Noted};

/// What the file `format` says. Another text is another format.
const FORMAT: &str = "throng rooms 1";

/// Where the kernel tells which boot this is; a random text.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A boot that is not known: another than this one.
const UNKNOWN: &str = "unknown";

/// How the last run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// There was none, or it did not come so far that it had taken anything.
    Never,
    /// It closed the store.
    Closed,
    /// The process ended, the machine went on.
    Killed,
    /// The machine may have failed.
    Lost,
}

/// This run.
#[derive(Debug)]
pub(super) struct Session {
    dir: PathBuf,
    boot: String,
    losses: u64,
    /// The journals as the last run noted them; none if it did not.
    noted: Vec<Noted>,
    /// The boot of the last run, if the machine may have failed since.
    lost_boot: Option<String>,
}

impl Session {
    /// Checks that `dir` has a format that this understands, and finds out how the last run ended.
    /// Nothing is written but `format`, into a directory that has nothing of a store.
    pub(super) fn open(dir: &Path) -> Result<(Session, Ended), StoreError> {
        check_format(dir)?;
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned();
        let file = dir.join("session");
        let (last, ended) = match fs::read_to_string(&file) {
            Ok(text) => {
                let Some(mut last) = parse(&text) else {
                    return Err(damaged(file.display(), "read the last session", format!("{text:?}")));
                };
                let ended = match &last.state {
                    State::Making => Ended::Never,
                    State::Closed => Ended::Closed,
                    State::Open(then) if *then == boot && !boot.is_empty() => Ended::Killed,
                    State::Open(_) => Ended::Lost,
                };
                last.losses += u64::from(ended == Ended::Lost);
                (last, ended)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if dir.join("db").exists() {
                    return Err(missing(
                        &file,
                        "open 1000000 unknown",
                        "rooms of `os` durability begin anew",
                    ));
                }
                (Last { state: State::Making, losses: 0, noted: Vec::new() }, Ended::Never)
            }
            Err(error) => return Err(io_error(dir, "read `session`", &error)),
        };
        let lost_boot = match (ended, last.state) {
            (Ended::Lost, State::Open(then)) => Some(if then.is_empty() { UNKNOWN.to_owned() } else { then }),
            _ => None,
        };
        let session =
            Session { dir: dir.to_owned(), boot, losses: last.losses, noted: last.noted, lost_boot };
        Ok((session, ended))
    }

    /// The journals as the last run noted them.
    pub(super) fn noted(&self) -> &[Noted] {
        &self.noted
    }

    /// Writes down that the engine's files are about to be made.
    pub(super) fn make(&self) -> Result<(), StoreError> {
        self.write(&format!("making {}\n", self.losses))
    }

    /// Losses that were seen up to now.
    pub(super) fn losses(&self) -> u64 {
        self.losses
    }

    /// Messages that were acknowledged are gone, though the machine went on.
    pub(super) fn lose(&mut self) -> Result<(), StoreError> {
        self.losses += 1;
        self.begin()
    }

    /// Writes down that the store is open and its journals may get shorter.
    pub(super) fn begin(&self) -> Result<(), StoreError> {
        self.write(&format!("open {} {}\n", self.losses, self.boot))
    }

    /// Writes down that the journals are about to be made shorter. That the machine failed is not
    /// forgotten: who is killed before they are mended finds them torn again.
    pub(super) fn forget_lengths(&self) -> Result<(), StoreError> {
        match &self.lost_boot {
            Some(boot) => self.write(&format!("open {} {boot}\n", self.losses - 1)),
            None => self.begin(),
        }
    }

    /// Writes down that the store is open, and how long its journals are, which get longer from now
    /// on; before the first message is.
    pub(super) fn go_on(&self) -> Result<(), StoreError> {
        self.write(&format!("open {} {}{}\n", self.losses, self.boot, self.journals()?))
    }

    /// Writes down that everything is on the disk; after that is so.
    pub(super) fn end(&self) -> Result<(), StoreError> {
        self.write(&format!("closed {}{}\n", self.losses, self.journals()?))
    }

    fn journals(&self) -> Result<String, StoreError> {
        let noted = files::note(&self.dir.join("db"))?;
        Ok(noted.iter().map(|(number, bytes)| format!(" {number}:{bytes}")).collect())
    }

    fn write(&self, text: &str) -> Result<(), StoreError> {
        replace(&self.dir, "session", text).map_err(|error| io_error(&self.dir, "write `session`", &error))
    }
}

/// What the last run wrote.
struct Last {
    state: State,
    losses: u64,
    noted: Vec<Noted>,
}

enum State {
    Making,
    Closed,
    /// In this boot.
    Open(String),
}

fn parse(text: &str) -> Option<Last> {
    let mut words = text.strip_suffix('\n')?.split(' ');
    let (state, losses) = (words.next()?, words.next()?.parse().ok()?);
    let state = match state {
        "making" => State::Making,
        "closed" => State::Closed,
        "open" => State::Open(words.next()?.to_owned()),
        _ => return None,
    };
    let mut noted = Vec::new();
    for word in words {
        let (number, bytes) = word.split_once(':')?;
        noted.push((number.parse().ok()?, bytes.parse().ok()?));
    }
    Some(Last { state, losses, noted })
}

/// The error for a small file that is not there, though others are.
fn missing(file: &Path, text: &str, follows: &str) -> StoreError {
    let file = file.display();
    StoreError::Corrupt(format!(
        "cannot open the store: found: {file} is missing; needed: the file as it was written; put back a copy \
         of the directory, or go on with `echo '{text}' > {file}`: {follows}"
    ))
}

fn check_format(dir: &Path) -> Result<(), StoreError> {
    match fs::read_to_string(dir.join("format")) {
        Ok(found) if found.trim_end() == FORMAT => Ok(()),
        Ok(found) => Err(StoreError::Corrupt(format!(
            "cannot use {}: found: format {:?}; needed: {FORMAT:?}; start the throng that wrote it, or give \
             this one another directory (`data` or --data)",
            dir.display(),
            found.trim_end(),
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if dir.join("db").exists() || dir.join("session").exists() {
                return Err(missing(&dir.join("format"), FORMAT, "if that is the format of these files"));
            }
            replace(dir, "format", &format!("{FORMAT}\n"))
                .map_err(|error| io_error(dir, "write `format`", &error))
        }
        Err(error) => Err(io_error(dir, "read `format`", &error)),
    }
}

/// Writes a small file so that it is always whole: beside it, then in its place.
fn replace(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let beside = dir.join(format!("{name}.new"));
    let mut file = File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, dir.join(name))?;
    File::open(dir)?.sync_all()
}
