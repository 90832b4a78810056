//! Text from outside, fit for a terminal and a log.
//!
//! Names of lists and interfaces, reasons of overrides, what a server answered: whoever writes
//! them could move the cursor, hide a line or make up one. Every character that does such a
//! thing is written as `\u001b`, which is right in JSON, too.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write},
};

/// Text whose lines stay lines, further ones indented: none of them looks like a message of its own.
pub fn lines(text: &str) -> String {
    escaped(text, |c| c == '\n' || c == '\t').replace('\n', "\n  ")
}

/// Text that stays within its line.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

fn escaped(text: &str, is_kept: fn(char) -> bool) -> Cow<'_, str> {
    let is_plain = |c: char| !is_control(c) || is_kept(c);
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_plain(c) {
            out.push(c);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
    }
    Cow::Owned(out)
}

/// Whether a character acts on the text around it: C0, DEL, C1 (whose U+009B starts escape
/// sequences as ESC does), line and paragraph separators, and marks that change the direction.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A writer that escapes what is written through it; line feeds and tabs stay.
#[derive(Debug)]
pub struct Printable<W>(pub W);

impl<W: Write> Write for Printable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for chunk in bytes.utf8_chunks() {
            let text = escaped(chunk.valid(), |c| c == '\n' || c == '\t');
            self.0.write_all(text.as_bytes())?;
            if !chunk.invalid().is_empty() {
                self.0.write_all("\u{fffd}".as_bytes())?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_act_on_a_terminal_is_written_as_an_escape() {
        for (text, shown) in [
            ("plain, Bücher, 日本", "plain, Bücher, 日本"),
            ("\u{1b}[2Jgone", "\\u001b[2Jgone"),
            ("\u{9b}31mred", "\\u009b31mred"),
            ("a\u{7f}b\rc", "a\\u007fb\\u000dc"),
            ("abc\u{202e}gpj", "abc\\u202egpj"),
            ("one\ntwo", "one\\u000atwo"),
        ] {
            assert_eq!(one_line(text), shown);
        }
        assert_eq!(lines("one\ntwo\u{1b}c"), "one\n  two\\u001bc");
    }

    #[test]
    fn json_that_is_written_through_says_the_same() {
        let value = serde_json::json!({ "reason": "\u{9b}2J\u{202e}\u{1b}x\u{7f}" });
        let mut out = Printable(Vec::new());
        writeln!(out, "{value}").unwrap();
        let text = String::from_utf8(out.0).unwrap();
        assert!(text.is_ascii(), "{text}");
        let again: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(again, value);
    }
}
