//! Rules for whole top-level domains and for public suffixes.
//!
//! The list of public suffixes is that of the crate psl. Its ICANN part holds
//! suffixes that registries sell names under; its private part those of
//! companies, where a block may be meant.

use filter_common::{name::Name, rule::Scope};
use psl::{Info, Psl, Type};

use super::{Finding, GuardKind, Guards, Severity};
use crate::{
    compile::ListBuilder,
    image::{Decision, Image, Origin},
    rule::Shape,
};

/// A label that no list has, to ask whether names below a suffix are blocked.
const PROBE: &[u8] = b"\x12nxdp-probe-5e8c1fd";

pub(super) fn check(guards: &Guards, lists: &[&ListBuilder], image: &Image) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, list) in lists.iter().enumerate() {
        let blocks: Vec<_> = list.shapes().iter().map(is_block).collect();
        for (labels, line, shape) in list.rules() {
            if !blocks[shape as usize] {
                continue;
            }
            let Some(kind) = kind_of(labels) else {
                continue;
            };
            let shape = &list.shapes()[shape as usize];
            let Ok(name) = Name::from_wire(&[labels, b"\0"].concat()) else {
                continue;
            };
            if is_blocked(guards, image, &name, shape.scope) {
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

fn kind_of(labels: &[u8]) -> Option<GuardKind> {
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
    let Info { len, typ } = psl::List.find(from_right.map(label));
    // The length of a suffix counts the dots between its labels.
    match typ {
        Some(Type::Icann) if len + 1 == labels.len() => Some(GuardKind::PublicSuffix),
        Some(Type::Private) if len + 1 == labels.len() => Some(GuardKind::PrivateSuffix),
        _ => None,
    }
}

/// Whether the rule has its way: an exception may have lifted it.
fn is_blocked(guards: &Guards, image: &Image, name: &Name, scope: Scope) -> bool {
    let queried = match scope {
        Scope::Exact => Ok(*name),
        Scope::Subs | Scope::Suffix => Name::from_wire(&[PROBE, name.as_wire()].concat()),
    };
    let Ok(queried) = queried else { return false };
    let mut masks = guards.category_masks.iter();
    masks.any(|&mask| image.query(&queried, 1, mask).decision == Decision::Block)
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
    kind_of(labels).is_some_and(|kind| severity(kind, scope, labels) == Severity::Refuse)
}

/// Whether a name of one label has names below it: a top-level domain, or one of local networks.
fn is_in_use(labels: &[u8]) -> bool {
    let Some((_, label)) = labels.split_first() else {
        return true;
    };
    psl::List.find([label].into_iter()).typ.is_some() || LOCAL_LABELS.contains(&label)
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
        let kind = |text: &str| {
            let name = Name::from_text(text.as_bytes()).unwrap();
            let wire = name.as_wire();
            kind_of(&wire[..wire.len() - 1])
        };
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
    fn the_probe_is_one_label() {
        assert_eq!(usize::from(PROBE[0]) + 1, PROBE.len());
    }
}
