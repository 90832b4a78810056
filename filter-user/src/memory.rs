//! Memory that this process does not need any more.

#![allow(unsafe_code, reason = "calls the allocator of the C library")]

/// Gives what was freed back to the system: the allocator keeps it for the next compilation,
/// which may be a day away.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes no pointer and may be made at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
