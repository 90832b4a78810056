//! Tries the Debian package out: in a minimal system without systemd, then in one that boots.
//!
//! What is looked at stands in `checks.sh`, which runs inside; here is only what surrounds it.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context as _, Result, bail};

use super::{container, root::Root};
use crate::{process, workspace::Workspace};

const CHECKS: &str = include_str!("checks.sh");

/// What the booted system holds besides: systemd, and what the checks look and ask with.
const BOOTED: [&str; 7] = [
    "systemd",
    "systemd-sysv",
    "man-db",
    "iproute2",
    "bind9-dnsutils",
    "strace",
    "procps",
];

/// Installs, looks, starts, removes, purges.
pub(super) fn run(workspace: &Workspace, deb: &Path) -> Result<()> {
    let start = Instant::now();
    lint(deb)?;
    let root = Root::bootstrap(workspace)?;
    fs::copy(deb, root.folder().join("nxdp.deb")).context("copy the package into the system")?;
    fs::write(root.folder().join("checks.sh"), CHECKS).context("copy the checks")?;
    let mut faults = Vec::new();
    faults.extend(check(&root, "minimal")?);
    root.add(&BOOTED)?;
    faults.extend(check(&root, "with_systemd")?);
    faults.extend(container::boot(&root)?);
    drop(root);
    println!("verify: {:.0} s", start.elapsed().as_secs_f64());
    if !faults.is_empty() {
        bail!("{} checks of the package failed", faults.len());
    }
    Ok(())
}

/// Runs one part of the checks without booting.
fn check(root: &Root, part: &str) -> Result<Vec<String>> {
    let mut command = root.command(false);
    let told = process::output(command.args(["sh", "/checks.sh", part]))
        .with_context(|| format!("run the checks `{part}`"))?;
    faults(part, &told)
}

/// Shows what the checks said; returns those that failed.
///
/// Errors: they did not come to their end.
pub(super) fn faults(part: &str, told: &str) -> Result<Vec<String>> {
    for line in told.lines() {
        println!("{part}: {line}");
    }
    if told.lines().last() != Some("end") {
        bail!("the checks `{part}` broke off");
    }
    let failed = told.lines().filter(|line| line.starts_with("FAILED"));
    Ok(failed.map(ToString::to_string).collect())
}

/// Asks Debian's own judge, if it is here.
fn lint(deb: &Path) -> Result<()> {
    if process::find("lintian").is_none() {
        eprintln!("verify: lintian is not here, so the package is not judged by it");
        return Ok(());
    }
    let mut lintian = process::outer("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning"]);
    process::run(lintian.arg(deb)).context("judge the package")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_that_fail_are_told_and_checks_that_break_off_are_an_error() {
        let failed = faults("part", "ok  a\nFAILED  b\nend\n").unwrap();
        assert_eq!(failed, ["FAILED  b"]);
        assert!(faults("part", "ok  a\n").is_err());
        assert!(faults("part", "").is_err());
    }

    #[test]
    fn the_checks_are_a_script_that_a_shell_can_read() {
        let file = std::env::temp_dir().join(format!("nxdp-checks-{}", std::process::id()));
        fs::write(&file, CHECKS).unwrap();
        let read = process::output(process::outer("sh").arg("-n").arg(&file));
        fs::remove_file(&file).unwrap();
        read.unwrap();
    }
}
