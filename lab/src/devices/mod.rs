//! The table of devices: every kind of interface that a router has towards its clients, with the
//! filter attached to it, and what a client of that router gets.
//!
//! It is for an emulated machine whose cards have known hardware addresses and are joined by
//! cables outside of it ([`cards`]). What may come out is one of two things: blocked names are
//! filtered and clean ones resolve, or nxdp refuses to attach and says why. Attached and silent is
//! a fault.

mod cards;
mod outcome;
mod pppoe;
mod rows;
mod stage;

use std::{io::Write, path::PathBuf};

use anyhow::{Context, Result};

use outcome::{Attempt, Outcome};
use rows::{ROWS, Row};
use stage::Stage;

/// What to try.
#[derive(Debug, Clone)]
pub struct Options {
    /// The binary nxdp.
    pub nxdp: PathBuf,
    /// What the machine's cards are, for the table.
    pub cards: String,
    /// Rows by a part of their names; all when empty.
    pub rows: Vec<String>,
}

/// Prints a line for every row, attachment and mode; whether there was no fault.
///
/// # Errors
/// Fails when the machine has no cards for it.
pub fn run(options: &Options, out: &mut impl Write) -> Result<bool> {
    let mut is_good = true;
    for row in ROWS.iter().filter(|row| options.takes(row)) {
        for attempt in try_row(options, row) {
            is_good &= !attempt.outcome.is_fault();
            writeln!(out, "device\t{}\t{attempt}", options.cards)?;
        }
    }
    Ok(is_good)
}

impl Options {
    fn takes(&self, row: &Row) -> bool {
        self.rows.is_empty()
            || self
                .rows
                .iter()
                .any(|part| row.name.contains(part.as_str()))
    }
}

/// Every attachment of a row in both modes, each in namespaces made anew.
fn try_row(options: &Options, row: &'static Row) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for interfaces in row.attach {
        for mode in ["native", "skb"] {
            let outcome = try_attachment(options, row, interfaces, mode)
                .unwrap_or_else(|error| Outcome::Broken(format!("{error:#}")));
            attempts.push(Attempt {
                row: row.name,
                interfaces,
                mode,
                outcome,
            });
        }
    }
    attempts
}

fn try_attachment(
    options: &Options,
    row: &Row,
    interfaces: &[&str],
    mode: &str,
) -> Result<Outcome> {
    let Some(stage) = Stage::build(row)? else {
        return Ok(Outcome::Impossible);
    };
    stage
        .wait_until_clean_names_resolve()
        .context("nothing resolves without the filter")?;
    let filter = match stage.attach(&options.nxdp, interfaces, mode)? {
        Ok(filter) => filter,
        Err(refusal) => return Ok(Outcome::Refused(refusal)),
    };
    let told = stage.ask_all(&filter)?;
    drop(filter);
    Ok(told)
}
