//! Memory: how much there may be, and what this process does not need any more.
//!
//! The C library's allocator keeps what was freed for the next compilation,
//! which may be a day away. Other C libraries give it back by themselves.

#![allow(unsafe_code, reason = "calls the allocator of the C library")]

use std::{fs, path::Path};

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

/// Bytes of memory that this process and what it makes in the kernel may take at most: the
/// machine's, or what a group of processes (cgroups(7)) around this one is given.
pub(crate) fn limit_bytes() -> u64 {
    let machine = rustix::system::sysinfo();
    let total = u64::from(machine.mem_unit).saturating_mul(machine.totalram as u64);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().filter_map(limit_of_group);
    limits.fold(total, u64::min)
}

/// The lowest limit of a line of /proc/self/cgroup, of that group and those around it.
fn limit_of_group(line: &str) -> Option<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (root, file) = match fields.next()? {
        "" => ("/sys/fs/cgroup", "memory.max"),
        "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return None,
    };
    let group = Path::new(fields.next()?.trim_start_matches('/'));
    let limit = |group: &Path| {
        let text = fs::read_to_string(Path::new(root).join(group).join(file)).ok()?;
        // `max` stands for none.
        text.trim().parse().ok()
    };
    group.ancestors().filter_map(limit).min()
}

/// Gives what else was freed back to the system.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: as above.
    unsafe {
        libc::malloc_trim(0);
    }
}
