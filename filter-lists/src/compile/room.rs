//! What becomes of rules for which there is no room.
//!
//! A chain holds [`CHAIN_MAX`] rules and an image 65,535 different ones. One list that breaks these
//! bounds must not cost others theirs: what is too much goes from the list that has the most, its
//! weakest rules first, and is counted.

use filter_common::verdict::CHAIN_MAX;
use rustc_hash::FxHashMap;

use super::list::ListBuilder;
use crate::provenance::SHAPE_MAX;

/// Rules of one name that are weighed against each other, of all lists.
pub(super) const WEIGHED_MAX: usize = 512;
/// Different rules that are left to a list that has used up an image's.
const KINDS_LEFT: usize = 64;

/// How much must be left out for everything to fit.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    /// Rules of equal effect in several lists become one.
    pub(super) combine: bool,
    /// Names give up rules where an image has no room for one more combination of them.
    pub(super) cut: bool,
    /// So many kinds of rules may a list have; no entry means any number.
    kinds: FxHashMap<usize, usize>,
}

impl Limits {
    /// The bounds that lists need so that an image can number their kinds of rules.
    pub(super) fn of(lists: &[&ListBuilder]) -> Self {
        let mut limits = Self::default();
        let mut most = SHAPE_MAX / 2;
        let total = |most: usize| -> usize {
            let kinds = lists.iter().map(|list| list.shapes().len().min(most));
            // What deletes others needs a number for its target, too.
            kinds.sum::<usize>() * 2
        };
        while most > KINDS_LEFT && total(most) > SHAPE_MAX {
            most /= 2;
        }
        for (number, list) in lists.iter().enumerate() {
            if list.shapes().len() > most {
                limits.kinds.insert(number, most);
            }
        }
        limits
    }

    /// Leaves out more, after an image had no room for so many different rules of each list;
    /// `false` if nothing is left to leave out.
    pub(super) fn tighten(&mut self, used: &FxHashMap<usize, usize>) -> bool {
        if !self.combine {
            self.combine = true;
            return true;
        }
        let total: usize = used.values().sum();
        let before = self.kinds.len();
        let mut is_new = false;
        for (&list, &count) in used {
            // A quarter of all is more than a fair share wherever it matters.
            if count > KINDS_LEFT * CHAIN_MAX && count * 4 > total {
                let left = self.kinds.entry(list).or_insert(usize::MAX);
                is_new |= *left > KINDS_LEFT;
                *left = KINDS_LEFT;
            }
        }
        if is_new || self.kinds.len() > before {
            return true;
        }
        !std::mem::replace(&mut self.cut, true)
    }

    /// Which kinds of rules a list may not have: all but those that most of its rules are of.
    pub(super) fn excluded(&self, number: usize, list: &ListBuilder) -> Vec<bool> {
        let kinds = list.shapes().len();
        let mut excluded = vec![false; kinds];
        if let Some(&most) = self.kinds.get(&number)
            && most < kinds
        {
            let mut counts = vec![0usize; kinds];
            for (.., kind) in list.rules() {
                counts[kind as usize] += 1;
            }
            let mut order: Vec<_> = (0..kinds).collect();
            order.sort_by_key(|&kind| std::cmp::Reverse(counts[kind]));
            for &kind in &order[most..] {
                excluded[kind] = true;
            }
        }
        excluded
    }
}

/// How many rules each list may keep where there is room for so many: each in turn gets one more.
///
/// `lists` has the list of each rule, the strongest first.
pub(super) fn shares(lists: &[u32], room: usize) -> FxHashMap<u32, usize> {
    let mut counts: FxHashMap<u32, usize> = FxHashMap::default();
    let mut order = Vec::new();
    for &list in lists {
        let count = counts.entry(list).or_insert(0);
        if *count == 0 {
            order.push(list);
        }
        *count += 1;
    }
    let mut shares: FxHashMap<u32, usize> = FxHashMap::default();
    let mut left = room.min(lists.len());
    while left > 0 {
        for list in &order {
            let share = shares.entry(*list).or_insert(0);
            if left > 0 && *share < counts[list] {
                *share += 1;
                left -= 1;
            }
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_goes_from_the_list_that_has_the_most() {
        let shares = |lists: &[u32], room| {
            let mut shares: Vec<_> = shares(lists, room).into_iter().collect();
            shares.sort_unstable();
            shares
        };
        assert_eq!(shares(&[7, 7, 7, 7, 9], 3), [(7, 2), (9, 1)]);
        assert_eq!(shares(&[1, 2, 3, 4], 2), [(1, 1), (2, 1), (3, 0), (4, 0)]);
        assert_eq!(shares(&[1], 5), [(1, 1)]);
        assert_eq!(shares(&[], 5), []);
    }
}
