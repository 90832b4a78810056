//! Cores, and the time that threads spend on them.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// Keeps the calling thread, and what it starts, on one core.
pub(crate) fn pin_this_thread(core: usize) -> Result<()> {
    pin(0, core)
}

/// Keeps a thread on one core; 0 is the calling one.
pub(super) fn pin(thread: u32, core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(thread.cast_signed()), &set)
        .with_context(|| format!("cannot keep a thread on core {core}"))
}

/// The time that some threads spent on their cores.
///
/// The scheduler keeps it, in nanoseconds. What the kernel does on the way, softirqs included, counts
/// for the thread that it happens in; kernels with CONFIG_IRQ_TIME_ACCOUNTING leave interrupts out.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    napi: u32,
    processes: Vec<u32>,
    before: BTreeMap<PathBuf, u64>,
}

impl Clock {
    /// Starts for a NAPI thread and all threads of these processes.
    pub(super) fn of(napi: u32, processes: &[u32]) -> Self {
        let mut clock = Self {
            napi,
            processes: processes.to_vec(),
            before: BTreeMap::new(),
        };
        clock.before = clock.read();
        clock
    }

    /// Nanoseconds since the start, without those of threads that ended meanwhile.
    pub(crate) fn read_ns(&self) -> u64 {
        let spent = |(thread, now): (PathBuf, u64)| {
            now.saturating_sub(self.before.get(&thread).copied().unwrap_or(0))
        };
        self.read().into_iter().map(spent).sum()
    }

    fn read(&self) -> BTreeMap<PathBuf, u64> {
        let processes = [self.napi]
            .into_iter()
            .chain(self.processes.iter().copied());
        processes.flat_map(threads).collect()
    }
}

/// The threads of a process, and what each spent.
fn threads(process: u32) -> Vec<(PathBuf, u64)> {
    let Ok(entries) = fs::read_dir(format!("/proc/{process}/task")) else {
        return Vec::new();
    };
    let spent = |folder: PathBuf| {
        let text = fs::read_to_string(folder.join("schedstat")).ok()?;
        Some((folder, text.split_whitespace().next()?.parse().ok()?))
    };
    entries
        .flatten()
        .filter_map(|entry| spent(entry.path()))
        .collect()
}
