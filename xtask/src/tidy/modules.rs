//! No circle between the modules of a crate: each can be read with what it stands on, and that ends.
//!
//! Read from `use crate::…` and from paths in the code; tests and comments may look anywhere.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Text};

/// The crates whose modules are layered, by the folder of their sources.
const LAYERED: [&str; 4] = [
    "filter-common/src",
    "filter-kernel/src",
    "filter-lists/src",
    "filter-user/src",
];

/// What a module uses of its crate: the other module, and where it is named first.
type Uses<'a> = BTreeMap<&'a str, (&'a Text, usize)>;

/// Checks the layered crates among `texts`.
pub(super) fn check(texts: &[Text]) -> Vec<Finding> {
    LAYERED
        .iter()
        .filter_map(|folder| circle(texts, folder))
        .collect()
}

/// The first circle of the crate in `folder`.
fn circle(texts: &[Text], folder: &str) -> Option<Finding> {
    let files = || {
        let named = |text| Some((module(text, folder)?, text));
        texts.iter().filter_map(named)
    };
    let mut uses: BTreeMap<&str, Uses<'_>> = files().map(|(name, _)| (name, Uses::new())).collect();
    let names: BTreeSet<&str> = uses.keys().copied().collect();
    for (name, text) in files() {
        for (used, line) in used(text) {
            // A module's files may use each other.
            if let Some(&used) = names.get(used.as_str()).filter(|&&used| used != name) {
                let known = uses.entry(name).or_default();
                known.entry(used).or_insert((text, line));
            }
        }
    }
    let mut done = BTreeSet::new();
    for &name in &names {
        let mut path = Vec::new();
        if let Some(circle) = walk(name, &uses, &mut path, &mut done) {
            let (text, line) = uses[circle[0]][circle[1]];
            let message = format!(
                "the modules {} use each other in a circle: move what they share below them",
                circle.join(" -> ")
            );
            return Some(text.finding(line, message));
        }
    }
    None
}

/// The name of the module that a file of the crate is; the root of the crate is none.
fn module<'a>(text: &'a Text, folder: &str) -> Option<&'a str> {
    let file = text.path.strip_prefix(folder).ok()?.to_str()?;
    let name = file.split('/').next()?.trim_end_matches(".rs");
    (text.has_extension("rs") && name != "lib").then_some(name)
}

/// Follows what `name` uses, depth first; the modules of a circle in the order of their use.
fn walk<'a>(
    name: &'a str,
    uses: &'a BTreeMap<&str, Uses<'_>>,
    path: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Option<Vec<&'a str>> {
    if let Some(start) = path.iter().position(|&above| above == name) {
        return Some(path[start..].to_vec());
    }
    if done.contains(name) {
        return None;
    }
    path.push(name);
    for &used in uses[name].keys() {
        if let Some(circle) = walk(used, uses, path, done) {
            return Some(circle);
        }
    }
    path.pop();
    done.insert(name);
    None
}

/// What the code of a file names behind `crate::`, with the line.
fn used(text: &Text) -> Vec<(String, usize)> {
    let code = code(text);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let line = code[..at].matches('\n').count() + 1;
        let names = first_names(&code[at + "crate::".len()..]);
        found.extend(names.into_iter().map(|name| (name.to_string(), line)));
    }
    found
}

/// The code of a file up to its tests, line by line without comments.
fn code(text: &Text) -> String {
    let lines = text.lines().map(|(_, line)| line);
    let code = lines.take_while(|line| line.trim() != "#[cfg(test)]");
    code.map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The first names behind a `crate::`: one, or each of a group in braces.
fn first_names(path: &str) -> Vec<&str> {
    let Some(group) = path.strip_prefix('{') else {
        return vec![identifier(path)];
    };
    let mut names = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(identifier(&group[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(identifier(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names
}

fn identifier(text: &str) -> &str {
    let text = text.trim_start();
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn module(name: &str, content: &str) -> Text {
        sample(&format!("{}/{name}.rs", LAYERED[0]), content)
    }

    #[test]
    fn a_circle_is_found_with_its_way_and_the_line_that_closes_it() {
        let texts = [
            module("a", "use crate::{\n    c::{X, Y},\n    b,\n};\n"),
            module("b", "//! B.\n\nuse crate::c;\n"),
            module("c", "fn f() {\n    crate::a::g();\n}\n"),
        ];
        let found = check(&texts);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].message.contains("a -> b -> c use each other"),
            "{found:?}"
        );
        assert_eq!(found[0].line, 1);
    }

    #[test]
    fn layers_are_none_whatever_tests_comments_and_other_crates_name() {
        let texts = [
            module("a", "use crate::b::X;\n"),
            module(
                "b",
                "/// [`crate::a`] is above.\n\n#[cfg(test)]\nmod tests {\n    use crate::a;\n}\n",
            ),
            sample("lab/src/c.rs", "use crate::d;\n"),
            sample("lab/src/d.rs", "use crate::c;\n"),
        ];
        assert_eq!(check(&texts), []);
    }

    #[test]
    fn files_of_a_folder_are_one_module() {
        let texts = [
            module("a/mod", "use crate::b;\n"),
            module("a/part", "fn f() {}\n"),
            module("b", "use crate::a::part::f;\n"),
        ];
        assert_eq!(check(&texts).len(), 1);
    }
}
