//! Which files of the engine there must be before it is opened. It would make what is missing anew,
//! empty, and numbers of messages would be given again.
//!
//! The engine removes journals from the oldest on, and never the one that it writes. It makes each
//! with [`JOURNAL_BYTES`] zeros, and shortens it only when it is opened. So the length that a journal
//! had when the store was opened, or closed, is the least that it has after the process was killed.
//! What was appended to a shorter journal since then, and is gone without a trace, is not told.

use std::path::Path;
use std::{fs, io};

use super::super::StoreError;
use super::fault::io_error;
use super::journal;
use super::session::Ended;

/// Bytes with which the engine makes a journal. Source: fjall 3.1, `journal/writer.rs`.
pub(super) const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;

/// Keyspaces by their number: the engine's own, and the four of `record.rs`.
const KEYSPACES: std::ops::RangeInclusive<u32> = 0..=4;

/// A journal as it was when the store was opened or closed: its number, and bytes of the file.
pub(super) type Noted = (u64, u64);

/// The journals in `dir`, to be noted.
pub(super) fn note(dir: &Path) -> Result<Vec<Noted>, StoreError> {
    let failed = |error| io_error(dir, "note the journals", &error);
    let mut noted = Vec::new();
    for (number, path) in journal::list(dir).map_err(failed)? {
        match fs::metadata(&path) {
            Ok(file) => noted.push((number, file.len())),
            // The engine had it removed while the list was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(noted)
}

/// Checks that no file of the engine in `dir` is missing, or shorter than `noted` says. Writes nothing.
///
/// # Errors
///
/// One is. The text names it, and says what to do.
pub(super) fn check(dir: &Path, ended: Ended, noted: &[Noted]) -> Result<(), StoreError> {
    let failed = |error| io_error(dir, "check the files of the store", &error);
    let remedy = remedy(dir);
    let refuse = |file: &Path, found: &str, needed: &str| {
        let file = file.display();
        Err(StoreError::Corrupt(format!(
            "cannot open the store: found: {file} {found}; needed: {needed}; {remedy}"
        )))
    };
    let keyspaces = KEYSPACES.map(|number| dir.join(format!("keyspaces/{number}/current")));
    for file in std::iter::once(dir.join("version")).chain(keyspaces) {
        match fs::metadata(&file) {
            Ok(found) if found.is_file() && found.len() > 0 => {}
            Ok(_) => return refuse(&file, "is empty, or no file", "the file as it was written"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return refuse(&file, "is missing", "the file as it was written");
            }
            Err(error) => return Err(failed(error)),
        }
    }
    let journals = note(dir)?;
    let path = |number: u64| dir.join(format!("{number}.jnl"));
    let first = journals.first().map(|(number, _)| *number);
    let last_noted = noted.last().map(|(number, _)| *number);
    let Some(first) = first else {
        return refuse(&path(last_noted.unwrap_or(0)), "is missing, as all journals are", "the journals");
    };
    for (number, (found, _)) in (first..).zip(&journals) {
        if number != *found {
            return refuse(&path(number), "is missing", "all journals between the first and the last");
        }
    }
    for &(number, bytes) in noted {
        let found = journals.iter().find(|(found, _)| *found == number).map(|(_, bytes)| *bytes);
        let needed = format!("{bytes} bytes, as it had");
        match found {
            // The engine removes a journal that is not the last once all of it is in other files.
            None if ended != Ended::Closed && first > number => {}
            None => return refuse(&path(number), "is missing", &needed),
            Some(found) if found < bytes || ended == Ended::Closed && found != bytes => {
                return refuse(&path(number), &format!("has {found} bytes"), &needed);
            }
            Some(_) => {}
        }
    }
    for &(number, bytes) in
        journals.iter().filter(|(number, _)| last_noted.is_some_and(|last| *number > last))
    {
        if ended == Ended::Closed {
            return refuse(&path(number), "is there", "no journal that was not there at the end");
        }
        // The process may have been killed when it had made the last one and not yet its zeros.
        let is_just_made = bytes == 0 && journals.last().is_some_and(|(last, _)| *last == number);
        if ended == Ended::Killed && bytes < JOURNAL_BYTES && !is_just_made {
            let needed = format!("{JOURNAL_BYTES} bytes, with which it was made");
            return refuse(&path(number), &format!("has {bytes} bytes"), &needed);
        }
    }
    Ok(())
}

/// What to do about files that are missing from the engine's directory.
fn remedy(dir: &Path) -> String {
    let rooms = dir.parent().unwrap_or(dir).display();
    format!(
        "stop whoever changes files there and put back a copy of the whole directory {rooms}; or, to give up \
         every room and message, remove all of it: `rm -r {rooms}`"
    )
}
