//! The lists of a demonstration: the user's, or the bundled ones, and one that is rewritten.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Sample lists, written for this project.
const BUNDLED: [(&str, &str); 3] = [
    ("hosts.txt", include_str!("../../samples/hosts.txt")),
    ("domains.txt", include_str!("../../samples/domains.txt")),
    ("adguard.txt", include_str!("../../samples/adguard.txt")),
];

/// The list files.
pub(super) struct Lists {
    shown: Vec<PathBuf>,
    rewritten: PathBuf,
}

impl Lists {
    /// Writes what is not there yet into `folder`.
    pub(super) fn prepare(given: &[PathBuf], folder: &Path) -> Result<Self> {
        let shown = if given.is_empty() {
            write_bundled(folder).context("cannot write the sample lists")?
        } else {
            given.to_vec()
        };
        let lists = Self {
            shown,
            rewritten: folder.join("rewritten.txt"),
        };
        lists.rewrite("||before-the-swap.example^\n")?;
        Ok(lists)
    }

    /// The files to take names from: all but the rewritten one.
    pub(super) fn shown(&self) -> &[PathBuf] {
        &self.shown
    }

    /// All files, the rewritten one last.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let all = self.shown.iter().chain([&self.rewritten]);
        all.cloned().collect()
    }

    /// Replaces the content of the rewritten list at once, as an editor or a downloader does.
    pub(super) fn rewrite(&self, content: &str) -> Result<()> {
        let draft = self.rewritten.with_extension("draft");
        fs::write(&draft, content)
            .and_then(|()| fs::rename(&draft, &self.rewritten))
            .with_context(|| format!("cannot write {}", self.rewritten.display()))
    }
}

fn write_bundled(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let write = |(name, content): &(&str, &str)| {
        let path = folder.join(name);
        fs::write(&path, content).map(|()| path)
    };
    BUNDLED.iter().map(write).collect()
}
