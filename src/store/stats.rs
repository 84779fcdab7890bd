//! What a store did, counted for the metrics page.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters and gauges of one store. Written by its thread, read by any.
#[derive(Debug, Default)]
pub struct StoreStats {
    /// Times that the engine was asked because memory did not have the answer.
    pub reads: AtomicU64,
    /// Bytes of keys and values that it gave then; some may have come from its own cache.
    pub read_bytes: AtomicU64,
    /// Commits that wrote something and succeeded.
    pub commits: AtomicU64,
    /// Those of them that waited for the disk.
    pub fsyncs: AtomicU64,
    /// Commits that failed; everything in them was refused.
    pub commits_failed: AtomicU64,
    /// Publications in the commits that succeeded; by `commits`, the mean batch.
    pub publications: AtomicU64,
    /// Publications in the largest commit.
    pub batch_max: AtomicU64,
    /// Bytes of keys and values in the commits that succeeded.
    pub written_bytes: AtomicU64,
    /// Times that the engine was opened anew after a failure.
    pub reopened: AtomicU64,
    /// Publications that were freed on the disk.
    pub freed: AtomicU64,
    /// Rooms in memory now.
    pub rooms_resident: AtomicU64,
    /// Bytes that they take.
    pub resident_bytes: AtomicU64,
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
