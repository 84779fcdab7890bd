//! A directory of one's own for a while: a server started in it has its data there too.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// An empty directory that no other test has, removed when this is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one.
    #[expect(clippy::new_without_default, reason = "a default that touches the disk would surprise")]
    pub fn new() -> Scratch {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let name = format!("scratch-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // An earlier process with this number may have been killed before it could clean up.
        drop(fs::remove_dir_all(&path));
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    /// The directory, absolute.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it; returns where.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
