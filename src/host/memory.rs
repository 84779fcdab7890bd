//! The process's memory: keeping the allocator from holding on to what connections gave back.
#![expect(unsafe_code, reason = "mallopt and malloc_trim have no safe wrapper")]

/// Blocks from this size on are mapped and unmapped one by one. glibc's own threshold starts here
/// but rises with every large block that is freed; after that slabs and member lists would come
/// from the heap, grow by copying and leave holes. Source: mallopt(3), `M_MMAP_THRESHOLD`.
const MMAP_THRESHOLD_BYTES: libc::c_int = 128 * 1024;

/// Fixes the size from which the allocator maps blocks of their own. Called once, before threads.
pub fn fix_mmap_threshold() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only sets numbers of the allocator and is called before other threads exist.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES);
    }
}

/// Hands free pages of every heap back to the kernel. Takes the allocator's locks, so it is for
/// moments after many connections have gone.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim may be called at any time from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
