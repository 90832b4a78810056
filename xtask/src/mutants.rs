//! How good the tests are: cargo-mutants changes the code, one place at a time, and a test must fail.
//!
//! What no test can see is argued in `.cargo/mutants.toml`, which every run reads.

use anyhow::Result;
use clap::Args;

use crate::workspace::Workspace;
use crate::{process, setup};

/// The packages whose code is changed, each with those whose tests must notice: the table, the hash
/// and the verdict of `filter-common` are held against a model in the tests of `filter-lists`.
const PACKAGES: [(&str, &str); 2] = [
    ("filter-common", "filter-common,filter-lists"),
    ("filter-lists", "filter-lists"),
];

/// Which mutants.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct MutantsArgs {
    /// Packages to change; both filter-common and filter-lists when none is named
    #[arg(value_name = "PACKAGE", value_parser = PACKAGES.map(|(name, _)| name))]
    packages: Vec<String>,
    /// One part of all, such as 0/20: a whole run takes hours
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
    for (package, tests) in PACKAGES.into_iter().filter(|(name, _)| is_wanted(name)) {
        let mut mutants = process::outer(&tool);
        mutants
            .current_dir(workspace.root())
            .env("CARGO", process::cargo_binary())
            .args(["mutants", "--package", package, "--test-package", tests])
            .args(["--jobs", "1", "--output"])
            .arg(workspace.target().join("mutants").join(package));
        if let Some(shard) = &args.shard {
            // Every so-many-th one: a part says something of all files.
            mutants.args(["--shard", shard, "--sharding", "round-robin"]);
        }
        process::run(mutants.args(&args.args))?;
    }
    Ok(())
}
