//! The engine's journals, looked at while the engine is closed.
//!
//! When the engine opens, it replays its journals and cuts each off at the first thing that it does
//! not understand. That is right for the torn end that a killed process leaves, and a silent loss
//! for a journal that is damaged further in. So each journal is walked before: a torn end is cut off
//! here, with a warning; damage with a whole batch behind it is an error that says what to do. Where
//! the machine had failed, the end may be torn in any way, so what is cut off is put aside.
//!
//! The form, of the engine's journal version 3: batches, one after another, then zeros. A batch is
//! *start* (1, items u32, number u64), its items, *end* (3, checksum of all items' bytes u64, `FJL` 3).
//! An *item* is (2, kind u8, compression u8, keyspace u64, length of key u16, of value u32, of value
//! as it is here u32, key, value); *clear* (4, keyspace u64) is one too. Numbers are little-endian.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::Whence;
use xxhash_rust::xxh3::Xxh3;

use super::super::StoreError;
use super::fault::{damaged, io_error};

/// The end of every batch.
const BATCH_END: &[u8; 4] = b"FJL\x03";

/// Bytes of `start`.
const START_BYTES: usize = 13;

/// Where one journal is whole.
#[derive(Debug, PartialEq, Eq)]
struct Walk {
    /// Bytes up to the end of the last whole batch.
    whole_bytes: u64,
    /// Number of that batch, if there is one.
    last: Option<u64>,
    /// Bytes of the file.
    file_bytes: u64,
}

/// Reads one batch; its number. `None` if there is no whole one.
fn read_batch(reader: &mut impl Read) -> io::Result<Option<u64>> {
    match try_read_batch(reader) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        result => result,
    }
}

fn try_read_batch(reader: &mut impl Read) -> io::Result<Option<u64>> {
    let mut start = [0; START_BYTES];
    reader.read_exact(&mut start)?;
    let [1, items @ .., _, _, _, _, _, _, _, _] = start else { return Ok(None) };
    let number = u64::from_le_bytes(*start.last_chunk().expect("eight of 13"));
    let mut sum = Xxh3::new();
    for _ in 0..u32::from_le_bytes(items) {
        let mut head = [0; 21];
        reader.read_exact(&mut head[..9])?;
        let body_bytes = match head[0] {
            2 => {
                reader.read_exact(&mut head[9..])?;
                let key_bytes = u16::from_le_bytes([head[11], head[12]]);
                let value_bytes = u32::from_le_bytes([head[17], head[18], head[19], head[20]]);
                sum.update(&head);
                u64::from(key_bytes) + u64::from(value_bytes)
            }
            4 => {
                sum.update(&head[..9]);
                0
            }
            _ => return Ok(None),
        };
        let mut left = body_bytes;
        let mut buffer = [0; 4096];
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            reader.read_exact(&mut buffer[..part])?;
            sum.update(&buffer[..part]);
            left -= part as u64;
        }
    }
    let mut end = [0; 13];
    reader.read_exact(&mut end)?;
    let whole = end[0] == 3 && end[1..9] == sum.digest().to_le_bytes() && &end[9..] == BATCH_END;
    Ok(whole.then_some(number))
}

/// Walks a journal up to its first batch that is not whole, or has the number `before` or above.
fn walk(path: &Path, before: u64) -> io::Result<Walk> {
    let file = File::open(path)?;
    let file_bytes = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let mut walk = Walk { whole_bytes: 0, last: None, file_bytes };
    while let Some(number) = read_batch(&mut reader)? {
        if number >= before {
            break;
        }
        walk.whole_bytes = reader.stream_position()?;
        walk.last = Some(number);
    }
    Ok(walk)
}

/// What stands behind the whole batches, without the zeros that a journal is made with. Those are
/// a hole in the file, mostly, which is stepped over.
fn read_rest(path: &Path, walk: &Walk) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut rest = Vec::new();
    let mut at = walk.whole_bytes;
    while at < walk.file_bytes {
        let data = match nix::unistd::lseek(&file, at.cast_signed(), Whence::SeekData) {
            Ok(data) => data.cast_unsigned(),
            Err(Errno::ENXIO) => break,
            Err(errno) => return Err(errno.into()),
        };
        let hole = nix::unistd::lseek(&file, data.cast_signed(), Whence::SeekHole)?.cast_unsigned();
        rest.resize((data - walk.whole_bytes) as usize, 0);
        file.seek(SeekFrom::Start(data))?;
        (&file).take(hole - data).read_to_end(&mut rest)?;
        at = hole;
    }
    let written = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    rest.truncate(written);
    Ok(rest)
}

/// Whether a batch in `rest` was written to its end, so that it may have been acknowledged.
fn has_whole_batch(rest: &[u8]) -> bool {
    rest.ends_with(BATCH_END) || has_batch_behind(rest, u64::MAX)
}

/// Whether a whole batch with a number below `before` stands in `rest`, behind another's end.
fn has_batch_behind(rest: &[u8], before: u64) -> bool {
    memchr::memmem::find_iter(rest, BATCH_END)
        .map(|end| &rest[end + BATCH_END.len()..])
        .any(|mut behind| matches!(read_batch(&mut behind), Ok(Some(number)) if number < before))
}

/// The journals in `dir`, in the order in which they were written.
pub(super) fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut journals = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(journals),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse().ok());
        journals.extend(number.map(|number: u64| (number, path)));
    }
    journals.sort();
    Ok(journals)
}

fn cut(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(bytes)?;
    file.sync_all()
}

/// Makes the journals in `dir` such that the engine skips nothing when it replays them. `lost` says
/// that the machine failed since they were written.
///
/// # Errors
///
/// A journal is damaged before its end, and what is behind may have been acknowledged.
pub(super) fn mend(dir: &Path, lost: bool) -> Result<(), StoreError> {
    let failed = |error| io_error(dir, "check the journals", &error);
    for (_, path) in list(dir).map_err(failed)? {
        let walk = walk(&path, u64::MAX).map_err(failed)?;
        let rest = read_rest(&path, &walk).map_err(failed)?;
        if rest.is_empty() {
            continue;
        }
        let (name, at, bytes) = (path.display(), walk.whole_bytes, rest.len());
        if !has_whole_batch(&rest) {
            tracing::warn!("{name}: cut off {bytes} bytes of a write that was not finished, at {at}");
        } else if lost {
            let aside = path.with_extension(format!("{at}.torn"));
            fs::write(&aside, &rest).map_err(failed)?;
            let aside = aside.display();
            tracing::warn!(
                "{name}: cut off {bytes} bytes at {at} that the machine did not write whole when it failed; put \
                 aside as {aside}"
            );
        } else {
            return Err(StoreError::Corrupt(format!(
                "cannot open the store: found: {name} is damaged at byte {at}, and {bytes} bytes of messages that \
                 may have been acknowledged stand behind; needed: the file as it was written; check the disk \
                 (`dmesg`, `smartctl`), then put back a copy of the directory, or give up these messages with \
                 `truncate -s {at} {name}`"
            )));
        }
        cut(&path, walk.whole_bytes).map_err(failed)?;
    }
    Ok(())
}

/// Cuts off all batches from number `from` on, and ends the journals: the engine goes on in a
/// new one, and writes what is in the others to new files. Returns the last number that is left,
/// if there is any.
///
/// # Errors
///
/// A batch that was on the disk, the last of which had a number of at least `synced`, is there no
/// more. Nothing is cut then.
pub(super) fn retire(dir: &Path, from: u64, synced: u64) -> Result<Option<u64>, StoreError> {
    let failed = |error| io_error(dir, "end the journals", &error);
    let journals = list(dir).map_err(failed)?;
    let mut walks = Vec::new();
    let mut last = None;
    for (_, path) in &journals {
        let walk = walk(path, from).map_err(failed)?;
        last = walk.last.or(last);
        if has_batch_behind(&read_rest(path, &walk).map_err(failed)?, from) {
            return Err(damaged(path.display(), "go on", format!("damage at byte {}", walk.whole_bytes)));
        }
        walks.push((path, walk));
    }
    if let Some(last) = last.filter(|last| *last < synced) {
        return Err(damaged(dir.display(), "go on", format!("batch {last} as the last; needed: {synced}")));
    }
    for (path, walk) in walks {
        if walk.whole_bytes < walk.file_bytes {
            cut(path, walk.whole_bytes).map_err(failed)?;
        }
    }
    if let Some((number, path)) = journals.last()
        && fs::metadata(path).map_err(failed)?.len() > 0
    {
        let next = dir.join(format!("{}.jnl", number + 1));
        File::create_new(next).and_then(|file| file.sync_all()).map_err(failed)?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
    }
    Ok(last)
}

/// Empties the journals in `dir`, all of which is in other files by now.
pub(super) fn empty(dir: &Path) -> Result<(), StoreError> {
    let failed = |error| io_error(dir, "empty the journals", &error);
    for (_, path) in list(dir).map_err(failed)? {
        cut(&path, 0).map_err(failed)?;
    }
    Ok(())
}
