//! Names that must be blocked, for whoever the lists of their category are for.
//!
//! A policy that selects the category selects others, too, whose rules may be stronger. So each
//! name is asked under every set of categories that binds it, and so are the exceptions below it
//! where the block is for all names below.

use filter_common::{name::Name, rule::Scope};
use rustc_hash::FxHashMap;

use super::{Finding, GuardKind, Guards, RequiredName, Severity, suffixes};
use crate::{
    compile::ListBuilder,
    image::{Answered, Decision, Image, Loss, Verdict},
    rule::{Effect, Shape, qtype_text},
};

/// What applications ask: A, AAAA and HTTPS.
const ASKED_QTYPES: [u16; 3] = [1, 28, 65];

/// By which image a name must be blocked.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum By {
    /// By this one.
    This,
    /// By another one; this one must not let it through.
    Other,
}

pub(super) fn check(guards: &Guards, lists: &[&ListBuilder], image: &Image) -> Vec<Finding> {
    let this = guards
        .must_block
        .iter()
        .map(|required| (By::This, required));
    let other = guards.must_not_allow.iter();
    let other = other.map(|required| (By::Other, required));
    let all: Vec<_> = this.chain(other).collect();
    if all.is_empty() {
        return Vec::new();
    }
    let required = Required::of(guards, image, all);
    let (wrong, mut findings): (Vec<usize>, Vec<Finding>) = required.names().unzip();
    findings.extend(required.exceptions_below(lists, &wrong));
    findings
}

/// The names, and under what they are asked.
struct Required<'a> {
    image: &'a Image,
    names: Vec<(By, &'a RequiredName)>,
    /// Sets of categories by the category that must block.
    masks: FxHashMap<(By, u64), Vec<u64>>,
    /// Sets of categories that policies select, for names that every list may block.
    masks_in_use: &'a [u64],
}

impl<'a> Required<'a> {
    fn of(guards: &'a Guards, image: &'a Image, names: Vec<(By, &'a RequiredName)>) -> Self {
        let mut masks: FxHashMap<_, Vec<u64>> = FxHashMap::default();
        for &(by, required) in &names {
            let category = required.category_mask;
            let sets = || sets_that_bind(guards, by, category);
            masks.entry((by, category)).or_insert_with(sets);
        }
        Self {
            image,
            names,
            masks,
            masks_in_use: &guards.category_masks,
        }
    }

    /// What is wrong with the very names, once for each, by number.
    fn names(&self) -> impl Iterator<Item = (usize, Finding)> {
        self.names
            .iter()
            .enumerate()
            .filter_map(|(at, &(by, required))| {
                let (qtype, verdict) = self
                    .first_wrong(by, required, &required.name, &ASKED_QTYPES)
                    .or_else(|| self.first_lifted(required))?;
                let RequiredName { name, source, .. } = required;
                let what = format!("but {source} says that it must be");
                Some((at, finding(name, &verdict, qtype, &what)))
            })
    }

    /// The first query for `name` that is not blocked as it must be.
    fn first_wrong(
        &self,
        by: By,
        required: &RequiredName,
        name: &Name,
        qtypes: &[u16],
    ) -> Option<(u16, Verdict<'_>)> {
        let masks = &self.masks[&(by, required.category_mask)];
        let queries = masks.iter().flat_map(|&mask| {
            let qtypes = qtypes.iter();
            qtypes.map(move |&qtype| (mask, qtype))
        });
        let mut verdicts =
            queries.map(|(mask, qtype)| (qtype, self.image.query(name, qtype, mask)));
        verdicts.find(|(qtype, verdict)| self.is_wrong(by, required, *qtype, verdict))
    }

    /// The first query under which a policy lets a name through that one of its lists blocks, where
    /// no category is said to have to.
    fn first_lifted(&self, required: &RequiredName) -> Option<(u16, Verdict<'_>)> {
        if required.category_mask != u64::MAX {
            return None;
        }
        let name = &required.name;
        let queries = self.masks_in_use.iter();
        let queries = queries.flat_map(|&mask| ASKED_QTYPES.map(|qtype| (mask, qtype)));
        let mut explained = queries
            .filter(|&(mask, qtype)| {
                self.image.query(name, qtype, mask).decision == Decision::Allow
            })
            .map(|(mask, qtype)| (qtype, self.image.explain(name, qtype, mask, None)));
        let (qtype, explanation) = explained.find(|(_, explanation)| {
            explanation.others.iter().any(|(origin, loss)| {
                let is_block = origin.priority.is_some_and(|rank| !rank.is_allow());
                is_block && matches!(loss, Loss::Weaker | Loss::LessSpecific)
            })
        })?;
        Some((qtype, explanation.verdict))
    }

    fn is_wrong(&self, by: By, required: &RequiredName, qtype: u16, verdict: &Verdict<'_>) -> bool {
        let is_led_astray = self.is_led_astray(required, qtype, verdict);
        match by {
            By::This => verdict.decision != Decision::Block || is_led_astray,
            By::Other => verdict.decision == Decision::Allow || is_led_astray,
        }
    }

    /// Whether the answer is an address that a list of other categories chose.
    ///
    /// The operator's word for a list is none of the list's author.
    fn is_led_astray(&self, required: &RequiredName, qtype: u16, verdict: &Verdict<'_>) -> bool {
        let Some(Answered::Address(address)) = verdict.answered(qtype) else {
            return false;
        };
        let list = verdict.winner.as_ref().map(|winner| winner.list);
        let list = list.and_then(|list| self.image.lists().get(list));
        let may_choose = list.is_some_and(|list| {
            list.answer.is_some() || list.categories & !required.category_mask == 0
        });
        let is_nowhere = address.is_unspecified() || address.is_loopback();
        verdict.decision == Decision::Block && !may_choose && !is_nowhere
    }

    /// Rules of other lists by which names below are not blocked, where all below must be; not those of names
    /// that something was told of.
    fn exceptions_below(&self, lists: &[&ListBuilder], told: &[usize]) -> Vec<Finding> {
        let mut by_labels: FxHashMap<&[u8], Vec<usize>> = FxHashMap::default();
        for (at, (_, required)) in self.names.iter().enumerate() {
            if told.binary_search(&at).is_err() {
                let labels = labels_of(&required.name);
                by_labels.entry(labels).or_default().push(at);
            }
        }
        let probe = suffixes::probe();
        let mut findings = Vec::new();
        for (number, list) in lists.iter().enumerate() {
            let lifts: Vec<_> = list.shapes().iter().map(may_lift).collect();
            let lifting = list.rules().filter(|rule| lifts[rule.2 as usize]);
            for (labels, _, shape) in lifting {
                let shape = &list.shapes()[shape as usize];
                let above = at_or_above(labels)
                    .filter_map(|above| by_labels.get(above))
                    .flatten();
                findings.extend(above.filter_map(|&at| {
                    let (by, required) = self.names[at];
                    self.exception_below(by, required, (number, labels, shape), &probe)
                }));
            }
        }
        findings
    }

    fn exception_below(
        &self,
        by: By,
        required: &RequiredName,
        (list, labels, shape): (usize, &[u8], &Shape),
        probe: &[u8],
    ) -> Option<Finding> {
        let wire = [labels, b"\0"].concat();
        // A name for which the rule is, below the one that must be blocked.
        let below = match shape.scope {
            Scope::Exact | Scope::Suffix if labels != labels_of(&required.name) => wire,
            Scope::Exact => return None,
            Scope::Suffix | Scope::Subs => [probe, &wire].concat(),
        };
        let below = Name::from_wire(&below).ok()?;
        let qtypes = ASKED_QTYPES.iter().copied();
        let qtypes = qtypes.filter(|&qtype| shape.qtypes.contains(qtype));
        let qtypes: Vec<_> = match by {
            By::This => qtypes
                .filter(|&qtype| self.covers_below(required, qtype, probe, list))
                .collect(),
            By::Other => qtypes.collect(),
        };
        let (qtype, verdict) = self.first_wrong(by, required, &below, &qtypes)?;
        let RequiredName { name, source, .. } = required;
        let what =
            format!("but {source} says that {name} must be, which is blocked with all below");
        let told = Name::from_wire(&[labels, b"\0"].concat()).ok()?;
        Some(finding(&told, &verdict, qtype, &what))
    }

    /// Whether another list of the category than `list` blocks all names below.
    fn covers_below(&self, required: &RequiredName, qtype: u16, probe: &[u8], list: usize) -> bool {
        let below = Name::from_wire(&[probe, required.name.as_wire()].concat());
        let Ok(below) = below else { return false };
        let verdict = self.image.query(&below, qtype, required.category_mask);
        let is_of_list = verdict.winner.is_some_and(|winner| winner.list == list);
        verdict.decision == Decision::Block && !is_of_list
    }
}

/// Sets of categories under which a name must be blocked: the category alone, all sets of policies
/// that have it, and what a pause leaves of these.
fn sets_that_bind(guards: &Guards, by: By, category: u64) -> Vec<u64> {
    let mut sets = vec![category];
    let in_use = guards.category_masks.iter();
    match (category, by) {
        // Not every policy selects a list that blocks the name.
        (u64::MAX, By::This) => {}
        (u64::MAX, By::Other) => sets.extend(in_use),
        _ => {
            let with_it = in_use.filter(|mask| *mask & category == category);
            let kept = guards.kept_categories | category;
            sets.extend(with_it.flat_map(|mask| [*mask, mask & kept]));
        }
    }
    sets.sort_unstable();
    sets.dedup();
    sets
}

/// Whether rules of this shape may keep others from blocking, or change their answer.
fn may_lift(shape: &Shape) -> bool {
    match &shape.effect {
        Effect::Allow | Effect::Rewrite(_) | Effect::CancelRewrite => true,
        Effect::Block(answer) => answer.is_some(),
        Effect::Delete(_) => false,
    }
}

fn labels_of(name: &Name) -> &[u8] {
    let wire = name.as_wire();
    &wire[..wire.len() - 1]
}

/// The labels of a name and of its parents, without the root.
fn at_or_above(labels: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = labels;
    std::iter::from_fn(move || {
        let at = rest;
        rest = rest.get(usize::from(*rest.first()?) + 1..)?;
        Some(at)
    })
}

fn finding(subject: &Name, verdict: &Verdict<'_>, qtype: u16, what: &str) -> Finding {
    let winner = verdict.winner.as_ref();
    let becomes = match verdict.decision {
        Decision::Block => "is answered with an address of another list",
        Decision::Observe | Decision::Allow | Decision::None => "is not blocked",
    };
    Finding {
        kind: GuardKind::MustBlock,
        severity: Severity::Refuse,
        subject: subject.to_string(),
        rule_name: winner.map(|origin| origin.name.to_string()),
        what: format!("{becomes} (type {}), {what}", qtype_text(qtype)),
        rule: winner.map(|origin| origin.rule.clone()),
        list: winner.map(|origin| origin.list_name.to_owned()),
        path: winner.map(|origin| origin.path.to_owned()),
        line: winner.map(|origin| origin.line),
        version: None,
    }
}
