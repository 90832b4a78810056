//! Where a packet's nanoseconds go: the filter stopped behind one section after the other.
//!
//! All programs run in each round over the same frame, which each puts back first; a section
//! costs what the median grows by when it is let run too. So the sections add up to the whole.

use std::fmt::Write as _;

use anyhow::Result;
use clap::Args;
use filter_kernel::Filter;
use filter_lists::image::Image;
use nxdp_lab::{cases::Message, segment::Segment};

use crate::{
    packet::{blocked_name, image, query},
    page,
    programs::{Rounds, program, program_over, run_ns},
    report::{self, Figure},
    sample::Sample,
};

/// Programs, their last sections, and what those do.
const SECTIONS: [(&str, &str, &str); 10] = [
    ("until_entry", "entry", "counts the packet"),
    (
        "until_locate",
        "locate",
        "reads the headers of link, network and transport",
    ),
    (
        "until_load",
        "load",
        "copies the message, and headers that an answer would need",
    ),
    ("until_parse", "parse", "reads question and OPT record"),
    ("until_policy", "policy", "finds policy and generation"),
    (
        "until_decide",
        "decide",
        "hashes names, looks them up, weighs rules",
    ),
    (
        "until_admit",
        "admit",
        "looks at who would be answered, sums up the question",
    ),
    ("until_compose", "compose", "writes the answer's message"),
    (
        "until_rewrite",
        "rewrite",
        "writes its headers, lengths and checksums",
    ),
    (
        "restore_filter",
        "replace",
        "moves the frame's start, stores the answer",
    ),
];
/// The last section of a query that passes.
const DECIDE: usize = 5;

/// Flags of the part.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Names in the table
    #[arg(long, default_value_t = 1_000_000)]
    names: u32,
    #[command(flatten)]
    rounds: Rounds,
}

/// A packet, and the costs of its sections.
struct Column {
    name: &'static str,
    frame: Vec<u8>,
    /// Sections that it goes through.
    sections: usize,
    is_restored: bool,
    /// Of all up to a section, above the floor.
    costs: Vec<Sample>,
}

/// Measures and prints.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let image = image(arguments.names)?;
    let mut floor = program("restore")?;
    let mut programs = load(&image)?;
    let blocked = Message::new(&blocked_name(arguments.names / 2)).opt(0, &[]);
    let clean = query(&Message::new("www.not-in-any-list.com"));
    let tcp = Segment::query(false, &blocked.bytes()).build();
    let mut columns = [
        Column::passing("clean", clean),
        Column::answered("blocked", query(&blocked)),
        Column::answered("blocked_tcp", tcp),
    ];
    for column in &mut columns {
        column.measure(&mut floor, &mut programs, &arguments.rounds)?;
        column.print();
    }
    page::put("sections", table(&columns));
    Ok(())
}

fn load(image: &Image) -> Result<Vec<Filter>> {
    let names = SECTIONS.iter().map(|(program, ..)| program);
    names.map(|name| program_over(name, image)).collect()
}

impl Column {
    fn passing(name: &'static str, frame: Vec<u8>) -> Self {
        Self {
            name,
            frame,
            sections: DECIDE + 1,
            is_restored: false,
            costs: Vec::new(),
        }
    }

    fn answered(name: &'static str, frame: Vec<u8>) -> Self {
        Self {
            sections: SECTIONS.len(),
            is_restored: true,
            ..Self::passing(name, frame)
        }
    }

    fn measure(
        &mut self,
        floor: &mut Filter,
        programs: &mut [Filter],
        rounds: &Rounds,
    ) -> Result<()> {
        let programs = &mut programs[..self.sections];
        let original: &[u8] = if self.is_restored { &self.frame } else { &[] };
        floor.set_original(original)?;
        for program in programs.iter_mut() {
            program.set_original(original)?;
        }
        self.costs = vec![Sample::default(); programs.len()];
        for _ in 0..rounds.rounds {
            let floor_ns = run_ns(floor, &self.frame, rounds.repeat)?;
            for (program, costs) in programs.iter_mut().zip(&mut self.costs) {
                costs.push(run_ns(program, &self.frame, rounds.repeat)? - floor_ns);
            }
        }
        Ok(())
    }

    /// What a section adds to the medians.
    fn added(&self, section: usize) -> Option<f64> {
        let median = self.costs.get(section)?.median();
        let before = section.checked_sub(1).map(|at| self.costs[at].median());
        Some(median - before.unwrap_or(0.0))
    }

    fn print(&self) {
        for (section, (_, name, _)) in SECTIONS.iter().enumerate() {
            let Some(median) = self.added(section) else {
                continue;
            };
            let (_, min, max) = self.costs[section].spread();
            report::figure(Figure {
                name: format!("section_{}_{name}", self.name),
                median,
                // The spread is that of the run up to here: a difference of medians has none.
                min: median + min - self.costs[section].median(),
                max: median + max - self.costs[section].median(),
                rounds: self.costs[section].len(),
                unit: "ns".to_owned(),
            });
        }
        if let Some(last) = self.costs.last() {
            last.print(&format!("section_{}_sum", self.name), "ns");
        }
    }
}

fn table(columns: &[Column]) -> String {
    let names = columns.iter().map(|column| column.name.replace('_', ", "));
    let names: Vec<_> = names.collect();
    let mut text = format!(
        "| section | what it does | {} |\n|---|---|{}\n",
        names.join(" | "),
        "---:|".repeat(columns.len())
    );
    let mut sums = vec![0.0; columns.len()];
    for (section, (_, name, what)) in SECTIONS.iter().enumerate() {
        let mut row = format!("| {name} | {what} |");
        for (column, sum) in columns.iter().zip(&mut sums) {
            let added = column.added(section);
            *sum += added.unwrap_or(0.0);
            let cell = added.map_or_else(String::new, |added| format!("{added:.0}"));
            // Writing to a string does not fail.
            let _ = write!(row, " {cell} |");
        }
        text += &(row + "\n");
    }
    let sums: Vec<_> = sums.iter().map(|sum| format!("**{sum:.0}**")).collect();
    text + &format!(
        "| **all** | above a program that only puts the frame back | {} |\n",
        sums.join(" | ")
    )
}
