//! Programs in the kernel, and what one run of them over a frame costs.
//!
//! BPF_PROG_TEST_RUN runs a program many times over one frame and tells the mean.

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use filter_common::reason::{Action, Reason};
use filter_kernel::{Filter, Maps};
use filter_lists::image::Image;

use crate::sample::Sample;

/// The longest frame that the measuring programs can put back.
pub(crate) const RESTORED_MAX_BYTES: usize = 512;

/// How often something is measured.
#[derive(Args, Clone, Debug)]
pub(crate) struct Rounds {
    /// Runs of the program a round
    #[arg(long, default_value_t = Self::DEFAULT.repeat)]
    pub(crate) repeat: u32,
    /// Rounds
    #[arg(long, default_value_t = Self::DEFAULT.rounds)]
    pub(crate) rounds: u32,
}

impl Rounds {
    const DEFAULT: Self = Self {
        repeat: 500_000,
        rounds: 11,
    };
}

impl Default for Rounds {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A kernel object, which `cargo xtask build` puts beside this binary's folder.
pub(crate) fn object(name: &str) -> Result<Vec<u8>> {
    let binary = std::env::current_exe().context("find the running binary")?;
    let target = binary
        .ancestors()
        .nth(2)
        .context("find the target folder")?;
    let path = target.join("ebpf").join(name);
    std::fs::read(&path)
        .with_context(|| format!("read {}: run `cargo xtask build`", path.display()))
}

/// One of the measuring programs, without names.
pub(crate) fn program(name: &'static str) -> Result<Filter> {
    Filter::load_from(&object("bench.bpf.o")?, name, 1)
        .with_context(|| format!("load {name} (needs root)"))
}

/// One of the measuring programs, with the names of an image.
pub(crate) fn program_over(name: &'static str, image: &Image) -> Result<Filter> {
    over("bench.bpf.o", name, image)
}

fn over(file: &str, name: &'static str, image: &Image) -> Result<Filter> {
    let capacity = u32::try_from(image.records().len() + 1)?;
    let mut filter = Filter::load_from(&object(file)?, name, capacity)
        .with_context(|| format!("load {name} (needs root)"))?;
    filter.maps.activate(image.records(), |_| true)?;
    Ok(filter)
}

/// Nanoseconds of one run.
pub(crate) fn run_ns(program: &mut Filter, frame: &[u8], repeat: u32) -> Result<f64> {
    Ok(program.test_run(frame, repeat)?.duration_ns as f64)
}

/// The filter, the filter that can answer over and over, and a floor for each.
pub(crate) struct Programs {
    floor: Filter,
    pub(crate) filter: Filter,
    restore: Filter,
    restore_filter: Filter,
}

/// What a frame took, in nanoseconds a run.
pub(crate) struct Runs {
    pub(crate) floor: Sample,
    pub(crate) filter: Sample,
    reason: Reason,
}

impl Programs {
    pub(crate) fn new(image: &Image) -> Result<Self> {
        Ok(Self {
            floor: program("floor")?,
            filter: over("nxdp.bpf.o", "nxdp", image)?,
            restore: program("restore")?,
            restore_filter: program_over("restore_filter", image)?,
        })
    }

    /// Changes the maps of both filters.
    pub(crate) fn change(&mut self, change: impl Fn(&mut Maps) -> Result<()>) -> Result<()> {
        change(&mut self.filter.maps)?;
        change(&mut self.restore_filter.maps)
    }

    /// What becomes of a frame: the counter that moves.
    pub(crate) fn judge(&mut self, frame: &[u8]) -> Result<Reason> {
        let before = self.filter.maps.counters()?;
        self.filter.test_run(frame, 1)?;
        let moved = self.filter.maps.counters()?.since(&before);
        let mut reasons = moved.iter().filter(|(_, packets)| *packets > 0);
        Ok(reasons.next().context("no counter moved")?.0)
    }

    /// What the empty program takes.
    pub(crate) fn floor(&mut self, rounds: &Rounds, frame: &[u8]) -> Result<Sample> {
        let mut floors = Sample::default();
        for _ in 0..rounds.rounds {
            floors.push(run_ns(&mut self.floor, frame, rounds.repeat)?);
        }
        Ok(floors)
    }

    /// The cost of a frame above the floor of the same round, and what becomes of it.
    pub(crate) fn cost(&mut self, rounds: &Rounds, frame: &[u8]) -> Result<(Sample, Reason)> {
        let Runs {
            floor,
            filter,
            reason,
        } = self.run(rounds, frame)?;
        Ok((filter.above(&floor), reason))
    }

    /// Runs the filter and a floor in turns, over a frame.
    ///
    /// A frame that is answered is put back before each run, and what that costs is the floor.
    pub(crate) fn run(&mut self, rounds: &Rounds, frame: &[u8]) -> Result<Runs> {
        let reason = self.judge(frame)?;
        let is_answered = reason.action() == Action::Transmit;
        let (floor, filter) = match is_answered {
            true => (&mut self.restore, &mut self.restore_filter),
            false => (&mut self.floor, &mut self.filter),
        };
        if is_answered {
            ensure!(
                frame.len() <= RESTORED_MAX_BYTES,
                "a frame of {} bytes cannot be put back",
                frame.len()
            );
            floor.set_original(frame)?;
            filter.set_original(frame)?;
        }
        let before = filter.maps.counters()?;
        let (mut floors, mut filters) = (Sample::default(), Sample::default());
        for _ in 0..rounds.rounds {
            floors.push(run_ns(floor, frame, rounds.repeat)?);
            filters.push(run_ns(filter, frame, rounds.repeat)?);
        }
        let moved = filter.maps.counters()?.since(&before);
        let runs = u64::from(rounds.rounds) * u64::from(rounds.repeat);
        ensure!(
            moved.of(reason) == runs,
            "of {runs} runs {} were counted as {}",
            moved.of(reason),
            reason.name()
        );
        Ok(Runs {
            floor: floors,
            filter: filters,
            reason,
        })
    }
}
