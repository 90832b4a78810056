//! What a query costs as the list grows, with the table in the caches and without.
//!
//! Warm, one name is asked for over and over. Cold, a million different names are asked for one after
//! the other, in an order that looks random; the program makes them itself, so that
//! nothing else is read from memory. The same program without the filter is the floor.

mod memory;

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use filter_common::layout::RECORD_BYTES;
use filter_common::reason::Reason;
use filter_kernel::Filter;
use filter_lists::image::Image;
use nxdp_lab::{cases::Message, engines};

use crate::{
    packet::query,
    page,
    plot::{self, Plot},
    programs::{program, program_over, run_ns},
    report,
    sample::Sample,
};

/// Different names of a cold run, as many as there are runs a round.
const DISTINCT: u64 = 1 << 20;
/// No list has labels with numbers from here on.
const CLEAN_FROM: u64 = 1 << 40;
/// Bytes of a label; the measuring programs write this many.
const LABEL_BYTES: usize = 12;
/// Where the label is in the frame, as in the measuring programs.
const LABEL_AT: usize = 14 + 20 + 8 + 12 + 5;

/// Flags of the part.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Numbers of names [default: 10000 100000 1000000 10000000]
    #[arg(value_name = "NAMES")]
    sizes: Vec<u64>,
    /// Rounds
    #[arg(long, default_value_t = 11)]
    rounds: u32,
}

/// Which names are asked for; the layout is that of the measuring programs' map.
#[derive(Clone, Copy, Debug)]
struct Fresh {
    count: u64,
    step: u64,
    first: u64,
}

/// One size of the list.
struct Size {
    names: u64,
    table_bytes: usize,
    filter: Filter,
    costs: [Sample; KINDS.len()],
    /// Buckets that a query of each kind reads, on average.
    buckets_read: [f64; KINDS.len()],
}

/// What is asked for.
struct Kind {
    name: &'static str,
    what: &'static str,
    is_blocked: bool,
    is_cold: bool,
}

const KINDS: [Kind; 4] = [
    Kind::new("clean_warm", "clean, one name over and over", false, false),
    Kind::new("clean_cold", "clean, a million names", false, true),
    Kind::new(
        "blocked_warm",
        "blocked and answered, one name over and over",
        true,
        false,
    ),
    Kind::new(
        "blocked_cold",
        "blocked and answered, a million names",
        true,
        true,
    ),
];

impl Kind {
    const fn new(name: &'static str, what: &'static str, is_blocked: bool, is_cold: bool) -> Self {
        Self {
            name,
            what,
            is_blocked,
            is_cold,
        }
    }

    fn names(&self, listed: u64) -> Fresh {
        let count = match (self.is_cold, self.is_blocked) {
            (false, _) => 1,
            (true, false) => DISTINCT,
            (true, true) => DISTINCT.min(listed),
        };
        Fresh {
            count,
            step: if self.is_blocked { listed / count } else { 1 },
            first: if self.is_blocked { 0 } else { CLEAN_FROM },
        }
    }

    fn reason(&self) -> Reason {
        match self.is_blocked {
            true => Reason::NxDomain,
            false => Reason::NoRule,
        }
    }
}

/// Measures and prints.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let sizes = match arguments.sizes.as_slice() {
        [] => &[10_000, 100_000, 1_000_000, 10_000_000],
        sizes => sizes,
    };
    let mut floor = program("fresh")?;
    let frames = [false, true].map(frame);
    let mut all = Vec::new();
    for &names in sizes {
        all.push(Size::new(names, &frames)?);
    }
    for _ in 0..arguments.rounds {
        for size in &mut all {
            size.measure(&mut floor, &frames)?;
        }
    }
    print(&all);
    memory::print(all.iter().map(|size| size.table_bytes))?;
    show(&all)
}

fn show(all: &[Size]) -> Result<()> {
    let points = |at: usize| {
        let point = |size: &Size| (size.names as f64, size.costs[at].median());
        all.iter().map(point).collect()
    };
    let curves = KINDS.iter().enumerate();
    let plot = Plot {
        file: "growth",
        title: "Cost of a query by the size of the list",
        x: "names in the list",
        is_logarithmic: true,
        curves: curves.map(|(at, kind)| (kind.what, points(at))).collect(),
    };
    page::put("growth", table(all) + &plot::on_page(&plot));
    plot::draw(&plot)
}

/// The query; clean ones have no EDNS, blocked ones are answered with an extended error.
fn frame(is_blocked: bool) -> Vec<u8> {
    let message = Message::new(&format!("www.{}.com", "a".repeat(LABEL_BYTES)));
    query(&match is_blocked {
        true => message.opt(0, &[]),
        false => message,
    })
}

impl Size {
    fn new(names: u64, frames: &[Vec<u8>; 2]) -> Result<Self> {
        let image = image(names)?;
        let mut size = Self {
            names,
            table_bytes: image.records().len() * RECORD_BYTES,
            buckets_read: KINDS.each_ref().map(|kind| {
                memory::buckets_read(&image, &frames[usize::from(kind.is_blocked)], kind, names)
            }),
            filter: program_over("fresh_filter", &image)?,
            costs: Default::default(),
        };
        size.check(frames)?;
        Ok(size)
    }

    /// The program must ask for the names that the list has, and for others.
    fn check(&mut self, frames: &[Vec<u8>; 2]) -> Result<()> {
        for kind in &KINDS {
            let names = kind.names(self.names);
            let frame = &frames[usize::from(kind.is_blocked)];
            set(
                &mut self.filter,
                names,
                if kind.is_blocked { frame } else { &[] },
            )?;
            for run in 0..3 {
                let out = self.filter.test_run(frame, 1)?.frame;
                let label = out.get(LABEL_AT..LABEL_AT + LABEL_BYTES);
                let number = names.first + run % names.count * names.step;
                ensure!(
                    label == Some(&label_of(number)[..]),
                    "the program asks for other names than the list has"
                );
            }
        }
        Ok(())
    }

    fn measure(&mut self, floor: &mut Filter, frames: &[Vec<u8>; 2]) -> Result<()> {
        for (kind, costs) in KINDS.iter().zip(&mut self.costs) {
            let frame = &frames[usize::from(kind.is_blocked)];
            let original: &[u8] = if kind.is_blocked { frame } else { &[] };
            let names = kind.names(self.names);
            let repeat = u32::try_from(DISTINCT)?;
            set(floor, names, original)?;
            set(&mut self.filter, names, original)?;
            let before = self.filter.maps.counters()?;
            let floor_ns = run_ns(floor, frame, repeat)?;
            costs.push(run_ns(&mut self.filter, frame, repeat)? - floor_ns);
            let counted = self.filter.maps.counters()?.since(&before);
            ensure!(
                counted.of(kind.reason()) == DISTINCT,
                "{}: {} of {DISTINCT} queries were judged right",
                kind.name,
                counted.of(kind.reason())
            );
        }
        Ok(())
    }
}

fn set(program: &mut Filter, names: Fresh, original: &[u8]) -> Result<()> {
    program.set_original(original)?;
    let words: [u64; 4] = [0, names.count, names.step, names.first];
    Ok(program.set_only_value("FRESH", bytemuck::cast::<_, [u8; 32]>(words))?)
}

fn image(names: u64) -> Result<Image> {
    let mut text = String::with_capacity(names as usize * (LABEL_BYTES + 8));
    for number in 0..names {
        let label = label_of(number);
        text.push_str("||");
        text.push_str(std::str::from_utf8(&label).context("letters")?);
        text.push_str(".com^\n");
    }
    engines::compile_texts(&[("growth", &text)])
}

/// The label with this number, as the measuring programs make it.
fn label_of(number: u64) -> [u8; LABEL_BYTES] {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    const LOW_48: u64 = (1 << 48) - 1;
    let mut mixed = number.wrapping_mul(ODD) & LOW_48;
    mixed ^= mixed >> 24;
    mixed = mixed.wrapping_mul(ODD) & LOW_48;
    mixed ^= mixed >> 24;
    std::array::from_fn(|at| b'a' + (mixed >> (at * 4) & 0xf) as u8)
}

fn print(all: &[Size]) {
    for size in all {
        let words = words(size.names);
        report::value(
            &format!("growth_{words}_table"),
            size.table_bytes as f64,
            "bytes",
        );
        for (at, kind) in KINDS.iter().enumerate() {
            let name = format!("growth_{words}_{}", kind.name);
            size.costs[at].print(&name, "ns");
            if let Some(first) = all.first() {
                let ratio = size.costs[at].median() / first.costs[at].median();
                report::value(&format!("{name}_ratio"), ratio, "x");
            }
            report::value(&format!("{name}_buckets"), size.buckets_read[at], "lines");
        }
    }
}

/// A size as people say it.
fn words(names: u64) -> String {
    match names {
        millions if millions.is_multiple_of(1_000_000) => format!("{}m", names / 1_000_000),
        thousands if thousands.is_multiple_of(1_000) => format!("{}k", names / 1_000),
        _ => names.to_string(),
    }
}

fn table(all: &[Size]) -> String {
    let mut text = String::from("| names | table, MiB |");
    for kind in &KINDS {
        // Writing to a string does not fail.
        let _ = write!(
            text,
            " {}, ns | ratio | buckets |",
            kind.name.replace('_', ", ")
        );
    }
    text.push('\n');
    text.push_str("|---:|---:|");
    text.push_str(&"---:|---:|---:|".repeat(KINDS.len()));
    text.push('\n');
    for size in all {
        let mib = size.table_bytes as f64 / f64::from(1 << 20);
        let _ = write!(text, "| {} | {mib:.1} |", words(size.names));
        for at in 0..KINDS.len() {
            let median = size.costs[at].median();
            let ratio = all
                .first()
                .map_or(1.0, |first| median / first.costs[at].median());
            let buckets = size.buckets_read[at];
            let _ = write!(text, " {median:.0} | {ratio:.2} | {buckets:.2} |");
        }
        text.push('\n');
    }
    text
}
