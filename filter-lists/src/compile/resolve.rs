//! One name's chain: which of its rules the kernel needs, in which order.
//!
//! A rule is left out when no query could tell: an equal or stronger rule of
//! the same name, or a rule of a parent with the same answer, matches all that
//! it matches. A rule that skips names proves nothing about others, and a
//! rewrite may be lifted, so neither makes other rules superfluous (a rewrite
//! only its own likes).
// tidy: long because each step of one decision says why it is taken

use filter_common::{
    layout::RuleRecord,
    rule::{AnswerKind, QtypeSet, Scope},
    verdict::CHAIN_MAX,
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    directive::{Lift, is_at_or_below},
    partition::{Partition, without_root},
    room::{WEIGHED_MAX, shares},
    template::{
        Template, Templates, Treatment, conditions_cover, is_below, is_reset, is_rewrite,
        may_yield, same_answer,
    },
    tree::{HAS_RESETS, NONE},
};
use crate::{image::Unsupported, provenance::Fate};

/// A rule on its way into the chain of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    template: u32,
    /// Number in the tree; [`NONE`] for a rule that a shorter name hands down.
    rule: u32,
    /// What comes first wins among rules of one name.
    rank: (u8, u16, bool, u32, u32),
}

#[derive(Default)]
pub(super) struct Scratch {
    candidates: Vec<Candidate>,
    /// Rules that became part of another rule's record: the rule and the other one.
    joined: Vec<(u32, u32)>,
    /// Templates that the name has already.
    seen: FxHashSet<u32>,
    /// Rules of each list that were kept.
    kept: FxHashMap<u32, usize>,
}

impl Partition<'_> {
    /// Decides the chain of `node`; its parents' chains are decided.
    pub(super) fn resolve(&mut self, node: u32, templates: &mut Templates) {
        let this = self.tree.nodes[node as usize];
        let parent_cover = self.tree.nodes[this.parent as usize].cover;
        // A reset cuts the name off from its parents, as `@@||a.example^$dnsrewrite` does for
        // rewrites.
        let has_resets = this.flags & HAS_RESETS != 0;
        // Most nodes are mere parents of a name with rules: nothing is decided here.
        if this.first_rule == NONE && !has_resets {
            self.tree.nodes[node as usize].cover = parent_cover;
            return;
        }
        // One allocation for millions of nodes.
        let mut candidates = std::mem::take(&mut self.scratch.candidates);
        candidates.clear();
        self.scratch.joined.clear();
        // First what the lists say of this very name, then what shorter names hand down past the
        // reset.
        self.collect_own(node, templates, &mut candidates);
        if has_resets {
            self.collect_inherited(node, templates, &mut candidates);
        }
        // A single rule has no competitor: most names are in one list.
        if candidates.len() > 1 {
            self.thin_out(&mut candidates, templates);
        }
        // `||example^` makes `||a.example^` superfluous, unless a reset keeps it from reaching down
        // here.
        if parent_cover != NONE && !has_resets {
            self.drop_covered(parent_cover, &mut candidates, templates);
        }
        self.fit(node, &mut candidates, templates);
        self.settle_joined();
        self.store(node, parent_cover, &candidates, templates);
        self.scratch.candidates = candidates;
    }

    fn collect_own(&self, node: u32, templates: &Templates, out: &mut Vec<Candidate>) {
        for number in self.tree.rules_of(node) {
            let rule = &self.tree.rules[number as usize];
            let binding = templates.binding(rule.binding);
            // `$badfilter` and lines that lift others are in the tree too, and become no rule.
            if let (Fate::InTable, Treatment::Rule(template)) = (rule.fate, binding.treatment) {
                let Template {
                    record, host_rule, ..
                } = templates.template(template);
                // Of two rewrites of a name the one with data answers.
                let is_weak =
                    *host_rule || is_rewrite(record) && record.answer == AnswerKind::NoData as u8;
                let rank = (
                    // Highest priority first; then a rule of its own before one of a host line,
                    // then the order of lists and lines.
                    u8::MAX - record.priority,
                    0,
                    is_weak,
                    record.list,
                    rule.line,
                );
                out.push(Candidate {
                    template,
                    rule: number,
                    rank,
                });
            }
        }
    }

    /// Collects the rules of shorter names that hold at `node` in spite of its resets.
    fn collect_inherited(&self, node: u32, templates: &mut Templates, out: &mut Vec<Candidate>) {
        let name = self.tree.nodes[node as usize].name;
        let mut lifted = self.lifted_at(node);
        let mut at = self.tree.nodes[node as usize].parent;
        let mut distance = 1;
        while at != NONE {
            for (place, &number) in self.chain(at).iter().enumerate() {
                let mut record = *templates.record(number);
                // An exact rule of a parent says nothing here, nor does one that makes an exception
                // of this name.
                if !is_below(&record) || is_reset(&record) || skips(number, name, templates) {
                    continue;
                }
                let lifted = match is_rewrite(&record) {
                    true => lifted.scope_of(templates.is_important(number)),
                    false => 0,
                };
                // At this node a rule of a parent is for the name and all below, less what an
                // exception lifts.
                record.scope = Scope::Suffix as u8 & !lifted;
                if record.scope != 0 {
                    let rank = (u8::MAX - record.priority, distance, false, place as u32, 0);
                    let template = templates.derive(number, record);
                    out.push(Candidate {
                        template,
                        rule: NONE,
                        rank,
                    });
                }
            }
            lifted.extend(self.lifted_at(at));
            at = self.tree.nodes[at as usize].parent;
            distance += 1;
        }
    }

    /// The scopes from which exceptions at `node` lift the rewrites of shorter names.
    fn lifted_at(&self, node: u32) -> Lift {
        self.cancels.get(&node).copied().unwrap_or_default()
    }

    /// Orders the rules of one name and drops what the others make superfluous.
    fn thin_out(&mut self, candidates: &mut Vec<Candidate>, templates: &mut Templates) {
        // The kernel takes the first rule that applies, so the order is the decision.
        candidates.sort_unstable_by_key(|c| c.rank);
        self.drop_doubles(candidates);
        join_addresses(candidates, &mut self.scratch.joined, templates);
        if candidates.len() > CHAIN_MAX {
            widest_first(candidates, templates);
        }
        self.drop_dominated(candidates, templates);
        let mut i = 0;
        while i < candidates.len() {
            match is_superfluous(candidates, i, templates) {
                true => self.drop_candidate(candidates, i, Fate::Redundant),
                false => i += 1,
            }
        }
        if self.combine || candidates.len() > CHAIN_MAX {
            combine(candidates, &mut self.scratch.joined, templates);
        }
    }

    /// Drops all but the first rule of each template.
    fn drop_doubles(&mut self, candidates: &mut Vec<Candidate>) {
        let Self { scratch, tree, .. } = self;
        scratch.seen.clear();
        candidates.retain(|candidate| {
            let is_first = scratch.seen.insert(candidate.template);
            if !is_first && let Some(rule) = tree.rules.get_mut(candidate.rule as usize) {
                rule.fate = Fate::Duplicate;
            }
            is_first
        });
    }

    /// Drops rules that a stronger one covers. No list keeps more than a chain holds, so that the
    /// work does not grow with the square of its rules.
    fn drop_dominated(&mut self, candidates: &mut Vec<Candidate>, templates: &Templates) {
        let mut kept: Vec<Candidate> = Vec::with_capacity(candidates.len().min(WEIGHED_MAX));
        self.scratch.kept.clear();
        for candidate in std::mem::take(candidates) {
            let record = templates.record(candidate.template);
            let stronger = kept
                .iter()
                .find(|c| dominates(c.template, candidate.template, templates));
            if let Some(by) = stronger {
                let fate = fate_under(templates.record(by.template), record);
                self.set_fate(candidate.rule, fate);
                continue;
            }
            let of_list = self.scratch.kept.entry(record.list).or_insert(0);
            if *of_list == CHAIN_MAX || kept.len() == WEIGHED_MAX {
                self.leave_out(candidate.rule);
                continue;
            }
            *of_list += 1;
            kept.push(candidate);
        }
        *candidates = kept;
    }

    /// Leaves out what a chain has no room for.
    fn fit(&mut self, node: u32, candidates: &mut Vec<Candidate>, templates: &Templates) {
        let resets = self.resets_of(node).len();
        let room = CHAIN_MAX.saturating_sub(resets);
        if candidates.len() <= room {
            return;
        }
        let list = |c: &Candidate| templates.record(c.template).list;
        let lists: Vec<_> = candidates.iter().map(list).collect();
        let mut shares = shares(&lists, room);
        candidates.retain(|candidate| match shares.get_mut(&list(candidate)) {
            Some(share) if *share > 0 => {
                *share -= 1;
                true
            }
            _ => {
                self.leave_out(candidate.rule);
                false
            }
        });
    }

    /// Notes that there is no room for a rule.
    pub(super) fn leave_out(&mut self, rule: u32) {
        match self.tree.rules.get_mut(rule as usize) {
            Some(tree_rule) => {
                tree_rule.fate = Fate::NoRoom;
                if !tree_rule.is_guest {
                    self.unsupported.push((rule, Unsupported::NoRoom));
                }
            }
            None => self.left_out_below += 1,
        }
    }

    /// Drops what the rules of parents say already, from the last rule of each priority on.
    fn drop_covered(&mut self, cover: u32, all: &mut Vec<Candidate>, templates: &Templates) {
        // From the last one: whether a rule hides another depends on what is kept behind it.
        let mut i = all.len();
        while i > 0 {
            i -= 1;
            let record = *templates.record(all[i].template);
            // Without it, one that is kept behind it would decide otherwise.
            let hides = all[i + 1..].iter().any(|kept| {
                let kept = templates.record(kept.template);
                kept.priority == record.priority && !same_answer(kept, &record)
            });
            match self.covered(cover, &record, templates) {
                Some(fate) if !hides || fate == Fate::Overridden => {
                    self.drop_candidate(all, i, fate);
                }
                _ => {}
            }
        }
    }

    /// Whether rules of shorter names decide whatever `record` decides, and alike.
    fn covered(&self, cover: u32, record: &RuleRecord, templates: &Templates) -> Option<Fate> {
        let mut at = cover;
        let mut hidden = false;
        while at != NONE {
            for &number in self.chain(at) {
                let Template {
                    record: by,
                    has_except,
                    ..
                } = templates.template(number);
                if !is_below(by) || is_reset(by) || is_rewrite(by) {
                    continue;
                }
                let covers = !has_except && conditions_cover(by, record);
                // `||example^$important` above `||a.example^`: the longer name never decides.
                if by.priority > record.priority && covers && !may_yield(by, record) {
                    return Some(Fate::Overridden);
                }
                // Between equals the longer name decides, so a parent makes it superfluous only
                // with the same answer.
                if by.priority == record.priority && !hidden {
                    match same_answer(by, record) {
                        true if covers => return Some(Fate::Redundant),
                        true => {}
                        // Another answer in between: what is above it never shows here.
                        false => hidden = true,
                    }
                }
            }
            let parent = self.tree.nodes[at as usize].parent;
            at = self.tree.nodes[parent as usize].cover;
        }
        None
    }

    fn drop_candidate(&mut self, candidates: &mut Vec<Candidate>, i: usize, fate: Fate) {
        let dropped = candidates.remove(i);
        self.set_fate(dropped.rule, fate);
    }

    fn set_fate(&mut self, rule: u32, fate: Fate) {
        if let Some(rule) = self.tree.rules.get_mut(rule as usize) {
            rule.fate = fate;
        }
    }

    /// Gives rules that became part of another the fate of that one.
    fn settle_joined(&mut self) {
        for at in (0..self.scratch.joined.len()).rev() {
            let (part, into) = self.scratch.joined[at];
            if let Some(into) = self.tree.rules.get(into as usize) {
                let fate = into.fate;
                self.set_fate(part, fate);
            }
        }
    }

    fn store(
        &mut self,
        node: u32,
        parent_cover: u32,
        candidates: &[Candidate],
        templates: &Templates,
    ) {
        // Chains of all nodes stand in one vector: a node has a start and a length.
        let start = self.chains.len();
        if self.tree.nodes[node as usize].flags & HAS_RESETS != 0 {
            let resets = self.resets_of(node);
            let here = self.resets[resets].iter().take(CHAIN_MAX);
            self.chains.extend(here.map(|(_, template)| *template));
        }
        self.chains.extend(candidates.iter().map(|c| c.template));
        let chain = &self.chains[start..];
        let reaches_below = |&t: &u32| {
            let record = templates.record(t);
            is_below(record) && !is_reset(record)
        };
        let covers = chain.iter().any(reaches_below);
        let len = chain.len() as u8;
        let stored = &mut self.tree.nodes[node as usize];
        stored.chain_start = start as u32;
        stored.chain_len = len;
        // The nearest node whose rules reach below: the search upwards jumps from one to the next.
        stored.cover = if covers { node } else { parent_cover };
    }
}

/// Puts rules that do the same one behind the other in an order that shows at once which of them
/// the others make superfluous. The order of such rules changes nothing.
fn widest_first(candidates: &mut [Candidate], templates: &Templates) {
    let alike = |a: &Candidate, b: &Candidate| {
        is_alike(templates.record(a.template), templates.record(b.template))
    };
    for run in candidates.chunk_by_mut(alike) {
        run.sort_by_key(|candidate| {
            let record = templates.record(candidate.template);
            let narrow = record.qtype_mode != QtypeSet::EVERY;
            let scope = Scope::Suffix as u8 - record.scope;
            (narrow, scope, u64::BITS - record.categories.count_ones())
        });
    }
}

/// Whether a wider rule stands behind, with nothing between that a client could tell apart.
fn is_superfluous(all: &[Candidate], i: usize, templates: &Templates) -> bool {
    let this = all[i].template;
    let of = templates.record(this);
    all[i + 1..]
        .iter()
        .take_while(|c| is_alike(templates.record(c.template), of))
        .any(|c| dominates(c.template, this, templates) && !dominates(this, c.template, templates))
}

/// Whether the rule of this template skips the name.
fn skips(template: u32, labels: &[u8], templates: &Templates) -> bool {
    let Template {
        shape, has_except, ..
    } = templates.template(template);
    *has_except
        && (templates.shape(*shape).except.iter())
            .any(|skipped| is_at_or_below(labels, without_root(skipped.as_wire())))
}

/// Whether, at one name, `a` wins wherever `b` applies or does the same as `b`.
fn dominates(a: u32, b: u32, templates: &Templates) -> bool {
    let (by, of) = (templates.template(a), templates.template(b));
    let skips_alike = !by.has_except || by.shape == of.shape;
    // An exception further down may lift the one and not the other.
    let may_be_lifted = is_rewrite(&by.record)
        && (!is_rewrite(&of.record) || templates.is_important(b) && !templates.is_important(a));
    by.record.scope & of.record.scope == of.record.scope
        && conditions_cover(&by.record, &of.record)
        && skips_alike
        && !may_be_lifted
        && !may_yield(&by.record, &of.record)
}

fn is_alike(a: &RuleRecord, b: &RuleRecord) -> bool {
    a.priority == b.priority && same_answer(a, b)
}

fn fate_under(by: &RuleRecord, of: &RuleRecord) -> Fate {
    if !is_alike(by, of) {
        Fate::Overridden
    } else if by.scope == of.scope {
        Fate::Duplicate
    } else {
        Fate::Redundant
    }
}

/// Makes one record of two rules that give the A and the AAAA record of a name.
fn join_addresses(
    candidates: &mut Vec<Candidate>,
    joined: &mut Vec<(u32, u32)>,
    templates: &mut Templates,
) {
    let mut kept = 0;
    for i in 1..candidates.len() {
        let (first, second) = (candidates[kept], candidates[i]);
        let (a, b) = (
            *templates.record(first.template),
            *templates.record(second.template),
        );
        // Equal but for the addresses.
        let alike = RuleRecord {
            ipv4: b.ipv4,
            ipv6: b.ipv6,
            ..a
        } == b;
        // `192.0.2.1 a.example` and `2001:db8::1 a.example`: one has the A record, the other the
        // AAAA record.
        let one_each = (a.ipv4 == [0; 4]) != (b.ipv4 == [0; 4])
            && (a.ipv6 == [0; 16]) != (b.ipv6 == [0; 16])
            && (a.ipv4 == [0; 4]) != (a.ipv6 == [0; 16]);
        if alike && one_each && skip_nothing(first, second, templates) {
            let (v4, v6) = if a.ipv4 == [0; 4] { (b, a) } else { (a, b) };
            let both = RuleRecord {
                ipv4: v4.ipv4,
                ipv6: v6.ipv6,
                ..a
            };
            candidates[kept].template = templates.derive(first.template, both);
            joined.push((second.rule, first.rule));
        } else {
            kept += 1;
            candidates[kept] = second;
        }
    }
    candidates.truncate(kept + 1);
}

/// Joins rules that differ in list and categories only: verdicts stay, the
/// list that is named for them may be another one of theirs.
fn combine(
    candidates: &mut Vec<Candidate>,
    joined: &mut Vec<(u32, u32)>,
    templates: &mut Templates,
) {
    let mut i = 0;
    while i < candidates.len() {
        let mut j = i + 1;
        while j < candidates.len() {
            let (first, second) = (candidates[i], candidates[j]);
            let (a, b) = (
                *templates.record(first.template),
                *templates.record(second.template),
            );
            if !is_alike(&a, &b) {
                break;
            }
            let same = RuleRecord {
                list: b.list,
                categories: b.categories,
                ..a
            } == b;
            if same && skip_nothing(first, second, templates) {
                let categories = a.categories | b.categories;
                let both = RuleRecord { categories, ..a };
                candidates[i].template = templates.derive(first.template, both);
                joined.push((second.rule, first.rule));
                candidates.remove(j);
            } else {
                j += 1;
            }
        }
        i += 1;
    }
}

fn skip_nothing(a: Candidate, b: Candidate, templates: &Templates) -> bool {
    !templates.template(a.template).has_except && !templates.template(b.template).has_except
}
