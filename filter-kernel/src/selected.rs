//! Numbers of policies by what is looked up as it is: the content of every selector's table.

use std::collections::BTreeMap;

use filter_common::{
    address::QueryClient,
    selector::{Key, Selector},
};

/// The entries of all tables, in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selected(BTreeMap<(Selector, Key), u32>);

impl Selected {
    /// Adds an entry; the policy that was there.
    pub fn insert(&mut self, selector: Selector, key: Key, policy: u32) -> Option<u32> {
        self.0.insert((selector, key), policy)
    }

    /// Takes an entry away.
    pub fn remove(&mut self, selector: Selector, key: Key) {
        self.0.remove(&(selector, key));
    }

    /// The policy for one who asks, as the kernel's map of `selector` has it; 0 if there is none.
    pub fn policy(&self, selector: Selector, client: &QueryClient) -> u32 {
        let key = (selector, selector.key(client));
        self.0.get(&key).copied().unwrap_or(0)
    }

    /// The entries of one table.
    pub fn of(&self, selector: Selector) -> impl Iterator<Item = (Key, u32)> + Clone {
        let range = (selector, Key::default())..=(selector, [u8::MAX; 16]);
        let entries = self.0.range(range);
        entries.map(|((_, key), policy)| (*key, *policy))
    }

    /// How many entries one table has.
    pub fn count(&self, selector: Selector) -> usize {
        self.of(selector).count()
    }
}

impl Extend<(Selector, Key, u32)> for Selected {
    fn extend<I: IntoIterator<Item = (Selector, Key, u32)>>(&mut self, entries: I) {
        let entries = entries.into_iter();
        self.0
            .extend(entries.map(|(selector, key, policy)| ((selector, key), policy)));
    }
}

impl FromIterator<(Selector, Key, u32)> for Selected {
    fn from_iter<I: IntoIterator<Item = (Selector, Key, u32)>>(entries: I) -> Self {
        let mut selected = Self::default();
        selected.extend(entries);
        selected
    }
}
