//! What the engine says when it fails, in terms of what to do.

use std::fmt::Display;
use std::io;
use std::path::Path;

use super::super::StoreError;

/// What stands in the text of every error about damaged files.
pub(super) const DAMAGE_REMEDY: &str = "check the disk (`dmesg`, `smartctl`); then stop this server and put back a copy of \
     the directory, or move it away to begin with no rooms";

/// The error for an input or output that failed while doing `what` in `dir`.
pub(super) fn io_error(dir: &Path, what: impl Display, error: &io::Error) -> StoreError {
    let dir = dir.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full(format!(
            "cannot {what} in {dir}: {error}; needed: space on that disk; free some, the store goes on by itself"
        )),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => StoreError::Io(format!(
            "cannot {what} in {dir}: {error}; needed: a directory that this user may write; mount it \
             writable, `chown` it, or name another (`data` or --data)"
        )),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => damaged(dir, what, error),
        io::ErrorKind::NotFound
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::InvalidInput => StoreError::Corrupt(format!(
            "cannot {what} in {dir}: {error}: files there are missing, or are not the store's; needed: the \
             directory as throng wrote it; put back a copy of it, or move it away to begin with no rooms"
        )),
        _ => {
            StoreError::Io(format!("cannot {what} in {dir}: {error}; needed: a disk that works; see `dmesg`"))
        }
    }
}

/// The error for files that are not what was written.
pub(super) fn damaged(dir: impl Display, what: impl Display, found: impl Display) -> StoreError {
    StoreError::Corrupt(format!("cannot {what} in {dir}: found: {found}; {DAMAGE_REMEDY}"))
}

/// The error for what the engine answered while doing `what` in `dir`.
pub(super) fn engine_error(dir: &Path, what: impl Display, error: &fjall::Error) -> StoreError {
    use fjall::{Error, LsmError};
    match error {
        Error::Io(error) | Error::Storage(LsmError::Io(error)) => io_error(dir, what, error),
        Error::Poisoned => StoreError::Io(format!(
            "cannot {what} in {}: found: a write in the background failed, as the log says above; the store \
             opens itself anew; if this comes again with `ChecksumMismatch`, files are damaged: {DAMAGE_REMEDY}",
            dir.display()
        )),
        Error::Locked => StoreError::Io(format!(
            "cannot {what} in {}: another process has it open; stop that one",
            dir.display()
        )),
        Error::InvalidVersion(found) => StoreError::Corrupt(format!(
            "cannot {what} in {}: found: engine format {found:?}; needed: version 3; use the throng that \
             wrote it, or another directory",
            dir.display()
        )),
        Error::JournalRecovery(fjall::JournalRecoveryError::InvalidFileName) => StoreError::Corrupt(format!(
            "cannot {what} in {}: found: a file `*.jnl` whose name is no number; needed: only the store's own \
             files; move it away",
            dir.display()
        )),
        other => damaged(dir.display(), what, format!("{other:?}")),
    }
}
