//! The tables of `docs/clients.md`: each between two marks, made by a test.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};

/// Tests run side by side, and each writes its own table.
static PAGE: Mutex<()> = Mutex::new(());

/// Holds a table against the one on the page; with `NXDP_WRITE_DOCS=1` writes it there first.
///
/// A table is of one version of its client, which its first line tells. Another version
/// may ask in another way: its table is not compared, and a line says so.
///
/// # Errors
/// Fails when the page has no such table or says something else.
pub fn check(mark: &str, title: &str, table: &str) -> Result<()> {
    let _alone = PAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- end {mark} -->"));
    let page = fs::read_to_string(path())?;
    let (before, rest) = page
        .split_once(&begin)
        .with_context(|| format!("docs/clients.md has no line {begin}"))?;
    let (committed, after) = rest
        .split_once(&end)
        .with_context(|| format!("docs/clients.md has no line {end}"))?;
    let found = format!("{title}\n\n{table}");
    if std::env::var_os("NXDP_WRITE_DOCS").is_some() {
        fs::write(path(), format!("{before}{begin}{found}{end}{after}"))?;
        return Ok(());
    }
    if committed.lines().next() != Some(title) {
        eprintln!("skipped: the table of docs/clients.md is not of {title}");
        return Ok(());
    }
    ensure!(
        committed == found,
        "docs/clients.md is not what the tests find; run them with NXDP_WRITE_DOCS=1:\n{found}"
    );
    Ok(())
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/clients.md")
}
