//! Why an image does not go live, and the way out.

use std::{collections::BTreeMap, fmt};

use super::{Finding, GuardKind, ListVersion, Severity};

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

    /// Lists with more findings of a kind than anybody would accept one by one, and how many.
    fn together(&self) -> BTreeMap<(&str, GuardKind), usize> {
        let mut counts = BTreeMap::new();
        let of_lists = self.findings.iter().filter_map(|finding| {
            let list = finding.list.as_deref()?;
            let kind = finding.kind;
            kind.may_be_accepted_together().then_some((list, kind))
        });
        for key in of_lists {
            *counts.entry(key).or_insert(0) += 1;
        }
        counts.retain(|_, count| *count > TOLD_MAX);
        counts
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
            write!(
                f,
                "\n  and {more} more; `nxdp check --json` tells all of them"
            )?;
        }
        f.write_str(
            "\nmend the lists, or accept what you want in the configuration (`--config FILE`):",
        )?;
        let together = self.together();
        for ((list, kind), count) in &together {
            write!(
                f,
                "\n  [[guard.allow]]\n  list = {list:?}\n  kind = \"{}\"  # {count} findings\n  \
                 reason = \"say why\"",
                kind.as_str()
            )?;
        }
        let overrides = self.findings.iter().filter(|finding| {
            let list = finding.list.as_deref().unwrap_or_default();
            !together.contains_key(&(list, finding.kind))
        });
        let mut overrides: Vec<_> = overrides
            .map(|finding| (finding.override_name(), finding.version.as_ref()))
            .collect();
        overrides.dedup();
        for (name, version) in overrides.into_iter().take(TOLD_MAX) {
            write!(f, "\n  [[guard.allow]]\n  name = {name:?}\n  ")?;
            if let Some(ListVersion { digest, serial }) = version {
                write!(f, "digest = {digest:?}")?;
                if let Some(serial) = serial {
                    write!(f, "  # or: serial = {serial}")?;
                }
                f.write_str("\n  ")?;
            }
            f.write_str("reason = \"say why\"")?;
        }
        Ok(())
    }
}
