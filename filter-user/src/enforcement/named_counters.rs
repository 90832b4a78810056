//! Who was blocked what, by name.
//!
//! The kernel counts by numbers, and numbers change their meaning when lists or
//! policies do. So what came since the last look is recorded under the names of
//! now, before they change.

use std::collections::BTreeMap;

use filter_common::reason::Action;
use filter_kernel::{Counters, Tallies};

/// What the numbers in the kernel's tallies mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Policies by number.
    pub policies: BTreeMap<usize, String>,
    /// Lists by number, each with its category.
    pub lists: Vec<(String, Option<String>)>,
    /// Lists of custom categories, in the order of their numbers.
    pub custom_lists: Vec<(String, Option<String>)>,
}

/// Queries that were judged, and those of them that were blocked.
type Pair = [u64; 2];

/// Counts by name since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedCounters {
    /// Queries of each policy that were judged, and those of them that were blocked.
    pub policies: BTreeMap<String, Pair>,
    /// Queries that a rule blocks, by list.
    pub lists: BTreeMap<String, u64>,
    /// The same by category; lists without one are in none.
    pub categories: BTreeMap<String, u64>,
    recorded: Tallies,
    recorded_of_all: Pair,
}

impl NamedCounters {
    /// Books what came since the last call under the names that were in force all the while.
    pub fn record(&mut self, tallies: &Tallies, of_all: &Counters, names: &Names) {
        self.record_policies(tallies, judged(of_all), names);
        self.record_lists(&names.lists, &tallies.lists, &self.recorded.lists.clone());
        let recorded = self.recorded.custom_lists.clone();
        self.record_lists(&names.custom_lists, &tallies.custom_lists, &recorded);
        // Numbers that are not in use now keep what was recorded of them.
        renew(&mut self.recorded.policies, &tallies.policies);
        renew(&mut self.recorded.lists, &tallies.lists);
        renew(&mut self.recorded.custom_lists, &tallies.custom_lists);
    }

    fn record_lists(&mut self, names: &[(String, Option<String>)], now: &[u64], recorded: &[u64]) {
        for (number, (name, category)) in names.iter().enumerate() {
            let came = at(now, number).saturating_sub(at(recorded, number));
            *self.lists.entry(name.clone()).or_default() += came;
            if let Some(category) = category {
                *self.categories.entry(category.clone()).or_default() += came;
            }
        }
    }

    /// The default policy has what no other one has: it is not counted while it is alone.
    fn record_policies(&mut self, tallies: &Tallies, of_all: Pair, names: &Names) {
        let mut left = came(of_all, self.recorded_of_all);
        self.recorded_of_all = of_all;
        for (number, name) in names.policies.iter().filter(|(number, _)| **number != 0) {
            let counted = at(&tallies.policies, *number);
            let came = came(counted, at(&self.recorded.policies, *number));
            add(self.policies.entry(name.clone()).or_default(), came);
            left = self::came(left, came);
        }
        if let Some(default) = names.policies.get(&0) {
            add(self.policies.entry(default.clone()).or_default(), left);
        }
    }
}

/// Every query that was judged by its name, and those of them that were blocked.
fn judged(counters: &Counters) -> Pair {
    let of_queries = counters.iter().filter(|(reason, _)| reason.is_of_query());
    of_queries.fold([0, 0], |[queries, blocked], (reason, count)| {
        match reason.action() {
            Action::Pass => [queries + count, blocked],
            Action::Drop | Action::Transmit => [queries + count, blocked + count],
        }
    })
}

fn came(now: Pair, before: Pair) -> Pair {
    [0, 1].map(|i| now[i].saturating_sub(before[i]))
}

fn add(sum: &mut Pair, came: Pair) {
    for (sum, came) in sum.iter_mut().zip(came) {
        *sum += came;
    }
}

fn renew<T: Copy>(recorded: &mut Vec<T>, now: &[T]) {
    let used = recorded.len().min(now.len());
    recorded.splice(..used, now.iter().copied());
}

fn at<T: Copy + Default>(counts: &[T], number: usize) -> T {
    counts.get(number).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use filter_common::reason::Reason;

    use super::*;

    fn names(lists: &[(&str, &str)], policies: &[(usize, &str)]) -> Names {
        let lists = lists.iter();
        Names {
            policies: policies
                .iter()
                .map(|(n, name)| (*n, (*name).to_owned()))
                .collect(),
            lists: lists
                .map(|(name, category)| {
                    let category = (!category.is_empty()).then(|| (*category).to_owned());
                    ((*name).to_owned(), category)
                })
                .collect(),
            custom_lists: Vec::new(),
        }
    }

    fn tallies(policies: &[Pair], lists: &[u64]) -> Tallies {
        Tallies {
            policies: policies.to_vec(),
            lists: lists.to_vec(),
            custom_lists: Vec::new(),
        }
    }

    fn counters(passed: u64, blocked: u64) -> Counters {
        Counters::from([
            (Reason::NoRule, passed),
            (Reason::NxDomain, blocked),
            (Reason::OtherPort, 1_000_000),
        ])
    }

    #[test]
    fn counts_stay_with_their_names_when_numbers_change() {
        let mut named_counters = NamedCounters::default();
        let before = names(&[("a", "ads"), ("b", "")], &[(0, "default"), (1, "kids")]);
        named_counters.record(
            &tallies(&[[10, 1], [5, 2]], &[1, 2]),
            &counters(12, 3),
            &before,
        );
        let between = names(&[("b", "")], &[(0, "default")]);
        named_counters.record(&tallies(&[[10, 1]], &[1]), &counters(20, 4), &between);
        let lists = [("b", ""), ("c", "ads"), ("a", "ads")];
        let after = names(&lists, &[(0, "default"), (2, "kids")]);
        named_counters.record(
            &tallies(&[[99, 99], [5, 2], [4, 4]], &[3, 2, 7]),
            &counters(20, 10),
            &after,
        );
        assert_eq!(named_counters.policies["kids"], [9, 6]);
        assert_eq!(named_counters.policies["default"], [30 - 9, 10 - 6]);
        let lists = [("a", 8), ("b", 4), ("c", 0)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(named_counters.lists, BTreeMap::from(lists));
        assert_eq!(
            named_counters.categories,
            BTreeMap::from([("ads".to_owned(), 8)])
        );
    }

    #[test]
    fn lists_of_custom_categories_are_counted_beside_the_others() {
        let mut named_counters = NamedCounters::default();
        let mut names = names(&[("a", "ads")], &[(0, "default")]);
        names.custom_lists = vec![("own".to_owned(), Some("ads".to_owned()))];
        let tallies = Tallies {
            custom_lists: vec![5],
            ..tallies(&[], &[2])
        };
        named_counters.record(&tallies, &counters(0, 7), &names);
        named_counters.record(&tallies, &counters(0, 7), &names);
        assert_eq!(
            (named_counters.lists["a"], named_counters.lists["own"]),
            (2, 5)
        );
        assert_eq!(named_counters.categories["ads"], 7);
    }
}
