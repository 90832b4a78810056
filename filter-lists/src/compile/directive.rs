//! Lines that act on other rules: `$badfilter`, lifted rewrites, `$denyallow`.
//!
//! Where a rule ends in the middle of the tree (a name that it skips, a name
//! from which a rewrite is lifted), the node of that name gets a reset: a
//! record that forgets what shorter names said. `resolve` puts behind it what
//! shorter names say there all the same.

use std::ops::Range;

use filter_common::{rule::Scope, verdict::CHAIN_MAX};
use rustc_hash::FxHashMap;

use super::{
    partition::{Input, Partition, without_root},
    template::{Templates, Treatment, conditions_cover, is_below, qtypes_overlap, reset_of},
    tree::{Collision, HAS_RESETS, NONE},
};
use crate::{
    image::Unsupported,
    provenance::{Fate, TOP, partition_of},
};

/// How a lifted rewrite's exception relates to the rewrite.
enum Relation {
    /// They share no query.
    Apart,
    /// The exception matches all that the rewrite matches.
    Covered,
    /// The exception starts below the rewrite's name.
    Inside,
    /// The exception matches some of it in a way that no reset can say.
    Partial,
}

/// From where on exceptions at a name lift rewrites of shorter names: scopes as bits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lift {
    plain: u8,
    important: u8,
}

impl Lift {
    /// The scope in which a rewrite of a shorter name does not hold.
    pub(super) const fn scope_of(self, is_important: bool) -> u8 {
        match is_important {
            true => self.important,
            false => self.plain,
        }
    }

    /// Adds what exceptions at a shorter name lift at all names below it.
    pub(super) const fn extend(&mut self, above: Self) {
        if above.plain & Scope::BELOW_BIT != 0 {
            self.plain = Scope::Suffix as u8;
        }
        if above.important & Scope::BELOW_BIT != 0 {
            self.important = Scope::Suffix as u8;
        }
    }
}

/// Comparisons of exceptions with rewrites in one image. Real lists need a few; more are the work
/// of somebody who wants to keep the compiler busy, and are left out.
const COMPARISONS_MAX: usize = 20_000_000;

impl<'a> Partition<'a> {
    pub(super) fn apply_directives(
        &mut self,
        number: usize,
        input: &Input<'a>,
        templates: &mut Templates,
    ) -> Result<(), Collision> {
        self.apply_deletes(input, templates);
        self.apply_cancels(templates);
        self.apply_exceptions(number, input, templates)?;
        self.resets.sort_unstable();
        self.resets.dedup();
        Ok(())
    }

    /// Deletes all that the names of directives have of what these delete, name by name.
    ///
    /// A policy that does not select the list of a directive must not feel it. A rule in the table
    /// is there for all policies of its list, so only a list that all of them select deletes it.
    fn apply_deletes(&mut self, input: &Input<'a>, templates: &Templates) {
        let categories = |list: u16| input.lists[usize::from(list)].info().categories;
        let mut deletes = Vec::new();
        for &number in &self.directives {
            let directive = &mut self.tree.rules[number as usize];
            let binding = templates.binding(directive.binding);
            if let Treatment::Delete(target) = binding.treatment {
                directive.fate = Fate::Directive;
                deletes.push(((directive.node, target), categories(binding.list)));
            }
        }
        deletes.sort_unstable();
        deletes.dedup();
        for of_node in deletes.chunk_by(|a, b| a.0.0 == b.0.0) {
            let mut at = self.tree.nodes[of_node[0].0.0 as usize].first_rule;
            while let Some(rule) = self.tree.rules.get_mut(at as usize) {
                let binding = templates.binding(rule.binding);
                let target = (rule.node, binding.shape);
                let from = of_node.partition_point(|(of, _)| *of < target);
                let mut of_rule = of_node[from..].iter().take_while(|(of, _)| *of == target);
                if of_rule.any(|(_, by)| categories(binding.list) & !by == 0) {
                    rule.fate = Fate::Deleted;
                }
                at = rule.next;
            }
        }
    }

    fn apply_cancels(&mut self, templates: &mut Templates) {
        let mut cancels: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
        for i in 0..self.directives.len() {
            let number = self.directives[i];
            let rule = &mut self.tree.rules[number as usize];
            let Treatment::Cancel(cancel) = templates.binding(rule.binding).treatment else {
                continue;
            };
            if rule.fate != Fate::InTable {
                continue;
            }
            rule.fate = Fate::Directive;
            let here = cancels.entry(rule.node).or_default();
            if here.contains(&cancel) {
                continue;
            }
            match here.len() {
                // As many of different effect as rules of a name that are in the table.
                CHAIN_MAX => self.leave_out(number),
                _ => here.push(cancel),
            }
        }
        if !cancels.is_empty() {
            self.lift_covered(&cancels, templates);
            self.lift_inside(&cancels, templates);
        }
    }

    /// Deletes the rewrites that an exception at their name or above lifts.
    fn lift_covered(&mut self, cancels: &FxHashMap<u32, Vec<u32>>, templates: &Templates) {
        for i in 0..self.rewrites.len() {
            let number = self.rewrites[i];
            let rule = self.tree.rules[number as usize];
            if rule.fate != Fate::InTable {
                continue;
            }
            let (mut at, mut is_covered, mut is_partial) = (rule.node, false, false);
            while at != NONE && !is_covered {
                for &cancel in cancels.get(&at).map_or(&[][..], Vec::as_slice) {
                    match self.relation(at, cancel, number, templates) {
                        Relation::Covered => is_covered = true,
                        Relation::Partial => is_partial = true,
                        Relation::Apart | Relation::Inside => {}
                    }
                }
                at = self.tree.nodes[at as usize].parent;
            }
            if is_covered {
                self.tree.rules[number as usize].fate = Fate::Deleted;
            } else if is_partial {
                self.reject(number, Unsupported::PartlyCancelled);
            }
        }
    }

    /// Puts resets at the names from which on an exception lifts the rewrite of a shorter name.
    fn lift_inside(&mut self, cancels: &FxHashMap<u32, Vec<u32>>, templates: &mut Templates) {
        let mut rewrites: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
        for &number in &self.rewrites {
            let rule = self.tree.rules[number as usize];
            if rule.fate == Fate::InTable {
                rewrites.entry(rule.node).or_default().push(number);
            }
        }
        let mut nodes: Vec<_> = cancels.keys().copied().collect();
        nodes.sort_unstable();
        for node in nodes {
            for &cancel in &cancels[&node] {
                if self.is_inside(node, cancel, &rewrites, templates) {
                    let record = templates.record(cancel);
                    let scope = record.scope;
                    let reset = templates.derive(cancel, reset_of(record, scope));
                    self.add_reset(node, reset);
                    let is_important = templates.is_important(cancel);
                    let lift = self.cancels.entry(node).or_default();
                    lift.plain |= scope;
                    lift.important |= if is_important { scope } else { 0 };
                }
            }
        }
    }

    fn is_inside(
        &mut self,
        node: u32,
        cancel: u32,
        rewrites: &FxHashMap<u32, Vec<u32>>,
        templates: &Templates,
    ) -> bool {
        let mut at = self.tree.nodes[node as usize].parent;
        while at != NONE {
            for &rewrite in rewrites.get(&at).map_or(&[][..], Vec::as_slice) {
                self.comparisons += 1;
                if self.comparisons > COMPARISONS_MAX {
                    return false;
                }
                if let Relation::Inside = self.relation(node, cancel, rewrite, templates) {
                    return true;
                }
            }
            at = self.tree.nodes[at as usize].parent;
        }
        false
    }

    fn relation(&self, node: u32, cancel: u32, rewrite: u32, templates: &Templates) -> Relation {
        let rule = self.tree.rules[rewrite as usize];
        let Treatment::Rule(template) = templates.binding(rule.binding).treatment else {
            return Relation::Apart;
        };
        let (cancel, rewrite) = (templates.template(cancel), templates.template(template));
        let (by, of) = (&cancel.record, &rewrite.record);
        let qtypes = |template: u32| templates.shape(template).qtypes;
        let important = |template: u32| templates.shape(template).important;
        if !qtypes_overlap(&qtypes(cancel.shape), &qtypes(rewrite.shape))
            || important(rewrite.shape) && !important(cancel.shape)
        {
            return Relation::Apart;
        }
        let names_covered = if node == rule.node {
            match by.scope & of.scope {
                0 => return Relation::Apart,
                both => both == of.scope,
            }
        } else if self.tree.is_below(node, rule.node) && is_below(of) {
            return Relation::Inside;
        } else if self.tree.is_below(rule.node, node) && is_below(by) {
            true
        } else {
            return Relation::Apart;
        };
        if names_covered && conditions_cover(by, of) {
            Relation::Covered
        } else if of.categories & !by.categories != 0 {
            // It must not be felt by policies that do not select the exception's list.
            Relation::Apart
        } else {
            Relation::Partial
        }
    }

    fn apply_exceptions(
        &mut self,
        number: usize,
        input: &Input<'a>,
        templates: &mut Templates,
    ) -> Result<(), Collision> {
        for i in 0..self.with_except.len() {
            let rule = self.tree.rules[self.with_except[i] as usize];
            let binding = *templates.binding(rule.binding);
            let Treatment::Rule(template) = binding.treatment else {
                continue;
            };
            let shapes = input.lists[usize::from(binding.list)].shapes();
            let except = &shapes[binding.list_shape as usize].except;
            let name = self.tree.nodes[rule.node as usize].name;
            let labels = except.iter().map(|e| without_root(e.as_wire()));
            if labels.clone().any(|skipped| is_at_or_below(name, skipped)) {
                // It skips all that it matches.
                self.tree.rules[self.with_except[i] as usize].fate = Fate::Overridden;
                continue;
            }
            let record = *templates.record(template);
            if rule.fate != Fate::InTable || !is_below(&record) || number == TOP {
                continue;
            }
            let reset = templates.forget();
            for skipped in labels.filter(|skipped| is_at_or_below(skipped, name)) {
                if partition_of(skipped) == number {
                    let node = self.tree.insert(skipped, &input.key)?;
                    self.add_reset(node, reset);
                }
            }
        }
        Ok(())
    }

    fn add_reset(&mut self, node: u32, reset: u32) {
        self.tree.nodes[node as usize].flags |= HAS_RESETS;
        self.resets.push((node, reset));
    }

    /// Where the resets of a node are.
    pub(super) fn resets_of(&self, node: u32) -> Range<usize> {
        let start = self.resets.partition_point(|(at, _)| *at < node);
        let len = self.resets[start..].partition_point(|(at, _)| *at == node);
        start..start + len
    }
}

/// Whether the name with these labels is `above` or below it.
pub(super) fn is_at_or_below(labels: &[u8], above: &[u8]) -> bool {
    let mut rest = labels;
    while rest.len() > above.len() {
        rest = &rest[usize::from(rest[0]) + 1..];
    }
    rest == above
}
