//! Tools that cargo installs, each for one command alone: beside the build, for nothing else of the
//! machine wants them.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::process;
use crate::workspace::Workspace;

/// One of them.
pub(super) struct Tool {
    name: &'static str,
    /// What is installed when there is none.
    version: &'static str,
    /// Others that do, by their start.
    series: &'static str,
    /// What it tells its version for: some only do as cargo would start them.
    asked: &'static [&'static str],
    purpose: &'static str,
}

/// Makes the Debian package.
pub(super) const DEB: Tool = Tool {
    name: "cargo-deb",
    version: "3.8.0",
    series: "3.",
    asked: &["--version"],
    purpose: "it makes the Debian package",
};
/// Changes code to see whether a test notices.
pub(super) const MUTANTS: Tool = Tool {
    name: "cargo-mutants",
    version: "27.1.0",
    series: "27.",
    asked: &["mutants", "--version"],
    purpose: "it tries how good the tests are",
};

impl Tool {
    /// Finds it, or installs it.
    pub(super) fn ensure(&self, workspace: &Workspace) -> Result<PathBuf> {
        let Self { name, version, .. } = self;
        let tools = workspace.toolchain().join("tools");
        let own = tools.join("bin").join(name);
        let mut candidates = vec![own.clone()];
        candidates.extend(process::find(name));
        if let Some(found) = candidates.into_iter().find(|binary| self.fits(binary)) {
            return Ok(found);
        }
        eprintln!(
            "setup: installing {name} {version} into {} (some minutes): {}",
            tools.display(),
            self.purpose
        );
        let mut cargo = process::hermetic(process::cargo_binary());
        cargo
            .current_dir(workspace.root())
            .args(["install", name, "--version", version])
            .args(["--locked", "--quiet", "--force", "--root"])
            .arg(&tools);
        process::run(&mut cargo).with_context(|| {
            format!("install {name}; without a network, put its binary into PATH")
        })?;
        Ok(own)
    }

    fn fits(&self, binary: &PathBuf) -> bool {
        process::is_executable(binary)
            && process::output(process::hermetic(binary).args(self.asked))
                .is_ok_and(|told| self.is_of_series(&told))
    }

    /// Whether a program tells such a version, with its name in front or without.
    fn is_of_series(&self, told: &str) -> bool {
        let version = told.split_whitespace().last();
        version.is_some_and(|version| version.starts_with(self.series))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_with_and_without_a_name() {
        assert!(DEB.is_of_series("cargo-deb 3.8.0\n") && DEB.is_of_series("3.9.1\n"));
        assert!(!DEB.is_of_series("cargo-deb 2.12.1\n") && !DEB.is_of_series(""));
    }
}
