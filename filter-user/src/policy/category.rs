//! Which bit stands for which category.

use filter_common::layout::CATEGORY_BYPASS;
use filter_lists::image::ListInfo;

use super::set::{changes_of, mask_of};
use crate::config::{BYPASS_CATEGORY, Config, DEFAULT_POLICY, ListConfig, PolicyConfig};

/// The categories of a configuration and their bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Categories {
    bits: Vec<(String, u32)>,
}

/// A category of the image in force.
struct Former<'a> {
    name: &'a str,
    bit: u32,
    /// Names of its lists, in alphabetical order.
    lists: Vec<&'a str>,
}

impl Categories {
    /// The categories of a configuration that replaces nothing.
    pub fn of(config: &Config) -> Self {
        Self::after(config, &[])
    }

    /// The categories of a configuration whose image is to replace one with these lists.
    ///
    /// A bit means the same lists in both images, or nothing in one of them, as long as
    /// there are bits enough: then policies can select the categories of both while one
    /// image takes the place of the other, and no query sees a mixture.
    pub fn after<'a>(config: &Config, previous: impl IntoIterator<Item = &'a ListInfo>) -> Self {
        Self::assign(config, previous, |old, name| {
            old.lists == lists_of(config, name)
        })
    }

    /// The categories of a configuration beside an image of these lists, when no other was in
    /// force before: those that the image has keep their bits, whatever lists they have now.
    pub fn beside<'a>(config: &Config, image: impl IntoIterator<Item = &'a ListInfo>) -> Self {
        Self::assign(config, image, |_, _| true)
    }

    /// Bits for the categories; one that `image` has keeps its bit if `is_same` says so.
    fn assign<'a>(
        config: &Config,
        image: impl IntoIterator<Item = &'a ListInfo>,
        is_same: impl Fn(&Former<'_>, &str) -> bool,
    ) -> Self {
        let former = former(image);
        let names = config.categories();
        let taken: u64 = former.iter().fold(0, |taken, old| taken | 1 << old.bit);
        let kept = names.iter().map(|name| {
            let same = former
                .iter()
                .find(|old| old.name == *name && is_same(old, name));
            match *name {
                BYPASS_CATEGORY => Some(CATEGORY_BYPASS),
                _ => same.map(|old| old.bit),
            }
        });
        let kept: Vec<Option<u32>> = kept.collect();
        let mut used = kept.iter().flatten().fold(0, |used, bit| used | 1 << bit);
        let bits = names.iter().zip(kept).map(|(name, kept)| {
            // There are as many bits as categories at least.
            let free = || free_bit(taken | used).or(free_bit(used)).unwrap_or(0);
            let bit = kept.unwrap_or_else(free);
            used |= 1 << bit;
            ((*name).to_owned(), bit)
        });
        Self {
            bits: bits.collect(),
        }
    }

    /// Whether a category of two sets of lists has the same bit in both, and no other one has it.
    pub fn agree(lists: &[ListInfo], others: &[ListInfo]) -> bool {
        let (own, others) = (former(lists), former(others));
        own.iter().all(|a| {
            others
                .iter()
                .all(|b| (a.name == b.name) == (a.bit == b.bit))
        })
    }

    /// The bit of a category; `None` if no list has it.
    pub fn mask(&self, category: &str) -> Option<u64> {
        let (_, bit) = self.bits.iter().find(|(name, _)| name == category)?;
        Some(1 << bit)
    }

    /// What stands for every category: also that of lists without one.
    pub fn every(&self) -> u64 {
        !self.mask(BYPASS_CATEGORY).unwrap_or(0)
    }

    /// Name and bit of each category.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.bits.iter().map(|(name, bit)| (name.as_str(), *bit))
    }

    /// Names of the categories in a set.
    pub fn names_of(&self, mask: u64) -> Vec<&str> {
        let inside = self.iter().filter(|(_, bit)| mask & (1 << bit) != 0);
        inside.map(|(name, _)| name).collect()
    }

    /// Every set of categories that some policy blocks at some time.
    pub fn masks_in_use(&self, config: &Config) -> Vec<u64> {
        let default = PolicyConfig::default();
        let is_usual = !config.policies.contains_key(DEFAULT_POLICY);
        let policies = is_usual.then_some(&default).into_iter();
        let policies = policies.chain(config.policies.values());
        let mut masks = Vec::new();
        for policy in policies.filter(|policy| !policy.unfiltered) {
            let usual = mask_of(policy, self);
            masks.push(usual);
            let schedule = policy.schedule.iter();
            let changes = schedule.flat_map(|schedule| changes_of(schedule, self));
            masks.extend(changes.map(|change| change.applied_to(usual)));
        }
        masks.retain(|mask| *mask != 0);
        masks.sort_unstable();
        masks.dedup();
        masks
    }
}

fn free_bit(taken: u64) -> Option<u32> {
    let bit = (!taken).trailing_zeros();
    (bit < u64::BITS).then_some(bit)
}

fn lists_of(config: &Config, category: &str) -> Vec<String> {
    let custom = config.custom_lists();
    let lists = config.lists.iter().chain(&custom);
    let of_category = lists.filter(|list| list.category.as_deref() == Some(category));
    let mut names: Vec<String> = of_category.map(ListConfig::name).collect();
    names.sort_unstable();
    names
}

fn former<'a>(previous: impl IntoIterator<Item = &'a ListInfo>) -> Vec<Former<'a>> {
    let mut former: Vec<Former<'_>> = Vec::new();
    for list in previous {
        let Some(name) = list.category.as_deref() else {
            continue;
        };
        match former.iter_mut().find(|old| old.name == name) {
            Some(old) => old.lists.push(&list.name),
            None => former.push(Former {
                name,
                bit: list.categories.trailing_zeros() & (u64::BITS - 1),
                lists: vec![&list.name],
            }),
        }
    }
    for old in &mut former {
        old.lists.sort_unstable();
    }
    former
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let config: Config = toml::from_str(text).unwrap();
        config.check().unwrap();
        config
    }

    fn lists(pairs: &[(&str, &str)]) -> String {
        let table = |(name, category): &(&str, &str)| {
            format!("[[list]]\npath = \"{name}\"\ncategory = \"{category}\"\n")
        };
        pairs.iter().map(table).collect()
    }

    /// The lists of an image that was made of a configuration.
    fn image_of(config: &Config, categories: &Categories) -> Vec<ListInfo> {
        let info = |list: &crate::config::ListConfig| ListInfo {
            category: list.category.clone(),
            categories: list
                .category
                .as_deref()
                .and_then(|category| categories.mask(category))
                .unwrap_or(categories.every()),
            ..ListInfo::new(&list.name(), "")
        };
        config.lists.iter().map(info).collect()
    }

    #[test]
    fn a_category_keeps_its_bit_while_its_lists_stay_and_gets_another_one_when_they_change() {
        let old = config(&lists(&[("a", "ads"), ("m", "malware"), ("s", "social")]));
        let before = Categories::of(&old);
        let new = config(&lists(&[
            ("s", "social"),
            ("m", "malware"),
            ("x", "malware"),
            ("g", "games"),
        ]));
        let after = Categories::after(&new, &image_of(&old, &before));
        assert_eq!(after.mask("social"), before.mask("social"));
        let former_bits: u64 = before.iter().map(|(_, bit)| 1 << bit).sum();
        for fresh in ["malware", "games"] {
            assert_eq!(after.mask(fresh).unwrap() & former_bits, 0, "{fresh}");
        }
        assert_ne!(after.mask("malware"), after.mask("games"));
        assert_eq!(after.mask("ads"), None);
    }

    #[test]
    fn the_categories_in_use_are_those_of_every_time_also_where_spans_overlap() {
        let text = lists(&[("a", "ads"), ("g", "games"), ("s", "social")])
            + "[policy.default]\nblock = ['ads']\n\
               schedule = { time_zone = 'UTC', span = [\
               { from = '20:00', to = '23:00', block = ['games'] },\
               { from = '22:00', to = '06:00', block = ['social'], allow = ['ads'] }] }\n";
        let config = config(&text);
        let categories = Categories::of(&config);
        let mask = |names: &[&str]| {
            let bits = names.iter().filter_map(|name| categories.mask(name));
            bits.sum::<u64>()
        };
        let mut expected = [
            mask(&["ads"]),
            mask(&["ads", "games"]),
            mask(&["games", "social"]),
            mask(&["social"]),
        ];
        expected.sort_unstable();
        assert_eq!(categories.masks_in_use(&config), expected);
    }

    #[test]
    fn sixty_four_categories_that_all_change_still_have_bits_of_their_own() {
        let text = |suffix: &str| {
            let pairs: Vec<(String, String)> = (0..64)
                .map(|i| (format!("l{i}{suffix}"), format!("c{i}")))
                .collect();
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|(a, b)| (&**a, &**b)).collect();
            lists(&pairs)
        };
        let old = config(&text(""));
        let before = Categories::of(&old);
        let new = config(&text("x"));
        let after = Categories::after(&new, &image_of(&old, &before));
        let all = after.iter().fold(0u64, |all, (_, bit)| all | 1 << bit);
        assert_eq!(all, u64::MAX);
    }

    #[test]
    fn ways_around_the_filter_are_no_part_of_every_category() {
        let text = format!(
            "{}[policy.kids]\nblock_bypass = true\n",
            lists(&[("a", "ads")])
        );
        let categories = Categories::of(&config(&text));
        let bypass = categories.mask(BYPASS_CATEGORY).unwrap();
        assert_eq!(categories.every(), !bypass);
        let without = Categories::of(&config(&lists(&[("a", "ads")])));
        assert_eq!(without.mask(BYPASS_CATEGORY), None);
        assert_eq!(without.every(), u64::MAX);
    }
}
