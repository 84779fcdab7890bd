//! `[store]`: bounds of memory, time and disk for the rooms that have a history.

use serde::Deserialize;

/// `[store]`: where rooms with history are kept. How much of each is kept, for how long and how
/// safely is up to its namespace (`hub::NamespaceOptions`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// Bytes of recent history that are kept in memory. At least `limits.message_bytes_max`.
    pub cache_bytes_max: usize,
    /// Bytes of what may wait for the disk, publications and questions; then whoever asks gets error
    /// 111. At least `limits.message_bytes_max`.
    pub queue_bytes_max: usize,
    /// Time a publisher waits for the disk; then it gets error 100.
    pub commit_timeout_ms: u32,
    /// Bytes of the disk that stay free: below them publishers to rooms with history get error 100.
    /// 0 fills the disk.
    pub disk_free_bytes_min: u64,
}

impl Default for Store {
    fn default() -> Self {
        Store {
            cache_bytes_max: 64 * 1024 * 1024,
            queue_bytes_max: 64 * 1024 * 1024,
            commit_timeout_ms: 5_000,
            disk_free_bytes_min: 64 * 1024 * 1024,
        }
    }
}
