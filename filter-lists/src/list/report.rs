//! The account of a list: every line under one kind, and samples with reasons.

use std::fmt;

use filter_common::listed;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::Format;
use crate::words::serde_by_word;

/// Samples kept of each kind.
pub const SAMPLES_PER_KIND: usize = 8;

/// Characters of a line that a sample keeps.
const SAMPLE_TEXT_CHARS: usize = 160;

listed! {
    /// What a line turned out to be.
    pub enum Kind: u8 {
        /// Gave at least one rule, or belongs to one.
        Rule = 0, "rule";
        /// A comment or a header.
        Comment = 1, "comment";
        /// Nothing but blanks.
        Blank = 2, "blank";
        /// A rule for the looks of web pages.
        Cosmetic = 3, "cosmetic";
        /// Names of the machine itself, as every hosts file has them.
        LocalName = 4, "local_name";
        /// An address without a name.
        BareIp = 5, "bare_ip";
        /// A rule that another one covers; the compiler finds these.
        Redundant = 6, "redundant";
        /// Gave a rule that matches less than the line asks for.
        Narrowed = 7, "narrowed";
        /// Means something that the filter cannot do.
        Unsupported = 8, "unsupported";
        /// Never applies to DNS.
        Ignored = 9, "ignored";
        /// Not understood.
        Invalid = 10, "invalid";
    }
}
serde_by_word!(Kind);

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Lines by [`Kind`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; Kind::ALL.len()]);

impl Counts {
    /// Lines of one kind.
    pub const fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    /// Lines of all kinds.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds the lines of another list.
    pub fn add(&mut self, other: &Self) {
        for (sum, lines) in self.0.iter_mut().zip(other.0) {
            *sum += lines;
        }
    }

    fn add_lines(&mut self, kind: Kind, lines: u64) {
        self.0[kind as usize] += lines;
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Kind::ALL.len()))?;
        for kind in Kind::ALL {
            map.serialize_entry(kind.word(), &self.of(kind))?;
        }
        map.end()
    }
}

/// One line that gave no rule, or another one than it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Counted from 1.
    pub line: u32,
    /// Byte of the line where the reason lies, counted from 1.
    pub column: u32,
    /// What the line was.
    pub kind: Kind,
    /// Why.
    pub reason: String,
    /// The line, cut after 160 characters.
    pub text: String,
}

/// A response policy zone's own data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Zone {
    /// The name of the zone.
    pub name: String,
    /// The serial number of its SOA.
    pub serial: u32,
}

/// What became of a list's lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The format, given or detected.
    pub format: Format,
    /// Lines read; equal to the sum of `by_kind`.
    pub lines: u64,
    /// Rules handed to the sink; a line can give several or share one.
    pub rules: u64,
    /// The lines by kind.
    pub by_kind: Counts,
    /// The first lines of each kind that need a reason.
    pub samples: Vec<Sample>,
    /// Where the list is a response policy zone with a SOA: which one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<Zone>,
    /// Lines that gave rules and are counted under another kind than [`Kind::Rule`].
    #[serde(skip)]
    other_kinds: Vec<u32>,
}

impl Report {
    /// The account of nothing.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            lines: 0,
            rules: 0,
            by_kind: Counts::default(),
            samples: Vec::new(),
            zone: None,
            other_kinds: Vec::new(),
        }
    }

    /// Moves lines from the rules to the redundant ones, once the compiler
    /// found that others cover all they say.
    pub fn mark_redundant(&mut self, lines: u64) {
        self.move_rules(Kind::Redundant, lines);
    }

    /// Moves lines from the rules to the unsupported ones, once the compiler
    /// found that they have no form in the kernel.
    pub fn mark_unsupported(&mut self, lines: u64) {
        self.move_rules(Kind::Unsupported, lines);
    }

    fn move_rules(&mut self, kind: Kind, lines: u64) {
        let lines = lines.min(self.by_kind.of(Kind::Rule));
        self.by_kind.0[Kind::Rule as usize] -= lines;
        self.by_kind.add_lines(kind, lines);
    }

    /// Lines that gave rules and are counted under another kind than [`Kind::Rule`].
    pub fn lines_of_other_kinds(&self) -> &[u32] {
        &self.other_kinds
    }

    /// Keeps a sample that was found later.
    pub fn add_sample(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// Accounts anew for a line that was taken for a rule, by what stands elsewhere in the file.
    pub(super) fn reconsider(&mut self, line: u32, text: &[u8], judgement: Judgement) {
        // A line is counted by the worst of its names.
        let Err(at) = self.other_kinds.binary_search(&line) else {
            return;
        };
        self.other_kinds.insert(at, line);
        self.move_rules(judgement.kind, 1);
        if let Some((at, reason)) = judgement.why {
            self.sample(line, text, judgement.kind, at, reason);
        }
    }

    /// Notes that a line gave rules although it is none.
    pub(super) fn note_rules_of(&mut self, line: u32) {
        self.other_kinds.push(line);
    }

    /// Accounts for one line; `text` is all of it.
    #[inline]
    pub(super) fn count(&mut self, line: u32, text: &[u8], judgement: Judgement) {
        self.count_lines(1, line, text, judgement);
    }

    /// Accounts for `lines` lines that are one thing, the first of which is `line`.
    #[inline]
    pub(super) fn count_lines(&mut self, lines: u64, line: u32, text: &[u8], judgement: Judgement) {
        self.lines += lines;
        self.by_kind.add_lines(judgement.kind, lines);
        if let Some((at, reason)) = judgement.why {
            self.sample(line, text, judgement.kind, at, reason);
        }
    }

    #[cold]
    fn sample(&mut self, line: u32, text: &[u8], kind: Kind, at: usize, reason: Reason) {
        let known = self.samples.iter().filter(|sample| sample.kind == kind);
        if known.count() >= SAMPLES_PER_KIND {
            return;
        }
        // Positions count from the first byte that is no blank.
        let indent = text.len() - text.trim_ascii_start().len();
        let shown = String::from_utf8_lossy(text.trim_ascii());
        self.samples.push(Sample {
            line,
            column: u32::try_from(indent + at + 1).unwrap_or(u32::MAX),
            kind,
            reason: reason.to_string(),
            text: shown
                .chars()
                .take(SAMPLE_TEXT_CHARS)
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect(),
        });
    }
}

/// What a line parser found a line to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) kind: Kind,
    /// The byte, counted from 0 behind leading blanks, and the reason.
    pub(super) why: Option<(usize, Reason)>,
}

impl Judgement {
    pub(super) const RULE: Self = Self::plain(Kind::Rule);

    pub(super) const fn plain(kind: Kind) -> Self {
        Self { kind, why: None }
    }

    pub(super) const fn at(kind: Kind, at: usize, reason: Reason) -> Self {
        Self {
            kind,
            why: Some((at, reason)),
        }
    }

    /// Puts the reason at `part`, a piece of `line`.
    pub(super) fn on(kind: Kind, line: &[u8], part: &[u8], reason: Reason) -> Self {
        Self::at(kind, position(line, part), reason)
    }
}

/// Where `part`, a subslice of `line`, begins.
pub(super) fn position(line: &[u8], part: &[u8]) -> usize {
    let distance = (part.as_ptr() as usize).wrapping_sub(line.as_ptr() as usize);
    distance.min(line.len())
}

/// Why a line gave no rule, or another one than it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reason {
    #[error("line longer than {} bytes", super::LINE_MAX_BYTES)]
    LineTooLong,
    #[error(transparent)]
    Name(#[from] filter_common::name::NameError),
    #[error("not a valid internationalized name (UTS 46)")]
    Idna,
    #[error("last label is a number: no such name exists")]
    NumericEnd,
    #[error("not UTF-8")]
    NotUtf8,
    #[error("blank inside a rule: one name a line, or an address before the names")]
    Blank,
    #[error("address, not a name")]
    BareIp,
    #[error("address, port or path, not a name: write the name alone")]
    Url,
    #[error("rule for the looks of web pages")]
    Cosmetic,
    #[error("address without names")]
    NoNames,
    #[error("path or port: matches no query")]
    PathOrPort,
    #[error("pattern of a full address: matches no query")]
    UrlPattern,
    #[error("regular expression")]
    Regex,
    #[error("pattern that is no name")]
    Pattern,
    #[error("pattern without '^' at its end: taken as the name and its subdomains")]
    OpenEnd,
    #[error("pattern without '^' at its end: taken as the subdomains")]
    OpenEndSubs,
    #[error("pattern without '^' at its end: taken as the name")]
    OpenEndExact,
    #[error("pattern without '||' at its start: taken as the name and its subdomains")]
    OpenStart,
    #[error(
        "no host for AdGuard, but a pattern that also matches inside other names: taken as the name"
    )]
    NotAHost,
    #[error("rule for every name")]
    EveryName,
    #[error("rule without a pattern")]
    EmptyPattern,
    #[error("modifier for web requests: the rule never applies to DNS")]
    WebModifier,
    #[error("condition for browsers: what is between is read, whatever it says")]
    Preprocessor,
    #[error(
        "answer with an address, which a list with a `url` gives only where the configuration says \
         `rewrites = true`"
    )]
    Redirect,
    #[error("unknown modifier")]
    UnknownModifier,
    #[error("modifier value missing or wrong")]
    ModifierValue,
    #[error("more query types than one rule can hold")]
    TooManyQtypes,
    #[error("client by name: only addresses, prefixes and hardware addresses are known here")]
    ClientName,
    #[error("client tag")]
    ClientTag,
    #[error("unknown query type")]
    UnknownQtype,
    #[error("answer with another record than A or AAAA, or with this response code")]
    AnswerKind,
    #[error("exception for one of several rewrites")]
    CancelOneRewrite,
    #[error("name forwarded to another server")]
    Forwarded,
    #[error("another line for the same name goes before it")]
    Hidden,
    #[error(
        "name that resolves, with more than {} in it that are blocked",
        super::held::SKIPPED_MAX
    )]
    TooManySkipped,
    #[error("for some clients only: in a view, or a zone with a tag or an override")]
    SomeClients,
    #[error("reverse names of private addresses")]
    PrivateReverse,
    #[error("setting that blocks nothing")]
    OtherSetting,
    #[error("not a setting of this program")]
    NotASetting,
    #[error("name matched in the middle of a label")]
    PartialLabel,
    #[error("rule for names without a dot")]
    Unqualified,
    #[error("address expected")]
    AddressExpected,
    #[error("unknown zone type")]
    ZoneType,
    #[error("zone type that answers some types only")]
    TypeDependentZone,
    #[error("data of a zone that answers without its data")]
    IgnoredData,
    #[error("second address of a kind: an answer holds one of each")]
    SecondAddress,
    #[error("record that is neither CNAME, A nor AAAA")]
    RecordType,
    #[error("CNAME to another name")]
    CnameTarget,
    #[error("trigger that needs the answer of the resolver")]
    AnswerTrigger,
    #[error("client address trigger not understood")]
    ClientTrigger,
    #[error("owner outside the zone")]
    OutsideZone,
    #[error("absolute owner in a zone that does not say its name: write `$ORIGIN` before its SOA")]
    UnnamedZone,
    #[error("record of the zone itself")]
    ZoneRecord,
    #[error("record not understood")]
    Record,
    #[error("file inclusion: what stands there is not read")]
    Include,
    #[error("quote or parenthesis left open")]
    Unclosed,
}
