//! The class records: chains of rules, each distinct chain and tail stored once.

use filter_common::{
    layout::{RULE_HAS_DESCENDANTS, RULE_IS_NODE, RuleRecord},
    table::CLASS_MAX,
};
use rustc_hash::FxHashMap;

use super::template::Templates;

pub use filter_common::verdict::CHAIN_MAX;

/// More distinct chains than class numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// Class records in the making; number 0 is no class.
pub(super) struct Classes {
    records: Vec<RuleRecord>,
    known: FxHashMap<(u32, u16, bool), u16>,
    /// Classes of one rule by template, without and with descendants: nearly all names.
    single: Vec<[u16; 2]>,
    node: u16,
    pub(super) longest_chain: usize,
    /// Classes of one rule, by all of its record but the categories and the list, and by these.
    by_categories: FxHashMap<(RuleRecord, u64), u16>,
}

impl Classes {
    pub(super) fn new() -> Self {
        Self {
            records: vec![RuleRecord::default()],
            known: FxHashMap::default(),
            single: Vec::new(),
            node: 0,
            longest_chain: 0,
            by_categories: FxHashMap::default(),
        }
    }

    /// The class of a name with these rules, the preferred one first; with no rule it is a mere node.
    pub(super) fn class_of(
        &mut self,
        chain: &[u32],
        has_descendants: bool,
        templates: &Templates,
    ) -> Result<u16, TooMany> {
        match chain {
            [] => self.node_class(),
            &[only] => self.single_class(only, has_descendants, templates),
            [head, tail @ ..] => {
                self.longest_chain = self.longest_chain.max(chain.len());
                let mut next = 0;
                for &rule in tail.iter().rev() {
                    next = self.link(rule, next, false, templates)?;
                }
                self.link(*head, next, has_descendants, templates)
            }
        }
    }

    pub(super) fn into_records(self) -> Vec<RuleRecord> {
        self.records
    }

    /// Numbers of records by the list that their rules are of.
    pub(super) fn used(&self, first_list: u32) -> FxHashMap<usize, usize> {
        let mut used = FxHashMap::default();
        for record in &self.records[1..] {
            *used
                .entry((record.list - first_list.min(record.list)) as usize)
                .or_insert(0) += 1;
        }
        used
    }

    /// The class of a rule that is this one for fewer categories, and these: where there is no room
    /// for another class.
    pub(super) fn narrower(
        &mut self,
        record: &RuleRecord,
        has_descendants: bool,
    ) -> Option<(u16, u64)> {
        if self.by_categories.is_empty() {
            let numbered = self.records.iter().enumerate().skip(1);
            let single = numbered.filter(|(_, record)| record.next == 0);
            let keys =
                single.map(|(class, record)| ((bare(record), record.categories), class as u16));
            self.by_categories = keys.collect();
        }
        let mut wanted = bare(record);
        if has_descendants {
            wanted.flags |= RULE_HAS_DESCENDANTS;
        }
        let all = record.categories;
        let bits = || {
            (0..u64::BITS)
                .map(|bit| 1u64 << bit)
                .filter(move |bit| all & bit != 0)
        };
        let without_one = bits().map(|bit| all & !bit);
        let masks = std::iter::once(all).chain(without_one).chain(bits());
        masks
            .filter(|mask| *mask != 0)
            .find_map(|mask| Some((*self.by_categories.get(&(wanted, mask))?, mask)))
    }

    /// The class of a name that only leads to others.
    pub(super) fn node_class(&mut self) -> Result<u16, TooMany> {
        if self.node == 0 {
            self.node = self.push(RuleRecord {
                flags: RULE_IS_NODE | RULE_HAS_DESCENDANTS,
                ..RuleRecord::default()
            })?;
        }
        Ok(self.node)
    }

    #[inline]
    fn single_class(
        &mut self,
        rule: u32,
        has_descendants: bool,
        templates: &Templates,
    ) -> Result<u16, TooMany> {
        let at = rule as usize;
        if at >= self.single.len() {
            self.single.resize(templates.template_count(), [0; 2]);
        }
        let known = self.single[at][usize::from(has_descendants)];
        if known != 0 {
            return Ok(known);
        }
        self.longest_chain = self.longest_chain.max(1);
        let class = self.link(rule, 0, has_descendants, templates)?;
        self.single[at][usize::from(has_descendants)] = class;
        Ok(class)
    }

    /// The class that starts with `rule` and goes on with class `next`.
    fn link(
        &mut self,
        rule: u32,
        next: u16,
        has_descendants: bool,
        templates: &Templates,
    ) -> Result<u16, TooMany> {
        if let Some(&known) = self.known.get(&(rule, next, has_descendants)) {
            return Ok(known);
        }
        let mut record = *templates.record(rule);
        record.next = u32::from(next);
        if has_descendants {
            record.flags |= RULE_HAS_DESCENDANTS;
        }
        let class = self.push(record)?;
        self.known.insert((rule, next, has_descendants), class);
        Ok(class)
    }

    fn push(&mut self, record: RuleRecord) -> Result<u16, TooMany> {
        if self.records.len() > usize::from(CLASS_MAX) {
            return Err(TooMany);
        }
        self.records.push(record);
        Ok((self.records.len() - 1) as u16)
    }
}

/// A record without what tells who it is for and where it comes from.
fn bare(record: &RuleRecord) -> RuleRecord {
    RuleRecord {
        categories: 0,
        list: 0,
        next: 0,
        ..*record
    }
}
