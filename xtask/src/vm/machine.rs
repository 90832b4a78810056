//! One emulated machine, from power on to power off or the end of its time.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::cables::Cables;
use crate::process;

/// How long a machine may run.
pub(super) const LIMIT: Duration = Duration::from_secs(600);

/// A processor of 2013, without what the emulator would warn that it lacks.
const MODEL: &str = "Haswell-noTSX,pcid=off,x2apic=off,tsc-deadline=off,invpcid=off";

/// What a machine wrote on its console.
pub(super) struct Outcome {
    pub(super) console: String,
    /// It powered off by itself.
    pub(super) in_time: bool,
}

/// Boots an image, waits for the end and hands back the console, which is also in `log`.
///
/// It may run for `limit`.
pub(super) fn boot(
    image: &Path,
    initramfs: &Path,
    cables: &Cables,
    limit: Duration,
    log: &Path,
) -> Result<Outcome> {
    let mut command = cables.emulator("qemu-system-x86_64");
    command
        // Emulated even where the processor could do better: the same everywhere.
        .args(["-accel", "tcg,thread=multi", "-cpu", MODEL, "-smp", "2"])
        .args([
            "-m",
            "1024",
            "-nodefaults",
            "-no-reboot",
            "-display",
            "none",
        ])
        .args(["-serial", "stdio"])
        .args(cables.arguments())
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(initramfs)
        .args([
            "-append",
            // On a busy machine the emulated timer is late, which the kernel takes for a broken one.
            "console=ttyS0 quiet loglevel=1 panic=-1 no_timer_check rdinit=/init",
        ])
        .stdin(Stdio::null())
        .stdout(File::create(log).with_context(|| format!("write {}", log.display()))?);
    let in_time = runs_to_its_end(&mut command, limit)?;
    let console = fs::read(log).with_context(|| format!("read {}", log.display()))?;
    Ok(Outcome {
        console: String::from_utf8_lossy(&console).into_owned(),
        in_time,
    })
}

fn runs_to_its_end(command: &mut Command, limit: Duration) -> Result<bool> {
    let mut machine = command
        .spawn()
        .with_context(|| format!("start {}", process::line(command)))?;
    let deadline = Instant::now() + limit;
    while machine.try_wait()?.is_none() {
        if Instant::now() > deadline {
            machine.kill()?;
            machine.wait()?;
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(true)
}
