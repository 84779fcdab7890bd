//! Counts the calls of the allocator, by the thread that makes them.
//!
//! Whoever includes this file has the allocator; what a thread allocates is counted once it says so.
//! Shared by `tests/allocations.rs` and `benches/micro`.
//!
//! Absent on purpose: bytes, and what is freed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// The system's allocator, which counts for threads that ask for it.
struct Counting;

thread_local! {
    /// Where the thread's allocations are counted. Constant and without a destructor, so that reading
    /// it allocates nothing.
    static COUNT: Cell<Option<&'static AtomicU64>> = const { Cell::new(None) };
}

/// From now on allocations of this thread are added to `count`, or not counted.
pub fn count_into(count: Option<&'static AtomicU64>) {
    COUNT.set(count);
}

fn count() {
    // A thread that is ending has no such variable any more, and what it does then is not counted.
    if let Ok(Some(count)) = COUNT.try_with(Cell::get) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[expect(unsafe_code, reason = "an allocator can be written in no other way")]
// SAFETY: every call goes to the system's allocator as it came, and counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
