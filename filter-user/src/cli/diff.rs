//! `nxdp diff`.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use filter_lists::{
    image::{Diff, Image, NameCounts, VerdictChange},
    input::Input,
    list,
    provenance::origin_hash,
    rule::Rule,
};
use filter_user::pipeline::popular_names;
use serde_json::json;

use super::{Failure, out, query::EVERY_CATEGORY};

/// Type of the queries whose verdicts are compared: A.
const QTYPE: u16 = 1;

/// Flags of `nxdp diff`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Image that `nxdp compile -o` wrote
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// Image to compare it with
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Name the popular names, `name` or `rank,name` a line, whose verdict changes
    #[arg(long, value_name = "FILE")]
    popular: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (old, new) = (Image::open(&self.old)?, Image::open(&self.new)?);
        let popular = match &self.popular {
            Some(path) => popular_names(path).map_err(Failure::usage)?,
            None => Vec::new(),
        };
        let diff = Diff::between(&old, &new);
        let mut changes = Diff::verdict_changes(&old, &new, popular, QTYPE, EVERY_CATEGORY);
        let mut out = out::stdout();
        if self.json {
            let changes: Vec<_> = changes.map(|change| change_json(&change)).collect();
            let mut object = serde_json::to_value(&diff)?;
            for (name, list) in &diff.lists {
                let told = &mut object["lists"][name];
                told["added_names"] = names(&new, name, &list.added_hashes).into();
                told["removed_names"] = names(&old, name, &list.removed_hashes).into();
            }
            object["version"] = 1.into();
            object["popular"] = changes.into();
            writeln!(out, "{object}")?;
        } else {
            print(&diff, &old, &new, &mut out)?;
            changes.try_for_each(|change| print_change(&change, &mut out))?;
        }
        Ok(())
    }
}

fn print(diff: &Diff, old: &Image, new: &Image, out: &mut dyn Write) -> io::Result<()> {
    print_row("total", &diff.total, out)?;
    for (name, list) in &diff.lists {
        print_row(&format!("list {name}"), &list.names, out)?;
        let added = names(new, name, &list.added_hashes);
        let removed = names(old, name, &list.removed_hashes);
        print_names(["new", "new in line"], &added, &list.added_lines, out)?;
        print_names(
            ["gone", "gone from line"],
            &removed,
            &list.removed_lines,
            out,
        )?;
    }
    for (name, change) in &diff.categories {
        print_row(&format!("category {name}"), change, out)?;
    }
    Ok(())
}

fn print_row(what: &str, change: &NameCounts, out: &mut dyn Write) -> io::Result<()> {
    let NameCounts {
        old,
        new,
        added,
        removed,
        changed,
    } = change;
    writeln!(
        out,
        "{what}: {old} -> {new} names, {added} added, {removed} removed, {changed} changed"
    )
}

/// Tells names, and the lines of those whose list is not at hand any more.
fn print_names(
    [name, line]: [&str; 2],
    names: &[Option<String>],
    lines: &[u32],
    out: &mut dyn Write,
) -> io::Result<()> {
    let known: Vec<_> = names.iter().flatten().map(String::as_str).collect();
    if !known.is_empty() {
        writeln!(out, "  {name}: {}", known.join(", "))?;
    }
    let unknown = lines.iter().zip(names).filter(|(_, name)| name.is_none());
    let unknown: Vec<_> = unknown.map(|(line, _)| line.to_string()).collect();
    match unknown.is_empty() {
        true => Ok(()),
        false => writeln!(out, "  {line} {}", unknown.join(", ")),
    }
}

/// The names with these hashes, where the file that the list was read from still has them.
///
/// An image knows names by their hashes alone, and a name that has the hash is the one.
fn names(image: &Image, list: &str, hashes: &[u64]) -> Vec<Option<String>> {
    let mut names = vec![None; hashes.len()];
    let info = image.lists().iter().find(|info| info.name == list);
    let Some(file) = info.and_then(|info| Input::open(Path::new(&info.path)).ok()) else {
        return names;
    };
    if hashes.is_empty() {
        return names;
    }
    // What else is in the file, or that it is none any more, is nobody's business here.
    let _ = list::parse(file, &list::Options::default(), &mut |_, rule: &Rule| {
        let wire = rule.name.as_wire();
        let hash = origin_hash(&wire[..wire.len() - 1]);
        if let Some(at) = hashes.iter().position(|wanted| *wanted == hash) {
            names[at] = Some(rule.name.to_string());
        }
    });
    names
}

fn print_change(change: &VerdictChange, out: &mut dyn Write) -> io::Result<()> {
    write!(
        out,
        "popular {}: {} -> {}",
        change.name,
        change.old.as_str(),
        change.new.as_str()
    )?;
    if let (Some(rule), Some(list), Some(line)) = (&change.rule, &change.list, change.line) {
        write!(out, " by {rule} ({list}, line {line})")?;
    }
    writeln!(out)
}

fn change_json(change: &VerdictChange) -> serde_json::Value {
    json!({
        "name": change.name.to_string(),
        "old": change.old.as_str(),
        "new": change.new.as_str(),
        "rule": change.rule,
        "list": change.list,
        "line": change.line,
    })
}
