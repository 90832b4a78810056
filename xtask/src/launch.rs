//! Starts what was built: the demonstration, the filter itself, the measurements.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    build::{self, Profile},
    privilege, process, setup,
    workspace::Workspace,
};

/// What to run.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RunArgs {
    /// Block lists for the demonstration, instead of the bundled samples
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "args")]
    list: Vec<PathBuf>,
    /// Arguments for `nxdp`, which then runs on this machine, not in namespaces
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

/// Which measurement.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct BenchArgs {
    /// The part to measure, for example `packet`; without it the measurements are listed
    #[arg(value_name = "PART")]
    part: Option<String>,
    /// Judge counts of instructions and sizes by verifier/bench.toml; measures nothing else
    #[arg(long, conflicts_with = "part")]
    check: bool,
    /// With --check: write what was found to the file, because it is meant
    #[arg(long, requires = "check")]
    accept: bool,
    /// Arguments for that part
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    args: Vec<String>,
}

/// Builds, then becomes the demonstration or, with arguments, `nxdp`.
pub(crate) fn run(workspace: &Workspace, args: &RunArgs) -> Result<()> {
    let profile = Profile::at_hand(workspace, build::NXDP);
    if !args.args.is_empty() {
        build::binaries(workspace, profile, &[build::NXDP])?;
        // ClientFacts for help or a verdict needs no root, and nxdp says itself when it does.
        let mut nxdp = process::outer(profile.binary(workspace, "nxdp"));
        return process::exec(nxdp.args(&args.args));
    }
    build::binaries(workspace, profile, &[build::NXDP, build::LAB])?;
    setup::lab_tools()?;
    let purpose = "make network namespaces and load the filter into them";
    let mut lab = privilege::as_root(&profile.binary(workspace, "nxdp-lab"), purpose)?;
    lab.arg("demo");
    for list in &args.list {
        if !list.is_file() {
            bail!("read the list {}: no such file", list.display());
        }
        lab.arg("--list").arg(list);
    }
    process::exec(&mut lab)
}

/// Builds, then becomes the measuring program.
pub(crate) fn bench(workspace: &Workspace, args: &BenchArgs) -> Result<()> {
    build::binaries(workspace, Profile::Release, &[build::NXDP, build::BENCH])?;
    setup::lab_tools()?;
    let binary = Profile::Release.binary(workspace, "nxdp-bench");
    let purpose = "load programs and send packets through them";
    let part = match (&args.part, args.check) {
        (Some(part), _) => part.as_str(),
        (None, true) => "check",
        (None, false) => return process::exec(process::outer(&binary).arg("--help")),
    };
    match part {
        "peers" => setup::peers(),
        "check" | "counts" => setup::valgrind()?,
        _ => {}
    }
    let mut bench = privilege::as_root(&binary, purpose)?;
    bench.arg(part).args(&args.args);
    if args.accept {
        bench.arg("--accept");
    }
    process::exec(&mut bench)
}
