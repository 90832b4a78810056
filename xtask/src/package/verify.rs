//! Tries the Debian package out: in a minimal system without systemd, then in one that boots.
//!
//! What is looked at stands in `checks.sh`, which runs inside; here is only what surrounds it.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context as _, Result, bail};

use super::{container, root::Root};
use crate::{process, workspace::Workspace};

const CHECKS: &str = include_str!("checks.sh");

/// What the booted system holds besides: systemd, and what the checks look and ask with.
const BOOTED: [&str; 9] = [
    "systemd",
    "systemd-sysv",
    "man-db",
    "iproute2",
    "bind9-dnsutils",
    "strace",
    "procps",
    "python3",
    "openssl",
];

/// How much of a package is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judging {
    /// All of it.
    Whole,
    /// All but the form: the program in it is not the one that is published.
    Behaviour,
}

/// Installs, looks, starts, removes, purges.
pub(super) fn run(workspace: &Workspace, deb: &Path, how: Judging) -> Result<()> {
    let start = Instant::now();
    if how == Judging::Whole {
        lint(deb)?;
    }
    let root = Root::bootstrap(workspace)?;
    fs::copy(deb, root.folder().join("nxdp.deb")).context("copy the package into the system")?;
    next_version(deb, &root)?;
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

/// Puts the package of a later version beside it, to upgrade to.
fn next_version(deb: &Path, root: &Root) -> Result<()> {
    let folder = root.folder().join("next");
    let mut unpack = process::outer("dpkg-deb");
    process::run(unpack.arg("--raw-extract").arg(deb).arg(&folder)).context("unpack it")?;
    let control = folder.join("DEBIAN/control");
    let text = fs::read_to_string(&control).context("read what the package says of itself")?;
    let later = |line: &str| match line.starts_with("Version: ") {
        true => format!("{line}+next\n"),
        false => format!("{line}\n"),
    };
    let text: String = text.lines().map(later).collect();
    fs::write(&control, text).context("name a later version")?;
    let mut pack = process::outer("dpkg-deb");
    pack.args(["--root-owner-group", "-Znone", "--build"]);
    let next = root.folder().join("nxdp-next.deb");
    process::output(pack.arg(&folder).arg(next)).context("pack a later version")?;
    fs::remove_dir_all(&folder).context("remove what was unpacked")
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
