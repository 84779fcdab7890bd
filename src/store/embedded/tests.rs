//! Tests of what only the store on the disk does, and what they share.

mod commit;
mod damage;
mod resident;
mod retention;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::super::scratch::Scratch;
use super::super::{Position, Range, Store, StoreError};
use super::{Embedded, EmbeddedOptions};
use crate::hub::{Durability, Retention};

/// A time to begin at.
const NOW_MS: u64 = 1_000_000;

const FSYNC: Retention =
    Retention { size: 100, ttl_ms: 100_000, meta_ttl_ms: 1_000_000, durability: Durability::Fsync };
const OS: Retention = Retention { durability: Durability::Os, ..FSYNC };

const ALL: Range = Range { since: None, limit: usize::MAX, bytes_max: usize::MAX, reverse: false };

const OPTIONS: EmbeddedOptions = EmbeddedOptions { cache_bytes_max: 1 << 20, disk_free_bytes_min: 0 };

fn open(dir: &Path) -> Embedded {
    Embedded::open(dir, OPTIONS).unwrap()
}

/// Opens a store that must not open; the text of the error.
fn refused(dir: &Path) -> String {
    match Embedded::open(dir, OPTIONS) {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    }
}

/// Appends a body to a room of `fsync` durability.
fn append(store: &mut Embedded, room: &str, body: &str) -> Result<Position, StoreError> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    store.append(room, &FSYNC, NOW_MS, &body, None).map(|position| position.expect("no version"))
}

/// All that is kept of a room, with its position.
fn kept(store: &mut Embedded, room: &str) -> (Option<Position>, Vec<(u64, String)>) {
    let position = store.peek(room, &FSYNC, NOW_MS).unwrap();
    let publications = store.read(room, &FSYNC, NOW_MS, ALL).unwrap();
    let text = |body: Bytes| String::from_utf8(body.to_vec()).unwrap();
    (position, publications.into_iter().map(|one| (one.offset, text(one.body))).collect())
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Copies a directory that no store has open.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// All files below `dir` whose name ends so.
fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if path.to_str().unwrap().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The journal that is written.
fn journal(dir: &Path) -> PathBuf {
    files(&dir.join("db"), ".jnl").pop().unwrap()
}

/// A directory whose store holds what `write` wrote and was killed; its journal is without the zeros
/// that it is made with, and how long it was is not noted.
fn prepared(test: &str, write: impl FnOnce(&mut Embedded)) -> Scratch {
    let scratch = Scratch::new(test);
    let mut store = open(scratch.path());
    write(&mut store);
    store.kill();
    let journal = journal(scratch.path());
    let written = fs::read(&journal).unwrap().iter().rposition(|byte| *byte != 0).unwrap() + 1;
    fs::OpenOptions::new().write(true).open(journal).unwrap().set_len(written as u64).unwrap();
    forget_lengths(scratch.path());
    scratch
}

/// Makes the session that of a process that was killed before it noted the journals.
fn forget_lengths(dir: &Path) {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(dir.join("session"), format!("open 0 {boot}")).unwrap();
}
