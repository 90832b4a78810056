//! Lines of the journal: a checksum, a blank, a JSON text.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use xxhash_rust::xxh3::xxh3_64;

/// Version of the words in the lines.
const VERSION: u32 = 1;
const FORMAT: &str = "nxdp overrides";
/// Hexadecimal digits of a checksum.
const CHECKSUM_DIGITS: usize = 16;

/// The first line.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Head {
    format: String,
    version: u32,
    /// The highest number that was given to an override.
    pub(super) last_id: u32,
}

impl Head {
    pub(super) fn new(last_id: u32) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            last_id,
        }
    }

    pub(super) fn is_ours(&self) -> bool {
        self.format == FORMAT && self.version == VERSION
    }
}

/// A line with its end.
pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and lists of them always have a JSON form.
    let json = serde_json::to_vec(value).unwrap_or_default();
    let mut line = format!("{:016x} ", xxh3_64(&json)).into_bytes();
    line.extend(json);
    line.push(b'\n');
    line
}

/// The whole lines of a file from its start.
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    count: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            count: 0,
        }
    }

    /// What the next line says; `None` where a line is not whole, or at the end.
    pub(super) fn read_next<T: DeserializeOwned>(&mut self) -> Option<serde_json::Result<T>> {
        let line = next_line(&self.bytes[self.at..])?;
        let json = checked(line)?;
        self.at += line.len() + 1;
        self.count += 1;
        Some(serde_json::from_slice(json))
    }

    /// Lines that were read.
    pub(super) fn read_count(&self) -> usize {
        self.count
    }

    /// Bytes that were read.
    pub(super) fn read_bytes(&self) -> usize {
        self.at
    }

    /// Whether a whole line follows the one that is not.
    pub(super) fn has_whole_line_left(&self) -> bool {
        let left = self.bytes[self.at..].split(|byte| *byte == b'\n');
        left.skip(1).any(|line| checked(line).is_some())
    }
}

fn next_line(bytes: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b'\n', bytes)?;
    Some(&bytes[..end])
}

/// The text of a line whose checksum is right.
fn checked(line: &[u8]) -> Option<&[u8]> {
    let (digits, rest) = line.split_at_checked(CHECKSUM_DIGITS)?;
    let json = rest.strip_prefix(b" ")?;
    let said = u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    (said == xxh3_64(json)).then_some(json)
}
