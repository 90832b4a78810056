//! The table of what was asked, what came back and what should have.

use std::{fmt, time::Duration};

use hickory_proto::op::ResponseCode;

use super::plan::{Question, Verdict};
use crate::query::{QueryError, Reply};

/// Longest name that is shown whole, in characters.
const NAME_WIDTH_MAX: usize = 48;

const HEADINGS: [&str; 7] = ["name", "type", "over", "verdict", "rcode", "EDE", "ms"];

/// Rows in the order of asking.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Row>,
}

struct Row {
    cells: [String; 7],
    is_wrong: bool,
}

impl Table {
    pub(super) fn push(
        &mut self,
        question: &Question,
        family: &str,
        reply: &Result<Reply, QueryError>,
    ) {
        let asked_name = question.query().map_or_else(
            |_| question.name.clone(),
            |query| query.name().to_ascii().trim_end_matches('.').to_owned(),
        );
        let seen = reply.as_ref().ok().map(is_blocked);
        let is_wrong = seen != Some(question.expected == Verdict::Block);
        let [rcode, ede, round_trip] = match reply {
            Ok(reply) => [
                reply.rcode_text(),
                extended_error(reply),
                milliseconds(reply.round_trip),
            ],
            Err(error) => [error.to_string(), String::new(), String::new()],
        };
        let verdict = verdict(question.expected, seen);
        self.rows.push(Row {
            cells: [
                shortened(&asked_name),
                question.record_type.to_string(),
                family.to_owned(),
                verdict,
                rcode,
                ede,
                round_trip,
            ],
            is_wrong,
        });
    }

    /// Rows whose answer is not what the lists say.
    pub(super) fn wrong_rows(&self) -> usize {
        self.rows.iter().filter(|row| row.is_wrong).count()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = (0..HEADINGS.len())
            .map(|column| self.width(column))
            .collect();
        write_row(formatter, &widths, HEADINGS)?;
        let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        write_row(formatter, &widths, rules.iter().map(String::as_str))?;
        for row in &self.rows {
            write_row(formatter, &widths, row.cells.iter().map(String::as_str))?;
        }
        Ok(())
    }
}

impl Table {
    fn width(&self, column: usize) -> usize {
        let cells = self
            .rows
            .iter()
            .map(|row| row.cells[column].chars().count());
        cells.max().unwrap_or(0).max(HEADINGS[column].len())
    }
}

fn write_row<'a>(
    formatter: &mut fmt::Formatter<'_>,
    widths: &[usize],
    cells: impl IntoIterator<Item = &'a str>,
) -> fmt::Result {
    let padded: Vec<String> = cells
        .into_iter()
        .zip(widths)
        .map(|(cell, width)| format!("{cell:<width$}"))
        .collect();
    writeln!(formatter, "{}", padded.join("  ").trim_end())
}

/// The responder never says NXDOMAIN and never sends an empty answer to A: who blocks is the filter.
fn is_blocked(reply: &Reply) -> bool {
    reply.rcode() != ResponseCode::NoError || reply.extended_error().is_some()
}

fn verdict(expected: Verdict, seen: Option<bool>) -> String {
    let expected_text = match expected {
        Verdict::Block => "blocked",
        Verdict::Allow => "allowed by exception",
        Verdict::None => "no rule",
    };
    match seen {
        Some(blocked) if blocked == (expected == Verdict::Block) => expected_text.to_owned(),
        Some(true) => format!("BLOCKED, should be: {expected_text}"),
        Some(false) => format!("PASSED, should be: {expected_text}"),
        None => format!("NO ANSWER, should be: {expected_text}"),
    }
}

fn extended_error(reply: &Reply) -> String {
    match reply.extended_error() {
        Some(error) if error.text.is_empty() => error.code.to_string(),
        Some(error) => format!("{} {}", error.code, error.text),
        None => "-".to_owned(),
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64() * 1e3)
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME_WIDTH_MAX {
        return name.to_owned();
    }
    let start: String = name.chars().take(NAME_WIDTH_MAX - 1).collect();
    format!("{start}…")
}
