//! Why something is not put in force.

use jiff::Timestamp;

use crate::overrides::{JournalError, Refused};

/// Why something is not put in force; what was in force stays.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The kernel's maps cannot be changed.
    #[error(transparent)]
    Kernel(#[from] filter_kernel::Error),
    /// There are too many overrides, or none of that number.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The names of overrides have too many parents.
    #[error(
        "overrides and the parents of their names need {needed} records, {max} fit: remove some, or block the names by a list"
    )]
    RecordsFull {
        /// Records that would be needed.
        needed: usize,
        /// Records that there can be.
        max: usize,
    },
    /// More prefixes of clients than the map holds.
    #[error("{count} prefixes of clients, at most {max} fit: join some, or leave some out")]
    PrefixesFull {
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// No policy has this name.
    #[error("no policy '{name}'; there are: {}", known.join(", "))]
    NoPolicy {
        /// The name.
        name: String,
        /// Names that policies have.
        known: Vec<String>,
    },
    /// The policy looks at no override.
    #[error("policy '{0}' is unfiltered: nothing is blocked for its clients, and nothing can be")]
    Unfiltered(String),
    /// Nobody says why.
    #[error("{0} without a reason: say in `--reason` why, for whoever finds it later")]
    NoReason(&'static str),
    /// A guard of the configuration wants the contrary.
    #[error(
        "{action} '{name}': {source_file} says that it, or a name around it, {must}; say `--against-guard` if you mean it"
    )]
    AgainstGuard {
        /// What was to be done.
        action: &'static str,
        /// The name.
        name: String,
        /// What the guard wants.
        must: &'static str,
        /// The file that says so.
        source_file: String,
    },
    /// It would have ended.
    #[error("the end {0} is past: name a later one")]
    Past(Timestamp),
    /// A pause for ever.
    #[error(
        "a pause must end: say when with `--for` or `--until`; `unfiltered` in the configuration has no end"
    )]
    EndlessPause,
    /// There is nothing to end.
    #[error("{0} is not paused; `nxdp overrides` lists pauses too")]
    NotPaused(String),
}
