//! `nxdp diff`.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::Args;
use filter_lists::image::{Change, Diff, Image, VerdictChange};
use filter_user::pipeline::popular_names;
use serde_json::json;

use super::{Failure, query::EVERY_CATEGORY};

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
        let mut out = io::stdout().lock();
        if self.json {
            let changes: Vec<_> = changes.map(|change| change_json(&change)).collect();
            let mut object = serde_json::to_value(&diff)?;
            object["version"] = 1.into();
            object["popular"] = changes.into();
            writeln!(out, "{object}")?;
        } else {
            print(&diff, &mut out)?;
            changes.try_for_each(|change| print_change(&change, &mut out))?;
        }
        Ok(())
    }
}

fn print(diff: &Diff, out: &mut dyn Write) -> io::Result<()> {
    print_row("total", &diff.total, out)?;
    for (name, list) in &diff.lists {
        print_row(&format!("list {name}"), &list.names, out)?;
        print_lines("new in line", &list.added_lines, out)?;
        print_lines("gone from line", &list.removed_lines, out)?;
    }
    for (name, change) in &diff.categories {
        print_row(&format!("category {name}"), change, out)?;
    }
    Ok(())
}

fn print_row(what: &str, change: &Change, out: &mut dyn Write) -> io::Result<()> {
    let Change {
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

fn print_lines(what: &str, lines: &[u32], out: &mut dyn Write) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = lines.iter().map(u32::to_string).collect();
    writeln!(out, "  {what} {}", lines.join(", "))
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
