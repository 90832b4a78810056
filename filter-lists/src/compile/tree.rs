//! The names of one partition with all their parents, as a tree.
//!
//! Nodes are found by their keyed hash and compared by name, so that two names
//! with one hash cannot pass unnoticed. A parent always comes before its
//! children: walking nodes by number goes from short names to long ones.

use filter_common::{hash::HashKey, suffix::SuffixHasher};

use crate::provenance::Fate;

/// No node, no rule.
pub(super) const NONE: u32 = u32::MAX;
/// The node of the root name.
pub(super) const ROOT: u32 = 0;

/// Some node below is in the table.
pub(super) const HAS_DESCENDANTS: u8 = 1;
/// The node starts with records that forget what shorter names said.
pub(super) const HAS_RESETS: u8 = 2;

/// One name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    pub(super) hash: u64,
    /// Labels in wire format, without the root label.
    pub(super) name: &'a [u8],
    pub(super) parent: u32,
    /// First of the rules of this name, linked by [`TreeRule::next`].
    pub(super) first_rule: u32,
    /// The nearest node, from this one up, with a rule for names below it.
    pub(super) cover: u32,
    /// Where the resolved chain starts.
    pub(super) chain_start: u32,
    pub(super) chain_len: u8,
    pub(super) depth: u8,
    pub(super) flags: u8,
    /// Class in the table, 0 if the name is not in it.
    pub(super) class: u16,
}

/// One rule of one list.
#[derive(Clone, Copy, Debug)]
pub(super) struct TreeRule {
    pub(super) next: u32,
    pub(super) node: u32,
    pub(super) binding: u32,
    pub(super) line: u32,
    pub(super) fate: Fate,
    /// A rule of a top-level domain, here only for what it does to this partition.
    pub(super) is_guest: bool,
}

/// Two names of a partition have the same hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Collision;

/// The names and rules of one partition.
pub(super) struct Tree<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) rules: Vec<TreeRule>,
    /// Open addressing: node numbers, [`NONE`] where nothing is.
    slots: Vec<u32>,
    hasher: SuffixHasher,
}

impl<'a> Tree<'a> {
    pub(super) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            rules: Vec::new(),
            slots: Vec::new(),
            hasher: SuffixHasher::new(),
        }
    }

    /// Empties the tree for about `rule_count` rules; keeps its memory.
    pub(super) fn clear(&mut self, rule_count: usize) {
        self.nodes.clear();
        self.rules.clear();
        self.slots.clear();
        let slot_count = (rule_count * 3).next_power_of_two().max(64);
        self.slots.resize(slot_count, NONE);
        self.nodes.push(Node {
            hash: 0,
            name: &[],
            parent: NONE,
            first_rule: NONE,
            cover: NONE,
            chain_start: 0,
            chain_len: 0,
            depth: 0,
            flags: 0,
            class: 0,
        });
    }

    /// The node of a name; makes it and its parents where they are missing.
    pub(super) fn insert(&mut self, name: &'a [u8], key: &HashKey) -> Result<u32, Collision> {
        let mut at = ROOT;
        for suffix in self.hasher.suffixes(name, key) {
            let labels = &name[suffix.start..];
            let slot = match locate(&self.slots, &self.nodes, suffix.hash, labels)? {
                Ok(node) => {
                    at = node;
                    continue;
                }
                Err(slot) => slot,
            };
            self.slots[slot] = self.nodes.len() as u32;
            self.nodes.push(Node {
                hash: suffix.hash,
                name: labels,
                parent: at,
                first_rule: NONE,
                cover: NONE,
                chain_start: 0,
                chain_len: 0,
                depth: suffix.depth as u8,
                flags: 0,
                class: 0,
            });
            at = self.nodes.len() as u32 - 1;
            if self.nodes.len() * 2 > self.slots.len() {
                grow(&mut self.slots, &self.nodes);
            }
        }
        Ok(at)
    }

    /// Calls `each` for every suffix of `name` with its depth, its hash and its node, if it has one.
    pub(super) fn look_up(
        &mut self,
        name: &[u8],
        key: &HashKey,
        mut each: impl FnMut(usize, u64, Option<&Node<'a>>),
    ) -> Result<(), Collision> {
        for suffix in self.hasher.suffixes(name, key) {
            let found = locate(&self.slots, &self.nodes, suffix.hash, &name[suffix.start..])?;
            let node = found.ok().map(|node| &self.nodes[node as usize]);
            each(suffix.depth, suffix.hash, node);
        }
        Ok(())
    }

    /// The node of a name, if it has one.
    pub(super) fn find(&mut self, name: &[u8], key: &HashKey) -> Result<Option<u32>, Collision> {
        match self.hasher.suffixes(name, key).last() {
            Some(suffix) => Ok(locate(&self.slots, &self.nodes, suffix.hash, name)?.ok()),
            None => Ok(Some(ROOT)),
        }
    }

    /// Adds a rule to a node.
    pub(super) fn add_rule(&mut self, node: u32, binding: u32, line: u32, is_guest: bool) -> u32 {
        let number = self.rules.len() as u32;
        let first = &mut self.nodes[node as usize].first_rule;
        self.rules.push(TreeRule {
            next: *first,
            node,
            binding,
            line,
            fate: Fate::InTable,
            is_guest,
        });
        *first = number;
        number
    }

    /// Numbers of the rules of a node.
    pub(super) fn rules_of(&self, node: u32) -> impl Iterator<Item = u32> {
        let mut next = self.nodes[node as usize].first_rule;
        std::iter::from_fn(move || {
            let rule = self.rules.get(next as usize)?;
            Some(std::mem::replace(&mut next, rule.next))
        })
    }

    /// Whether `node` is strictly below `above`.
    pub(super) fn is_below(&self, node: u32, above: u32) -> bool {
        let mut at = self.nodes[node as usize].parent;
        while at != NONE && at > above {
            at = self.nodes[at as usize].parent;
        }
        at == above && node != above
    }
}

/// The node of a name, or the free slot for it.
#[inline]
fn locate(
    slots: &[u32],
    nodes: &[Node],
    hash: u64,
    labels: &[u8],
) -> Result<Result<u32, usize>, Collision> {
    let mask = slots.len() - 1;
    let mut slot = hash as usize & mask;
    loop {
        let number = slots[slot];
        if number == NONE {
            return Ok(Err(slot));
        }
        let node = &nodes[number as usize];
        if node.hash == hash && number != ROOT {
            return match node.name == labels {
                true => Ok(Ok(number)),
                false => Err(Collision),
            };
        }
        slot = (slot + 1) & mask;
    }
}

fn grow(slots: &mut Vec<u32>, nodes: &[Node]) {
    let len = slots.len() * 2;
    slots.clear();
    slots.resize(len, NONE);
    for (number, node) in nodes.iter().enumerate().skip(1) {
        let mut slot = node.hash as usize & (len - 1);
        while slots[slot] != NONE {
            slot = (slot + 1) & (len - 1);
        }
        slots[slot] = number as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: HashKey = HashKey::from_words([1, 2, 3]);

    #[test]
    fn a_name_brings_its_parents_and_is_found_again() {
        let mut tree = Tree::new();
        tree.clear(1);
        let leaf = tree.insert(b"\x01a\x01b\x01c", &KEY).unwrap();
        assert_eq!(tree.nodes.len(), 4);
        assert_eq!(tree.insert(b"\x01a\x01b\x01c", &KEY), Ok(leaf));
        let parent = tree.insert(b"\x01b\x01c", &KEY).unwrap();
        assert_eq!(tree.nodes[leaf as usize].parent, parent);
        assert!(tree.is_below(leaf, parent) && tree.is_below(leaf, ROOT));
        assert!(!tree.is_below(parent, leaf) && !tree.is_below(leaf, leaf));
    }

    #[test]
    fn names_are_found_after_the_tree_grew() {
        let names: Vec<_> = (10_000..15_000)
            .map(|i| format!("\x05{i}\x01x").into_bytes())
            .collect();
        let mut tree = Tree::new();
        tree.clear(1);
        let numbers: Vec<_> = names
            .iter()
            .map(|n| tree.insert(n, &KEY).unwrap())
            .collect();
        for (name, number) in names.iter().zip(numbers) {
            assert_eq!(tree.insert(name, &KEY), Ok(number));
        }
    }

    #[test]
    fn two_names_with_one_hash_are_a_collision() {
        let mut tree = Tree::new();
        tree.clear(1);
        let node = tree.insert(b"\x01a\x01b", &KEY).unwrap();
        tree.nodes[node as usize].name = b"\x01z\x01b";
        assert_eq!(tree.insert(b"\x01a\x01b", &KEY), Err(Collision));
    }
}
