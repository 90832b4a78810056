//! Lists that shrank or grew so much that something is wrong with them.

use super::{Finding, GuardKind, Guards, ListVersion, Severity};
use crate::{compile::ListBuilder, image::Image};

pub(super) fn check(
    guards: &Guards,
    lists: &[&ListBuilder],
    old: &Image,
    new: &Image,
) -> Vec<Finding> {
    let counts = new.lists().iter().zip(&new.report().lists);
    counts
        .zip(lists)
        .filter_map(|((list, counts), builder)| {
            let before = old.rules_of(list)?;
            let what = too_much(guards, before, counts.rules)?;
            Some(Finding {
                kind: GuardKind::Size,
                severity: Severity::Refuse,
                subject: list.name.clone(),
                rule_name: None,
                what,
                rule: None,
                list: Some(list.name.clone()),
                path: Some(list.path.clone()),
                line: None,
                version: Some(ListVersion {
                    digest: builder.digest(),
                    serial: builder.info().serial,
                }),
            })
        })
        .collect()
}

fn too_much(guards: &Guards, before: u64, now: u64) -> Option<String> {
    let limits = guards.sizes;
    if before.max(now) < limits.least_rules || before == 0 {
        return None;
    }
    let shrunk = before.saturating_sub(now) * 100 > before * limits.shrink_percent;
    let grown = now.saturating_sub(before) * 100 > before * limits.growth_percent;
    (shrunk || grown).then(|| format!("went from {before} to {now} rules at once"))
}
