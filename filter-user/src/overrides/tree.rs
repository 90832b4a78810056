//! Overrides as the kernel looks them up: a record for each name with one, and for each parent.
//!
//! The walk of [`filter_common::overrides`] goes from the last label to the first
//! and stops where no record leads on. So a name counts how many overrides are
//! below it, and its record stays as long as there is one.

use filter_common::{
    hash::HashKey,
    layout::{Decision, OVERRIDE_BY_CLIENT, OVERRIDE_BY_POLICY, OVERRIDE_LEADS_ON, OverrideRecord},
    overrides::{self, ClientKey},
    suffix::SuffixHasher,
};
use rustc_hash::FxHashMap;

use super::{Difference, OverrideName, OverrideScope};

/// What the kernel is told of an override.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: OverrideName,
    /// Whether names below it are meant too.
    pub scope: OverrideScope,
    /// For whom.
    pub client_key: ClientKey,
    /// What is decided, until when, and the number of the override.
    pub decision: Decision,
}

/// The names with overrides and their parents, by hash.
#[derive(Clone, Debug)]
pub struct Tree {
    key: HashKey,
    nodes: FxHashMap<u64, Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Overrides of names below this one.
    below: u32,
    entries: Vec<NodeEntry>,
}

/// What was said of a name to somebody.
#[derive(Clone, Copy, Debug)]
struct NodeEntry {
    client_key: ClientKey,
    scope: OverrideScope,
    decision: Decision,
}

/// Records that a change touches, as they were before.
type Touched = FxHashMap<(u64, u64), Option<OverrideRecord>>;

impl Tree {
    /// A tree without overrides, under the key that the kernel has.
    pub fn new(key: HashKey) -> Self {
        Self {
            key,
            nodes: FxHashMap::default(),
        }
    }

    /// The key.
    pub fn key(&self) -> &HashKey {
        &self.key
    }

    /// Whether there is no override.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Records that the kernel holds for it.
    pub fn record_count(&self) -> usize {
        self.records().count()
    }

    /// Every record with its key.
    pub fn records(&self) -> impl Iterator<Item = (u64, OverrideRecord)> {
        self.nodes.iter().flat_map(|(name, node)| {
            let client_keys = std::iter::once(ClientKey::EVERYBODY).chain(node.own_client_keys());
            client_keys.filter_map(|client_key| {
                let record = node.record(client_key)?;
                Some((overrides::key(*name, client_key, &self.key), record))
            })
        })
    }

    /// Takes entries out, by the numbers of their overrides, and puts others in.
    ///
    /// Returns the records that are different now.
    pub fn change(&mut self, removed: &[Entry], added: &[Entry]) -> Vec<Difference> {
        let mut touched = Touched::default();
        let mut hasher = SuffixHasher::new();
        for entry in removed {
            self.remove(entry, &mut hasher, &mut touched);
        }
        for entry in added {
            self.insert(entry, &mut hasher, &mut touched);
        }
        let differences = touched.into_iter().filter_map(|((name, client_key), old)| {
            let client_key = ClientKey(client_key);
            let new = self.record(name, client_key);
            (old != new).then(|| Difference {
                key: overrides::key(name, client_key, &self.key),
                old,
                new,
            })
        });
        differences.collect()
    }

    fn insert(&mut self, entry: &Entry, hasher: &mut SuffixHasher, touched: &mut Touched) {
        let (name, parents) = self.path(entry, hasher);
        for parent in parents {
            if self.nodes.get(&parent).is_none_or(|node| node.below == 0) {
                self.touch(parent, ClientKey::EVERYBODY, touched);
            }
            self.nodes.entry(parent).or_default().below += 1;
        }
        self.touch(name, ClientKey::EVERYBODY, touched);
        self.touch(name, entry.client_key, touched);
        self.nodes.entry(name).or_default().entries.push(NodeEntry {
            client_key: entry.client_key,
            scope: entry.scope,
            decision: entry.decision,
        });
    }

    fn remove(&mut self, entry: &Entry, hasher: &mut SuffixHasher, touched: &mut Touched) {
        let (name, parents) = self.path(entry, hasher);
        self.touch(name, ClientKey::EVERYBODY, touched);
        self.touch(name, entry.client_key, touched);
        let Some(node) = self.nodes.get_mut(&name) else {
            return;
        };
        let is_it = |said: &NodeEntry| said.decision.id == entry.decision.id;
        let Some(at) = node.entries.iter().position(is_it) else {
            return;
        };
        node.entries.swap_remove(at);
        self.drop_if_empty(name);
        for parent in parents {
            if self.nodes.get(&parent).is_some_and(|node| node.below == 1) {
                self.touch(parent, ClientKey::EVERYBODY, touched);
            }
            if let Some(node) = self.nodes.get_mut(&parent) {
                node.below -= 1;
            }
            self.drop_if_empty(parent);
        }
    }

    /// The hash of the name, and those of its parents but the root.
    fn path(&self, entry: &Entry, hasher: &mut SuffixHasher) -> (u64, Vec<u64>) {
        let suffixes = hasher.suffixes(entry.name.as_wire(), &self.key);
        let mut hashes: Vec<u64> = suffixes.map(|suffix| suffix.hash).collect();
        (hashes.pop().unwrap_or(self.key.root), hashes)
    }

    fn touch(&self, name: u64, client_key: ClientKey, touched: &mut Touched) {
        touched
            .entry((name, client_key.0))
            .or_insert_with(|| self.record(name, client_key));
    }

    fn drop_if_empty(&mut self, name: u64) {
        if self.nodes.get(&name).is_some_and(Node::is_empty) {
            self.nodes.remove(&name);
        }
    }

    fn record(&self, name: u64, client_key: ClientKey) -> Option<OverrideRecord> {
        self.nodes.get(&name)?.record(client_key)
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.below == 0 && self.entries.is_empty()
    }

    /// Subjects with a record of their own, each once.
    fn own_client_keys(&self) -> impl Iterator<Item = ClientKey> {
        let mut client_keys: Vec<u64> = self.entries.iter().map(|said| said.client_key.0).collect();
        client_keys.sort_unstable();
        client_keys.dedup();
        client_keys
            .into_iter()
            .map(ClientKey)
            .filter(|client_key| *client_key != ClientKey::EVERYBODY)
    }

    /// What the kernel is told; the number of the batch is set when it is written.
    fn record(&self, client_key: ClientKey) -> Option<OverrideRecord> {
        let flags = if client_key == ClientKey::EVERYBODY {
            self.flags()
        } else {
            0
        };
        let is_said = self
            .entries
            .iter()
            .any(|said| said.client_key == client_key);
        if flags == 0 && !is_said {
            return None;
        }
        let [(name, name_then), (below, below_then)] =
            [true, false].map(|is_name| self.decisions(client_key, is_name));
        Some(OverrideRecord {
            batch: 0,
            flags,
            before: [name_then, below_then],
            after: [name, below],
        })
    }

    fn flags(&self) -> u32 {
        let leads_on = if self.below > 0 { OVERRIDE_LEADS_ON } else { 0 };
        self.entries.iter().fold(leads_on, |flags, said| {
            flags
                | if said.client_key == ClientKey::EVERYBODY {
                    0
                } else if said.client_key.is_policy() {
                    OVERRIDE_BY_POLICY
                } else {
                    OVERRIDE_BY_CLIENT
                }
        })
    }

    /// What holds for a client_key, for the name itself or those below, and what then.
    fn decisions(&self, client_key: ClientKey, is_name: bool) -> (Decision, Decision) {
        let said = self.entries.iter();
        let mut said: Vec<&NodeEntry> = said
            .filter(|said| said.client_key == client_key)
            .filter(|said| is_name || said.scope == OverrideScope::Suffix)
            .collect();
        // For the name only before for it and all below, and with an end before without.
        said.sort_unstable_by_key(|said| (said.scope, said.decision.expires_ns == 0));
        let mut decisions = said.into_iter().map(|said| said.decision);
        let first = decisions.next().unwrap_or_default();
        let is_timed = first.expires_ns != 0;
        let then = decisions.next().filter(|_| is_timed);
        (first, then.unwrap_or_default())
    }
}
