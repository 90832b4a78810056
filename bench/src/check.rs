//! Guards against regressions: what is counted is judged, what is timed is shown.
//!
//! Judged by `verifier/bench.toml`, with slack: instructions of the packet core on the host, which do
//! not depend on the machine; what the verifier looked at and the program's size, by kernel; bytes of
//! machine code, by kernel and architecture. The cost of packets as multiples of a yardstick of the
//! same run differs between processors, and on one of them from run to run: it is information.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use nxdp_lab::cases::Message;
use serde::{Deserialize, Serialize};

use crate::{
    counts,
    packet::{blocked_name, image, query},
    processor,
    programs::{Programs, Rounds, program, run_ns},
    report::{self, Head},
    sample::Sample,
};

const HEADER: &str = "\
# What `cargo xtask bench --check` holds the filter against. By architecture, the instructions of the
# packet core on the host for each class of packet, as callgrind counts them; by kernel, the
# instructions that the verifier looked at and the bytes of the program; by kernel and architecture,
# the bytes of its machine code. For information, by processor: the fastest round of packets as
# multiples of a yardstick of 64 multiplications in the same run.
# Written by `cargo xtask bench --check --accept`.

";
/// Growth of sizes that is no fault.
const SIZE_SLACK: f64 = 1.1;
/// The same of counts, which another compiler changes a little.
const COUNT_SLACK: f64 = 1.05;
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
#[serde(deny_unknown_fields, default)]
struct Accepted {
    /// Instructions of the core by architecture, such as `x86_64`.
    core: BTreeMap<String, Figures>,
    /// Sizes by series of the kernel, such as `6.18`.
    kernel: BTreeMap<String, Figures>,
    /// Machine code by series of the kernel and architecture.
    machine_code: BTreeMap<String, Figures>,
    /// Multiples of the yardstick by processor.
    processor: BTreeMap<String, Figures>,
}

/// What one run found, and by which names the file knows it.
struct Found {
    arch: &'static str,
    core: Figures,
    kernel: String,
    sizes: Figures,
    machine_code: Figures,
    processor: String,
    costs: Figures,
}

/// Measures and judges.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let path = arguments.file.clone().unwrap_or_else(committed);
    let mut accepted = read(&path)?;
    let found = Found::measure()?;
    if arguments.accept {
        accepted.take(found);
        let text = HEADER.to_owned() + &toml::to_string(&accepted)?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        println!("# accepted: see {}", path.display());
        return Ok(());
    }
    let faults = accepted.judge(&found);
    if faults.is_empty() {
        println!("# nothing grew beyond its slack");
        return Ok(());
    }
    bail!(
        "{}; if that is meant, accept it with `cargo xtask bench --check --accept`",
        faults.join("; ")
    )
}

impl Found {
    fn measure() -> Result<Self> {
        let mut programs = Programs::new(&image(NAMES)?)?;
        let (sizes, machine_code) = sizes(&mut programs)?;
        Ok(Self {
            arch: std::env::consts::ARCH,
            core: counts::count()?,
            kernel: Head::new().kernel_series(),
            sizes,
            machine_code,
            processor: processor::key(),
            costs: costs(&mut programs)?,
        })
    }

    /// By which machine code is known: each kernel's compiler writes another one.
    fn machine(&self) -> String {
        format!("{} {}", self.kernel, self.arch)
    }
}

impl Accepted {
    fn take(&mut self, found: Found) {
        self.machine_code
            .insert(found.machine(), found.machine_code);
        self.core.insert(found.arch.to_owned(), found.core);
        self.kernel.insert(found.kernel, found.sizes);
        self.processor.insert(found.processor, found.costs);
    }

    /// What grew beyond its slack, in words; of costs it is only told.
    fn judge(&self, found: &Found) -> Vec<String> {
        let Found {
            arch,
            kernel,
            processor,
            ..
        } = found;
        let machine = &found.machine();
        let mut faults = judge(self.core.get(*arch), &found.core, COUNT_SLACK, arch);
        faults.extend(judge(
            self.kernel.get(kernel),
            &found.sizes,
            SIZE_SLACK,
            kernel,
        ));
        let accepted = self.machine_code.get(machine);
        faults.extend(judge(accepted, &found.machine_code, SIZE_SLACK, machine));
        for (name, accepted) in self.processor.get(processor).into_iter().flatten() {
            if let Some(cost) = found.costs.get(name) {
                println!("# {name} of yardstick: {cost}, accepted for this processor: {accepted}");
            }
        }
        faults
    }
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

/// Instructions that the verifier looked at and bytes of the program; bytes of its machine code.
fn sizes(programs: &mut Programs) -> Result<(Figures, Figures)> {
    let instructions = programs.filter.verified_instructions();
    let instructions = instructions.context("this kernel tells no verified instructions")?;
    let (translated, machine) = programs.filter.program_bytes()?;
    let told = |figures: &[(&str, u32)]| {
        let mut kept = Figures::new();
        for (name, value) in figures {
            let value = f64::from(*value);
            report::value(name, value, name.rsplit('_').next().unwrap_or_default());
            kept.insert((*name).to_owned(), value);
        }
        kept
    };
    Ok((
        told(&[
            ("verified_instructions", instructions),
            ("program_bytes", translated),
        ]),
        told(&[("machine_code_bytes", machine)]),
    ))
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
    let (mut runs, mut floors) = (Sample::default(), Sample::default());
    for _ in 0..ROUNDS.rounds {
        floors.push(run_ns(&mut floor, &frames[0].1, ROUNDS.repeat)?);
        runs.push(run_ns(&mut yardstick, &frames[0].1, ROUNDS.repeat)?);
    }
    let yardstick_ns = above_floor("the yardstick", &runs, &floors)?;
    report::value("yardstick", yardstick_ns, "ns");
    let mut figures = Figures::new();
    for (name, frame) in frames {
        let runs = programs.run(&ROUNDS, &frame)?;
        let cost_ns = above_floor(name, &runs.filter, &runs.floor)?;
        let ratio = (cost_ns / yardstick_ns * 100.0).round() / 100.0;
        report::value(&format!("{name}_of_yardstick"), ratio, "x");
        figures.insert(name.to_owned(), ratio);
    }
    Ok(figures)
}

/// The fastest run less the fastest floor: a round in which only the floor was disturbed makes the
/// difference of that round small, or negative.
fn above_floor(of: &str, runs: &Sample, floors: &Sample) -> Result<f64> {
    let above = runs.fastest() - floors.fastest();
    ensure!(
        above > 0.0,
        "{of} took {above:.1} ns more than nothing: this machine is too busy to measure"
    );
    Ok(above)
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

    fn found(blocked: f64, cost: f64) -> Found {
        let of = |name: &str, value| Figures::from([(name.to_owned(), value)]);
        Found {
            arch: "x86_64",
            core: of("blocked", blocked),
            kernel: "6.1".to_owned(),
            sizes: of("program_bytes", 100.0),
            machine_code: of("machine_code_bytes", 50.0),
            processor: "AuthenticAMD family 25 model 17 stepping 1".to_owned(),
            costs: of("blocked", cost),
        }
    }

    #[test]
    fn a_count_is_judged_on_every_machine_and_a_time_on_none() {
        let mut accepted = Accepted::default();
        accepted.take(found(1000.0, 1.0));
        assert!(accepted.judge(&found(1050.0, 90.0)).is_empty());
        let faults = accepted.judge(&found(1060.0, 1.0));
        assert_eq!(faults, ["blocked grew by 6 %, from 1000 to 1060 (x86_64)"]);
        let elsewhere = Found {
            kernel: "7.2".to_owned(),
            processor: "implementer 0x41 part 0xd0c".to_owned(),
            ..found(1060.0, 1.0)
        };
        assert_eq!(accepted.judge(&elsewhere), faults);
    }

    #[test]
    fn a_disturbed_floor_neither_hides_nor_makes_a_cost() {
        let sample = |rounds: &[f64]| {
            let mut sample = Sample::default();
            rounds.iter().for_each(|round| sample.push(*round));
            sample
        };
        let runs = sample(&[30.0, 31.0, 30.5]);
        let above = above_floor("x", &runs, &sample(&[10.0, 500.0, 10.2])).unwrap();
        assert!((above - 20.0).abs() < f64::EPSILON, "{above}");
        assert!(above_floor("x", &runs, &sample(&[30.0, 30.0])).is_err());
    }

    #[test]
    fn the_committed_figures_can_be_read() {
        let accepted = read(&committed()).unwrap();
        assert!(!accepted.core.is_empty() && !accepted.kernel.is_empty());
    }
}
