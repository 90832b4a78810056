//! Lines that act on other rules: `$badfilter`, lifted rewrites, `$denyallow`.
//!
//! Where a rule ends in the middle of the tree (a name that it skips, a name
//! from which a rewrite is lifted), the node of that name gets a reset: a
//! record that forgets what shorter names said. `resolve` puts behind it what
//! shorter names say there all the same.

use filter_common::rule::Scope;

use super::{
    partition::{Input, Partition, without_root},
    template::{Action, Templates, conditions_cover, is_below, qtypes_overlap, reset_of},
    tree::{Collision, HAS_RESETS},
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

impl<'a> Partition<'a> {
    pub(super) fn apply_directives(
        &mut self,
        number: usize,
        input: &Input<'a>,
        templates: &mut Templates,
    ) -> Result<(), Collision> {
        self.apply_deletes(templates);
        self.apply_cancels(templates);
        self.apply_exceptions(number, input, templates)
    }

    fn apply_deletes(&mut self, templates: &Templates) {
        for i in 0..self.directives.len() {
            let directive = self.tree.rules[self.directives[i] as usize];
            let Action::Delete(target) = templates.binding(directive.binding).action else {
                continue;
            };
            let mut at = self.tree.nodes[directive.node as usize].first_rule;
            while let Some(rule) = self.tree.rules.get_mut(at as usize) {
                if templates.binding(rule.binding).shape == target {
                    rule.fate = Fate::Deleted;
                }
                at = rule.next;
            }
            self.tree.rules[self.directives[i] as usize].fate = Fate::Directive;
        }
    }

    fn apply_cancels(&mut self, templates: &mut Templates) {
        for i in 0..self.directives.len() {
            let rule = &mut self.tree.rules[self.directives[i] as usize];
            let Action::Cancel(cancel) = templates.binding(rule.binding).action else {
                continue;
            };
            if rule.fate == Fate::InTable {
                rule.fate = Fate::Directive;
                let node = rule.node;
                self.apply_cancel(node, cancel, templates);
            }
        }
    }

    fn apply_cancel(&mut self, node: u32, cancel: u32, templates: &mut Templates) {
        let mut inside = false;
        for i in 0..self.rewrites.len() {
            let number = self.rewrites[i];
            if self.tree.rules[number as usize].fate != Fate::InTable {
                continue;
            }
            match self.relation(node, cancel, number, templates) {
                Relation::Apart => {}
                Relation::Covered => self.tree.rules[number as usize].fate = Fate::Deleted,
                Relation::Inside => inside = true,
                Relation::Partial => self.reject(number, Unsupported::PartlyCancelled),
            }
        }
        if inside {
            let record = templates.record(cancel);
            let reset = reset_of(record, record.scope);
            let reset = templates.derive(cancel, reset);
            self.add_reset(node, reset);
            self.cancels.push((node, cancel));
        }
    }

    fn relation(&self, node: u32, cancel: u32, rewrite: u32, templates: &Templates) -> Relation {
        let rule = self.tree.rules[rewrite as usize];
        let Action::Rule(template) = templates.binding(rule.binding).action else {
            return Relation::Apart;
        };
        let (cancel, rewrite) = (templates.template(cancel), templates.template(template));
        let (by, of) = (&cancel.record, &rewrite.record);
        let qtypes = |template: u32| templates.shape(template).qtypes;
        if !qtypes_overlap(&qtypes(cancel.shape), &qtypes(rewrite.shape)) {
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
            let Action::Rule(template) = binding.action else {
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
            let reset = templates.derive(template, reset_of(&record, Scope::Suffix as u8));
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
        if !self.resets.contains(&(node, reset)) {
            self.resets.push((node, reset));
        }
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
