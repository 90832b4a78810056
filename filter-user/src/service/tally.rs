//! Queries that each list blocks, by its name.
//!
//! The kernel counts by a list's number, which another configuration may give to
//! another list: what came since the last look belongs to the lists of that time.

use std::collections::BTreeMap;

use crate::compile::ListInfo;

/// Queries by list and category.
#[derive(Debug, Default)]
pub(super) struct ListCounts {
    /// Lists by number; some may share a name.
    lists: Vec<Listed>,
    /// What the kernel had counted at the last look, by number.
    seen: Vec<u64>,
    by_list: BTreeMap<String, u64>,
    by_category: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Listed {
    name: String,
    category: Option<String>,
}

impl ListCounts {
    /// How many lists are counted.
    pub(super) fn len(&self) -> usize {
        self.lists.len()
    }

    /// Adds what the kernel counted since the last look.
    pub(super) fn add(&mut self, counts: &[u64]) {
        for ((list, seen), count) in self.lists.iter().zip(&mut self.seen).zip(counts) {
            let more = count.saturating_sub(*seen);
            *seen = *count;
            *self.by_list.entry(list.name.clone()).or_default() += more;
            if let Some(category) = &list.category {
                *self.by_category.entry(category.clone()).or_default() += more;
            }
        }
    }

    /// Counts for other lists from now on; the kernel stands at `counts`, one for each.
    pub(super) fn rename(&mut self, lists: &[ListInfo], counts: &[u64]) {
        let listed = |list: &ListInfo| Listed {
            name: list.name.clone(),
            category: list.category.clone(),
        };
        self.lists = lists.iter().map(listed).collect();
        self.by_list
            .retain(|name, _| lists.iter().any(|list| list.name == *name));
        self.by_category.retain(|name, _| {
            lists
                .iter()
                .any(|list| list.category.as_ref() == Some(name))
        });
        self.start_at(counts);
        self.add(counts);
    }

    /// Goes on where another kernel side stands.
    pub(super) fn start_at(&mut self, counts: &[u64]) {
        self.seen = counts.to_vec();
    }

    /// Queries by list.
    pub(super) fn by_list(&self) -> &BTreeMap<String, u64> {
        &self.by_list
    }

    /// Queries by category.
    pub(super) fn by_category(&self) -> &BTreeMap<String, u64> {
        &self.by_category
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Vec<ListInfo> {
        let list = |name: &&str| ListInfo {
            category: Some("all".to_owned()),
            ..ListInfo::new(name, "list.txt")
        };
        names.iter().map(list).collect()
    }

    fn sum(counts: &ListCounts, name: &str) -> Option<u64> {
        counts.by_list().get(name).copied()
    }

    #[test]
    fn a_list_keeps_its_count_when_it_gets_another_number() {
        let mut counts = ListCounts::default();
        counts.rename(&named(&["ads", "malware"]), &[0, 0]);
        counts.add(&[5, 7]);
        counts.rename(&named(&["malware"]), &[5]);
        counts.add(&[6]);
        assert_eq!(sum(&counts, "malware"), Some(8));
        assert_eq!(sum(&counts, "ads"), None);
        assert_eq!(counts.by_category()["all"], 13);
    }

    #[test]
    fn what_was_counted_before_anybody_knew_the_lists_is_nobodys() {
        let mut counts = ListCounts::default();
        counts.add(&[9]);
        counts.rename(&named(&["ads"]), &[9]);
        assert_eq!(sum(&counts, "ads"), Some(0));
        counts.add(&[10]);
        assert_eq!(sum(&counts, "ads"), Some(1));
    }

    #[test]
    fn maps_that_count_from_another_start_are_gone_on_with() {
        let mut counts = ListCounts::default();
        counts.rename(&named(&["ads"]), &[0]);
        counts.add(&[40]);
        counts.start_at(&[2]);
        counts.add(&[5]);
        assert_eq!(sum(&counts, "ads"), Some(43));
    }

    #[test]
    fn lists_of_one_name_are_counted_together() {
        let mut counts = ListCounts::default();
        counts.rename(&named(&["ads", "ads"]), &[0, 0]);
        counts.add(&[1, 2]);
        assert_eq!(sum(&counts, "ads"), Some(3));
    }
}
