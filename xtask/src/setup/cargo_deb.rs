//! cargo-deb, which makes the Debian package.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::{process, workspace::Workspace};

/// The version that is installed when there is none; others of the same series are used.
const VERSION: &str = "3.8.0";
const SERIES: &str = "3.";

/// Finds it, or installs it beside the build: nothing else of the machine wants it.
pub(super) fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    let tools = workspace.toolchain().join("tools");
    let own = tools.join("bin/cargo-deb");
    let mut candidates = vec![own.clone()];
    candidates.extend(process::find("cargo-deb"));
    if let Some(found) = candidates.into_iter().find(fits) {
        return Ok(found);
    }
    eprintln!(
        "setup: installing cargo-deb {VERSION} into {} (two minutes): it makes the Debian package",
        tools.display()
    );
    let mut cargo = process::hermetic(process::cargo_binary());
    cargo
        .current_dir(workspace.root())
        .args(["install", "cargo-deb", "--version", VERSION])
        .args(["--locked", "--quiet", "--force", "--root"])
        .arg(&tools);
    process::run(&mut cargo)
        .context("install cargo-deb; without a network, put its binary into PATH")?;
    Ok(own)
}

fn fits(binary: &PathBuf) -> bool {
    process::is_executable(binary)
        && process::output(process::hermetic(binary).arg("--version"))
            .is_ok_and(|told| is_of_series(&told))
}

/// Whether a program tells such a version, with its name in front or without.
fn is_of_series(told: &str) -> bool {
    let version = told.split_whitespace().last();
    version.is_some_and(|version| version.starts_with(SERIES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_with_and_without_a_name() {
        assert!(is_of_series("cargo-deb 3.8.0\n") && is_of_series("3.9.1\n"));
        assert!(!is_of_series("cargo-deb 2.12.1\n") && !is_of_series(""));
    }
}
