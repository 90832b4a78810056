//! Sets up, builds, runs, tests and measures nxdp: `cargo xtask --help`.
//!
//! Depends on no crate of the workspace, so that it works before any of them compiles.

mod build;
mod fuzz;
mod launch;
mod mutants;
mod package;
mod privilege;
mod process;
mod setup;
mod test;
mod tidy;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

const START: &str = "\
A fresh machine needs nothing else typed:
  cargo xtask run     see it work, between network namespaces
  cargo xtask test    check everything

Each of them sets up and builds what is missing. Everything that is built lies in target/
or where CARGO_TARGET_DIR says; the eBPF programs in its folder ebpf/.";

/// Sets up, builds, runs, tests and measures nxdp
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = START)]
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
    /// Check everything: format, rules, lints, unit and property tests, tests as root
    ///
    /// Ends with the line `N passed, N failed`. With NAME only the tests of that name are run.
    Test(test::TestArgs),
    /// Check the rules of this repository that no compiler holds
    Tidy,
    /// Build, then show the filter at work between three network namespaces (needs root)
    ///
    /// Makes the namespaces client, router and resolver, loads the sample lists, sends queries and
    /// removes everything again. With `-- ARGS` it runs `nxdp ARGS` on this machine instead, for
    /// example `cargo xtask run -- features eth0`.
    Run(launch::RunArgs),
    /// Build, then measure (needs root)
    Bench(launch::BenchArgs),
    /// Run the fuzz targets
    Fuzz(fuzz::FuzzArgs),
    /// Change the code, one place at a time, and see whether a test notices: cargo-mutants
    ///
    /// Takes hours for everything; --shard takes a part, `-- -f FILE` a file. What survives is in
    /// target/mutants, what no test can see is argued in .cargo/mutants.toml.
    Mutants(mutants::MutantsArgs),
    /// Load and test the filter under Debian's kernels, each in an emulated machine
    ///
    /// Fetches the kernels once, through apt but without installing them. Prints one line a kernel
    /// and fails if a step failed or a program outgrew verifier/budget.toml.
    Vm(vm::VmArgs),
    /// Make what users install: a static binary in a tarball, and a Debian package
    ///
    /// They lie in target/package/ then. With --verify the Debian package is installed in fresh
    /// systems, one of which boots and runs the units.
    Package(package::PackageArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match Workspace::discover().and_then(|workspace| carry_out(cli.task, &workspace)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(task: Task, workspace: &Workspace) -> Result<()> {
    match task {
        Task::Setup => setup::all(workspace),
        Task::Build(args) => build::all(workspace, &args),
        Task::Test(args) => test::run(workspace, &args),
        Task::Tidy => tidy::run(workspace),
        Task::Run(args) => launch::run(workspace, &args),
        Task::Bench(args) => launch::bench(workspace, &args),
        Task::Fuzz(args) => fuzz::run(workspace, &args),
        Task::Mutants(args) => mutants::run(workspace, &args),
        Task::Vm(args) => vm::run(workspace, &args),
        Task::Package(args) => package::run(workspace, &args),
    }
}
