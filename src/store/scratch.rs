//! A directory for one test.

use std::path::{Path, PathBuf};

/// A path that no other test has, removed at the end. In memory if the system has such a place:
/// what a test waits for is then not the disk.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// The path for `test`, at which nothing is.
    pub(super) fn new(test: &str) -> Scratch {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = parent.join(format!("throng-store-{}-{test}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        Scratch(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
