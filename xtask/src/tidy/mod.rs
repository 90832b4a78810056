//! The rules of this repository that no compiler holds, as a test.
//!
//! What each rule asks stands in its module; `CONTRIBUTING.md` tells them to people.

mod dependencies;
mod links;
mod map;
mod modules;
mod prose;
mod source;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::workspace::Workspace;

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// Relative to the workspace.
    file: PathBuf,
    line: usize,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.message)
    }
}

/// A text file of the repository.
struct Text {
    /// Relative to the workspace.
    path: PathBuf,
    content: String,
}

impl Text {
    fn finding(&self, line: usize, message: impl Into<String>) -> Finding {
        Finding {
            file: self.path.clone(),
            line,
            message: message.into(),
        }
    }

    fn has_extension(&self, extension: &str) -> bool {
        self.path
            .extension()
            .is_some_and(|found| found == extension)
    }

    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.content
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }
}

/// Checks every rule on every file and tells all that it finds.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let texts = texts(workspace.root())?;
    let mut findings: Vec<Finding> = texts.iter().flat_map(source::check).collect();
    findings.extend(texts.iter().flat_map(prose::check));
    findings.extend(links::check(&texts, workspace.root()));
    findings.extend(map::check(&texts));
    findings.extend(modules::check(&texts));
    let lock = texts
        .iter()
        .find(|text| text.path == Path::new("Cargo.lock"));
    findings.extend(dependencies::check(lock.context("find Cargo.lock")?));
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!(
            "{} places break the rules of the repository",
            findings.len()
        );
    }
    println!("tidy: {} files keep the rules", texts.len());
    Ok(())
}

/// Every file that is text; what git, cargo and the fuzzers leave behind is not the repository's.
fn texts(root: &Path) -> Result<Vec<Text>> {
    const SKIPPED: [&str; 4] = [".git", "target", "corpus", "artifacts"];
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = folder
            .read_dir()
            .with_context(|| format!("list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let kind = entry.file_type()?;
            let skipped = SKIPPED.iter().any(|name| entry.file_name() == *name);
            if kind.is_dir() && !skipped {
                folders.push(path);
            } else if kind.is_file() && !skipped {
                found.extend(text(root, &path)?);
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn text(root: &Path, file: &Path) -> Result<Option<Text>> {
    let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let path = file.strip_prefix(root)?.to_path_buf();
    Ok(String::from_utf8(bytes)
        .ok()
        .map(|content| Text { path, content }))
}

#[cfg(test)]
fn sample(path: &str, content: &str) -> Text {
    Text {
        path: path.into(),
        content: content.into(),
    }
}
