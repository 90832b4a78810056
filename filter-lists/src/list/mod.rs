//! From the bytes of one list to rules, and an account of every line.
//!
//! [`parse`] reads a list of any [`Format`], compressed or not, hands each
//! rule to a [`Sink`] and returns a [`Report`] whose counts add up to the
//! lines read. What the lines of each format mean, and why, is written in
//! `docs/blocklist-formats.md`.
//!
//! It knows one list at a time: duplicates, conflicts and guards belong to
//! the compiler. Nothing here allocates per line on the common forms (hosts
//! lines, plain names, `||d^`), and no list is held in memory but the names of
//! resolvers' configurations, where what a line means may stand far below it.

mod adguard;
mod config_text;
mod detect;
mod dnsmasq;
mod dnsrewrite;
mod held;
mod lines;
mod mixed;
mod modifiers;
mod name;
mod names;
mod output;
mod report;
mod rpz;
pub mod source;
mod unbound;
mod zone_record;

use std::{fmt, io::Read, str::FromStr};

pub use detect::detect;
use filter_common::{listed, name::Name};
pub use lines::LINE_MAX_BYTES;
pub use names::{line, names};
pub use output::Sink;
pub use report::{Counts, Kind, Report, SAMPLES_PER_KIND, Sample, Zone};
pub use source::{DECODED_MAX_BYTES, RATIO_MAX};

use self::{lines::Lines, output::Output, report::Judgement, source::Bounds};
use crate::words::serde_by_word;

listed! {
    /// How a list is written.
    pub enum Format: u8 {
        /// An address and names, as in `/etc/hosts`.
        Hosts = 0, "hosts";
        /// One name a line.
        Domains = 1, "domains";
        /// One name a line, `*.` before those that cover everything below.
        Wildcard = 2, "wildcard";
        /// AdGuard DNS filtering syntax, a dialect of Adblock Plus.
        Adguard = 3, "adguard";
        /// Configuration of dnsmasq.
        Dnsmasq = 4, "dnsmasq";
        /// Configuration of unbound.
        Unbound = 5, "unbound";
        /// A response policy zone as a master file.
        Rpz = 6, "rpz";
    }
}
serde_by_word!(Format);

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        Self::from_word(word).ok_or_else(|| Error::UnknownFormat(word.to_owned()))
    }
}

listed! {
    /// What becomes of the scopes that a list's format implies.
    pub enum ScopePolicy: u8 {
        /// They stay.
        AsFormat = 0, "as-format";
        /// Every rule is for its name only.
        Exact = 1, "exact";
        /// Every rule is for its name and everything below.
        Suffix = 2, "suffix";
    }
}
serde_by_word!(ScopePolicy);

#[allow(
    clippy::derivable_impls,
    reason = "the list of values has no place for the attribute"
)]
impl Default for ScopePolicy {
    fn default() -> Self {
        Self::AsFormat
    }
}

impl fmt::Display for ScopePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for ScopePolicy {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        Self::from_word(word).ok_or_else(|| Error::UnknownScope(word.to_owned()))
    }
}

/// How to read one list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The format; `None` detects it.
    pub format: Option<Format>,
    /// What becomes of scopes.
    pub scope: ScopePolicy,
    /// Whether lines that answer with an address of their own give no rule. The null addresses
    /// lead nowhere and are blocks.
    pub only_blocks: bool,
    /// The list's file name, which decides where the content leaves a doubt.
    pub file_name: Option<String>,
}

/// Why a list was refused as a whole.
///
/// Rules that the sink was given before are to be thrown away.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reader failed, or the compressed data is damaged.
    #[error("read list after {line} lines: {source}")]
    Read {
        /// Lines read before.
        line: u32,
        /// What the reader said.
        source: std::io::Error,
    },
    /// A web page instead of a list.
    #[error("list is an HTML page, not a list: check the address it was fetched from")]
    Html,
    /// Not text.
    #[error("list has a NUL byte after line {line}: it is not a text file in UTF-8")]
    Binary {
        /// Lines read before.
        line: u32,
    },
    /// UTF-16.
    #[error("list is UTF-16: convert it to UTF-8 (iconv -f utf-16 -t utf-8)")]
    Utf16,
    /// More decoded bytes than [`DECODED_MAX_BYTES`].
    #[error("list is larger than {DECODED_MAX_BYTES} bytes decoded: split it")]
    TooLarge,
    /// Compressed better than [`RATIO_MAX`] allows.
    #[error(
        "list decodes to more than {RATIO_MAX} times its size: unpack it first if you trust it"
    )]
    Bomb,
    /// More lines than a line number can say.
    #[error("list has more than {} lines: split it", u32::MAX)]
    TooManyLines,
    /// The word names no format.
    #[error(
        "unknown list format '{0}': use hosts, domains, wildcard, adguard, dnsmasq, unbound or rpz"
    )]
    UnknownFormat(String),
    /// The word names no scope policy.
    #[error("unknown scope '{0}': use as-format, exact or suffix")]
    UnknownScope(String),
}

/// The name that `text` means: Unicode becomes A-labels, as in lists.
pub fn name(text: &str) -> Result<Name, String> {
    name::parse(text.as_bytes()).map_err(|(_, reason)| reason.to_string())
}

/// The number of a query type: a mnemonic, or `TYPE65` (RFC 3597 §5).
pub fn qtype(text: &str) -> Option<u16> {
    modifiers::qtype(text.as_bytes())
}

/// Reads one list and hands its rules to `sink`.
///
/// Gzip and zstd are unpacked on the way. The sink sees rules in the order of
/// the lines, but for answers with an IPv4 and an IPv6 address that a list
/// gives in two lines: such a rule comes with its last line or at the end. Those of
/// configurations of resolvers come at the end, exceptions last.
///
/// # Errors
///
/// Refuses what is no list at all, see [`Error`]; lines that are not
/// understood are no error but counted in the report.
pub fn parse<R: Read, S: Sink>(
    reader: R,
    options: &Options,
    sink: &mut S,
) -> Result<Report, Error> {
    let mut lines =
        Lines::new(source::open(reader, Bounds::default()).map_err(|source| Error::of(source, 0))?);
    let head = lines.head()?;
    if detect::is_html(head) {
        return Err(Error::Html);
    }
    let format = options
        .format
        .unwrap_or_else(|| detect(head, options.file_name.as_deref()));
    let mut report = Report::new(format);
    let mut output = Output::new(sink, options);
    match format {
        Format::Hosts | Format::Domains | Format::Wildcard | Format::Adguard => {
            each_line(&mut lines, &mut output, &mut report, |line, output| {
                mixed::line(line, format, output)
            })?;
        }
        Format::Dnsmasq => {
            let mut settings = dnsmasq::Settings::default();
            each_line(&mut lines, &mut output, &mut report, |line, output| {
                dnsmasq::line(line, &mut settings, output)
            })?;
            settings.flush(&mut output, &mut report);
        }
        Format::Unbound => {
            let mut zones = unbound::Zones::default();
            each_line(&mut lines, &mut output, &mut report, |line, output| {
                unbound::line(line, &mut zones, output)
            })?;
            zones.flush(&mut output, &mut report);
        }
        Format::Rpz => rpz::zone(&mut lines, &mut output, &mut report)?,
    }
    report.rules = output.finish();
    Ok(report)
}

/// Judges every line by `judge` and writes the account.
fn each_line<R: Read, S: Sink>(
    lines: &mut Lines<R>,
    output: &mut Output<'_, S>,
    report: &mut Report,
    mut judge: impl FnMut(&[u8], &mut Output<'_, S>) -> Judgement,
) -> Result<(), Error> {
    while let Some(line) = lines.next_line()? {
        output.line = line.number;
        let given_before = output.given();
        let judgement = if line.is_whole {
            judge(line.text.trim_ascii(), output)
        } else {
            Judgement::at(Kind::Invalid, 0, report::Reason::LineTooLong)
        };
        report.count(line.number, line.text, judgement);
        if judgement.kind != Kind::Rule && output.given() != given_before {
            report.note_rules_of(line.number);
        }
    }
    Ok(())
}

impl Error {
    pub fn of(source: std::io::Error, line: u32) -> Self {
        match source.downcast::<source::Excess>() {
            Ok(source::Excess::Size) => Self::TooLarge,
            Ok(source::Excess::Ratio) => Self::Bomb,
            Err(source) => Self::Read { line, source },
        }
    }
}
