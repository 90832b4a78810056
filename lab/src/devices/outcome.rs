//! What came of one attachment.

use std::fmt;

/// One line of the table.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) row: &'static str,
    pub(super) interfaces: &'static [&'static str],
    pub(super) mode: &'static str,
    pub(super) outcome: Outcome,
}

/// What clients saw, or why there was nothing to see.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Every blocked name was answered by the filter, every clean one by the resolver.
    Filtered,
    /// Every blocked name came to nothing, but some without an answer; how many, of how many.
    Dropped(usize, usize),
    /// nxdp did not attach; what it said.
    Refused(String),
    /// It attached, said in its status or its lines that it filters nothing there, and blocked
    /// names resolved.
    Told(String),
    /// It filters, and told of what goes wrong beside that.
    Warned(String),
    /// It attached, and a blocked name resolved.
    Silent(String),
    /// It attached, and a clean name did not resolve.
    Lost(String),
    /// The kernel has no such device.
    Impossible,
    /// The kernel or the emulated card does not do this even without the filter.
    Useless(String),
    /// The table could not try.
    Broken(String),
}

impl Outcome {
    /// What did resolve before another attachment is what that one lost.
    pub(super) fn behind_another(self, is_behind: bool) -> Self {
        match self {
            Self::Useless(why) if is_behind => {
                Self::Lost(format!("nothing resolves since the last attachment: {why}"))
            }
            other => other,
        }
    }

    /// Whether an operator would be left with something that nobody told.
    pub(super) fn is_fault(&self) -> bool {
        matches!(self, Self::Silent(_) | Self::Lost(_) | Self::Broken(_))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interfaces = self.interfaces.join("+");
        write!(
            f,
            "{}\t{interfaces}\t{}\t{}",
            self.row, self.mode, self.outcome
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filtered => write!(f, "filtered"),
            Self::Dropped(some, all) => {
                write!(
                    f,
                    "filtered, {some} of {all} blocked queries without an answer"
                )
            }
            Self::Refused(said) => write!(f, "refused: {said}"),
            Self::Told(said) => write!(f, "not filtered, and told: {said}"),
            Self::Warned(what) => write!(f, "filtered; {what}"),
            Self::Silent(what) => write!(f, "SILENT: {what}"),
            Self::Lost(what) => write!(f, "LOST: {what}"),
            Self::Impossible => write!(f, "not in this kernel"),
            Self::Useless(why) => write!(f, "without the filter nothing resolves: {why}"),
            Self::Broken(why) => write!(f, "BROKEN: {}", why.replace('\n', " / ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attached_and_silent_is_a_fault_and_a_refusal_is_none() {
        assert!(Outcome::Silent("A of ads.test".into()).is_fault());
        assert!(Outcome::Lost("A of clean.test".into()).is_fault());
        assert!(!Outcome::Refused("no".into()).is_fault());
        assert!(!Outcome::Dropped(1, 12).is_fault());
        let useless = || Outcome::Useless("no answer".into());
        assert!(!useless().behind_another(false).is_fault());
        assert!(useless().behind_another(true).is_fault());
    }
}
