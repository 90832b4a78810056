//! Boots the system with its own systemd in a container, so that the units run under every
//! restriction that they ask for, over this machine's kernel.

use std::{fs, process::Stdio, time::Duration};

use anyhow::{Context as _, Result};

use super::{root::Root, verify};
use crate::process;

/// Booting takes seconds, the checks minutes.
const LIMIT: Duration = Duration::from_secs(900);

/// Runs the checks as soon as the system is up, then turns it off.
const UNIT: &str = "\
[Unit]
Description=checks of the package
After=multi-user.target
SuccessAction=poweroff-force
FailureAction=poweroff-force

[Service]
Type=oneshot
Environment=HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/bin/sh /checks.sh booted
StandardOutput=truncate:/checks.out
StandardError=journal
TimeoutStartSec=infinity
";

/// Boots, waits for the end, and returns the checks that failed.
pub(super) fn boot(root: &Root) -> Result<Vec<String>> {
    let units = root.folder().join("etc/systemd/system");
    fs::write(units.join("checks.service"), UNIT).context("write the unit of the checks")?;
    let wanted = units.join("multi-user.target.wants");
    fs::create_dir_all(&wanted).context("make the folder of wanted units")?;
    std::os::unix::fs::symlink("../checks.service", wanted.join("checks.service"))
        .context("enable the unit of the checks")?;
    eprintln!("verify: booting it in a container");
    let mut container = root.container();
    container
        // The BPF file system and network namespaces need a /sys and a /proc/sys that can be written.
        .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "1")
        .args(["--boot", "--private-network", "--capability=all"])
        .args(["--system-call-filter=bpf", "--console=read-only"])
        .stdout(Stdio::null());
    process::run_within(&mut container, LIMIT).context("boot the system in a container")?;
    let told = fs::read_to_string(root.folder().join("checks.out"))
        .context("read what the checks said: the system did not come up")?;
    verify::faults("booted", &told)
}
