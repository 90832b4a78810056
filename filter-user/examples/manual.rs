//! Writes what a package holds about the command line: a man page for each command, completions
//! for each shell. `cargo run -p filter-user --example manual -- DIR`.
//!
//! They are made of the very [`clap::Command`] that `nxdp` reads its arguments with, here and not in
//! `nxdp` itself: machines that filter need no generator.

#[expect(dead_code, reason = "nothing is run here, only described")]
#[path = "../src/cli/mod.rs"]
mod cli;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

fn main() -> anyhow::Result<()> {
    let folder = env::args_os().nth(1).context("name a folder to write to")?;
    write_all(&PathBuf::from(folder))
}

/// Writes `man/*.1` and `completions/*` below the folder.
fn write_all(folder: &Path) -> anyhow::Result<()> {
    let (pages, completions) = (folder.join("man"), folder.join("completions"));
    for part in [&pages, &completions] {
        fs::create_dir_all(part).with_context(|| format!("make {}", part.display()))?;
    }
    clap_mangen::generate_to(nxdp(), &pages).context("write the man pages")?;
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut nxdp(), "nxdp", &completions)
            .with_context(|| format!("write completions for {shell}"))?;
    }
    Ok(())
}

fn nxdp() -> Command {
    cli::Cli::command()
}

#[cfg(test)]
mod tests {
    use std::process;

    use tempfile::TempDir;

    use super::*;

    fn written() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        write_all(folder.path()).unwrap();
        folder
    }

    /// Every command and subcommand with the names that lead to it.
    fn commands(command: &Command, path: &str) -> Vec<(String, Command)> {
        let mut found = vec![(path.to_owned(), command.clone())];
        for inner in command.get_subcommands() {
            let path = format!("{path}-{}", inner.get_name());
            found.extend(commands(inner, &path));
        }
        found
    }

    #[test]
    fn every_command_has_a_man_page_that_tells_each_of_its_flags() {
        let folder = written();
        let all = commands(&nxdp(), "nxdp");
        assert!(all.len() > 25, "{} commands", all.len());
        for (name, command) in &all {
            let page = fs::read_to_string(folder.path().join(format!("man/{name}.1")))
                .unwrap_or_else(|error| panic!("{name}.1: {error}"));
            let page = page.replace("\\-", "-");
            let shown = command.get_arguments().filter(|flag| !flag.is_hide_set());
            for flag in shown.filter_map(clap::Arg::get_long) {
                assert!(page.contains(&format!("--{flag}")), "{name}.1: --{flag}");
            }
        }
        let pages = fs::read_dir(folder.path().join("man")).unwrap().count();
        assert_eq!(pages, all.len());
    }

    #[test]
    fn every_shell_completes_every_command() {
        let folder = written();
        for file in ["nxdp.bash", "_nxdp", "nxdp.fish"] {
            let text = fs::read_to_string(folder.path().join("completions").join(file)).unwrap();
            for command in nxdp().get_subcommands() {
                assert!(text.contains(command.get_name()), "{file}: {command}");
            }
        }
    }

    #[test]
    fn shells_can_read_their_completions() {
        let folder = written();
        for (shell, file) in [
            ("bash", "nxdp.bash"),
            ("zsh", "_nxdp"),
            ("fish", "nxdp.fish"),
        ] {
            let file = folder.path().join("completions").join(file);
            match process::Command::new(shell).arg("-n").arg(&file).status() {
                Ok(status) => assert!(status.success(), "{shell} -n {}", file.display()),
                Err(error) => eprintln!("skipped {shell}, which is not here: {error}"),
            }
        }
    }
}
