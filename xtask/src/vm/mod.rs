//! Runs the filter under other kernels: Debian's, each in a virtual machine of its own.
//!
//! A machine is emulated, boots into a file system in memory that holds the built programs and tests,
//! runs them, and powers off. Nothing is installed but the emulator and a static busybox.

mod budget;
mod cables;
mod devices;
mod guest;
mod initramfs;
mod kernels;
mod machine;
mod report;
mod table;
mod without_btf;

use anyhow::{Result, bail, ensure};
use clap::Args;

use self::{
    budget::Budget, cables::Cables, guest::Programs, kernels::Archive, machine::Outcome,
    report::Report,
};
use crate::{
    build::{self, Profile},
    process,
    setup::apt,
    workspace::Workspace,
};

pub(crate) use budget::check_this_kernel;

/// The kernels that are tried when none is named, by what `uname -r` starts with.
const KERNELS: [&str; 7] = ["6.1", "6.12", "6.16", "6.17", "6.18", "7.2", "7.3"];

/// Which kernels.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct VmArgs {
    /// Kernels by major and minor number; all of docs/kernels.md when none is named. Only when it
    /// is named: `6.1-without-btf`, which is built, in some ten minutes, and kept
    #[arg(value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Attach the filter to every kind of interface instead, over emulated cards of several models
    ///
    /// Boots 6.1 and 6.18 when no kernel is named. Fails if the filter is attached somewhere and
    /// blocked names resolve without a word.
    #[arg(long, conflicts_with = "update_budget")]
    devices: bool,
    /// With --devices: cards by a part of their names, for example `e1000e`
    #[arg(long, value_name = "MODEL", requires = "devices")]
    cards: Vec<String>,
    /// With --devices: interfaces by a part of their names, for example `bond`
    #[arg(long, value_name = "NAME", requires = "devices")]
    row: Vec<String>,
    /// Write what is measured into verifier/budget.toml instead of judging by it
    #[arg(long)]
    update_budget: bool,
    /// Frames of the differential test
    #[arg(long, default_value_t = 5_000, value_name = "N")]
    frames: u32,
}

/// Boots every kernel, prints one line for each, and fails if one of them falls short.
pub(crate) fn run(workspace: &Workspace, args: &VmArgs) -> Result<()> {
    emulator()?;
    if args.devices {
        return devices::run(workspace, args);
    }
    build::binaries(workspace, Profile::Release, &guest::BUILT)?;
    let programs = Programs::build(workspace, args.frames)?;
    let archive = Archive::new(workspace)?;
    let named = args.kernels.iter().map(String::as_str);
    let kernels: Vec<&str> = if args.kernels.is_empty() {
        KERNELS.to_vec()
    } else {
        named.collect()
    };
    let mut budget = Budget::read(workspace)?;
    let mut faults = Vec::new();
    println!("{}", Report::HEADER);
    for kernel in kernels {
        let report = match try_kernel(&archive, &programs, kernel) {
            Ok(report) => report,
            Err(error) => {
                faults.push(format!("{kernel}: {error:#}"));
                continue;
            }
        };
        println!("{report}");
        faults.extend(report.faults());
        if args.update_budget {
            budget.update(kernel, &report.programs);
        } else {
            faults.extend(budget.judge(kernel, &report.programs));
        }
    }
    if args.update_budget {
        budget.write(workspace)?;
    }
    conclude(&faults)
}

fn emulator() -> Result<()> {
    let needed = [
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("busybox", "busybox-static"),
        ("ethtool", "ethtool"),
    ];
    let missing = needed
        .iter()
        .filter(|(name, _)| process::find(name).is_none());
    let packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    apt::install(&packages, "other kernels run in an emulated machine")
}

fn try_kernel(archive: &Archive, programs: &Programs, name: &str) -> Result<Report> {
    let kernel = archive.kernel(name)?;
    let initramfs = programs.initramfs(&kernel)?;
    let log = kernel.folder.join("console.log");
    let Outcome { console, in_time } = machine::boot(
        &kernel.image,
        &initramfs,
        &Cables::none(),
        machine::LIMIT,
        &log,
    )?;
    let report = Report::read(name, &kernel.release, &console);
    if !in_time {
        bail!(
            "still running after {} s, ended; the last step was {:?}, see {}",
            machine::LIMIT.as_secs(),
            report.last_step(),
            log.display()
        );
    }
    if report.has_no_step() {
        bail!("did not boot to the tests; see {}", log.display());
    }
    ensure!(
        name != without_btf::NAME || report.is_without_btf(),
        "the kernel has type information, or `nxdp features` does not tell; see {}",
        log.display()
    );
    Ok(report)
}

fn conclude(faults: &[String]) -> Result<()> {
    for fault in faults {
        eprintln!("vm: {fault}");
    }
    if !faults.is_empty() {
        bail!("{} faults in the kernel matrix", faults.len());
    }
    Ok(())
}
