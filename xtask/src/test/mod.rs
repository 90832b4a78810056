//! Checks everything: format, rules of the repository, lints, tests; one summary at the end.
//!
//! The kernel side is built once and all tests are compiled once; what else is checked uses the same
//! binaries. Tests are compiled by the caller and only run as root, so that nothing of root's lies in
//! the target folder.

mod compile;
mod plan;
mod report;
mod root;
mod schedule;
mod tally;

use std::process::Command;

use anyhow::Result;
use clap::Args;

use self::{
    compile::{Built, Kind},
    plan::{Job, Plan},
    report::Report,
    root::Root,
    tally::Tally,
};
use crate::{build, package, process, setup, tidy, vm, workspace::Workspace};

/// Which tests.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TestArgs {
    /// Run only tests whose names, or those of their executables, contain this, and no lints
    #[arg(value_name = "NAME")]
    filter: Option<String>,
    /// Run the long tests at their whole length: minutes more
    #[arg(long)]
    long: bool,
    /// Tests in namespaces that run at a time; they mostly wait
    #[arg(long, value_name = "N", default_value_t = 4)]
    jobs: usize,
}

/// Runs every check and fails if any failed.
pub(crate) fn run(workspace: &Workspace, args: &TestArgs) -> Result<()> {
    let root = Root::find()?;
    let mut report = Report::default();
    check(workspace, args, &root, &mut report);
    report.conclude()
}

/// Stops where nothing further could be found.
fn check(workspace: &Workspace, args: &TestArgs, root: &Root, report: &mut Report) -> Option<()> {
    let checks_all = args.filter.is_none();
    report.step("setup", |_| setup::all(workspace))?;
    report.step("kernel side", |_| build::kernel_side(workspace, &[]))?;
    if checks_all {
        lints(workspace, report);
    }
    let built = report.step("compile", |_| compile::compile(workspace))?;
    if checks_all {
        report.step("packaging", |_| {
            package::check_units(workspace, built.binary("nxdp")?)
        });
        report.step("verifier budget", |_| {
            vm::check_this_kernel(workspace, built.binary("nxdp-probe")?)
        });
    }
    let mut tests = |name, kind, at_once| {
        report.step(name, |tally| {
            run_tests(workspace, args, root, &built, (kind, at_once), tally)
        })
    };
    tests("tests on the host", Kind::Host, 1);
    tests("tests in namespaces", Kind::Lab, args.jobs);
    tests("tests that are alone", Kind::Alone, 1);
    Some(())
}

fn lints(workspace: &Workspace, report: &mut Report) {
    report.step("format", |_| {
        process::run(build::cargo(workspace).args(["fmt", "--all", "--check"]))
    });
    report.step("tidy", |_| tidy::run(workspace));
    report.step("clippy", |_| {
        let scope = ["--workspace", "--exclude", "filter-ebpf", "--all-targets"];
        process::run(clippy(workspace).args(scope).args(["--", "-D", "warnings"]))
    });
    // Of the kernel side only a profile that aborts on panic compiles without std.
    report.step("clippy, kernel side", |_| {
        let scope = ["--release", "--package", "filter-ebpf"];
        process::run(clippy(workspace).args(scope).args(["--", "-D", "warnings"]))
    });
}

fn clippy(workspace: &Workspace) -> Command {
    let mut cargo = build::cargo(workspace);
    cargo.arg("clippy");
    cargo
}

/// Runs the tests of one kind.
fn run_tests(
    workspace: &Workspace,
    args: &TestArgs,
    root: &Root,
    built: &Built,
    (kind, at_once): (Kind, usize),
    tally: &mut Tally,
) -> Result<()> {
    let plan = Plan::of(&built.executables, kind, args.filter.as_deref())?;
    tally.skipped += plan.skipped;
    let nxdp = match std::env::var("NXDP_BIN") {
        Ok(named) => named,
        Err(_) => built.binary("nxdp")?.display().to_string(),
    };
    let mut variables = vec![("NXDP_BIN", nxdp)];
    if args.long {
        variables.push(("NXDP_LONG", "1".to_owned()));
    }
    let command_of = |job: &Job| {
        let file = &job.executable.file;
        let mut command = if kind == Kind::Host {
            let mut command = process::outer(file);
            command.envs(variables.iter().cloned());
            command
        } else {
            root.command(workspace, file, &variables)
        };
        command.current_dir(&job.executable.folder);
        command
    };
    let folder = workspace.target().join("test-output");
    schedule::run(plan.jobs, at_once, &command_of, &folder, tally)
}
