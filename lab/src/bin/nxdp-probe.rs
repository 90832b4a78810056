//! The binary `nxdp-probe`: what one kernel makes of the programs, in lines that scripts read.
//!
//! It is what `cargo xtask vm` starts inside a virtual machine and `cargo xtask test` on this one. It
//! measures and tells; whether a figure is good is decided outside.

use std::{
    fs::{self, File},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    programs::{Program, ProgramError},
};
use clap::{Parser, Subcommand};
use filter_common::reason::Action;
use filter_kernel::{Filter, Mode};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nxdp_lab::{cases, engines::compile_texts};

const XDP_TX: u32 = 3;

/// What one kernel makes of the programs.
#[derive(Parser)]
#[command(name = "nxdp-probe", version)]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Loads every program of an object and prints what the verifier says of each
    Verify {
        /// The object, `nxdp.bpf.o`
        object: PathBuf,
    },
    /// Loads the filter with the table of cases, answers one query and attaches in native mode
    ///
    /// Prints the capabilities it did this with.
    Attach {
        /// The interface
        interface: String,
    },
    /// Prints how many cases the table has
    Cases,
}

fn main() -> ExitCode {
    filter_kernel::object::require::<()>();
    let result = match Arguments::parse().command {
        Verb::Verify { object } => verify(&object),
        Verb::Attach { interface } => attach(&interface),
        Verb::Cases => {
            println!("cases {}", cases::all().len());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nxdp-probe: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One line a program: name, verified instructions, bytes of stack, microseconds of the whole load.
fn verify(object: &Path) -> Result<()> {
    let bytes = fs::read(object).with_context(|| format!("read {}", object.display()))?;
    let mut ebpf = open(&bytes, VerifierLogLevel::STATS)?;
    let names: Vec<String> = ebpf.programs().map(|(name, _)| name.to_owned()).collect();
    ensure!(!names.is_empty(), "{} holds no program", object.display());
    for name in names {
        let log = log_of_a_good_load(&mut ebpf, &name)
            .inspect_err(|_| eprintln!("{}", last_words(&bytes, &name)))?;
        let start = Instant::now();
        load(&mut ebpf, &name)?;
        let load_us = start.elapsed().as_micros();
        let Verified {
            instructions,
            stack,
        } = Verified::read(&log)
            .with_context(|| format!("no figures in the verifier's log:\n{log}"))?;
        println!("program {name} instructions {instructions} stack {stack} load_us {load_us}");
    }
    Ok(())
}

fn open(object: &[u8], level: VerifierLogLevel) -> Result<Ebpf> {
    EbpfLoader::new()
        .verifier_log_level(level)
        .load(object)
        .context("create the maps")
}

/// How the verifier came to refuse a program: the end of the path it took.
fn last_words(object: &[u8], name: &str) -> String {
    const LINES: usize = 60;
    let refused = open(object, VerifierLogLevel::DEBUG).map(|mut ebpf| load(&mut ebpf, name));
    let Ok(Err(ProgramError::LoadError { verifier_log, .. })) = refused else {
        return format!("the verifier says no more of {name}");
    };
    let log = verifier_log.to_string();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// The verifier's log, which is handed out for failed loads only: this one fails after the verifier
/// has accepted the program, for want of a file descriptor.
fn log_of_a_good_load(ebpf: &mut Ebpf, name: &str) -> Result<String> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let lowest_free = File::open("/dev/null")?.as_raw_fd();
    setrlimit(Resource::RLIMIT_NOFILE, u64::try_from(lowest_free)?, hard)?;
    let result = load(ebpf, name);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    match result {
        Ok(()) => bail!("load {name}: it found a file descriptor where none was left"),
        Err(ProgramError::LoadError {
            io_error,
            verifier_log,
        }) if io_error.raw_os_error() == Some(libc::EMFILE) => Ok(verifier_log.to_string()),
        Err(error) => Err(error).with_context(|| format!("load {name}")),
    }
}

fn load(ebpf: &mut Ebpf, name: &str) -> Result<(), ProgramError> {
    match ebpf.program_mut(name) {
        Some(Program::Xdp(program)) => program.load(),
        Some(Program::SchedClassifier(program)) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// What the verifier's last lines say.
#[derive(Debug, PartialEq, Eq)]
struct Verified {
    instructions: u32,
    stack: u32,
}

impl Verified {
    /// Reads `processed N insns (…)` and what is said of the stack. Linux 7.2 and 7.3 say `max N`, the
    /// longest chain of calls. Older ones say `A+B+C`, one part a function: the sum, the most that
    /// a chain could take, for the log does not tell who calls whom.
    fn read(log: &str) -> Option<Self> {
        let behind = |mark: &str| log.lines().rev().find_map(|line| line.strip_prefix(mark));
        let instructions = behind("processed ")?.split(' ').next()?.parse().ok()?;
        let depth = behind("stack depth ")?;
        let depths = depth.rsplit("max ").next()?.split('+');
        let depths = depths.map(|part| part.trim().parse::<u32>());
        Some(Self {
            instructions,
            stack: depths.sum::<Result<_, _>>().ok()?,
        })
    }
}

fn attach(interface: &str) -> Result<()> {
    let image = compile_texts(&cases::LISTS)?;
    let mut filter = Filter::load(u32::try_from(image.records().len() + 1)?)?;
    filter.maps.activate(image.records(), |_| true)?;
    let blocked = cases::all()
        .into_iter()
        .find(|case| case.reason.action() == Action::Transmit)
        .context("find a case that is answered")?;
    filter.attach(interface, Mode::Native)?;
    match filter.test_run(&blocked.frame, 1) {
        Ok(outcome) => ensure!(outcome.action == XDP_TX, "not answered: {outcome:?}"),
        Err(error) => return Err(error).context("answer one query"),
    }
    println!("attached {interface} capabilities {}", capabilities()?);
    Ok(())
}

/// The effective capabilities as the kernel writes them, hexadecimal.
fn capabilities() -> Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    Ok(line.context("find CapEff")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESSED: &str = "processed 94395 insns (limit 1000000) max_states_per_insn 55\n";

    #[test]
    fn the_stack_of_older_kernels_is_the_sum_and_of_newer_ones_the_longest_chain() {
        for (depth, stack) in [
            ("152+0+80", 232),
            ("152+0+80 max 200", 200),
            ("max 352", 352),
        ] {
            let log = format!("verification time 5 usec\nstack depth {depth}\n{PROCESSED}");
            let expected = Verified {
                instructions: 94395,
                stack,
            };
            assert_eq!(Verified::read(&log), Some(expected), "{depth}");
        }
    }

    #[test]
    fn a_log_without_figures_is_not_read_as_zero() {
        assert_eq!(Verified::read(PROCESSED), None);
        assert_eq!(Verified::read("stack depth 1+x\nprocessed 1 insns"), None);
    }
}
