//! Links in the documents lead somewhere: the file exists, and so does the heading.
//!
//! Addresses on the web are not asked.

use std::{
    collections::HashMap,
    path::{Component, Path, PathBuf},
};

use super::{Finding, Text};

/// Checks the links of all documents.
pub(super) fn check(texts: &[Text], root: &Path) -> Vec<Finding> {
    let documents: HashMap<&Path, &Text> = texts
        .iter()
        .filter(|text| text.has_extension("md"))
        .map(|text| (text.path.as_path(), text))
        .collect();
    let mut findings = Vec::new();
    for text in documents.values() {
        for (line, target) in links(text) {
            if let Some(message) = broken(text, &target, &documents, root) {
                findings.push(text.finding(line, message));
            }
        }
    }
    findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    findings
}

/// Tells what is wrong with a link, if anything.
fn broken(
    from: &Text,
    target: &str,
    documents: &HashMap<&Path, &Text>,
    root: &Path,
) -> Option<String> {
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() {
        from.path.clone()
    } else {
        resolve(&from.path, file)
    };
    if !root.join(&path).exists() && !documents.contains_key(path.as_path()) {
        return Some(format!("links to {target}, which does not exist"));
    }
    let document = documents.get(path.as_path())?;
    let found = heading.is_empty() || headings(document).any(|known| known == heading);
    (!found).then(|| {
        format!(
            "links to {target}, but {} has no such heading",
            path.display()
        )
    })
}

/// The file a link leads to, relative to the workspace.
fn resolve(from: &Path, file: &str) -> PathBuf {
    let mut path = from.parent().map(Path::to_path_buf).unwrap_or_default();
    for part in Path::new(file).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

/// Line and target of each link into the repository, outside of code.
fn links(text: &Text) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let without_code: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
        for (at, _) in without_code.match_indices("](") {
            let rest = &without_code[at + 2..];
            let target = rest.split([')', ' ']).next().unwrap_or_default();
            if !target.contains(':') && !target.is_empty() {
                found.push((number, target.to_string()));
            }
        }
    }
    found
}

/// The lines that are not inside a fenced block of code.
fn prose(text: &Text) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The names that a renderer gives the headings: lower case, blanks as hyphens, no punctuation.
fn headings(text: &Text) -> impl Iterator<Item = String> {
    let titles = prose(text).filter(|(_, line)| line.starts_with('#'));
    titles.map(|(_, line)| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let letters = title.chars().filter_map(|letter| match letter {
            ' ' => Some('-'),
            '-' | '_' => Some(letter),
            _ => letter.is_alphanumeric().then_some(letter),
        });
        letters.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn messages(texts: &[Text]) -> Vec<String> {
        let findings = check(texts, Path::new("/nonexistent"));
        findings
            .into_iter()
            .map(|finding| finding.to_string())
            .collect()
    }

    #[test]
    fn a_link_to_a_file_that_is_not_there_is_found_with_its_line() {
        let found = messages(&[sample("docs/a.md", "one\n[b](b.md)\n")]);
        assert_eq!(found, ["docs/a.md:2: links to b.md, which does not exist"]);
    }

    #[test]
    fn links_are_resolved_from_the_folder_of_their_document() {
        let target = || sample("README.md", "# What it is, in short\n");
        assert!(messages(&[sample("docs/a.md", "[r](../README.md)"), target()]).is_empty());
        assert!(
            messages(&[
                sample("docs/a.md", "[r](../README.md#what-it-is-in-short)"),
                target()
            ])
            .is_empty()
        );
        assert_eq!(
            messages(&[sample("docs/a.md", "[r](../README.md#nothing)"), target()]).len(),
            1
        );
        assert_eq!(
            messages(&[sample("docs/a.md", "[r](README.md)"), target()]).len(),
            1
        );
    }

    #[test]
    fn code_and_web_addresses_are_not_followed() {
        let text = "```\n[x](gone.md)\n```\n`[x](gone.md)` and [w](https://example.org/)\n";
        assert!(messages(&[sample("a.md", text)]).is_empty());
    }
}
