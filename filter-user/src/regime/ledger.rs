//! Who was blocked what, by name.
//!
//! The kernel counts by numbers, and numbers change their meaning when lists or
//! policies do. So what came since the last look is booked under the names of
//! now, before they change.

use std::collections::BTreeMap;

use crate::kernel::Tallies;

/// What the numbers in the kernel's tallies mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Policies by number.
    pub policies: BTreeMap<usize, String>,
    /// Lists by number.
    pub lists: Vec<String>,
    /// Categories by bit.
    pub categories: BTreeMap<usize, String>,
}

/// Counts by name since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Queries of each policy that were judged, and those of them that were blocked.
    pub policies: BTreeMap<String, [u64; 2]>,
    /// Blocked queries by list.
    pub lists: BTreeMap<String, u64>,
    /// Blocked queries by category.
    pub categories: BTreeMap<String, u64>,
    booked: Tallies,
}

impl Ledger {
    /// Books what came since the last call under the names that were in force all the while.
    pub fn book(&mut self, tallies: &Tallies, names: &Names) {
        for (number, name) in &names.policies {
            let sums = self.policies.entry(name.clone()).or_default();
            let counts = at(&tallies.policies, *number);
            let booked = at(&self.booked.policies, *number);
            for (sum, (count, booked)) in sums.iter_mut().zip(counts.into_iter().zip(booked)) {
                *sum += count.saturating_sub(booked);
            }
        }
        for (number, name) in names.lists.iter().enumerate() {
            let came = at(&tallies.lists, number).saturating_sub(at(&self.booked.lists, number));
            *self.lists.entry(name.clone()).or_default() += came;
        }
        for (bit, name) in &names.categories {
            let came = at(&tallies.categories, *bit);
            let came = came.saturating_sub(at(&self.booked.categories, *bit));
            *self.categories.entry(name.clone()).or_default() += came;
        }
        // Numbers that are not in use now keep what was booked of them.
        renew(&mut self.booked.policies, &tallies.policies);
        renew(&mut self.booked.lists, &tallies.lists);
        renew(&mut self.booked.categories, &tallies.categories);
    }
}

fn renew<T: Copy>(booked: &mut Vec<T>, now: &[T]) {
    let unused = booked.len().min(now.len());
    booked.splice(..unused, now.iter().copied());
}

fn at<T: Copy + Default>(counts: &[T], number: usize) -> T {
    counts.get(number).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(lists: &[&str], policies: &[(usize, &str)]) -> Names {
        Names {
            policies: policies
                .iter()
                .map(|(n, name)| (*n, (*name).to_owned()))
                .collect(),
            lists: lists.iter().map(|name| (*name).to_owned()).collect(),
            categories: BTreeMap::from([(3, "ads".to_owned())]),
        }
    }

    fn tallies(policies: &[[u64; 2]], lists: &[u64], ads: u64) -> Tallies {
        Tallies {
            policies: policies.to_vec(),
            lists: lists.to_vec(),
            categories: vec![0, 0, 0, ads],
        }
    }

    #[test]
    fn counts_stay_with_their_names_when_numbers_change() {
        let mut ledger = Ledger::default();
        let before = names(&["a", "b"], &[(0, "default"), (1, "kids")]);
        ledger.book(&tallies(&[[10, 1], [5, 2]], &[1, 2], 3), &before);
        let between = names(&["b"], &[(0, "default")]);
        ledger.book(&tallies(&[[10, 1]], &[1], 3), &between);
        let after = names(&["b", "c", "a"], &[(0, "default"), (2, "kids")]);
        ledger.book(&tallies(&[[10, 1], [5, 2], [4, 4]], &[3, 2, 7], 9), &after);
        assert_eq!(ledger.policies["default"], [10, 1]);
        assert_eq!(ledger.policies["kids"], [9, 6]);
        let lists = [("a", 8), ("b", 4), ("c", 0)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(ledger.lists, BTreeMap::from(lists));
        assert_eq!(ledger.categories["ads"], 9);
    }
}
