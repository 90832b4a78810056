//! The bytes of a list on their way to a file.
//!
//! One pass, a buffer at a time: the bytes are counted as they arrive, unpacked
//! within bounds, written as a packed copy, and read by the very parser that will
//! read the copy. What is no list, or too much of one, ends the transfer there.

use std::{
    fs::{File, Permissions},
    io::{self, Read, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use filter_lists::{
    list::{
        self, Kind, Report,
        source::{self, Bounds},
    },
    rule::Rule,
};
use tempfile::TempPath;
use xxhash_rust::xxh3::Xxh3;

use super::{
    Error,
    client::{Client, Incoming},
};
use crate::{
    config::{FetchConfig, ListConfig},
    identity,
};

/// How the names of files that are still being written begin.
pub(super) const TEMPORARY_PREFIX: &str = ".fetch-";

/// The copy is written once and read at every start.
const COPY_LEVEL: i32 = 3;
const MIB: u64 = 1 << 20;

/// A list that arrived whole; its file goes when this is dropped.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) file: TempPath,
    pub(super) file_bytes: u64,
    pub(super) rules: u64,
    /// The same for the same text, whatever server and packing it came by.
    pub(super) digest: String,
}

/// Reads a list to its end and writes its copy into `folder`.
pub(super) fn receive(
    client: &Client,
    config: &FetchConfig,
    list: &ListConfig,
    incoming: Incoming,
    folder: &Path,
) -> Result<Received, Error> {
    let wire = Wire::open(client, config, incoming)?;
    let (file, path) = create(folder)?;
    let mut copy = Copy::of(wire, config, file, &path).map_err(|error| told(config, error))?;
    let report = list::parse(&mut copy, &list.parse_options(), &mut |_, _: &Rule| {});
    let report = report.map_err(|error| of_parser(config, error))?;
    // No format has to be read to its end to be understood.
    io::copy(&mut copy, &mut io::sink()).map_err(|error| told(config, error))?;
    judge(config, &report)?;
    let (text_bytes, digest) = (copy.text_bytes, copy.digest.digest128());
    let file_bytes = copy.finish()?;
    // The copy has to be one that will be read again.
    if Bounds::default().excess(file_bytes, text_bytes).is_some() {
        return Err(Error::Bomb(list::RATIO_MAX));
    }
    Ok(Received {
        file: path,
        file_bytes,
        rules: report.rules,
        digest: format!("{digest:032x}"),
    })
}

/// What the parser found, against what is allowed and what a list looks like.
fn judge(config: &FetchConfig, report: &Report) -> Result<(), Error> {
    let bounds = [
        (report.lines, "lines", config.max_lines, "max_lines"),
        (report.rules, "rules", config.max_rules, "max_rules"),
    ];
    for (count, what, max, key) in bounds {
        if count > max {
            return Err(Error::TooMany {
                count,
                what,
                max,
                key,
            });
        }
    }
    let invalid = report.by_kind.of(Kind::Invalid);
    let samples = || {
        report
            .samples
            .iter()
            .filter(|sample| sample.kind == Kind::Invalid)
    };
    // The text is a stranger's: nothing of it reaches a terminal as it is.
    let first = || {
        let sample = samples().next()?;
        let text: String = sample.text.chars().take(SHOWN_CHARS).collect();
        Some(format!("line {}: {}: {text:?}", sample.line, sample.reason))
    };
    if report.rules == 0 {
        let lines = report.lines;
        return Err(Error::NoRule {
            lines,
            first: first(),
        });
    }
    if invalid > report.rules {
        return Err(Error::MostlyInvalid {
            invalid,
            rules: report.rules,
            first: first(),
        });
    }
    Ok(())
}

/// Characters of a line that an error shows.
const SHOWN_CHARS: usize = 60;

fn of_parser(config: &FetchConfig, error: list::Error) -> Error {
    match error {
        list::Error::Read { line, source } => match source.downcast::<Error>() {
            Ok(own) => own,
            Err(source) => list::Error::Read { line, source }.into(),
        },
        list::Error::TooLarge => Error::TooLarge {
            max_mib: config.max_text_mib,
            what: "unpacked",
            key: "max_text_mib",
        },
        list::Error::Bomb => Error::Bomb(config.max_ratio),
        other => other.into(),
    }
}

/// The cause of an error that passed through the readers below.
fn told(config: &FetchConfig, error: io::Error) -> Error {
    of_parser(config, list::Error::of(error, 0))
}

fn create(folder: &Path) -> Result<(File, TempPath), Error> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    builder.permissions(Permissions::from_mode(0o644));
    let file = identity::as_owner(folder, || builder.tempfile_in(folder));
    let file = file.map_err(|source| Error::Write {
        path: folder.to_owned(),
        source,
    })?;
    Ok(file.into_parts())
}

/// Bytes as they arrive, up to so many.
struct Wire<'c> {
    client: &'c Client,
    host: String,
    body: ureq::BodyReader<'static>,
    left_bytes: u64,
    max_mib: u64,
}

impl<'c> Wire<'c> {
    fn open(client: &'c Client, config: &FetchConfig, incoming: Incoming) -> Result<Self, Error> {
        let max_mib = config.max_transfer_mib;
        let wire = Self {
            client,
            host: incoming.host,
            body: incoming.body.into_reader(),
            left_bytes: max_mib.saturating_mul(MIB),
            max_mib,
        };
        match incoming.length {
            Some(length) if length > wire.left_bytes => Err(wire.too_large()),
            _ => Ok(wire),
        }
    }

    fn too_large(&self) -> Error {
        Error::TooLarge {
            max_mib: self.max_mib,
            what: "on the wire",
            key: "max_transfer_mib",
        }
    }
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(buffer).map_err(|error| {
            io::Error::other(self.client.told(&self.host, ureq::Error::from(error)))
        })?;
        match self.left_bytes.checked_sub(read as u64) {
            Some(left_bytes) => self.left_bytes = left_bytes,
            None => return Err(io::Error::other(self.too_large())),
        }
        Ok(read)
    }
}

/// Text that is written to a file as it is read.
struct Copy<'w> {
    text: Box<dyn Read + 'w>,
    text_bytes: u64,
    digest: Xxh3,
    packed: zstd::Encoder<'static, File>,
    path: PathBuf,
}

impl<'w> Copy<'w> {
    fn of(wire: Wire<'w>, config: &FetchConfig, file: File, path: &Path) -> io::Result<Self> {
        let bounds = Bounds {
            decoded_bytes: config.max_text_mib.saturating_mul(MIB),
            ratio: config.max_ratio,
        };
        // Packed for the way (Content-Encoding), as a file, or both.
        let text = source::open(source::open(wire, bounds)?, bounds)?;
        let mut packed = zstd::Encoder::new(file, COPY_LEVEL)?;
        // A copy that rots is noticed.
        packed.include_checksum(true)?;
        Ok(Self {
            text: Box::new(text),
            text_bytes: 0,
            digest: Xxh3::new(),
            packed,
            path: path.to_owned(),
        })
    }

    /// Puts the file on the disk and says how long it is.
    fn finish(self) -> Result<u64, Error> {
        let path = self.path;
        let finish = || {
            let file = self.packed.finish()?;
            file.sync_all()?;
            Ok(file.metadata()?.len())
        };
        finish().map_err(|source| Error::Write { path, source })
    }
}

impl Read for Copy<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.text.read(buffer)?;
        let bytes = &buffer[..read];
        if self.text_bytes == 0 && source::is_packed(bytes) {
            return Err(io::Error::other(Error::Nested));
        }
        self.text_bytes += read as u64;
        self.digest.update(bytes);
        self.packed.write_all(bytes).map_err(|source| {
            let path = self.path.clone();
            io::Error::other(Error::Write { path, source })
        })?;
        Ok(read)
    }
}
