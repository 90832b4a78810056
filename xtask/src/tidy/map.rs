//! The code map of `ARCHITECTURE.md` has a row for every module of the crates that it lists.

use std::{collections::BTreeSet, path::Path};

use super::{Finding, Text};

/// The crates whose modules are listed, each below a heading of its own.
const LISTED: [&str; 3] = ["filter-kernel", "filter-lists", "filter-user"];
const MAP: &str = "ARCHITECTURE.md";

/// Checks that the map and the sources among `texts` have the same modules.
pub(super) fn check(texts: &[Text]) -> Vec<Finding> {
    let Some(map) = texts.iter().find(|text| text.path == Path::new(MAP)) else {
        return Vec::new();
    };
    LISTED
        .iter()
        .flat_map(|package| compare(map, package, &modules(texts, package)))
        .collect()
}

fn compare(map: &Text, package: &str, modules: &BTreeSet<&str>) -> Vec<Finding> {
    let (heading, rows) = rows(map, package);
    let listed: BTreeSet<&str> = rows.iter().map(|(_, name)| *name).collect();
    let missing = modules.difference(&listed).map(|name| {
        let message = format!("has no row for the module {name} of {package}");
        map.finding(heading, message)
    });
    let gone = rows.iter().filter(|(_, name)| !modules.contains(name));
    let gone = gone.map(|(line, name)| {
        let message = format!("has a row for {name}, which is no module of {package}");
        map.finding(*line, message)
    });
    missing.chain(gone).collect()
}

/// The modules at the top of a package's sources; the roots of its library and binary are none.
fn modules<'a>(texts: &'a [Text], package: &str) -> BTreeSet<&'a str> {
    let sources = Path::new(package).join("src");
    let of_file = |text: &'a Text| {
        let file = text.path.strip_prefix(&sources).ok()?.to_str()?;
        let name = file.split('/').next()?.trim_end_matches(".rs");
        (text.has_extension("rs") && !["lib", "main"].contains(&name)).then_some(name)
    };
    texts.iter().filter_map(of_file).collect()
}

/// The line of the package's heading, and line and name of each row below it.
fn rows<'a>(map: &'a Text, package: &str) -> (usize, Vec<(usize, &'a str)>) {
    let start = format!("#### `{package}`");
    let mut lines = map
        .lines()
        .skip_while(|(_, line)| !line.starts_with(&start));
    let heading = lines.next().map_or(1, |(line, _)| line);
    let rows = lines
        .take_while(|(_, line)| !line.starts_with('#'))
        .filter_map(|(number, line)| {
            let (name, _) = line.strip_prefix("| `")?.split_once('`')?;
            Some((number, name))
        });
    (heading, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn found(rows: &str) -> Vec<String> {
        let map = format!("#### `filter-lists`: lists\n\n{rows}\n#### `other`\n\n| `z` | | |\n");
        let texts = [
            sample(MAP, &map),
            sample("filter-lists/src/lib.rs", ""),
            sample("filter-lists/src/a.rs", ""),
            sample("filter-lists/src/b/mod.rs", ""),
            sample("filter-lists/src/b/part.rs", ""),
        ];
        let findings = check(&texts);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_map_with_a_row_for_every_module_is_fine() {
        assert_eq!(found("| `a` | x | y |\n| `b` | x | y |\n"), [""; 0]);
    }

    #[test]
    fn a_module_without_a_row_is_found_at_the_heading() {
        assert_eq!(
            found("| `a` | x | y |\n"),
            ["ARCHITECTURE.md:1: has no row for the module b of filter-lists"]
        );
    }

    #[test]
    fn a_row_without_a_module_is_found() {
        let rows = "| `a` | x | y |\n| `b` | x | y |\n| `c` | x | y |\n";
        assert_eq!(
            found(rows),
            ["ARCHITECTURE.md:5: has a row for c, which is no module of filter-lists"]
        );
    }
}
