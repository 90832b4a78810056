//! Files of names that are no blocklists (popular names, names that must or must not be blocked), and
//! single lines of lists.

use std::io::Read;

use filter_common::name::Name;
use memchr::{memchr, memrchr};

use super::{
    Error,
    lines::Lines,
    name,
    source::{self, Bounds},
};

/// Reads one name a line: `name` or `rank,name`, comments behind `#`; unpacks gzip and zstd.
///
/// # Errors
///
/// When the reader fails or gives no text. A line that is no name is no error here: `each`
/// gets the reason.
pub fn names<R: Read>(
    reader: R,
    mut each: impl FnMut(u32, Result<Name, String>),
) -> Result<(), Error> {
    let mut lines =
        Lines::new(source::open(reader, Bounds::default()).map_err(|source| Error::of(source, 0))?);
    lines.head()?;
    while let Some(line) = lines.next_line()? {
        let text = match memchr(b'#', line.text) {
            Some(at) => &line.text[..at],
            None => line.text,
        };
        let text = text.trim_ascii();
        let text = memrchr(b',', text).map_or(text, |at| &text[at + 1..]);
        if !text.is_empty() {
            let name = name::parse(text).map_err(|(_, reason)| reason.to_string());
            each(line.number, name);
        }
    }
    Ok(())
}

/// The text of one line of a list, counted from 1; unpacks gzip and zstd.
///
/// # Errors
///
/// When the reader fails or gives no text.
pub fn line<R: Read>(reader: R, number: u32) -> Result<Option<String>, Error> {
    let mut lines =
        Lines::new(source::open(reader, Bounds::default()).map_err(|source| Error::of(source, 0))?);
    lines.head()?;
    while let Some(line) = lines.next_line()? {
        if line.number == number {
            let text = String::from_utf8_lossy(line.text.trim_ascii());
            let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c });
            return Ok(Some(shown.collect()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_number() {
        let text = "\u{feff}a.example\n  ||b.example^\t\nc\u{1b}d\n";
        let found = |number| line(text.as_bytes(), number).ok().flatten();
        assert_eq!(found(1).as_deref(), Some("a.example"));
        assert_eq!(found(2).as_deref(), Some("||b.example^"));
        assert_eq!(found(3).as_deref(), Some("c d"));
        assert_eq!((found(4), found(0)), (None, None));
    }

    #[test]
    fn ranks_comments_and_blank_lines_are_not_names() {
        let text = "# popular\n\n1,Example.com\n  a.example # why\nnot a name\n";
        let mut seen = Vec::new();
        let read = names(text.as_bytes(), |line, name| {
            seen.push((line, name.map(|name| name.to_string()).ok()));
        });
        assert!(read.is_ok());
        let name = |text: &str| Some(text.to_owned());
        assert_eq!(
            seen,
            [(3, name("example.com")), (4, name("a.example")), (5, None)]
        );
    }
}
