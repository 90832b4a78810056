//! Rules for whole top-level domains and for public suffixes.
//!
//! The list of public suffixes is that of the crate psl. Its ICANN part holds
//! suffixes that registries sell names under; its private part those of
//! companies, where a block may be meant.

use std::{
    iter,
    time::{SystemTime, UNIX_EPOCH},
};

use filter_common::{
    name::Name,
    rule::{QtypeSet, Scope},
};
use psl::{Info, Psl, Type};

use super::{Finding, GuardKind, Guards, Severity, USUAL_QTYPES};
use crate::{
    compile::ListBuilder,
    image::{Decision, Image, Origin},
    rule::Shape,
};

/// Stands for every name below, where the list of public suffixes has a wildcard (`*.np`).
const ANY_LABEL: &[u8] = b"nxdp-any";

pub(super) fn check(guards: &Guards, lists: &[&ListBuilder], image: &Image) -> Vec<Finding> {
    let probe = probe();
    let mut findings = Vec::new();
    for (number, list) in lists.iter().enumerate() {
        let blocks: Vec<_> = list.shapes().iter().map(is_block).collect();
        for (labels, line, shape) in list.rules() {
            if !blocks[shape as usize] {
                continue;
            }
            let shape = &list.shapes()[shape as usize];
            let Some(kind) = kind_of(labels, shape.scope) else {
                continue;
            };
            let Ok(name) = Name::from_wire(&[labels, b"\0"].concat()) else {
                continue;
            };
            if is_blocked(guards, image, &name, shape, &probe) {
                let origin = origin(list, number, name, line, shape);
                let severity = severity(kind, shape.scope, labels);
                findings.push(finding(kind, severity, shape.scope, &origin));
            }
        }
    }
    findings
}

fn is_block(shape: &Shape) -> bool {
    shape
        .priority()
        .is_some_and(|priority| !priority.is_allow())
}

fn kind_of(labels: &[u8], scope: Scope) -> Option<GuardKind> {
    let mut starts = [0; 128];
    let (mut count, mut at) = (0, 0);
    while at < labels.len() {
        starts[count] = at;
        count += 1;
        at += 1 + usize::from(labels[at]);
    }
    if count <= 1 {
        return Some(GuardKind::SingleLabel);
    }
    let from_right = starts[..count].iter().rev();
    let label = |&start: &usize| &labels[start + 1..][..usize::from(labels[start])];
    let from_right = from_right.map(label);
    // The length of a suffix counts the dots between its labels.
    let own = |Info { len, typ }| typ.filter(|_| len + 1 == labels.len());
    let found = match scope {
        Scope::Exact => own(suffix_of(&mut from_right.clone())),
        Scope::Subs | Scope::Suffix => {
            let below = suffix_of(&mut from_right.clone().chain(iter::once(ANY_LABEL)));
            match (below.typ, below.len == labels.len() + ANY_LABEL.len()) {
                (Some(Type::Private), true) => {
                    own(suffix_of(&mut from_right.clone())).or(below.typ)
                }
                (typ, true) => typ,
                // No wildcard: one look-up tells of the name itself what its own would.
                (_, false) => own(below),
            }
        }
    };
    found.map(|typ| match typ {
        Type::Icann => GuardKind::PublicSuffix,
        Type::Private => GuardKind::PrivateSuffix,
    })
}

/// The public suffix of labels from right to left.
///
/// The look-up is thousands of functions, and compiled for each type of iterator: there is one.
fn suffix_of(labels: &mut dyn Iterator<Item = &[u8]>) -> Info {
    psl::List.find(labels)
}

/// A label in wire form, to ask whether names below a suffix are blocked.
///
/// It is drawn for each check: a list whose author knew it could except it and block the rest.
pub(super) fn probe() -> Vec<u8> {
    // Without randomness the clock has to do: nobody knows its nanoseconds beforehand.
    let number = getrandom::u64().unwrap_or_else(|_| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0, |now| now.as_nanos() as u64)
    });
    let label = format!("{number:016x}");
    [&[label.len() as u8], label.as_bytes()].concat()
}

/// Whether the rule has its way: an exception may have lifted it.
fn is_blocked(guards: &Guards, image: &Image, name: &Name, shape: &Shape, probe: &[u8]) -> bool {
    let queried = match shape.scope {
        Scope::Exact => Ok(*name),
        Scope::Subs | Scope::Suffix => Name::from_wire(&[probe, name.as_wire()].concat()),
    };
    let Ok(queried) = queried else { return false };
    let is_blocked = |qtype, mask| image.query(&queried, qtype, mask).decision == Decision::Block;
    asked(&shape.qtypes).any(|qtype| {
        let mut masks = guards.category_masks.iter();
        masks.any(|&mask| is_blocked(qtype, mask))
    })
}

/// Types that a rule is asked for: those that it names, or of the usual ones those that it is for.
fn asked(qtypes: &QtypeSet) -> impl Iterator<Item = u16> {
    let candidates = match qtypes.mode() {
        QtypeSet::ONLY => qtypes.named_qtypes(),
        _ => &USUAL_QTYPES,
    };
    let asked = candidates.iter().copied();
    asked.filter(|&qtype| qtypes.contains(qtype))
}

/// Blocks of names that nobody uses as suffixes do no harm.
fn severity(kind: GuardKind, scope: Scope, labels: &[u8]) -> Severity {
    match (kind, scope) {
        (_, Scope::Exact) | (GuardKind::PrivateSuffix, _) => Severity::Warn,
        (GuardKind::SingleLabel, _) if !is_in_use(labels) => Severity::Warn,
        _ => Severity::Refuse,
    }
}

/// Whether a rule of this scope would be refused for its name alone.
pub(super) fn is_refused(name: &Name, scope: Scope) -> bool {
    let wire = name.as_wire();
    let labels = &wire[..wire.len() - 1];
    kind_of(labels, scope).is_some_and(|kind| severity(kind, scope, labels) == Severity::Refuse)
}

/// Whether a name of one label has names below it: a top-level domain, or one of local networks.
fn is_in_use(labels: &[u8]) -> bool {
    let Some((_, label)) = labels.split_first() else {
        return true;
    };
    let below = suffix_of(&mut [label, ANY_LABEL].into_iter());
    below.typ.is_some() || LOCAL_LABELS.contains(&label)
}

/// Labels under which networks and machines name what is theirs (RFC 6761, RFC 6762 appendix G,
/// RFC 7686, and `internal`, which ICANN reserved for it).
const LOCAL_LABELS: [&[u8]; 14] = [
    b"alt",
    b"corp",
    b"domain",
    b"fritz",
    b"home",
    b"internal",
    b"intranet",
    b"invalid",
    b"lan",
    b"local",
    b"localdomain",
    b"localhost",
    b"onion",
    b"private",
];

fn finding(kind: GuardKind, severity: Severity, scope: Scope, origin: &Origin) -> Finding {
    let what = match (kind, scope) {
        (GuardKind::SingleLabel, Scope::Exact) => "a name of one label is blocked",
        (GuardKind::SingleLabel, _) => "a whole top-level domain is blocked",
        (GuardKind::PublicSuffix, Scope::Exact) => {
            "a public suffix is blocked, names below it are not"
        }
        (GuardKind::PublicSuffix, _) => {
            "every name that is registered under this suffix is blocked"
        }
        (_, Scope::Exact) => "a suffix of hosted sites is blocked, the sites are not",
        _ => "every site that is hosted under this suffix is blocked",
    };
    Finding::of_rule(kind, severity, what.to_owned(), origin)
}

fn origin<'a>(
    list: &'a ListBuilder,
    number: usize,
    name: Name,
    line: u32,
    shape: &Shape,
) -> Origin<'a> {
    let info = list.info();
    Origin {
        rule: shape.display(&name).to_string(),
        name,
        scope: shape.scope,
        priority: shape.priority(),
        list: number,
        list_name: &info.name,
        path: &info.path,
        line,
        category: info.category.as_deref(),
        categories: info.categories,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_told_from_names_below_them() {
        let kind = |text: &str| kind(text, Scope::Exact);
        assert_eq!(kind("com"), Some(GuardKind::SingleLabel));
        assert_eq!(kind("co.uk"), Some(GuardKind::PublicSuffix));
        assert_eq!(kind("kawasaki.jp"), None);
        assert_eq!(kind("x.kawasaki.jp"), Some(GuardKind::PublicSuffix));
        assert_eq!(kind("city.kawasaki.jp"), None);
        assert_eq!(kind("github.io"), Some(GuardKind::PrivateSuffix));
        assert_eq!(kind("nxdp.github.io"), None);
        assert_eq!(kind("example.com"), None);
    }

    #[test]
    fn a_wildcard_of_suffixes_counts_for_rules_that_reach_below_it() {
        for text in ["com", "co.uk", "x.kawasaki.jp", "github.io", "example.com"] {
            assert_eq!(
                kind(text, Scope::Suffix),
                kind(text, Scope::Exact),
                "{text}"
            );
        }
        for scope in [Scope::Subs, Scope::Suffix] {
            for text in ["kawasaki.jp", "kobe.jp", "sch.uk", "com.np"] {
                assert_eq!(kind(text, scope), Some(GuardKind::PublicSuffix), "{text}");
            }
            assert_eq!(
                kind("compute.estate", scope),
                Some(GuardKind::PrivateSuffix)
            );
            assert_eq!(kind("city.kawasaki.jp", scope), None);
        }
        for text in ["kobe.jp", "sch.uk", "compute.estate"] {
            assert_eq!(kind(text, Scope::Exact), None, "{text}");
        }
    }

    fn kind(text: &str, scope: Scope) -> Option<GuardKind> {
        let name = Name::from_text(text.as_bytes()).unwrap();
        let wire = name.as_wire();
        kind_of(&wire[..wire.len() - 1], scope)
    }

    #[test]
    fn the_probe_is_one_label_and_another_one_each_time() {
        let [a, b] = [probe(), probe()];
        assert_eq!(usize::from(a[0]) + 1, a.len());
        assert_ne!(a, b);
    }

    #[test]
    fn a_rule_is_asked_for_types_that_it_is_for() {
        let first = |qtypes: Option<QtypeSet>| asked(&qtypes.unwrap()).next();
        assert_eq!(first(Some(QtypeSet::ALL)), Some(1));
        assert_eq!(first(QtypeSet::only(&[99])), Some(99));
        assert_eq!(first(QtypeSet::except(&[1])), Some(28));
        assert_eq!(first(QtypeSet::except(&[1, 28, 65, 12])), Some(15));
    }
}
