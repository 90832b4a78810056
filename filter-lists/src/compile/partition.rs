//! One partition's way: rules into a tree, directives, chains, classes.
//!
//! The steps are in [`Partition::merge`]; which rules of a name survive is
//! decided in `resolve`, what `$badfilter`, `$denyallow` and lifted rewrites do
//! to other names in `directive`.

use filter_common::hash::HashKey;
use rustc_hash::FxHashMap;

use super::{
    list::ListBuilder,
    template::{Templates, Treatment, is_rewrite},
    tree::{Collision, HAS_DESCENDANTS, ROOT, Tree},
};
use crate::{
    image::Unsupported,
    provenance::{Fate, PARTITIONS, TOP, partition_of},
};

/// The lists and what all partitions must know of them.
pub(super) struct Input<'a> {
    pub(super) lists: &'a [&'a ListBuilder],
    pub(super) key: HashKey,
    /// Rules of single labels, which reach into every partition.
    pub(super) guests: Vec<Guest<'a>>,
    /// Names that such rules skip, with their partitions.
    pub(super) guest_exceptions: Vec<(usize, &'a [u8])>,
}

/// A rule of a single label.
#[derive(Clone, Copy)]
pub(super) struct Guest<'a> {
    pub(super) labels: &'a [u8],
    pub(super) binding: u32,
    pub(super) line: u32,
}

impl<'a> Input<'a> {
    pub(super) fn of(lists: &'a [&'a ListBuilder], key: HashKey, templates: &Templates) -> Self {
        let mut input = Self {
            lists,
            key,
            guests: Vec::new(),
            guest_exceptions: Vec::new(),
        };
        for (number, list) in lists.iter().enumerate() {
            for row in list.rows(TOP).filter(|row| !row.labels.is_empty()) {
                let binding = templates.binding_number(number, row.shape);
                input.guests.push(Guest {
                    labels: row.labels,
                    binding,
                    line: row.line,
                });
                for except in &list.shapes()[row.shape as usize].except {
                    let labels = without_root(except.as_wire());
                    input.guest_exceptions.push((partition_of(labels), labels));
                }
            }
        }
        input
    }
}

pub(super) fn without_root(wire: &[u8]) -> &[u8] {
    &wire[..wire.len() - 1]
}

/// Working memory for one partition after the other.
pub(super) struct Partition<'a> {
    pub(super) tree: Tree<'a>,
    /// Chains of all nodes, as template numbers.
    pub(super) chains: Vec<u32>,
    /// Records that forget what shorter names said: node and template.
    pub(super) resets: Vec<(u32, u32)>,
    /// Rules whose lines act on other rules.
    pub(super) directives: Vec<u32>,
    /// Rules that skip names.
    pub(super) with_except: Vec<u32>,
    pub(super) rewrites: Vec<u32>,
    /// What exceptions to rewrites lift, by their nodes.
    pub(super) cancels: FxHashMap<u32, super::directive::Lift>,
    /// Comparisons of exceptions with rewrites so far, over all partitions.
    pub(super) comparisons: usize,
    /// Rules of shorter names that names with exceptions had no room for, over all partitions.
    pub(super) left_out_below: u64,
    pub(super) scratch: super::resolve::Scratch,
    pub(super) unsupported: Vec<(u32, Unsupported)>,
    /// Rules of equal effect in several lists become one, for lack of room in the kernel.
    pub(super) combine: bool,
}

impl<'a> Partition<'a> {
    pub(super) fn new(combine: bool) -> Self {
        Self {
            tree: Tree::new(),
            chains: Vec::new(),
            resets: Vec::new(),
            directives: Vec::new(),
            with_except: Vec::new(),
            rewrites: Vec::new(),
            cancels: FxHashMap::default(),
            comparisons: 0,
            left_out_below: 0,
            scratch: super::resolve::Scratch::default(),
            unsupported: Vec::new(),
            combine,
        }
    }

    /// Builds the tree of partition `number` and decides every rule in it.
    pub(super) fn merge(
        &mut self,
        number: usize,
        input: &Input<'a>,
        templates: &mut Templates,
    ) -> Result<(), Collision> {
        self.clear(number, input);
        self.add_rows(number, input, templates)?;
        if number < PARTITIONS && !input.guests.is_empty() {
            self.add_guests(number, input, templates)?;
        }
        self.apply_directives(number, input, templates)?;
        for node in ROOT + 1..self.tree.nodes.len() as u32 {
            self.resolve(node, templates);
        }
        self.mark_descendants();
        Ok(())
    }

    /// The template numbers of a node's rules, the preferred one first.
    pub(super) fn chain(&self, node: u32) -> &[u32] {
        let node = &self.tree.nodes[node as usize];
        let start = node.chain_start as usize;
        &self.chains[start..start + usize::from(node.chain_len)]
    }

    fn clear(&mut self, number: usize, input: &Input<'a>) {
        let bytes: usize = input.lists.iter().map(|l| l.partition_bytes(number)).sum();
        // A row of a real list has 28 bytes.
        self.tree.clear(bytes / 24);
        self.chains.clear();
        self.resets.clear();
        self.directives.clear();
        self.with_except.clear();
        self.rewrites.clear();
        self.cancels.clear();
        self.unsupported.clear();
    }

    fn add_rows(
        &mut self,
        number: usize,
        input: &Input<'a>,
        templates: &Templates,
    ) -> Result<(), Collision> {
        for (list_number, list) in input.lists.iter().enumerate() {
            for row in list.rows(number) {
                let binding = templates.binding_number(list_number, row.shape);
                let node = self.tree.insert(row.labels, &input.key)?;
                let rule = self.tree.add_rule(node, binding, row.line, false);
                if node == ROOT {
                    self.reject(rule, Unsupported::RootName);
                } else {
                    self.register(rule, templates);
                }
            }
        }
        Ok(())
    }

    /// Notes what later steps must know of a rule.
    fn register(&mut self, rule: u32, templates: &Templates) {
        let binding = templates.binding(self.tree.rules[rule as usize].binding);
        match binding.treatment {
            Treatment::Rule(template) => {
                if templates.template(template).has_except {
                    self.with_except.push(rule);
                }
                if is_rewrite(templates.record(template)) {
                    self.rewrites.push(rule);
                }
            }
            Treatment::Delete(_) | Treatment::Cancel(_) => self.directives.push(rule),
            Treatment::Unsupported(reason) => self.reject(rule, reason),
        }
    }

    pub(super) fn reject(&mut self, rule: u32, reason: Unsupported) {
        let tree_rule = &mut self.tree.rules[rule as usize];
        if reason == Unsupported::NoRoom {
            return self.leave_out(rule);
        }
        tree_rule.fate = Fate::Unsupported;
        // A guest is counted where it is at home.
        if !tree_rule.is_guest {
            self.unsupported.push((rule, reason));
        }
    }

    /// Hangs the rules of single labels onto those top-level domains that occur here.
    fn add_guests(
        &mut self,
        number: usize,
        input: &Input<'a>,
        templates: &Templates,
    ) -> Result<(), Collision> {
        for &(partition, labels) in &input.guest_exceptions {
            if partition == number {
                self.tree.insert(labels, &input.key)?;
            }
        }
        for guest in &input.guests {
            if let Some(node) = self.tree.find(guest.labels, &input.key)? {
                let rule = self.tree.add_rule(node, guest.binding, guest.line, true);
                self.register(rule, templates);
            }
        }
        Ok(())
    }

    fn mark_descendants(&mut self) {
        let nodes = &mut self.tree.nodes;
        for number in (1..nodes.len()).rev() {
            let node = nodes[number];
            if node.chain_len > 0 || node.flags & HAS_DESCENDANTS != 0 {
                nodes[node.parent as usize].flags |= HAS_DESCENDANTS;
            }
        }
    }
}
