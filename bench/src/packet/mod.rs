//! Nanoseconds a packet, by class of packet.
//!
//! The kernel runs a program a million times over one packet and tells the
//! mean. Everything is in the caches then: these are the costs of instructions.

mod classes;
mod worst;

use std::fmt::Write as _;

use anyhow::{Result, bail, ensure};
use clap::Args;
use filter_common::{
    layout::{POLICY_OBSERVE, PolicyRecord, RECORD_BYTES},
    reason::Action,
};
use filter_lists::image::Image;
use filter_user::config::LimitConfig;
use nxdp_lab::{cases::Message, engines, frame::UdpFrame};

pub(crate) use self::{
    classes::{Class, Setting, all as classes},
    worst::TOWER,
};
use crate::{
    page,
    programs::{Programs, RESTORED_MAX_BYTES, Rounds},
    sample::Sample,
};

/// The class that is searched for, not written down.
const WORST: &str = "worst";
/// Nanoseconds that a class may take.
const BARS: [(&str, u32); 4] = [
    ("non_dns", 5),
    ("clean", 60),
    ("blocked", 120),
    (WORST, 2000),
];
/// Runs and rounds of the first look at each frame of the worst case.
const QUICK: Rounds = Rounds {
    repeat: 2_000,
    rounds: 3,
};
/// Frames that are measured a second time.
const FINALISTS: usize = 5;

/// Flags of the part.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Names in the table
    #[arg(long, default_value_t = Self::NAMES)]
    names: u32,
    #[command(flatten)]
    rounds: Rounds,
    /// These classes of packets alone
    #[arg(long, num_args = 1.., value_name = "CLASS")]
    only: Vec<String>,
}

impl Arguments {
    const NAMES: u32 = 1_000_000;

    fn wants(&self, class: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == class)
    }
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            names: Self::NAMES,
            rounds: Rounds::default(),
            only: Vec::new(),
        }
    }
}

/// Measures and prints.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let blocked = blocked_name(arguments.names / 2);
    let classes = classes::all(&blocked);
    check_names(arguments, &classes)?;
    let image = image(arguments.names)?;
    println!(
        "# {} names, {} bytes of kernel memory a generation",
        image.header().name_count,
        image.records().len() * RECORD_BYTES
    );
    let mut programs = Programs::new(&image)?;
    let mut rows = Vec::new();
    if let Some(first) = classes.first() {
        programs
            .floor(&arguments.rounds, &first.frame)?
            .print("floor", "ns");
    }
    for class in classes.iter().filter(|class| arguments.wants(class.name)) {
        let sample = measure(&mut programs, &arguments.rounds, class)?;
        sample.print(class.name, "ns");
        rows.push((class.name, class.what.to_owned(), sample));
    }
    if arguments.wants(WORST)
        && let Some((what, sample)) = search_worst(&mut programs, &arguments.rounds)?
    {
        sample.print(WORST, "ns");
        println!("# the worst: {what}");
        rows.push((WORST, format!("the worst found: {what}"), sample));
    }
    page::put("packet", table(&rows));
    Ok(())
}

fn check_names(arguments: &Arguments, classes: &[Class]) -> Result<()> {
    for only in &arguments.only {
        let known: Vec<_> = classes.iter().map(|class| class.name).collect();
        if only != WORST && !known.contains(&only.as_str()) {
            bail!("no class {only}: there are {} and {WORST}", known.join(" "));
        }
    }
    Ok(())
}

/// Measures a class in the setting that it wants, and takes that back.
fn measure(programs: &mut Programs, rounds: &Rounds, class: &Class) -> Result<Sample> {
    set(programs, class.setting)?;
    let (sample, reason) = programs.cost(rounds, &class.frame)?;
    set(programs, Setting::Plain)?;
    ensure!(
        reason == class.reason,
        "{}: counted as {}, not {}",
        class.name,
        reason.name(),
        class.reason.name()
    );
    Ok(sample)
}

fn set(programs: &mut Programs, setting: Setting) -> Result<()> {
    let limit = match setting {
        Setting::Limited => LimitConfig::MAX,
        _ => 0,
    };
    let flags = match setting {
        Setting::Observing => POLICY_OBSERVE,
        _ => 0,
    };
    let policy = PolicyRecord {
        categories: u64::MAX,
        flags,
        ..PolicyRecord::default()
    };
    programs.change(|maps| {
        maps.set_limit(limit, limit);
        Ok(maps.put_policy(0, &policy)?)
    })
}

fn table(rows: &[(&str, String, Sample)]) -> String {
    let mut text =
        "| class | packet | ns | of all rounds | bar |\n|---|---|---:|---|---:|\n".to_owned();
    for (name, what, sample) in rows {
        let (median, min, max) = sample.spread();
        let bar = BARS.iter().find(|(class, _)| class == name);
        let bar = bar.map_or_else(String::new, |(_, bar)| format!("{bar}"));
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| `{name}` | {what} | {median:.0} | {min:.0} to {max:.0} | {bar} |"
        );
    }
    text
}

/// A table of made-up names, rules for every kind of answer, and those that the worst frames aim at.
pub(crate) fn image(names: u32) -> Result<Image> {
    image_with(names, None)
}

/// The same, with a key that a seed makes.
pub(crate) fn image_with(names: u32, seed: Option<u64>) -> Result<Image> {
    let mut text = String::new();
    for number in 0..names {
        text.push_str("||");
        text.push_str(&blocked_name(number));
        text.push_str("^\n");
    }
    text.push_str(classes::RULES);
    text.push_str(&worst::rules());
    engines::compile_texts_with(&[("bench", &text), ("zone", classes::ZONE)], seed)
}

/// A name of two or three labels, about as long as names in real lists.
pub(crate) fn blocked_name(number: u32) -> String {
    let mixed = number.wrapping_mul(2_654_435_761);
    match number % 3 {
        0 => format!("ads{number}.tracker{:x}.com", mixed >> 12),
        1 => format!("metrics-{mixed:x}.net"),
        _ => format!("cdn-{number}-{mixed:x}.org"),
    }
}

pub(crate) fn query(message: &Message) -> Vec<u8> {
    UdpFrame::query_v4(40_000, &message.bytes()).build()
}

/// The dearest of the frames that a client could think of, in words and ns: all of them
/// once, the dearest of those in as many rounds as everything else.
fn search_worst(programs: &mut Programs, rounds: &Rounds) -> Result<Option<(String, Sample)>> {
    let frames = worst::frames(&blocked_name(0));
    let mut costs = Vec::new();
    for (what, frame) in &frames {
        let is_answered = programs.judge(frame)?.action() == Action::Transmit;
        if !is_answered || frame.len() <= RESTORED_MAX_BYTES {
            costs.push((programs.cost(&QUICK, frame)?.0.median(), what, frame));
        }
    }
    costs.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!(
        "# the worst of {} frames, each measured again:",
        costs.len()
    );
    let mut worst: Option<(String, Sample)> = None;
    for (_, what, frame) in costs.iter().take(FINALISTS) {
        let (sample, _) = programs.cost(rounds, frame)?;
        let (median, min, max) = sample.spread();
        println!("#   {median:.1} ns ({min:.1} to {max:.1}): {what}");
        if worst
            .as_ref()
            .is_none_or(|(_, dearest)| median > dearest.median())
        {
            worst = Some(((*what).clone(), sample));
        }
    }
    Ok(worst)
}
