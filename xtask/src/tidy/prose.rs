//! Rules on the pages: how wide a line of prose may be, and phrases that a reader has to read twice.
//!
//! A line of a table, of code or of a link's definition cannot be wrapped and may be longer.

use super::{Finding, Text};

/// Longest line of prose, in characters.
const WIDTH_MAX: usize = 100;

/// Words that this project once used, each with what says the same plainly.
const PHRASES: [(&str, &str); 14] = [
    (
        "is told and",
        "name who says it: the daemon logs it, `nxdp status` shows it",
    ),
    ("are told and", "name who says it"),
    ("is told,", "name who says it"),
    ("is told to", "say \"must\", or name who asks"),
    ("and tells so", "say what it prints"),
    ("and says so", "say what it prints"),
    (
        "somebody who may nothing",
        "say \"a client without rights\"",
    ),
    ("keeps the filter from nothing", "say what goes on"),
    ("keeps nobody", "say what goes on"),
    ("whoever is", "say \"who is\" or name the person"),
    ("as long after", "say the time and what happens after it"),
    ("is of no use", "say \"does nothing\" or \"is not needed\""),
    ("they may nothing", "say what is forbidden"),
    ("as it was told", "say who reported it"),
];

/// Checks one page.
pub(super) fn check(text: &Text) -> Vec<Finding> {
    if !text.has_extension("md") {
        return Vec::new();
    }
    let prose = prose_lines(text);
    let wide = prose.iter().filter(|(_, line)| is_too_wide(line));
    let wide =
        wide.map(|(number, _)| text.finding(*number, format!("wrap at {WIDTH_MAX} columns")));
    let odd = prose
        .iter()
        .flat_map(|(number, line)| phrases(text, *number, line));
    wide.chain(odd).collect()
}

/// The lines of a page but those of code and tables.
fn prose_lines(text: &Text) -> Vec<(usize, &str)> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for (number, line) in text.lines() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("```") {
            is_code = !is_code;
        } else if !is_code && !trimmed.starts_with('|') {
            lines.push((number, line));
        }
    }
    lines
}

/// Whether a line is too long and could be shorter: one word, as an address, cannot.
fn is_too_wide(line: &str) -> bool {
    let is_wrapped_already = line.trim().split(' ').count() <= 2;
    line.chars().count() > WIDTH_MAX && !is_wrapped_already && !line.starts_with('#')
}

fn phrases(text: &Text, number: usize, line: &str) -> Vec<Finding> {
    let lower = line.to_lowercase();
    let found = PHRASES.iter().filter(|(phrase, _)| lower.contains(phrase));
    found
        .map(|(phrase, instead)| text.finding(number, format!("'{phrase}': {instead}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn findings(content: &str) -> Vec<usize> {
        let found = check(&sample("docs/a.md", content));
        found.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn prose_is_wrapped_and_tables_code_and_addresses_are_not() {
        let long = "word ".repeat(25);
        let page = format!(
            "{long}\n| {long} |\n```text\n{long}\n```\n{long}\n- https://lists.example/{}\nshort\n",
            "x".repeat(120)
        );
        assert_eq!(findings(&page), [1, 6]);
        assert!(check(&sample("src/a.rs", &long)).is_empty());
    }

    #[test]
    fn a_phrase_is_found_in_any_case_but_not_in_code() {
        assert_eq!(
            findings("It Is Told and left out.\n```\nis told and\n```\n"),
            [1]
        );
        assert!(findings("The daemon logs it.\n").is_empty());
    }
}
