//! Lines of a reader, from one fixed buffer.

use std::io::Read;

use memchr::memchr;

use super::Error;

/// Longest line that is read, in bytes; a longer one is invalid.
pub const LINE_MAX_BYTES: usize = 4096;

/// Bytes read at a time; also what format detection sees.
const BUFFER_BYTES: usize = 128 * 1024;
/// What is kept of a line that is too long.
const PREFIX_BYTES: usize = 256;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Splits a reader into lines.
pub(super) struct Lines<R> {
    reader: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    at_end: bool,
    number: u32,
    /// The beginning of a line that did not fit.
    prefix: Vec<u8>,
}

/// One line without its end.
pub(super) struct Line<'b> {
    /// Counted from 1.
    pub(super) number: u32,
    /// The bytes between two line feeds.
    pub(super) text: &'b [u8],
    /// Whether `text` is all of it.
    pub(super) is_whole: bool,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            at_end: false,
            number: 0,
            prefix: Vec::new(),
        }
    }

    /// The first bytes, as many as fit into the buffer, without a byte order mark.
    pub(super) fn head(&mut self) -> Result<&[u8], Error> {
        while self.end < self.buffer.len() && !self.at_end {
            self.fill()?;
        }
        if self.buffer[..self.end].starts_with(BOM) {
            self.start = BOM.len();
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// The next line; `None` after the last.
    pub(super) fn next_line(&mut self) -> Result<Option<Line<'_>>, Error> {
        let mut searched = 0;
        loop {
            let unseen = &self.buffer[self.start + searched..self.end];
            if let Some(at) = memchr(b'\n', unseen) {
                let end = self.start + searched + at;
                return self.line(end, end + 1).map(Some);
            }
            searched = self.end - self.start;
            if self.at_end {
                return match searched {
                    0 => Ok(None),
                    _ => self.line(self.end, self.end).map(Some),
                };
            }
            if searched > LINE_MAX_BYTES {
                return self.skip_line().map(Some);
            }
            self.make_room();
            self.fill()?;
        }
    }

    fn line(&mut self, end: usize, next: usize) -> Result<Line<'_>, Error> {
        let text = self.start..end;
        self.start = next;
        self.next_number()?;
        let is_whole = text.len() <= LINE_MAX_BYTES;
        let text = &self.buffer[text];
        Ok(Line {
            number: self.number,
            text: if is_whole {
                text
            } else {
                &text[..PREFIX_BYTES]
            },
            is_whole,
        })
    }

    /// Reads to the end of a line that is longer than allowed.
    fn skip_line(&mut self) -> Result<Line<'_>, Error> {
        self.prefix.clear();
        self.prefix
            .extend_from_slice(&self.buffer[self.start..][..PREFIX_BYTES]);
        loop {
            if let Some(at) = memchr(b'\n', &self.buffer[self.start..self.end]) {
                self.start += at + 1;
                break;
            }
            self.start = self.end;
            if self.at_end {
                break;
            }
            self.make_room();
            self.fill()?;
        }
        self.next_number()?;
        Ok(Line {
            number: self.number,
            text: &self.prefix,
            is_whole: false,
        })
    }

    fn next_number(&mut self) -> Result<(), Error> {
        self.number = self.number.checked_add(1).ok_or(Error::TooManyLines)?;
        Ok(())
    }

    fn make_room(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }

    fn fill(&mut self) -> Result<(), Error> {
        let room = &mut self.buffer[self.end..];
        let read = loop {
            match self.reader.read(room) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::of(error, self.number)),
                Ok(read) => break read,
            }
        };
        let utf16 = self.end == 0 && matches!(room[..read], [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
        if utf16 {
            return Err(Error::Utf16);
        }
        if memchr(0, &room[..read]).is_some() {
            return Err(Error::Binary { line: self.number });
        }
        self.at_end = read == 0;
        self.end += read;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out `step` bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let len = self.1.min(buffer.len()).min(self.0.len());
            buffer[..len].copy_from_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            Ok(len)
        }
    }

    fn lines_of(text: &[u8], step: usize) -> Vec<(u32, Vec<u8>, bool)> {
        let mut lines = Lines::new(Slow(text, step));
        lines.head().unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            all.push((line.number, line.text.to_vec(), line.is_whole));
        }
        all
    }

    #[test]
    fn lines_are_those_of_the_text_however_it_arrives() {
        let mut text = BOM.to_vec();
        for n in 0..30_000 {
            text.extend_from_slice(format!("line-{n}\n").as_bytes());
        }
        text.extend_from_slice(b"\nlast");
        for step in [1, 7, 4096, usize::MAX] {
            let lines = lines_of(&text, step);
            assert_eq!(lines.len(), 30_002);
            assert_eq!(lines[0], (1, b"line-0".to_vec(), true));
            assert_eq!(lines[29_999], (30_000, b"line-29999".to_vec(), true));
            assert_eq!(lines[30_000], (30_001, Vec::new(), true));
            assert_eq!(lines[30_001], (30_002, b"last".to_vec(), true));
        }
    }

    #[test]
    fn a_line_longer_than_allowed_is_one_line_and_the_next_is_whole() {
        for long in [LINE_MAX_BYTES, LINE_MAX_BYTES + 1, 3 * BUFFER_BYTES] {
            let text = [vec![b'a'; long], b"\nb\n".to_vec()].concat();
            for step in [100, usize::MAX] {
                let lines = lines_of(&text, step);
                assert_eq!(lines.len(), 2);
                assert_eq!(lines[0].2, long <= LINE_MAX_BYTES);
                assert_eq!(lines[1], (2, b"b".to_vec(), true));
            }
        }
    }

    #[test]
    fn a_nul_byte_ends_the_reading() {
        let mut lines = Lines::new(&b"a\nb\0c\n"[..]);
        assert!(matches!(lines.head(), Err(Error::Binary { .. })));
    }
}
