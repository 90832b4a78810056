//! Packages of Debian and its kin; elsewhere it names what is missing.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};

use crate::process;

/// Tells whether this system has apt.
pub(crate) fn is_here() -> bool {
    process::find("apt-get").is_some()
}

/// Installs the packages, by apt, as root.
///
/// Errors: without apt or root the message is the command to type.
pub(crate) fn install(packages: &[&str], because: &str) -> Result<()> {
    let wanted = packages.join(" ");
    if !is_here() {
        bail!("{because}; install what your system calls: {wanted}");
    }
    let Some(privilege) = crate::privilege::prefix() else {
        bail!("{because}; run: sudo apt-get install {wanted}");
    };
    eprintln!("setup: installing {wanted}: {because}");
    if !lists_are_here() {
        update(&privilege)?;
        return run_install(&privilege, packages);
    }
    // Lists that are too old name packages that the archive no longer holds.
    run_install(&privilege, packages).or_else(|_| {
        update(&privilege)?;
        run_install(&privilege, packages)
    })
}

/// Fetches the package lists anew.
///
/// Errors: without root the message is the command to type.
pub(crate) fn refresh() -> Result<()> {
    match crate::privilege::prefix() {
        Some(privilege) => update(&privilege),
        None => bail!("the package lists may be old; run: sudo apt-get update"),
    }
}

fn lists_are_here() -> bool {
    let Ok(entries) = Path::new("/var/lib/apt/lists").read_dir() else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}

fn update(privilege: &[&str]) -> Result<()> {
    eprintln!("setup: fetching the package lists");
    process::run(apt_get(privilege).arg("update").arg("-q"))
}

fn run_install(privilege: &[&str], packages: &[&str]) -> Result<()> {
    let options = ["install", "-q", "-y", "--no-install-recommends"];
    process::run(apt_get(privilege).args(options).args(packages))
}

fn apt_get(privilege: &[&str]) -> Command {
    let mut words = privilege.to_vec();
    words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    let mut command = process::outer(words[0]);
    command.args(&words[1..]);
    // Another apt may be at work; a dead mirror must not hold us for minutes.
    for option in [
        "DPkg::Lock::Timeout=300",
        "Acquire::Retries=2",
        "Acquire::http::Timeout=30",
    ] {
        command.args(["-o", option]);
    }
    command.stdout(std::io::stderr());
    command
}
