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

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::super::StoreError;
use super::fault::{damaged, io_error};

/// What the file `format` says. Another text is another format.
const FORMAT: &str = "throng rooms 1";

/// Where the kernel tells which boot this is; a random text.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// How the last run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// There was none, or it closed the store.
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
}

impl Session {
    /// Checks that `dir` has a format that this understands, and finds out how the last run ended.
    /// Nothing but a missing `format` is written.
    pub(super) fn open(dir: &Path) -> Result<(Session, Ended), StoreError> {
        check_format(dir)?;
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned();
        let (losses, ended) = match fs::read_to_string(dir.join("session")) {
            Ok(text) => {
                let Some((losses, last)) = parse(&text) else {
                    let file = dir.join("session");
                    return Err(damaged(file.display(), "read the last session", format!("{text:?}")));
                };
                match last {
                    None => (losses, Ended::Closed),
                    Some(last) if last == boot && !boot.is_empty() => (losses, Ended::Killed),
                    Some(_) => (losses + 1, Ended::Lost),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (0, Ended::Closed),
            Err(error) => return Err(io_error(dir, "read `session`", &error)),
        };
        Ok((Session { dir: dir.to_owned(), boot, losses }, ended))
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

    /// Writes down that the store is open; before the first message is.
    pub(super) fn begin(&self) -> Result<(), StoreError> {
        self.write(&format!("open {} {}\n", self.losses, self.boot))
    }

    /// Writes down that everything is on the disk; after that is so.
    pub(super) fn end(&self) -> Result<(), StoreError> {
        self.write(&format!("closed {}\n", self.losses))
    }

    fn write(&self, text: &str) -> Result<(), StoreError> {
        replace(&self.dir, "session", text).map_err(|error| io_error(&self.dir, "write `session`", &error))
    }
}

/// Losses, and the boot in which the store was left open.
fn parse(text: &str) -> Option<(u64, Option<String>)> {
    let mut words = text.strip_suffix('\n')?.split(' ');
    match (words.next()?, words.next()?.parse().ok()?, words.next()) {
        ("closed", losses, None) => Some((losses, None)),
        ("open", losses, Some(boot)) => Some((losses, Some(boot.to_owned()))),
        _ => None,
    }
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
