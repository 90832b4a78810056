//! Runs the fuzz targets, each for its share of the time.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{build, process, workspace::Workspace};

/// The release that is installed when cargo-fuzz is missing.
const VERSION: &str = "0.13.1";

/// What the targets start with that judge whole frames, for which they need the lab.
const CORE: &str = "core_";

/// An input that takes longer than this is a finding, seconds.
const SLOW_INPUT_S: u32 = 10;

/// What to fuzz.
#[derive(Debug, Clone, Args)]
pub(crate) struct FuzzArgs {
    /// Minutes for all targets together
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// One target only; without it each gets an equal share
    #[arg(value_name = "TARGET")]
    target: Option<String>,
}

/// Fuzzes and fails, naming the inputs, if a target crashed.
pub(crate) fn run(workspace: &Workspace, args: &FuzzArgs) -> Result<()> {
    let targets = targets(workspace.root(), args)?;
    ensure_cargo_fuzz(workspace)?;
    let seconds = args.minutes * 60 / targets.len() as u64;
    let mut crashed = Vec::new();
    for target in &targets {
        eprintln!("fuzz: {target} for {seconds} s");
        let corpus = workspace.root().join("fuzz/corpus").join(target);
        fs::create_dir_all(&corpus).with_context(|| format!("make the corpus of {target}"))?;
        let before = crashes(workspace.root(), target);
        let status = process::status(&mut fuzz(workspace, target, seconds))?;
        let mut new = crashes(workspace.root(), target);
        new.retain(|input| !before.contains(input));
        if new.is_empty() && !status.success() {
            bail!("run the fuzz target {target}: cargo-fuzz ended with {status}");
        }
        crashed.extend(new);
    }
    if crashed.is_empty() {
        return Ok(());
    }
    for input in &crashed {
        println!("crash: {}", input.display());
    }
    bail!(
        "{} inputs crash; make each a named case before you fix it",
        crashed.len()
    )
}

/// The targets are the files of `fuzz/fuzz_targets`.
fn targets(root: &Path, args: &FuzzArgs) -> Result<Vec<String>> {
    let folder = root.join("fuzz/fuzz_targets");
    let entries = folder
        .read_dir()
        .context("list the fuzz targets: this checkout has no fuzz/fuzz_targets")?;
    let files = entries.flatten().map(|entry| entry.path());
    let rust = files.filter(|file| file.extension().is_some_and(|extension| extension == "rs"));
    let mut names: Vec<String> = rust
        .filter_map(|file| Some(file.file_stem()?.to_str()?.to_string()))
        .collect();
    names.sort();
    if let Some(wanted) = &args.target {
        if !names.contains(wanted) {
            bail!("no fuzz target {wanted}; there are: {}", names.join(", "));
        }
        return Ok(vec![wanted.clone()]);
    }
    if names.is_empty() {
        bail!("fuzz/fuzz_targets holds no target");
    }
    Ok(names)
}

fn ensure_cargo_fuzz(workspace: &Workspace) -> Result<()> {
    let version = process::output(cargo(workspace).args(["fuzz", "--version"]));
    if version.is_ok() {
        return Ok(());
    }
    eprintln!("fuzz: installing cargo-fuzz {VERSION}: it builds and drives the fuzz targets");
    let mut cargo = process::hermetic(process::cargo_binary());
    process::run(cargo.args([
        "install",
        "cargo-fuzz",
        "--version",
        VERSION,
        "--locked",
        "--quiet",
    ]))
}

fn cargo(workspace: &Workspace) -> Command {
    let mut cargo = build::cargo(workspace);
    // The sanitizers are unstable flags; the stable compiler takes them when told that it may.
    cargo
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("CARGO_TARGET_DIR");
    cargo
}

fn fuzz(workspace: &Workspace, target: &str, seconds: u64) -> Command {
    let mut command = cargo(workspace);
    command.args(["fuzz", "run", target]);
    command
        .arg("--target-dir")
        .arg(workspace.target().join("fuzz-build"));
    if !target.starts_with(CORE) {
        command.arg("--no-default-features");
    }
    // New inputs go to the first folder; the others are read only.
    let corpus = format!("fuzz/corpus/{target}");
    command.arg(&corpus);
    let seeds = format!("fuzz/seeds/{target}");
    if workspace.root().join(&seeds).is_dir() {
        command.arg(&seeds);
    }
    command
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={SLOW_INPUT_S}"))
        .arg("-print_final_stats=1");
    command
}

/// The inputs that made this target crash, so far.
fn crashes(root: &Path, target: &str) -> Vec<PathBuf> {
    let folder = root.join("fuzz/artifacts").join(target);
    let entries = folder.read_dir().into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}
