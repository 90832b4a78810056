//! Names that must not be blocked.

use filter_common::name::Name;

use super::{Finding, GuardKind, GuardedName, Guards, Severity, USUAL_QTYPES};
use crate::{
    image::{Decision, Image},
    rule::qtype_text,
};

const BUILT_IN: &str = include_str!("protected.txt");

/// The built-in names with what depends on them.
pub(super) fn built_in() -> impl Iterator<Item = (Name, &'static str)> {
    BUILT_IN.lines().filter_map(|line| {
        let (name, reason) = line.split_once(' ')?;
        Some((Name::from_text(name.as_bytes()).ok()?, reason))
    })
}

pub(super) fn check(guards: &Guards, image: &Image) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, reason) in built_in() {
        for &mask in &guards.category_masks {
            let what = format!("is protected ({reason}), but blocked");
            findings.extend(blocked(image, GuardKind::Protected, &name, mask, &what));
        }
    }
    for (name, source) in list_servers(image) {
        for &mask in &guards.category_masks {
            let what = format!("is blocked, but list '{source}' comes from there");
            findings.extend(blocked(image, GuardKind::Protected, &name, mask, &what));
        }
    }
    for GuardedName { name, source } in &guards.must_not_block {
        for &mask in &guards.category_masks {
            let what = format!("is blocked, but {source} says that it must not be");
            findings.extend(blocked(image, GuardKind::MustNotBlock, name, mask, &what));
        }
    }
    findings.dedup();
    findings
}

fn blocked(image: &Image, kind: GuardKind, name: &Name, mask: u64, what: &str) -> Option<Finding> {
    let (qtype, winner) = USUAL_QTYPES.iter().find_map(|&qtype| {
        let verdict = image.query(name, qtype, mask);
        (verdict.decision == Decision::Block).then_some((qtype, verdict.winner))
    })?;
    let what = format!("{what} (type {})", qtype_text(qtype));
    Some(Finding {
        kind,
        severity: Severity::Refuse,
        subject: name.to_string(),
        rule_name: winner.as_ref().map(|w| w.name.to_string()),
        what,
        rule: winner.as_ref().map(|w| w.rule.clone()),
        list: winner.as_ref().map(|w| w.list_name.to_owned()),
        path: winner.as_ref().map(|w| w.path.to_owned()),
        line: winner.as_ref().map(|w| w.line),
        version: None,
    })
}

/// The hosts that lists are fetched from, with the list.
fn list_servers(image: &Image) -> impl Iterator<Item = (Name, &str)> {
    image.lists().iter().filter_map(|list| {
        let (scheme, rest) = list.path.split_once("://")?;
        if !matches!(scheme, "http" | "https") {
            return None;
        }
        let authority = rest.split(['/', '?', '#']).next()?;
        let host = authority.rsplit('@').next()?;
        let host = host.split(':').next()?;
        Some((Name::from_text(host.as_bytes()).ok()?, list.name.as_str()))
    })
}
