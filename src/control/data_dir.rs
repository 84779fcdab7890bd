//! The data directory: created when asked for, and one process's alone.
//!
//! Two servers that append to one store would destroy it, so the directory is locked before
//! anything in it is read. The lock is `flock(2)` on a file inside: the kernel releases it however
//! the process ends, so a crash leaves nothing to clean up. The holder's pid stands in the file
//! for the error message only; it proves nothing, and the file is never removed, because a third
//! process could hold the removed one.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Name of the locked file in the directory.
const LOCK_FILE: &str = "lock";

/// The directory's mode: what clients said is nobody else's to read.
const MODE: u32 = 0o700;

/// A data directory that this process holds. Dropped, it is free again, also for threads that
/// have a private copy of the descriptor table: the lock belongs to the open file, not to a table.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl DataDir {
    /// Creates `path` with its parents unless it is there, and locks it.
    ///
    /// # Errors
    ///
    /// Another process holds it, or the file system refuses. The text says which and what to do.
    pub fn open(path: &Path) -> Result<DataDir, DataDirError> {
        let failed = |what| move |error| DataDirError::Failed { path: path.to_owned(), what, error };
        DirBuilder::new().recursive(true).mode(MODE).create(path).map_err(failed("create"))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK_FILE))
            .map_err(failed("write in"))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                sign(&mut lock).map_err(failed("write in"))?;
                Ok(DataDir { path: path.to_owned(), _lock: lock })
            }
            Err((file, Errno::EWOULDBLOCK)) => {
                Err(DataDirError::Held { path: path.to_owned(), pid: signer(file) })
            }
            Err((_, errno)) => Err(failed("lock")(errno.into())),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes this process's pid into the lock file, in place of the last holder's.
fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())
}

/// The pid in the lock file; none if the holder has not written it yet.
fn signer(mut file: File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Why a data directory cannot be used. The server does not start.
#[derive(Debug)]
pub enum DataDirError {
    /// Another process holds it.
    Held {
        /// The directory.
        path: PathBuf,
        /// The holder, if it has written its pid.
        pid: Option<u32>,
    },
    /// The file system refused.
    Failed {
        /// The directory.
        path: PathBuf,
        /// What was tried: `create`, `write in` or `lock`.
        what: &'static str,
        /// What the file system said.
        error: io::Error,
    },
}

impl fmt::Display for DataDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataDirError::Held { path, pid } => {
                write!(f, "the data directory {} is held by ", path.display())?;
                match pid {
                    Some(pid) => write!(f, "process {pid}")?,
                    None => f.write_str("another process")?,
                }
                f.write_str("; stop it, or give this server a directory of its own (`data` or --data)")
            }
            DataDirError::Failed { path, what, error } => {
                write!(f, "cannot {what} the data directory {}", path.display())?;
                if path.is_relative()
                    && let Ok(start) = std::env::current_dir()
                {
                    write!(f, " (from {})", start.display())?;
                }
                write!(
                    f,
                    ": {error}; needed: a directory that this user may write; name one with `data` or --data"
                )
            }
        }
    }
}

impl std::error::Error for DataDirError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DataDirError::Held { .. } => None,
            DataDirError::Failed { error, .. } => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A path below the system's temporary directory that no other test has, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(test: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("throng-{}-{test}", std::process::id()));
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn a_missing_directory_is_created_for_this_user_alone_and_signed() {
        let scratch = Scratch::new("created");
        let path = scratch.0.join("deep/rooms");
        let held = DataDir::open(&path).unwrap();
        assert_eq!(held.path(), path);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_to_string(path.join("lock")).unwrap(), format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_held_directory_is_refused_with_its_holder_and_free_again_afterwards() {
        let scratch = Scratch::new("held");
        let held = DataDir::open(&scratch.0).unwrap();
        // The lock belongs to the open file, so a second one of the same process stands for
        // another process.
        let error = DataDir::open(&scratch.0).unwrap_err();
        assert!(matches!(error, DataDirError::Held { pid: Some(pid), .. } if pid == std::process::id()));
        assert!(error.to_string().contains(&format!("held by process {};", std::process::id())), "{error}");
        drop(held);
        DataDir::open(&scratch.0).unwrap();
    }

    #[test]
    fn the_pid_of_an_earlier_holder_is_replaced_whole() {
        let scratch = Scratch::new("stale");
        fs::create_dir(&scratch.0).unwrap();
        fs::write(scratch.0.join("lock"), "99999999999999999\n").unwrap();
        let _held = DataDir::open(&scratch.0).unwrap();
        let signed = fs::read_to_string(scratch.0.join("lock")).unwrap();
        assert_eq!(signed, format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let scratch = Scratch::new("file");
        fs::write(&scratch.0, "").unwrap();
        let error = DataDir::open(&scratch.0.join("rooms")).unwrap_err();
        assert!(error.to_string().starts_with("cannot create the data directory /"), "{error}");
        assert!(matches!(error, DataDirError::Failed { what: "create", .. }));
        fs::remove_file(&scratch.0).unwrap();
    }
}
