//! The table of devices: every kind of interface that a router has towards its clients, with the
//! filter attached to it, and what a client of that router gets.
//!
//! It is for an emulated machine whose cards have known hardware addresses and are joined by
//! cables outside of it ([`cards`]). What may come out is one of two things: blocked names are
//! filtered and clean ones resolve, or nxdp refuses to attach and says why. Attached and silent is
//! a fault.

mod ask;
mod cards;
mod changes;
mod filter;
mod outcome;
mod pppoe;
mod rows;
mod stage;

use std::{io::Write, path::PathBuf};

use anyhow::Result;

use filter::{Attached, Loaded};
use outcome::{Attempt, Outcome};
use rows::{Change, ROWS, Row};

pub use self::rows::Breadth;
use stage::Stage;

/// The largest packets that the kernel lets cards have which do not say otherwise.
const LARGE_MTU: u32 = 9000;

/// What to try.
#[derive(Debug, Clone)]
pub struct Options {
    /// The binary nxdp.
    pub nxdp: PathBuf,
    /// What the machine's cards are, for the table.
    pub cards: String,
    /// Rows by a part of their names; all when empty.
    pub rows: Vec<String>,
    /// The widest rows that these cards are tried with.
    pub breadth: Breadth,
}

/// Prints a line for every row, attachment and mode; whether there was no fault.
///
/// # Errors
/// Fails when the machine has no cards for it.
pub fn run(options: &Options, out: &mut impl Write) -> Result<bool> {
    let loaded = Loaded::new(&options.nxdp)?;
    let mut is_good = true;
    for row in all_rows().filter(|row| options.takes(row)) {
        for attempt in try_row(&loaded, row) {
            is_good &= !attempt.outcome.is_fault();
            writeln!(out, "device\t{}\t{attempt}", options.cards)?;
        }
    }
    Ok(is_good)
}

fn all_rows() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().chain(changes::ROWS)
}

impl Options {
    fn takes(&self, row: &Row) -> bool {
        let is_named = |part: &String| row.name.contains(part.as_str());
        let is_wanted = self.rows.is_empty() || self.rows.iter().any(is_named);
        is_wanted && row.breadth <= self.breadth
    }
}

/// Every attachment of a row in both modes, over the same interfaces if nothing happens to them.
fn try_row(loaded: &Loaded, row: &'static Row) -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut stage = Fresh::default();
    for (interfaces, mode) in row.attempts() {
        let last = attempts.last().map(|attempt| &attempt.outcome);
        let outcome = match last {
            // It does not get better, and takes long to find out.
            Some(Outcome::Useless(why)) => Outcome::Useless(why.clone()),
            _ => {
                let is_fresh = stage.0.is_none();
                let tried = stage
                    .of(row)
                    .and_then(|stage| try_attachment(loaded, (row, stage), interfaces, mode))
                    .map(|outcome| outcome.behind_another(!is_fresh));
                if row.change.is_some() || tried.is_err() {
                    stage = Fresh::default();
                }
                tried.unwrap_or_else(|error| Outcome::Broken(format!("{error:#}")))
            }
        };
        attempts.push(Attempt {
            row: row.name,
            interfaces,
            mode,
            outcome,
        });
    }
    attempts
}

/// A stage that is built when it is first needed.
#[derive(Default)]
struct Fresh(Option<Option<Stage>>);

impl Fresh {
    /// None where the kernel lacks a module.
    fn of(&mut self, row: &Row) -> Result<Option<&Stage>> {
        if self.0.is_none() {
            self.0 = Some(Stage::build(row)?);
        }
        Ok(self.0.as_ref().and_then(Option::as_ref))
    }
}

fn try_attachment(
    loaded: &Loaded,
    (row, stage): (&Row, Option<&Stage>),
    interfaces: &[&str],
    mode: &str,
) -> Result<Outcome> {
    let Some(stage) = stage else {
        return Ok(Outcome::Impossible);
    };
    if let Err(error) = stage.wait_until_clean_names_resolve() {
        return Ok(Outcome::Useless(format!("{error:#}")));
    }
    let large = matches!(row.change, Some(Change::LargePackets));
    let carries_large = large && carries_large_packets(stage)?;
    let filter = match loaded.attach(stage, row, interfaces, mode)? {
        Ok(filter) => filter,
        Err(refusal) => return Ok(Outcome::Refused(refusal)),
    };
    let before = stage.ask_all(&filter)?;
    match &row.change {
        None => Ok(before),
        Some(_) if before.is_fault() => Ok(before),
        Some(Change::LargePackets) => large_packets(loaded, stage, &filter, carries_large),
        Some(change) => after(change, loaded, (row, stage), &filter, (interfaces, mode)),
    }
}

/// What clients see when something has happened to the router.
fn after(
    change: &Change,
    loaded: &Loaded,
    (row, stage): (&Row, &Stage),
    filter: &Attached<'_>,
    (interfaces, mode): (&[&str], &str),
) -> Result<Outcome> {
    let is_replugged = matches!(change, Change::Replug);
    let keeper = is_replugged
        .then(|| loaded.keeper(stage, row, interfaces, mode))
        .transpose()?;
    stage.change(row, change)?;
    filter.wait_until_attached()?;
    if let Err(error) = stage.wait_until_clean_names_resolve() {
        return Ok(Outcome::Lost(format!("after the change: {error:#}")));
    }
    let outcome = stage.ask_all(filter);
    drop(keeper);
    outcome
}

/// Whether large packets arrive without a filter: not every emulated card and cable takes them.
fn carries_large_packets(stage: &Stage) -> Result<bool> {
    let is_possible = stage.set_mtu(LARGE_MTU)?.is_ok() && stage.large_packet_arrives()?;
    stage.set_mtu(1500)?.ok();
    Ok(is_possible)
}

/// Packets may get larger than what a native program can be handed.
fn large_packets(
    loaded: &Loaded,
    stage: &Stage,
    filter: &Attached<'_>,
    is_carried: bool,
) -> Result<Outcome> {
    if let Err(refusal) = stage.set_mtu(LARGE_MTU)? {
        let refusal = refusal.lines().next().unwrap_or_default().to_owned();
        return Ok(Outcome::Warned(format!(
            "the kernel refuses the MTU: {refusal}"
        )));
    }
    // What the cable loses is not the filter's.
    let arrives = !is_carried || stage.large_packet_arrives()?;
    let words = filter.words(&["large_packets"], || {})?;
    let outcome = match (arrives, words) {
        (true, None) => stage.ask_all(filter)?,
        (false, None) => Outcome::Silent("large packets are lost".to_owned()),
        (arrives, Some(words)) => {
            let what = match (is_carried, arrives) {
                (false, _) => "are not carried here",
                (true, true) => "arrive",
                (true, false) => "are lost",
            };
            let told = format!("large packets {what}, told: {words}");
            unload(loaded, (stage, filter), &told)?
        }
    };
    stage.set_mtu(1500)?.ok();
    Ok(outcome)
}

/// Unloads while packets are large: either it is refused and the filter goes on, or nothing is left.
fn unload(
    loaded: &Loaded,
    (stage, filter): (&Stage, &Attached<'_>),
    told: &str,
) -> Result<Outcome> {
    let (is_unloaded, said) = loaded.unload(stage)?;
    let said = said.lines().next().unwrap_or_default();
    let is_filtered = stage.still_filters();
    if is_unloaded {
        loaded.load()?;
    }
    Ok(match (is_unloaded, is_filtered) {
        (true, true) => Outcome::Silent(format!("unloaded, and it answers: {said}")),
        (true, false) => Outcome::Warned(format!("{told}; unloaded")),
        (false, true) => Outcome::Warned(format!("{told}; unload refused: {said}")),
        // Whatever the driver made of the new size, it must be told.
        (false, false) => stage.ask_all(filter)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/devices.md");

    /// The first two columns and the mode of every line of the page's tables.
    fn lines_of(kernel: &str) -> Vec<String> {
        let sections = PAGE.split("\n## Linux ");
        let of_kernel = sections.filter(|section| section.starts_with(kernel));
        let lines = of_kernel.flat_map(str::lines);
        lines
            .filter(|line| line.starts_with("| "))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn the_page_has_every_row_on_both_kernels_and_no_fault() {
        for kernel in ["6.1,", "6.18,"] {
            let lines = lines_of(kernel);
            for row in all_rows() {
                for interfaces in row.attach {
                    for mode in ["native", "skb"] {
                        let start = format!("| {} | {} | {mode} |", row.name, interfaces.join("+"));
                        let is_there = lines.iter().any(|line| line.starts_with(&start));
                        assert!(
                            is_there,
                            "{kernel} lacks {start}; `cargo xtask vm --devices`"
                        );
                    }
                }
            }
        }
        for fault in ["SILENT", "LOST", "BROKEN"] {
            assert!(!PAGE.contains(fault), "{fault}");
        }
    }
}
