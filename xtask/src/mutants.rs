//! How good the tests are: cargo-mutants changes the code, one place at a time, and a test must fail.
//!
//! What no test can see is argued in `.cargo/mutants.toml`, which every run reads. A mutant costs
//! what it takes to build and to run the tests beside it, so they are asked in rounds: the tests
//! that find most for least first, and others only about what those let by. `cargo xtask test` has
//! no slice of it: in a clean clone the first mutant waits minutes for a build that nothing else uses.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::workspace::Workspace;
use crate::{process, setup};

/// A crate whose code is changed.
struct Package {
    name: &'static str,
    rounds: [Round; 2],
}

/// Tests that are asked at once.
struct Round {
    /// Of which crate.
    package: &'static str,
    /// Which executable of its tests.
    target: &'static str,
    /// Which tests in it are not asked.
    skipped: &'static [&'static str],
    /// Seconds after which a mutant runs for ever.
    limit_s: &'static str,
}

/// Tests about much work and about time, and those that ask other programs: they take seconds each,
/// and what they are about has small tests too.
const LARGE: &[&str] = &[
    "programs::",
    "room::more_combinations",
    "room::four_times",
    "room::a_list_that",
];

const PACKAGES: [Package; 2] = [
    Package {
        name: "filter-common",
        rounds: [
            Round {
                package: "filter-common",
                target: "--lib",
                skipped: &[],
                limit_s: "15",
            },
            // They hold table, hash and verdict against a model.
            Round {
                package: "filter-lists",
                target: "--test=host",
                skipped: LARGE,
                limit_s: "60",
            },
        ],
    },
    Package {
        name: "filter-lists",
        rounds: [
            Round {
                package: "filter-lists",
                target: "--test=host",
                skipped: LARGE,
                limit_s: "60",
            },
            Round {
                package: "filter-lists",
                target: "--lib",
                skipped: &[],
                limit_s: "30",
            },
        ],
    },
];

/// Mutants that are named in one argument: an argument has at most 128 KiB.
const NAMES_AT_ONCE: usize = 300;

/// Which mutants.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct MutantsArgs {
    /// Packages to change; both filter-common and filter-lists when none is named
    #[arg(value_name = "PACKAGE", value_parser = PACKAGES.map(|package| package.name))]
    packages: Vec<String>,
    /// One part of all, such as 0/20: a whole run takes an hour or more
    #[arg(long, value_name = "K/N")]
    shard: Option<String>,
    /// Arguments for cargo-mutants, for example `-f filter-common/src/hash.rs` or `--in-diff FILE`
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

/// Changes, builds and tests, and fails if a mutant survives.
pub(crate) fn run(workspace: &Workspace, args: &MutantsArgs) -> Result<()> {
    let tool = setup::cargo_mutants(workspace)?;
    let is_wanted =
        |name: &str| args.packages.is_empty() || args.packages.iter().any(|wanted| wanted == name);
    let mut survivors = Vec::new();
    for package in PACKAGES.iter().filter(|package| is_wanted(package.name)) {
        survivors.extend(try_package(workspace, &tool, package, args)?);
    }
    if survivors.is_empty() {
        return Ok(());
    }
    bail!(
        "{} mutants survive; kill each by a test, or argue in .cargo/mutants.toml that none can:\n{}",
        survivors.len(),
        survivors.join("\n")
    );
}

/// The mutants of a package that no round kills, by their names.
fn try_package(
    workspace: &Workspace,
    tool: &Path,
    package: &Package,
    args: &MutantsArgs,
) -> Result<Vec<String>> {
    let mut first = args.args.clone();
    if let Some(shard) = &args.shard {
        // Every so-many-th one: a part says something of all files.
        first.extend(["--shard", shard, "--sharding", "round-robin"].map(str::to_owned));
    }
    // Each part keeps its results.
    let part = args.shard.as_deref().unwrap_or("all").replace('/', "-of-");
    let [quick, other] = &package.rounds;
    let left = try_round(
        workspace,
        tool,
        package,
        (quick, &format!("{part}-1")),
        &first,
    )?;
    let mut survivors = HashSet::new();
    for (number, names) in left.chunks(NAMES_AT_ONCE).enumerate() {
        let round = (other, &*format!("{part}-2-{number}"));
        survivors.extend(try_round(workspace, tool, package, round, &chosen(names))?);
    }
    // It tries some that are not named, too.
    Ok(left
        .into_iter()
        .filter(|name| survivors.contains(name))
        .collect())
}

/// Tries some mutants with the tests of one round; the names of those that they miss.
fn try_round(
    workspace: &Workspace,
    tool: &Path,
    package: &Package,
    (round, number): (&Round, &str),
    chosen: &[String],
) -> Result<Vec<String>> {
    pass_unchanged(workspace, round)?;
    let folder = workspace.target().join("mutants");
    let output = folder.join(package.name).join(number);
    fs::create_dir_all(&output).with_context(|| format!("make {}", output.display()))?;
    let mut mutants = prepared(workspace, process::outer(tool));
    mutants
        .args(["mutants", "--package", package.name])
        .args(["--test-package", round.package, "--cargo-arg", round.target])
        .args(["--profile", "mutants", "--jobs", "1"])
        .args(["--baseline", "skip"])
        .args(["--timeout", round.limit_s, "--output"])
        .arg(&output)
        .args(chosen);
    if !round.skipped.is_empty() {
        mutants.args(["--cargo-test-arg=--"]);
        let skip = |name: &&str| format!("--cargo-test-arg=--skip={name}");
        mutants.args(round.skipped.iter().map(skip));
    }
    match process::status(&mut mutants)?.code() {
        // All were killed, some survived, some ran for ever, which a test notices.
        Some(0 | 2 | 3) => {}
        _ => bail!("{} failed", process::line(&mutants)),
    }
    let missed = output.join("mutants.out/missed.txt");
    let missed = fs::read_to_string(&missed)
        .with_context(|| format!("read the survivors in {}", missed.display()))?;
    Ok(missed.lines().map(str::to_owned).collect())
}

/// Runs the tests of a round on the code as it is: those that fail there would kill whatever comes.
fn pass_unchanged(workspace: &Workspace, round: &Round) -> Result<()> {
    let mut tests = prepared(workspace, process::outer(process::cargo_binary()));
    tests
        .args(["test", "--quiet", "--profile", "mutants"])
        .args(["--package", round.package, round.target, "--"])
        .args(round.skipped.iter().flat_map(|name| ["--skip", name]));
    process::run(&mut tests)
}

/// The surroundings of both: the same build, in a folder that stays, so that only what a mutant
/// changes is built.
fn prepared(workspace: &Workspace, mut command: Command) -> Command {
    command
        .current_dir(workspace.root())
        .env("CARGO", process::cargo_binary())
        .env("CARGO_TARGET_DIR", workspace.target().join("mutants/build"))
        .env("PROPTEST_CASES", "64");
    command
}

/// Arguments that choose these mutants, and few others.
fn chosen(names: &[String]) -> Vec<String> {
    // By file as well: it does not hold every kind of mutant against the expression.
    let files = names.iter().filter_map(|name| name.split(':').next());
    let files: BTreeSet<&str> = files.collect();
    let names: Vec<String> = names.iter().map(|name| escaped(name)).collect();
    let mut args = vec![format!("--re=^({})$", names.join("|"))];
    args.extend(files.iter().map(|file| format!("--file={file}")));
    args
}

/// A name as a regular expression that matches it alone.
fn escaped(name: &str) -> String {
    let mut expression = String::new();
    for letter in name.chars() {
        // `\<` and `\>` would be the edges of a word.
        if letter.is_ascii_punctuation() && !matches!(letter, '<' | '>') {
            expression.push('\\');
        }
        expression.push(letter);
    }
    expression
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_is_chosen_by_its_name_alone() {
        let names = ["a/b.rs:1:2: replace < with |", "a/b.rs:3:4: delete !"];
        assert_eq!(
            chosen(&names.map(str::to_owned)),
            [
                r"--re=^(a\/b\.rs\:1\:2\: replace < with \||a\/b\.rs\:3\:4\: delete \!)$",
                "--file=a/b.rs"
            ]
        );
    }
}
