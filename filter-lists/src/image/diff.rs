//! What a new image changes.
//!
//! Names are compared by the hash of the provenance, which no key changes: the
//! lists need not be at hand. An example is told by its list and line, and by the hash of its name.

use std::collections::BTreeMap;

use filter_common::name::Name;
use rustc_hash::FxHashMap;
use serde::Serialize;

use super::{Decision, Image};
use crate::{
    image::ListInfo,
    provenance::{Fate, PARTITIONS, Row},
    rule::Effect,
};

/// Numbers of names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NameCounts {
    /// Names with a rule in the old image.
    pub old: u64,
    /// Names with a rule in the new image.
    pub new: u64,
    /// Names with a rule in the new image only.
    pub added: u64,
    /// Names with a rule in the old image only.
    pub removed: u64,
    /// Names with other rules than before.
    pub changed: u64,
}

/// What changed in one list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ListDiff {
    /// Names.
    pub names: NameCounts,
    /// Lines of the new list with new names, the first few.
    pub added_lines: Vec<u32>,
    /// Lines of the old list with names that are gone, the first few.
    pub removed_lines: Vec<u32>,
    /// [`origin_hash`] of the name in each of the new lines.
    ///
    /// [`origin_hash`]: crate::provenance::origin_hash
    #[serde(skip)]
    pub added_hashes: Vec<u64>,
    /// The same of those that are gone.
    #[serde(skip)]
    pub removed_hashes: Vec<u64>,
}

/// What a new image changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// All lists together.
    pub total: NameCounts,
    /// By name of the list.
    pub lists: BTreeMap<String, ListDiff>,
    /// By category; lists that belong to every category count under none.
    pub categories: BTreeMap<String, NameCounts>,
}

/// A name whose verdict changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictChange {
    /// The name.
    pub name: Name,
    /// What the old image says.
    pub old: Decision,
    /// What the new image says.
    pub new: Decision,
    /// The rule that decides in the new image, else the one that decided in the old one.
    pub rule: Option<String>,
    /// The list of that rule.
    pub list: Option<String>,
    /// The line of that rule.
    pub line: Option<u32>,
}

/// So many lines of a list are kept as examples.
const EXAMPLES: usize = 10;

impl Diff {
    /// Compares two images.
    pub fn between(old: &Image, new: &Image) -> Self {
        let mut comparison = Comparison::default();
        let mut old = Side::of(old, &mut comparison);
        let mut new = Side::of(new, &mut comparison);
        for partition in 0..=PARTITIONS {
            let mut old_rows = old.image.provenance.partition(partition);
            let mut new_rows = new.image.provenance.partition(partition);
            while let Some(hash) = smallest(old_rows, new_rows) {
                old.take_name(&mut old_rows, hash, &mut comparison);
                new.take_name(&mut new_rows, hash, &mut comparison);
                comparison.compare_name(hash, &old.rules, &new.rules);
            }
        }
        comparison.finish()
    }

    /// The names of `names` whose verdict for `qtype` changes under a policy with these categories.
    pub fn verdict_changes<'a>(
        old: &'a Image,
        new: &'a Image,
        names: impl IntoIterator<Item = Name> + 'a,
        qtype: u16,
        category_mask: u64,
    ) -> impl Iterator<Item = VerdictChange> + 'a {
        names.into_iter().filter_map(move |name| {
            let before = old.query(&name, qtype, category_mask);
            let after = new.query(&name, qtype, category_mask);
            if before.decision == after.decision {
                return None;
            }
            let (old, new) = (before.decision, after.decision);
            let origin = after.winner.or(before.winner);
            Some(VerdictChange {
                name,
                old,
                new,
                rule: origin.as_ref().map(|o| o.rule.clone()),
                list: origin.as_ref().map(|o| o.list_name.to_owned()),
                line: origin.as_ref().map(|o| o.line),
            })
        })
    }
}

/// One rule of a name, in numbers that mean the same in both images.
#[derive(Clone, Copy)]
struct Ruled {
    list: u32,
    meaning: u32,
    /// Bits of [`Comparison::categories`].
    categories: u128,
    line: u32,
}

/// One of both images.
struct Side<'a> {
    image: &'a Image,
    /// Number of each list in the comparison.
    lists: Vec<u32>,
    /// Categories of each list in the comparison.
    categories: Vec<u128>,
    /// Number of the meaning of a shape in a list.
    meanings: FxHashMap<(usize, usize), u32>,
    /// The rules of the name at hand.
    rules: Vec<Ruled>,
}

impl<'a> Side<'a> {
    fn of(image: &'a Image, comparison: &mut Comparison) -> Self {
        let lists = image
            .lists
            .iter()
            .map(|list| comparison.list(&list.name))
            .collect();
        let categories = image.lists.iter();
        let categories = categories.map(|list| comparison.mask_of(list)).collect();
        Self {
            image,
            lists,
            categories,
            meanings: FxHashMap::default(),
            rules: Vec::new(),
        }
    }

    /// Takes the rules of the name with this hash off the rows.
    fn take_name(&mut self, rows: &mut &'a [Row], hash: u64, comparison: &mut Comparison) {
        use Fate::{Duplicate, InTable, Overridden, Redundant};
        self.rules.clear();
        while let Some((row, rest)) = rows.split_first().filter(|(row, _)| row.name_hash == hash) {
            *rows = rest;
            if let Some(InTable | Duplicate | Redundant | Overridden) = row.fate() {
                let place = (row.list(), row.shape());
                let image = self.image;
                let meaning = self.meanings.entry(place);
                let meaning = *meaning.or_insert_with(|| comparison.meaning(&spell(image, place)));
                self.rules.push(Ruled {
                    list: self.lists[row.list()],
                    meaning,
                    categories: self.categories[row.list()],
                    line: row.line,
                });
            }
        }
    }
}

/// What a shape means in a list, in words that both images share.
fn spell(image: &Image, (list, shape): (usize, usize)) -> String {
    let shape = &image.shapes[shape];
    let answer = match shape.effect {
        Effect::Block(_) | Effect::Rewrite(_) => image.lists[list].answer.as_ref(),
        _ => None,
    };
    format!("{} {answer:?}", shape.display(&Name::ROOT))
}

/// How the rules of a name differ.
#[derive(Clone, Copy)]
enum Kind {
    Absent,
    Same,
    Added,
    Removed,
    Changed,
}

impl Kind {
    fn of(old: &[Ruled], new: &[Ruled], selected: impl Fn(&Ruled) -> bool) -> Self {
        let chosen = |rules: &'_ [Ruled]| rules.iter().filter(|r| selected(r)).count();
        match (chosen(old), chosen(new)) {
            (0, 0) => Self::Absent,
            (0, _) => Self::Added,
            (_, 0) => Self::Removed,
            _ => {
                let within = |some: &[Ruled], all: &[Ruled]| {
                    let mut some = some.iter().filter(|r| selected(r));
                    some.all(|a| all.iter().any(|b| selected(b) && a.meaning == b.meaning))
                };
                if within(old, new) && within(new, old) {
                    Self::Same
                } else {
                    Self::Changed
                }
            }
        }
    }
}

impl NameCounts {
    fn count(&mut self, kind: Kind) {
        self.old += u64::from(matches!(kind, Kind::Same | Kind::Changed | Kind::Removed));
        self.new += u64::from(matches!(kind, Kind::Same | Kind::Changed | Kind::Added));
        self.added += u64::from(matches!(kind, Kind::Added));
        self.removed += u64::from(matches!(kind, Kind::Removed));
        self.changed += u64::from(matches!(kind, Kind::Changed));
    }

    fn add(&mut self, other: &Self) {
        self.old += other.old;
        self.new += other.new;
        self.added += other.added;
        self.removed += other.removed;
        self.changed += other.changed;
    }
}

#[derive(Default)]
struct Comparison {
    list_numbers: BTreeMap<String, u32>,
    /// By bit; two images have at most twice as many as one.
    categories: Vec<String>,
    meanings: FxHashMap<String, u32>,
    total: NameCounts,
    lists: Vec<ListDiff>,
    /// By the categories that all rules of a name share: nearly all names.
    by_mask: FxHashMap<u128, NameCounts>,
    by_bit: BTreeMap<u8, NameCounts>,
}

impl Comparison {
    fn list(&mut self, name: &str) -> u32 {
        let next = self.list_numbers.len() as u32;
        let number = *self.list_numbers.entry(name.to_owned()).or_insert(next);
        if number == next {
            self.lists.push(ListDiff::default());
        }
        number
    }

    /// The bits of a list's categories: an image numbers them as it likes.
    fn mask_of(&mut self, list: &ListInfo) -> u128 {
        match &list.category {
            Some(name) => self.category(name),
            // A list of every category counts under none.
            None => 0,
        }
    }

    fn category(&mut self, name: &str) -> u128 {
        let known = self.categories.iter().position(|known| known == name);
        let bit = known.unwrap_or_else(|| {
            self.categories.push(name.to_owned());
            self.categories.len() - 1
        });
        1u128.checked_shl(bit as u32).unwrap_or(0)
    }

    fn meaning(&mut self, spelled: &str) -> u32 {
        let next = self.meanings.len() as u32;
        *self.meanings.entry(spelled.to_owned()).or_insert(next)
    }

    fn compare_name(&mut self, hash: u64, old: &[Ruled], new: &[Ruled]) {
        let kind = Kind::of(old, new, |_| true);
        self.total.count(kind);
        self.compare_categories(old, new, kind);
        let all = || old.iter().chain(new);
        for (i, rule) in all().enumerate() {
            if all().take(i).any(|before| before.list == rule.list) {
                continue;
            }
            let kind = Kind::of(old, new, |r| r.list == rule.list);
            let list = &mut self.lists[rule.list as usize];
            list.names.count(kind);
            match kind {
                Kind::Added => {
                    keep(&mut list.added_lines, rule.line);
                    keep(&mut list.added_hashes, hash);
                }
                Kind::Removed => {
                    keep(&mut list.removed_lines, rule.line);
                    keep(&mut list.removed_hashes, hash);
                }
                Kind::Absent | Kind::Same | Kind::Changed => {}
            }
        }
    }

    fn compare_categories(&mut self, old: &[Ruled], new: &[Ruled], kind: Kind) {
        let masks = || old.iter().chain(new).map(|r| r.categories);
        let first = masks().next().unwrap_or(0);
        if masks().all(|mask| mask == first) {
            self.by_mask.entry(first).or_default().count(kind);
            return;
        }
        for bit in bits_of(masks().fold(0, |all, mask| all | mask)) {
            let kind = Kind::of(old, new, |r| r.categories >> bit & 1 == 1);
            self.by_bit.entry(bit).or_default().count(kind);
        }
    }

    fn finish(mut self) -> Diff {
        for (mask, change) in &self.by_mask {
            for bit in bits_of(*mask) {
                self.by_bit.entry(bit).or_default().add(change);
            }
        }
        let mut lists = self.lists;
        let take =
            |(name, number): (String, u32)| (name, std::mem::take(&mut lists[number as usize]));
        Diff {
            total: self.total,
            lists: self.list_numbers.into_iter().map(take).collect(),
            categories: (self.by_bit.into_iter())
                .map(|(bit, change)| (self.categories[usize::from(bit)].clone(), change))
                .collect(),
        }
    }
}

fn bits_of(mask: u128) -> impl Iterator<Item = u8> {
    (0..128).filter(move |bit| mask >> bit & 1 == 1)
}

fn smallest(old: &[Row], new: &[Row]) -> Option<u64> {
    let first = |rows: &[Row]| rows.first().map(|row| row.name_hash);
    match (first(old), first(new)) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn keep<T>(examples: &mut Vec<T>, example: T) {
    if examples.len() < EXAMPLES {
        examples.push(example);
    }
}
