//! The results of the table of devices: kept beside the kernels, and written as a page.
//!
//! A run replaces the cells that it tried and keeps the others, so that a page can be made of several
//! runs.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{process, workspace::Workspace};

const PAGE: &str = "docs/devices.md";
const HEADER: &str = "\
# The filter on every kind of interface

Written by `cargo xtask vm --devices`, which [kernels.md](kernels.md) describes: emulated machines
with Debian's kernels and cards of several models. In each a client asks a resolver on the router
for names that are blocked and names that are not: over UDP and TCP, with both families, private and
public addresses, one by one and in bursts.

| cell | meaning |
|---|---|
| filtered | every blocked name is answered by the filter and every clean one by the resolver |
| N unanswered | no blocked name resolves; by N of the 8 ways of asking it is dropped, not answered |
| refused | `nxdp attach` refuses, and says why |
| told | something is not filtered, or large packets are lost, and `nxdp status` says so within seconds |
| no such device | the kernel cannot make it |
| no use | without the filter, too, nothing resolves: the emulated card cannot do it |
| - | not tried: the row is about something that the card has no part in |

Numbers stand for the words below the table.
";

/// One attachment of a row on one kernel's cards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    cards: String,
    row: String,
    interfaces: String,
    mode: String,
    outcome: String,
}

/// The cells of all kernels.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// By kernel.
    kernels: BTreeMap<String, Vec<Cell>>,
}

impl Cell {
    /// Reads a line of `nxdp-lab devices` behind its first word.
    pub(super) fn read(line: &str) -> Option<Self> {
        let mut words = line.split('\t').map(str::to_owned);
        Some(Self {
            cards: words.next()?,
            row: words.next()?,
            interfaces: words.next()?,
            mode: words.next()?,
            outcome: words.next()?,
        })
    }

    pub(super) fn is_fault(&self) -> bool {
        ["SILENT", "LOST", "BROKEN"]
            .iter()
            .any(|word| self.outcome.starts_with(word))
    }

    fn place(&self) -> (&str, &str, &str) {
        (&self.row, &self.interfaces, &self.mode)
    }

    fn line(&self) -> String {
        let (row, interfaces, mode) = self.place();
        format!(
            "{}\t{row}\t{interfaces}\t{mode}\t{}\n",
            self.cards, self.outcome
        )
    }

    /// What stands in the table: a word, and what was said, if anything was.
    fn word(&self) -> (&str, Option<&str>) {
        let outcome = self.outcome.as_str();
        let after = |mark: &str| outcome.strip_prefix(mark);
        if let Some(said) = after("refused: ") {
            return ("refused", Some(said));
        }
        if let Some(said) = after("not filtered, and told: ") {
            return ("told", Some(said));
        }
        if let Some(said) = after("filtered; ") {
            return ("told", Some(said));
        }
        if let Some(rest) = after("filtered, ") {
            let number = rest.split(' ').next().unwrap_or(rest);
            return (number, None);
        }
        match outcome {
            useless if useless.starts_with("without the filter") => ("no use", None),
            "filtered" => ("filtered", None),
            "not in this kernel" => ("no such device", None),
            other => (other, None),
        }
    }
}

impl Table {
    /// What earlier runs found.
    pub(super) fn read(workspace: &Workspace) -> Result<Self> {
        let mut table = Self::default();
        let Ok(entries) = fs::read_dir(folder(workspace)) else {
            return Ok(table);
        };
        for entry in entries {
            let path = entry?.path();
            let kernel = path.file_stem().context("name a kernel's results")?;
            let text = fs::read_to_string(&path)?;
            let cells = text.lines().filter_map(Cell::read).collect();
            let kernel = kernel.to_string_lossy().into_owned();
            table.kernels.insert(kernel, cells);
        }
        Ok(table)
    }

    /// Takes what one machine found in place of what was known.
    pub(super) fn take(&mut self, kernel: &str, found: Vec<Cell>) {
        let known = self.kernels.entry(kernel.to_owned()).or_default();
        for cell in found {
            let same =
                |other: &&mut Cell| other.cards == cell.cards && other.place() == cell.place();
            match known.iter_mut().find(same) {
                Some(other) => *other = cell,
                None => known.push(cell),
            }
        }
    }

    /// Keeps the cells, and writes the page.
    pub(super) fn write(&self, workspace: &Workspace) -> Result<()> {
        let folder = folder(workspace);
        fs::create_dir_all(&folder)?;
        for (kernel, cells) in &self.kernels {
            let text: String = cells.iter().map(Cell::line).collect();
            fs::write(folder.join(format!("{kernel}.tsv")), text)?;
        }
        let page = self.page(&today()?);
        fs::write(workspace.root().join(PAGE), page).with_context(|| format!("write {PAGE}"))
    }

    fn page(&self, date: &str) -> String {
        let mut page = HEADER.to_owned();
        for (kernel, cells) in &self.kernels {
            let _ = writeln!(page, "\n## Linux {kernel}, {date}\n");
            page += &section(cells);
        }
        page
    }
}

/// One kernel's table and the words below it.
fn section(cells: &[Cell]) -> String {
    let mut cards: Vec<&str> = Vec::new();
    let mut places: Vec<(&str, &str, &str)> = Vec::new();
    for cell in cells {
        if !cards.contains(&cell.cards.as_str()) {
            cards.push(&cell.cards);
        }
        if !places.contains(&cell.place()) {
            places.push(cell.place());
        }
    }
    let mut notes: Vec<String> = Vec::new();
    let mut text = format!(
        "| interface | attached to | mode | {} |\n",
        cards.join(" | ")
    );
    let _ = writeln!(text, "|---|---|---|{}", "---|".repeat(cards.len()));
    for place in places {
        let (row, interfaces, mode) = place;
        let _ = write!(text, "| {row} | {interfaces} | {mode} |");
        for card in &cards {
            let mut of_place = cells.iter().filter(|cell| cell.place() == place);
            let cell = of_place.find(|cell| cell.cards == *card);
            let word = cell.map_or_else(|| "-".to_owned(), |cell| numbered(cell, &mut notes));
            let _ = write!(text, " {word} |");
        }
        text.push('\n');
    }
    for (number, note) in notes.iter().enumerate() {
        text.push('\n');
        text += &wrapped(&format!("{}. {note}", number + 1));
    }
    text
}

/// Text in lines of at most 100 characters, those behind the first set in.
fn wrapped(text: &str) -> String {
    const WIDTH: usize = 100;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is a line");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(format!("   {word}"));
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

/// The word of a cell, with the number of what was said.
fn numbered(cell: &Cell, notes: &mut Vec<String>) -> String {
    let (word, said) = cell.word();
    let word = match word.parse::<u32>() {
        Ok(number) => format!("{number} unanswered"),
        Err(_) => word.to_owned(),
    };
    let Some(said) = said else {
        return word;
    };
    let said = said.strip_prefix("nxdp: ").unwrap_or(said).to_owned();
    let known = notes.iter().position(|note| *note == said);
    let number = known.unwrap_or_else(|| {
        notes.push(said);
        notes.len() - 1
    });
    format!("{word} ({})", number + 1)
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target().join("vm/devices")
}

fn today() -> Result<String> {
    let mut date = Command::new("date");
    let said = process::output(date.args(["+%-d %B %Y"]).env("LC_ALL", "C"))?;
    Ok(said.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(cards: &str, outcome: &str) -> Cell {
        Cell::read(&format!("{cards}\tplain\tlan1\tnative\t{outcome}")).unwrap()
    }

    #[test]
    fn a_later_run_replaces_what_it_tried_and_keeps_the_rest() {
        let mut table = Table::default();
        table.take("6.1", vec![cell("a", "SILENT: UDP"), cell("b", "filtered")]);
        table.take("6.1", vec![cell("a", "filtered")]);
        let cells = &table.kernels["6.1"];
        assert_eq!(cells, &[cell("a", "filtered"), cell("b", "filtered")]);
        assert!(cell("a", "SILENT: UDP").is_fault() && !cells[0].is_fault());
    }

    #[test]
    fn equal_words_have_one_number_and_a_fault_stands_as_it_is() {
        let cells = [
            cell("a", "refused: nxdp: attach to lan1: no"),
            cell("b", "refused: attach to lan1: no"),
            cell("c", "filtered, 4 of 8 blocked queries without an answer"),
            cell("d", "LOST: UDP"),
        ];
        assert_eq!(
            section(&cells),
            "| interface | attached to | mode | a | b | c | d |\n\
             |---|---|---|---|---|---|---|\n\
             | plain | lan1 | native | refused (1) | refused (1) | 4 unanswered | LOST: UDP |\n\
             \n1. attach to lan1: no\n"
        );
    }

    #[test]
    fn words_are_wrapped_and_set_in_behind_their_number() {
        let text = wrapped(&format!("1. {}", "filtered ".repeat(12)));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].len() <= 100 && lines[1].starts_with("   filtered"));
    }
}
