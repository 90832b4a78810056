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

    use clap::error::ErrorKind;
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

    /// The commands of a page: lines for a shell, and what is quoted in a sentence.
    fn commands_in(page: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (number, part) in page.split("```").enumerate() {
            let is_code = number % 2 == 1;
            let pieces: Vec<String> = match is_code {
                true if !part.starts_with("sh\n") => continue,
                true => part.lines().map(str::to_owned).collect(),
                false => part
                    .split('`')
                    .skip(1)
                    .step_by(2)
                    .map(|quoted| quoted.split_whitespace().collect::<Vec<_>>().join(" "))
                    .collect(),
            };
            found.extend(pieces.into_iter().filter_map(|piece| {
                let piece = piece.trim().trim_start_matches("sudo ");
                let end = piece.find(['#', '|', ';', '&', '>', '…', '[']);
                let piece = piece[..end.unwrap_or(piece.len())].trim();
                // `nxdp ARGS` stands for all of them.
                let is_one = piece
                    .strip_prefix("nxdp ")
                    .is_some_and(|rest| !rest.starts_with("ARGS"));
                is_one.then(|| piece.to_owned())
            }));
        }
        found
    }

    #[test]
    fn every_command_in_the_documents_is_one() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut pages: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"]
            .map(|page| root.join(page))
            .into();
        let docs = fs::read_dir(root.join("docs")).unwrap().flatten();
        pages.extend(docs.map(|entry| entry.path()));
        pages.retain(|page| page.extension().is_some_and(|ending| ending == "md"));
        let (mut wrong, mut count) = (Vec::new(), 0);
        for page in &pages {
            for line in commands_in(&fs::read_to_string(page).unwrap()) {
                count += 1;
                let words = line
                    .split_whitespace()
                    .map(|word| word.trim_matches(['\'', '"']));
                let Err(error) = nxdp().try_get_matches_from(words) else {
                    continue;
                };
                // A sentence may leave out what a command needs; it names nothing that there is not.
                if matches!(
                    error.kind(),
                    ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument
                ) {
                    let why = error.to_string();
                    let why = why.lines().next().unwrap_or_default().to_owned();
                    wrong.push(format!("{}: `{line}`: {why}", page.display()));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(count > 200, "{count} commands are few");
    }
}
