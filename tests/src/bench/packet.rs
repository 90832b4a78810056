//! Nanoseconds a packet, by class of packet.
//!
//! The kernel runs a program a million times over one packet and tells the
//! mean. Everything is in the caches then: these are the costs of instructions.

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use filter_common::layout::RECORD_BYTES;
use filter_user::{image::Image, kernel::Filter};
use nxdp_tests::{cases::Message, engines, frame::UdpFrame};

use crate::{sample::Sample, worst};

/// Runs and rounds of the first look at each frame of the worst case.
const QUICK_REPEAT: u32 = 2_000;
const QUICK_ROUNDS: u32 = 3;
/// The longest frame that the measuring programs can put back.
const RESTORED_MAX_BYTES: usize = 512;
/// Frames that are measured a second time.
const FINALISTS: usize = 5;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

/// Flags of the part.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Names in the table
    #[arg(long, default_value_t = Self::DEFAULT.names)]
    names: u32,
    /// Runs of the program a round
    #[arg(long, default_value_t = Self::DEFAULT.repeat)]
    repeat: u32,
    /// Rounds
    #[arg(long, default_value_t = Self::DEFAULT.rounds)]
    rounds: u32,
}

impl Arguments {
    const DEFAULT: Self = Self {
        names: 1_000_000,
        repeat: 500_000,
        rounds: 11,
    };
}

impl Default for Arguments {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Measures and prints.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let image = image(arguments.names)?;
    println!(
        "# {} names, {} bytes of kernel memory a generation",
        image.header().name_count,
        image.records().len() * RECORD_BYTES
    );
    let mut bench = Bench::new(&image)?;
    let blocked = blocked_name(arguments.names / 2);
    bench.print_budget();
    bench.passing("non_dns", arguments, &[non_dns()])?;
    bench.passing(
        "clean",
        arguments,
        &[query(&Message::new("www.not-in-any-list.com"))],
    )?;
    bench.answering(
        "blocked",
        arguments,
        &query(&Message::new(&blocked).opt(0, &[])),
    )?;
    bench.worst(arguments)
}

/// A table of made-up names, and the rules that the worst frames aim at.
fn image(names: u32) -> Result<Image> {
    let mut text = String::new();
    for number in 0..names {
        text.push_str("||");
        text.push_str(&blocked_name(number));
        text.push_str("^\n");
    }
    text.push_str(&worst::rules());
    engines::compile_texts(&[("bench", &text)])
}

/// A name of two or three labels, about as long as names in real lists.
fn blocked_name(number: u32) -> String {
    let mixed = number.wrapping_mul(2_654_435_761);
    match number % 3 {
        0 => format!("ads{number}.tracker{:x}.com", mixed >> 12),
        1 => format!("metrics-{mixed:x}.net"),
        _ => format!("cdn-{number}-{mixed:x}.org"),
    }
}

fn query(message: &Message) -> Vec<u8> {
    UdpFrame::query_v4(40_000, &message.bytes()).build()
}

fn non_dns() -> Vec<u8> {
    let source = ([10, 0, 0, 2], 40_000).into();
    UdpFrame::new(source, ([10, 0, 0, 1], 443).into(), &[0; 64]).build()
}

/// A kernel object, which `cargo xtask build` puts beside this binary's folder.
fn object(name: &str) -> Result<Vec<u8>> {
    let binary = std::env::current_exe().context("find the running binary")?;
    let target = binary
        .ancestors()
        .nth(2)
        .context("find the target folder")?;
    let path = target.join("ebpf").join(name);
    std::fs::read(&path)
        .with_context(|| format!("read {}: run `cargo xtask build`", path.display()))
}

/// The programs, loaded.
struct Bench {
    floor: Filter,
    filter: Filter,
    restore: Filter,
    restore_filter: Filter,
}

impl Bench {
    fn new(image: &Image) -> Result<Self> {
        let capacity = u32::try_from(image.records().len() + 1)?;
        let mut filter = Filter::load_from(&object("nxdp.bpf.o")?, "nxdp", capacity)
            .context("load the filter (needs root)")?;
        filter.maps.activate(image.records(), |_| true)?;
        let object = object("bench.bpf.o")?;
        let mut restore_filter = Filter::load_from(&object, "restore_filter", capacity)?;
        restore_filter.maps.activate(image.records(), |_| true)?;
        Ok(Self {
            floor: Filter::load_from(&object, "floor", 1)?,
            restore: Filter::load_from(&object, "restore", 1)?,
            filter,
            restore_filter,
        })
    }

    fn print_budget(&mut self) {
        if let Some(instructions) = self.filter.verified_instructions() {
            println!("# {instructions} instructions verified of 1000000");
        }
    }

    /// Frames that pass: the program sees the same frame each time.
    fn passing(&mut self, name: &str, arguments: &Arguments, frames: &[Vec<u8>]) -> Result<()> {
        let (mut floors, mut costs) = (Sample::default(), Sample::default());
        for frame in frames {
            let outcome = self.filter.test_run(frame, 1)?;
            ensure!(
                outcome.action == XDP_PASS,
                "{name}: the frame does not pass"
            );
            for _ in 0..arguments.rounds {
                let floor = self.floor.test_run(frame, arguments.repeat)?.duration_ns as f64;
                let cost = self.filter.test_run(frame, arguments.repeat)?.duration_ns as f64;
                floors.push(floor);
                costs.push(cost - floor);
            }
        }
        if name == "non_dns" {
            floors.print("floor", "ns");
        }
        costs.print(name, "ns");
        Ok(())
    }

    /// A frame that is answered: it is put back before each run, and what that costs is subtracted.
    fn answering(&mut self, name: &str, arguments: &Arguments, frame: &[u8]) -> Result<()> {
        self.cost_of_answer(arguments, frame)?.print(name, "ns");
        Ok(())
    }

    fn cost_of_answer(&mut self, arguments: &Arguments, frame: &[u8]) -> Result<Sample> {
        let outcome = self.filter.test_run(frame, 1)?;
        ensure!(outcome.action == XDP_TX, "the frame is not answered");
        self.restore.set_original(frame)?;
        self.restore_filter.set_original(frame)?;
        let mut costs = Sample::default();
        for _ in 0..arguments.rounds {
            let floor = self.restore.test_run(frame, arguments.repeat)?.duration_ns as f64;
            let last = self.restore_filter.test_run(frame, arguments.repeat)?;
            ensure!(last.action == XDP_TX, "the frame is not answered each time");
            costs.push(last.duration_ns as f64 - floor);
        }
        Ok(costs)
    }

    /// The dearest of the frames that a client could think of: all of them
    /// once, the dearest of those in as many rounds as everything else.
    fn worst(&mut self, arguments: &Arguments) -> Result<()> {
        let frames = worst::frames(&blocked_name(0));
        let quick = Arguments {
            repeat: QUICK_REPEAT,
            rounds: QUICK_ROUNDS,
            ..arguments.clone()
        };
        let mut costs = Vec::new();
        for (what, frame) in &frames {
            let is_answered = self.filter.test_run(frame, 1)?.action == XDP_TX;
            if is_answered && frame.len() > RESTORED_MAX_BYTES {
                continue;
            }
            costs.push((self.cost(&quick, frame)?.spread().0, what, frame));
        }
        costs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut worst: Option<(Sample, &str)> = None;
        println!(
            "# the worst of {} frames, each measured again:",
            costs.len()
        );
        for (_, what, frame) in costs.iter().take(FINALISTS) {
            let sample = self.cost(arguments, frame)?;
            let (median, min, max) = sample.spread();
            println!("#   {median:.1} ns ({min:.1} to {max:.1}): {what}");
            if worst
                .as_ref()
                .is_none_or(|(dearest, _)| median > dearest.spread().0)
            {
                worst = Some((sample, what));
            }
        }
        if let Some((sample, what)) = worst {
            sample.print("worst", "ns");
            println!("# the worst: {what}");
        }
        Ok(())
    }

    /// The cost of a frame, whatever becomes of it.
    fn cost(&mut self, arguments: &Arguments, frame: &[u8]) -> Result<Sample> {
        match self.filter.test_run(frame, 1)?.action {
            XDP_TX => self.cost_of_answer(arguments, frame),
            _ => self.cost_of_pass(arguments, frame),
        }
    }

    fn cost_of_pass(&mut self, arguments: &Arguments, frame: &[u8]) -> Result<Sample> {
        let mut costs = Sample::default();
        for _ in 0..arguments.rounds {
            let floor = self.floor.test_run(frame, arguments.repeat)?.duration_ns as f64;
            let cost = self.filter.test_run(frame, arguments.repeat)?.duration_ns as f64;
            costs.push(cost - floor);
        }
        Ok(costs)
    }
}
