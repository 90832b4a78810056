//! Queries a second a core through a veth pair, beside programs that do next to nothing.
//!
//! All contestants take turns on one attachment, in several rounds of one run: the machine's speed
//! drifts, ratios within a round drift less. A contestant whose core was not fully used was not
//! outrun by the generator; then its CPU time a query tells what the core could do.

mod contestant;
mod latency;
mod own_time;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{
    rig::{Outcome, Rig},
    sample::Sample,
};
use contestant::{Contestant, Fate};
use filter_kernel::{Filter, Mode};

/// The share of its core that a contestant uses when the generator does not limit it.
const FULL_LOAD: f64 = 0.93;

/// Flags of the part.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Names in the table
    #[arg(long, default_value_t = 1_000_000)]
    names: u32,
    /// Rounds
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// Milliseconds a contestant a round
    #[arg(long, default_value_t = 500)]
    time_ms: u64,
    /// Clean queries a second while latency is measured
    #[arg(long, default_value_t = 20_000)]
    rate: u32,
}

/// Measures and prints.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut rig = Rig::new()?;
    let mut contestants = contestant::all(arguments.names)?;
    println!(
        "# server on core 0, generator on core 1: live frames of BPF_PROG_TEST_RUN; {} names",
        arguments.names
    );
    println!(
        "# _core: received a second of the time that the core was in use; each ratio within its round"
    );
    let results = race(&mut rig, arguments, &mut contestants)?;
    for (contestant, result) in contestants.iter().zip(&results) {
        result.print(contestant);
    }
    print_ratios(&contestants, &results);
    own_time::print(&mut rig, &mut contestants)?;
    latency::print(&mut rig, &mut contestants, arguments.rate)
}

/// What one contestant reached, round by round.
#[derive(Default)]
struct Figures {
    received: Sample,
    /// Received a second of the server's CPU time.
    a_core: Vec<f64>,
    cpu_ns: Sample,
    load: Sample,
}

impl Figures {
    fn add(&mut self, outcome: &Outcome) {
        let cpu_ns = outcome.cpu_ns_each(outcome.received);
        self.received.push(outcome.received_a_second() / 1e3);
        self.a_core.push(1e6 / cpu_ns);
        self.cpu_ns.push(cpu_ns);
        self.load.push(outcome.load() * 100.0);
    }

    fn print(&self, contestant: &Contestant) {
        let name = contestant.name;
        println!(
            "# {name}: {}; queries of {} bytes",
            contestant.what,
            contestant.frame_bytes()
        );
        self.received
            .print(&format!("wire_{name}"), "thousand queries/s");
        let mut a_core = Sample::default();
        self.a_core.iter().for_each(|value| a_core.push(*value));
        a_core.print(&format!("wire_{name}_core"), "thousand queries/s");
        self.cpu_ns
            .print(&format!("wire_{name}_cpu"), "ns of the core");
        let load = self.load.spread().0;
        if load < FULL_LOAD * 100.0 {
            println!(
                "# wire_{name}: the generator was the limit (core in use {load:.0} %); CPU time decides"
            );
        }
    }
}

fn race(
    rig: &mut Rig,
    arguments: &Arguments,
    contestants: &mut [Contestant],
) -> Result<Vec<Figures>> {
    let mut results: Vec<_> = contestants.iter().map(|_| Figures::default()).collect();
    let time = Duration::from_millis(arguments.time_ms);
    attach(rig, &mut contestants[0].filter)?;
    let mut attached = 0;
    for _ in 0..arguments.rounds {
        for at in 0..contestants.len() {
            hand_over(contestants, attached, at)?;
            attached = at;
            let contestant = &contestants[at];
            rig.aim(&contestant.frames)?;
            let outcome = rig.send(None, time, &[])?;
            contestant.judge(&outcome)?;
            results[at].add(&outcome);
        }
    }
    hand_over(contestants, attached, 0)?;
    Ok(results)
}

fn attach(rig: &Rig, filter: &mut Filter) -> Result<()> {
    rig.server()
        .run(|| filter.attach(rig.server_device(), Mode::Native))?
        .context("attach the first program")
}

/// Moves the attachment: the device never is without a program, and its NAPI thread stays.
fn hand_over(contestants: &mut [Contestant], from: usize, to: usize) -> Result<()> {
    if from == to {
        return Ok(());
    }
    let [old, new] = contestants.get_disjoint_mut([from, to])?;
    Ok(new.filter.take_over(&mut old.filter)?)
}

impl Contestant {
    /// Whether it did what it is measured for.
    fn judge(&self, outcome: &Outcome) -> Result<()> {
        ensure!(outcome.received > 0, "{}: nothing arrived", self.name);
        let (all, blocked) = (outcome.answers.all(), outcome.answers.blocked());
        let is_right = match self.fate {
            Fate::Ends => all == 0,
            Fate::Returns => true,
            // Some may wait in a ring when the count is taken, or find it full.
            Fate::Answered => blocked == all && blocked * 10 > outcome.received * 9,
        };
        ensure!(
            is_right,
            "{}: {} received, answers {}",
            self.name,
            outcome.received,
            outcome.answers
        );
        Ok(())
    }
}

fn print_ratios(contestants: &[Contestant], results: &[Figures]) {
    let of = |name: &str| {
        let at = contestants
            .iter()
            .position(|contestant| contestant.name == name);
        at.map(|at| results[at].a_core.as_slice())
            .unwrap_or_default()
    };
    for (name, against) in [
        ("blocked", "reflect"),
        ("blocked_edns", "reflect"),
        ("blocked", "drop"),
        ("clean", "pass"),
    ] {
        let mut ratios = Sample::default();
        for (own, other) in of(name).iter().zip(of(against)) {
            ratios.push(own / other);
        }
        let (median, min, max) = ratios.spread();
        println!("wire_{name}_to_{against} {median:.3} ratio");
        println!("# wire_{name}_to_{against}: {min:.3} to {max:.3}, queries a second a core");
    }
}
