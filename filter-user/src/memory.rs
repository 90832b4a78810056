//! Memory that this process does not need any more.
//!
//! The C library's allocator keeps what was freed for the next compilation,
//! which may be a day away. Other C libraries give it back by themselves.

#![allow(unsafe_code, reason = "calls the allocator of the C library")]

/// Has large blocks come from the system one by one, and go back there when they are freed.
pub(crate) fn return_large_blocks() {
    /// What a list's larger buffers exceed and nothing else does, in bytes.
    #[cfg(target_env = "gnu")]
    const LARGE_BYTES: libc::c_int = 256 * 1024;
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes no pointer and may be made at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
    }
}

/// Gives what else was freed back to the system.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: as above.
    unsafe {
        libc::malloc_trim(0);
    }
}
