//! A compiled set of lists: the records of the table and where each rule came from.

mod answered;
mod diff;
mod error;
mod file;
mod kind;
mod layers;
mod list_info;
mod meta;
mod query;
mod report;
mod validate;
mod walk;

use filter_common::{
    layout::{Header, Record, Settings},
    rule::AnswerKind,
    table::Records,
};

pub use answered::Answered;
pub use diff::{Diff, ListDiff, NameCounts, VerdictChange};
pub use error::ImageError;
pub use file::FORMAT_VERSION;
pub use kind::Kind;
pub use layers::Layers;
pub use list_info::ListInfo;
pub use query::{Decision, Explanation, Loss, Origin, Verdict};
pub(crate) use report::SAMPLES_PER_REASON;
pub use report::{Counts, Report, Sample, Unsupported};
pub use walk::put_question;
pub use walk::{Hit, PolicyView, walk};

use crate::{provenance::Provenance, rule::Shape};

/// A compiled set of lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    pub(crate) records: Vec<Record>,
    pub(crate) lists: Vec<ListInfo>,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) provenance: Provenance,
    pub(crate) report: Report,
}

impl Image {
    /// The records of one generation as the kernel wants them; the loader sets its number.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The first record.
    pub fn header(&self) -> Header {
        self.records[..]
            .record(0)
            .map_or_else(bytemuck::Zeroable::zeroed, |r| *Header::of(r))
    }

    /// Whose names these are.
    pub fn kind(&self) -> Kind {
        Kind::of(self.header().flags)
    }

    /// The number of the answer of rules that ask for none.
    fn settings_answer(&self) -> u8 {
        let settings = self.records[..].record(1);
        settings.map_or(0, |record| Settings::of(record).answer)
    }

    /// Whether rules that ask for no answer only observe, for clients of this policy.
    fn observes(&self, policy: PolicyView) -> bool {
        let answer = match policy.answer {
            0 => self.settings_answer(),
            answer => answer,
        };
        answer == AnswerKind::Observe as u8
    }

    /// What is left of the image when its table is elsewhere: its lists and its report, which
    /// tell what it was made of, and the header.
    #[must_use]
    pub fn outline(&self) -> Self {
        Self {
            records: self.records.first().copied().into_iter().collect(),
            lists: self.lists.clone(),
            shapes: Vec::new(),
            provenance: Provenance::default(),
            report: self.report.clone(),
        }
    }

    /// The rules that the image has of a list; `None` if it knows no such list.
    ///
    /// Files of one name in several folders are several lists.
    pub fn rules_of(&self, list: &ListInfo) -> Option<u64> {
        let is_same = |own: &ListInfo| own.name == list.name && own.path == list.path;
        let at = self.lists.iter().position(is_same)?;
        self.report.lists.get(at).map(|counts| counts.rules)
    }

    /// The lists, by number.
    pub fn lists(&self) -> &[ListInfo] {
        &self.lists
    }

    /// The shapes of rules, by number.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Where every rule came from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// What became of the lists' rules.
    pub fn report(&self) -> &Report {
        &self.report
    }
}
