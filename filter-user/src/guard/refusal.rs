//! Why an image does not go live, and the way out.

use std::fmt;

use super::{Finding, Severity};

/// So many findings are told; an error is read on a terminal.
const TOLD_MAX: usize = 10;

/// The findings for which an image does not go live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    findings: Vec<Finding>,
}

impl Refusal {
    /// The refusal that follows from some findings, if one does.
    pub fn of(findings: &[Finding]) -> Option<Self> {
        let refused = |finding: &&Finding| finding.severity == Severity::Refuse;
        let findings: Vec<_> = findings.iter().filter(refused).cloned().collect();
        (!findings.is_empty()).then_some(Self { findings })
    }

    /// The findings.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.findings.len();
        let noun = if count == 1 { "finding" } else { "findings" };
        write!(f, "{count} {noun} of the guards, nothing was changed:")?;
        for finding in self.findings.iter().take(TOLD_MAX) {
            f.write_str("\n  ")?;
            finding.write_matter(f)?;
        }
        if count > TOLD_MAX {
            let more = count - TOLD_MAX;
            write!(f, "\n  and {more} more; `nxdp check` tells all of them")?;
        }
        let Some(first) = self.findings.first() else {
            return Ok(());
        };
        write!(
            f,
            "\nmend the lists, or accept each finding in the configuration (`--config FILE`) with the \
             reason for it:\n  [[guard.allow]]\n  name = {:?}\n  reason = \"…\"",
            first.subject
        )
    }
}
