//! `nxdp-bench`: measures and prints `name value unit` lines.
//!
//! Every figure is the median of several rounds, above the floor measured in
//! the same round: the machine's speed drifts, differences drift less. Lines
//! that start with `#` tell where the figures come from.

#![forbid(unsafe_code)]

mod compile;
mod daemon;
mod overrides;
mod packet;
mod peers;
mod policy;
mod rig;
mod sample;
mod wire;
mod worst;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures nxdp
#[derive(Debug, Parser)]
#[command(name = "nxdp-bench")]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Clone, Debug, Subcommand)]
enum Part {
    /// Seconds, memory and bytes a name from lists to an image; needs no root
    Compile(compile::Arguments),
    /// Memory of the daemon at rest, and milliseconds a swap
    Daemon(daemon::Arguments),
    /// Milliseconds until `nxdp allow` is in force, under load
    Override(overrides::Arguments),
    /// Nanoseconds a packet in the kernel, by BPF_PROG_TEST_RUN
    Packet(packet::Arguments),
    /// nxdp beside other DNS filters: rate, CPU time, memory, load and reload
    Peers(peers::Arguments),
    /// Nanoseconds that policies, clients and overrides add to a packet
    Policy(policy::Arguments),
    /// Queries a second a core through a veth pair, beside a bare reflector
    Wire(wire::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let part = arguments
        .part
        .unwrap_or(Part::Packet(packet::Arguments::default()));
    match run(&part) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nxdp-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(part: &Part) -> Result<()> {
    print_machine();
    match part {
        Part::Compile(arguments) => compile::run(arguments),
        Part::Daemon(arguments) => daemon::run(arguments),
        Part::Override(arguments) => overrides::run(arguments),
        Part::Packet(arguments) => packet::run(arguments),
        Part::Peers(arguments) => peers::run(arguments),
        Part::Policy(arguments) => policy::run(arguments),
        Part::Wire(arguments) => wire::run(arguments),
    }
}

fn print_machine() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let cpu = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown CPU", |rest| {
            rest.trim_start_matches(['\t', ' ', ':'])
        });
    println!(
        "# {}, Linux {}",
        cpu,
        read("/proc/sys/kernel/osrelease").trim()
    );
}
