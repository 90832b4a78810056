//! Sets up, builds, runs, tests and measures nxdp: `cargo xtask --help`.
//!
//! Depends on no crate of the workspace, so that it works before any of them compiles.

mod build;
mod launch;
mod privilege;
mod process;
mod setup;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};

use workspace::Workspace;

/// Sets up, builds, runs, tests and measures nxdp
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Find or install what building needs, and say what is done
    Setup,
    /// Build the kernel side, then userspace
    Build(build::BuildArgs),
    /// Build, then show the filter at work between three network namespaces (needs root)
    ///
    /// Makes the namespaces client, router and resolver, loads the sample lists, sends queries and
    /// removes everything again. With `-- ARGS` it runs `nxdp ARGS` on this machine instead, for
    /// example `cargo xtask run -- features eth0`.
    Run(launch::RunArgs),
    /// Build, then measure (needs root)
    Bench(launch::BenchArgs),
}

fn main() -> Result<()> {
    let workspace = Workspace::discover()?;
    match Cli::parse().task {
        Task::Setup => setup::all(&workspace),
        Task::Build(args) => build::all(&workspace, &args),
        Task::Run(args) => launch::run(&workspace, &args),
        Task::Bench(args) => launch::bench(&workspace, &args),
    }
}
