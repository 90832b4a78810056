//! How tests come to root.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};

use crate::{privilege, process, workspace::Workspace};

/// Variables of the caller that tests as root hear of.
const TOLD: [&str; 6] = [
    "NXDP_CAPTURES",
    "NXDP_DATA",
    "NXDP_FRAMES",
    "PATH",
    "RUST_BACKTRACE",
    "RUST_LOG",
];

/// Starts programs as root.
pub(super) struct Root {
    /// The words before a command; none for a process that is root.
    prefix: Vec<&'static str>,
}

impl Root {
    /// Finds out before an hour is spent on the rest; asks for the password now.
    pub(super) fn find() -> Result<Self> {
        let Some(prefix) = privilege::prefix() else {
            bail!(
                "some tests need root to make network namespaces and load programs: run `cargo xtask test` as root, or where sudo can ask for a password"
            );
        };
        if let Some((sudo, options)) = prefix.split_first() {
            eprintln!("test: some tests need root; asking sudo");
            process::run(Command::new(sudo).args(options).arg("-v"))?;
        }
        Ok(Self { prefix })
    }

    /// A command that starts the program as root with these variables, of which sudo keeps none.
    pub(super) fn command(
        &self,
        workspace: &Workspace,
        program: &Path,
        variables: &[(&str, String)],
    ) -> Command {
        let Some((sudo, options)) = self.prefix.split_first() else {
            let mut command = process::outer(program);
            command.envs(variables.iter().map(|(name, value)| (name, value)));
            return command;
        };
        let mut command = process::outer(sudo);
        command.args(options).arg("env");
        command.arg(format!("CARGO_TARGET_DIR={}", workspace.target().display()));
        let told = TOLD
            .iter()
            .filter_map(|name| Some((*name, std::env::var(name).ok()?)));
        for (name, value) in told.chain(variables.iter().cloned()) {
            command.arg(format!("{name}={value}"));
        }
        command.arg(program);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(prefix: &[&'static str]) -> String {
        let workspace = Workspace::discover().unwrap();
        let root = Root {
            prefix: prefix.to_vec(),
        };
        let variables = [("NXDP_BIN", "/t/nxdp".to_owned())];
        process::line(&root.command(&workspace, Path::new("/t/cli"), &variables))
    }

    #[test]
    fn root_runs_the_tests_without_sudo() {
        assert_eq!(line(&[]), "/t/cli");
    }

    #[test]
    fn sudo_hands_on_what_tests_must_know() {
        let line = line(&["sudo", "-n"]);
        assert!(line.starts_with("sudo -n env CARGO_TARGET_DIR="), "{line}");
        assert!(line.ends_with(" NXDP_BIN=/t/nxdp /t/cli"), "{line}");
    }
}
