//! Tables on a page, each between two marks: a run puts its own there.
//!
//! The marks are `<!-- bench PART -->` and `<!-- end bench PART -->`; above the table stands
//! where and when it was measured, and by which command.

use std::{
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result};

use crate::report::Head;

/// Marks and tables of this run.
static TABLES: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Keeps a table for the page.
pub(crate) fn put(mark: &str, table: String) {
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    tables.push((mark.to_owned(), table));
}

/// Puts the tables of this run in their places.
pub(crate) fn fill(path: &Path, head: &Head) -> Result<()> {
    let mut page = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    for (mark, table) in tables.iter() {
        page = replaced(&page, mark, &format!("{}\n\n{table}", head.line()))?;
    }
    fs::write(path, page).with_context(|| format!("write {}", path.display()))
}

fn replaced(page: &str, mark: &str, text: &str) -> Result<String> {
    let begin = format!("<!-- bench {mark} -->\n");
    let end = format!("<!-- end bench {mark} -->");
    let (before, rest) = page
        .split_once(&begin)
        .with_context(|| format!("the page has no line {begin}"))?;
    let (_, after) = rest
        .split_once(&end)
        .with_context(|| format!("the page has no line {end}"))?;
    Ok(format!("{before}{begin}{text}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_between_its_marks_and_nothing_else() {
        let page = "a\n<!-- bench x -->\nold\n<!-- end bench x -->\nb\n";
        let new = replaced(page, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- bench x -->\nnew\n<!-- end bench x -->\nb\n");
        assert!(replaced(page, "y", "new\n").is_err());
    }
}
