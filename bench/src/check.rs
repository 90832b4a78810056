//! Guards against regressions: what the verifier looked at, sizes, and costs as multiples of a
//! yardstick measured in the same run, held against `verifier/bench.toml`.
//!
//! No time is judged: a slower machine is slower for the yardstick too. The fastest of many
//! rounds counts, because whatever else a machine does only adds.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use nxdp_lab::cases::Message;
use serde::{Deserialize, Serialize};

use crate::{
    packet::{blocked_name, image, query},
    programs::{Programs, Rounds, program, run_ns},
    report::{self, Head},
    sample::Sample,
};

const HEADER: &str = "\
# What `cargo xtask bench --check` holds the filter against: on each kernel, instructions that the verifier
# looked at, and bytes of the program as the kernel keeps it and as machine code; on each kind of
# processor, the fastest round of packets as multiples of a yardstick of 64 multiplications in
# the same run. Written by `cargo xtask bench --check --accept`.

";
/// Growth of sizes that is no fault.
const SIZE_SLACK: f64 = 1.1;
/// The same of costs, which differ from run to run.
const COST_SLACK: f64 = 1.4;
/// Names in the table: few, so that the caches of any machine hold them.
const NAMES: u32 = 10_000;

/// Flags of the part.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Write the figures of this run to the file instead of judging them
    #[arg(long)]
    accept: bool,
    /// The file [default: verifier/bench.toml of the sources]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

type Figures = BTreeMap<String, f64>;

/// The accepted figures.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    /// Sizes by series of the kernel, such as 6.18.
    kernel: BTreeMap<String, Figures>,
    /// Multiples of the yardstick by processor.
    cpu: BTreeMap<String, Figures>,
}

/// Measures and judges.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let path = arguments.file.clone().unwrap_or_else(committed);
    let mut accepted = read(&path)?;
    let head = Head::new();
    let (kernel, cpu) = (head.kernel_series(), head.cpu().to_owned());
    let mut programs = Programs::new(&image(NAMES)?)?;
    let (sizes, costs) = (sizes(&mut programs)?, costs(&mut programs)?);
    if arguments.accept {
        accepted.kernel.insert(kernel, sizes);
        accepted.cpu.insert(cpu, costs);
        let text = HEADER.to_owned() + &toml::to_string(&accepted)?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        println!("# accepted: see {}", path.display());
        return Ok(());
    }
    let mut faults = judge(accepted.kernel.get(&kernel), &sizes, SIZE_SLACK, &kernel);
    faults.extend(judge(accepted.cpu.get(&cpu), &costs, COST_SLACK, &cpu));
    if faults.is_empty() {
        println!("# nothing grew beyond its slack");
        return Ok(());
    }
    bail!(
        "{}; if that is meant, accept it with `cargo xtask bench --check --accept`",
        faults.join("; ")
    )
}

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../verifier/bench.toml")
}

fn read(path: &Path) -> Result<Accepted> {
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).with_context(|| format!("read {}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Accepted::default()),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

fn sizes(programs: &mut Programs) -> Result<Figures> {
    let instructions = programs.filter.verified_instructions().unwrap_or(0);
    let (translated, machine) = programs.filter.program_bytes()?;
    let figures = [
        ("verified_instructions", f64::from(instructions)),
        ("program_bytes", f64::from(translated)),
        ("machine_code_bytes", f64::from(machine)),
    ];
    for (name, value) in figures {
        report::value(name, value, name.rsplit('_').next().unwrap_or_default());
    }
    Ok(figures.map(|(name, value)| (name.to_owned(), value)).into())
}

/// The fastest round of each packet as a multiple of the fastest round of the yardstick.
fn costs(programs: &mut Programs) -> Result<Figures> {
    const ROUNDS: Rounds = Rounds {
        repeat: 50_000,
        rounds: 25,
    };
    let blocked = Message::new(&blocked_name(NAMES / 2));
    let frames = [
        ("clean", query(&Message::new("www.not-in-any-list.com"))),
        ("blocked", query(&blocked.opt(0, &[]))),
        (
            "clean_deep",
            query(&Message::new(&format!("{}d.com", "a.".repeat(100)))),
        ),
    ];
    let (mut yardstick, mut floor) = (program("yardstick")?, program("floor")?);
    let mut fastest = Sample::default();
    for _ in 0..ROUNDS.rounds {
        let floor_ns = run_ns(&mut floor, &frames[0].1, ROUNDS.repeat)?;
        fastest.push(run_ns(&mut yardstick, &frames[0].1, ROUNDS.repeat)? - floor_ns);
    }
    let (_, yardstick_ns, _) = fastest.spread();
    report::value("yardstick", yardstick_ns, "ns");
    let mut figures = Figures::new();
    for (name, frame) in frames {
        let (_, cost_ns, _) = programs.cost(&ROUNDS, &frame)?.0.spread();
        let ratio = (cost_ns / yardstick_ns * 100.0).round() / 100.0;
        report::value(&format!("{name}_of_yardstick"), ratio, "x");
        figures.insert(name.to_owned(), ratio);
    }
    Ok(figures)
}

/// What grew beyond its slack, in words.
fn judge(accepted: Option<&Figures>, found: &Figures, slack: f64, of: &str) -> Vec<String> {
    let Some(accepted) = accepted else {
        println!("# nothing is accepted for {of} yet, nothing of it is judged");
        return Vec::new();
    };
    let grown = accepted.iter().filter_map(|(name, &accepted)| {
        let found = *found.get(name)?;
        (found > accepted * slack).then(|| {
            let percent = (found / accepted - 1.0) * 100.0;
            format!("{name} grew by {percent:.0} %, from {accepted} to {found} ({of})")
        })
    });
    grown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_beyond_the_slack_is_told_and_growth_within_is_not() {
        let of = |value| Figures::from([("clean".to_owned(), value)]);
        assert!(judge(Some(&of(10.0)), &of(10.9), SIZE_SLACK, "x").is_empty());
        let faults = judge(Some(&of(10.0)), &of(12.0), SIZE_SLACK, "x");
        assert_eq!(faults, ["clean grew by 20 %, from 10 to 12 (x)"]);
        assert!(judge(None, &of(12.0), SIZE_SLACK, "x").is_empty());
    }

    #[test]
    fn the_committed_figures_can_be_read() {
        read(&committed()).unwrap();
    }
}
