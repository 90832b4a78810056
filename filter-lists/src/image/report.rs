//! What the compiler says of an image: how many rules took which way.

use std::fmt;

use filter_common::listed;
use serde::{Deserialize, Serialize};

use crate::{provenance::Fate, words::serde_by_word};

listed! {
    /// Why a rule has no form in the kernel.
    pub enum Unsupported: u8 {
        /// It is for some clients only.
        Clients = 0, "clients";
        /// Its name is the root.
        RootName = 1, "root-name";
        /// It lifts rewrites and has exceptions of its own.
        CancelWithExceptions = 2, "cancel-with-exceptions";
        /// A rewrite that is lifted for a part of what it matches.
        PartlyCancelled = 3, "partly-cancelled";
        /// It acts on other rules, and its list only observes.
        ObservingDirective = 4, "observing-directive";
        /// There is no room for it.
        NoRoom = 5, "no-room";
    }
}
serde_by_word!(Unsupported);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clients => "a rule for some clients only",
            Self::RootName => "a rule for the root name",
            Self::CancelWithExceptions => "an exception to rewrites with exceptions of its own",
            Self::PartlyCancelled => "a rewrite that is lifted for a part of what it matches",
            Self::ObservingDirective => "acts on other rules, but its list only observes",
            Self::NoRoom => {
                "no room: its name or its list has more rules of different effect than fit"
            }
        })
    }
}

/// A rule that did not make it into the table, as an example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Number of the list.
    pub list: usize,
    /// Line in the list, counted from 1.
    pub line: u32,
    /// The rule in canonical spelling.
    pub rule: String,
    /// Why it has no form in the kernel.
    pub reason: Unsupported,
}

/// So many samples of one reason are kept.
pub(crate) const SAMPLES_PER_REASON: usize = 5;

/// Numbers of rules by what became of them; they add up to [`Counts::rules`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rules that lists gave.
    pub rules: u64,
    /// [`Fate::InTable`].
    pub in_table: u64,
    /// [`Fate::Duplicate`].
    pub duplicate: u64,
    /// [`Fate::Redundant`].
    pub redundant: u64,
    /// [`Fate::Overridden`].
    pub overridden: u64,
    /// [`Fate::Deleted`].
    pub deleted: u64,
    /// [`Fate::Unsupported`].
    pub unsupported: u64,
    /// [`Fate::Directive`].
    pub directive: u64,
    /// [`Fate::NoRoom`].
    #[serde(default)]
    pub no_room: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, fate: Fate) {
        self.rules += 1;
        *match fate {
            Fate::InTable => &mut self.in_table,
            Fate::Duplicate => &mut self.duplicate,
            Fate::Redundant => &mut self.redundant,
            Fate::Overridden => &mut self.overridden,
            Fate::Deleted => &mut self.deleted,
            Fate::Unsupported => &mut self.unsupported,
            Fate::Directive => &mut self.directive,
            Fate::NoRoom => &mut self.no_room,
        } += 1;
    }
}

/// The report of one compilation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// All lists together.
    pub total: Counts,
    /// One entry a list.
    pub lists: Vec<Counts>,
    /// Examples of unsupported rules.
    pub samples: Vec<Sample>,
    /// Distinct names with a rule in the table.
    pub names: u64,
    /// Names in the table that only lead to names below them.
    pub nodes: u64,
    /// Buckets of the table.
    pub buckets: u64,
    /// Names that are not in their first bucket.
    pub in_second_bucket: u64,
    /// Class records.
    pub classes: u64,
    /// Rules of the longest chain.
    pub longest_chain: u64,
    /// Bytes of kernel memory: all records of the generation.
    pub kernel_bytes: u64,
    /// Rules of shorter names that names with exceptions had no room for.
    #[serde(default)]
    pub left_out_below: u64,
    /// Keys drawn until no hash collided.
    pub keys_drawn: u32,
}

impl Report {
    /// Kernel memory in bytes a name.
    pub fn bytes_per_name(&self) -> f64 {
        self.kernel_bytes as f64 / (self.names.max(1)) as f64
    }
}
