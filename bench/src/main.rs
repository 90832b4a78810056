//! `nxdp-bench`: measures and prints `name value unit` lines.
//!
//! Every figure is the median of several rounds, above the floor measured in
//! the same round: the machine's speed drifts, differences drift less. Lines
//! that start with `#` tell where the figures come from.

#![forbid(unsafe_code)]

mod check;
mod compile;
mod counts;
mod daemon;
mod growth;
mod labels;
mod overrides;
mod packet;
mod page;
mod peers;
mod plot;
mod policy;
mod processor;
mod programs;
mod report;
mod rig;
mod sample;
mod sections;
mod swap;
mod wire;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::report::Head;

/// Measures nxdp
#[derive(Debug, Parser)]
#[command(name = "nxdp-bench")]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// Write head and figures to this file too, as JSON
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Put the part's table in its place on this page, for example docs/performance.md
    #[arg(long, global = true, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Draw the part's curves as SVG files in this folder
    #[arg(long, global = true, value_name = "FOLDER")]
    svg: Option<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
enum Part {
    /// Hold instructions, sizes and ratios against those of the repository
    Check(check::Arguments),
    /// Seconds, memory and bytes a name from lists to an image; needs no root
    Compile(compile::Arguments),
    /// Instructions of the packet core on the host, by class of packet; needs no root
    Counts(counts::Arguments),
    /// Memory of the daemon at rest, and milliseconds a swap
    Daemon(daemon::Arguments),
    /// What a query costs as the list grows, with the table in the caches and without
    Growth(growth::Arguments),
    /// What a query costs as its name has more labels
    Labels(labels::Arguments),
    /// Milliseconds until `nxdp allow` is in force, under load
    Override(overrides::Arguments),
    /// Nanoseconds a packet in the kernel, by BPF_PROG_TEST_RUN
    Packet(packet::Arguments),
    /// nxdp beside other DNS filters: rate, CPU time, memory, load and reload
    Peers(peers::Arguments),
    /// Nanoseconds that policies, clients and overrides add to a packet
    Policy(policy::Arguments),
    /// Nanoseconds of each section of a packet's way
    Sections(sections::Arguments),
    /// Milliseconds of a swap under load, its steps, and what the load noticed
    Swap(swap::Arguments),
    /// Queries a second a core through a veth pair, beside a bare reflector
    Wire(wire::Arguments),
}

fn main() -> ExitCode {
    filter_kernel::object::require::<()>();
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nxdp-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let head = Head::new();
    head.print();
    if let Some(folder) = &arguments.svg {
        plot::write_to(folder)?;
    }
    let part = (arguments.part).unwrap_or(Part::Packet(packet::Arguments::default()));
    measure(&part)?;
    if let Some(path) = &arguments.json {
        report::write_json(path, &head)?;
    }
    match &arguments.page {
        Some(path) => page::fill(path, &head),
        None => Ok(()),
    }
}

fn measure(part: &Part) -> Result<()> {
    match part {
        Part::Check(arguments) => check::run(arguments),
        Part::Compile(arguments) => compile::run(arguments),
        Part::Counts(arguments) => counts::run(arguments),
        Part::Daemon(arguments) => daemon::run(arguments),
        Part::Growth(arguments) => growth::run(arguments),
        Part::Labels(arguments) => labels::run(arguments),
        Part::Override(arguments) => overrides::run(arguments),
        Part::Packet(arguments) => packet::run(arguments),
        Part::Peers(arguments) => peers::run(arguments),
        Part::Policy(arguments) => policy::run(arguments),
        Part::Sections(arguments) => sections::run(arguments),
        Part::Swap(arguments) => swap::run(arguments),
        Part::Wire(arguments) => wire::run(arguments),
    }
}
