//! The kernel thread that polls one end of a veth pair.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nxdp_lab::namespace::Namespace;

use super::cpu;

/// Ahead of all that is not real-time.
const PRIORITY: &str = "10";
const PATIENCE: Duration = Duration::from_secs(2);

/// A NAPI thread; it ends with its device.
pub(super) struct NapiThread {
    id: u32,
}

impl NapiThread {
    /// Has a thread poll the device, on this core.
    pub(super) fn start(namespace: &Namespace, device: &str, core: usize) -> Result<Self> {
        // /sys shows the namespace of whoever mounted it.
        let script =
            format!("mount -t sysfs sysfs /sys && echo 1 > /sys/class/net/{device}/threaded");
        namespace
            .output("unshare", &["--mount", "sh", "-c", &script])
            .context("cannot give the device a NAPI thread")?;
        let id = wait_for_thread(device)?;
        cpu::pin(id, core)?;
        namespace.output("chrt", &["--fifo", "--pid", PRIORITY, &id.to_string()])?;
        Ok(Self { id })
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }
}

fn wait_for_thread(device: &str) -> Result<u32> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(id) = find_thread(device) {
            return Ok(id);
        }
        if Instant::now() >= end {
            bail!("the NAPI thread of {device} does not start");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// `napi/DEVICE-ID`, of which the kernel keeps 15 bytes.
fn find_thread(device: &str) -> Option<u32> {
    let name = format!("napi/{device}-");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let comm = fs::read_to_string(entry.path().join("comm")).ok()?;
        comm.starts_with(&name[..name.len().min(15)]).then_some(id)
    })
}
