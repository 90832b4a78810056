//! Who has which policy and who may be answered: the maps of clients.
//!
//! They are changed in place, entry by entry: a packet sees each client with its
//! old or its new policy, and clients that stay as they are all the while. What
//! is looked up at all is said last when there is more, and first when there is less.

use std::{collections::BTreeMap, sync::Arc};

use aya::{
    Pod,
    maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, lpm_trie::Key},
};
use filter_common::{
    address::Address,
    layout::{
        CLIENT_PREFIX_ROOM, CONTROL_BY_ANY, CONTROL_UNTAGGED, ClientRecord, INTERFACE_MAX,
        INTERFACE_UNTAGGED, InterfaceRecord, RESOLVER_MAX,
    },
    policy::POLICY_BITS,
    selector::{Form, Key as SelectorKey, Selector, Table},
};

use crate::{Error, Maps, Prefix, Selected};

/// The content of the maps of clients, with numbers of policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignments {
    /// By what is looked up as it is.
    pub selected: Selected,
    /// By source address, in order and each once.
    pub prefixes: Vec<(Prefix, ClientRecord)>,
    /// By index of the interface.
    pub interfaces: BTreeMap<u32, InterfaceRecord>,
    /// Resolvers that answer over HTTPS, in order and each once.
    pub resolvers: Vec<Prefix>,
}

/// Every selector with a table.
fn tables() -> impl Iterator<Item = (Selector, Table)> {
    let all = Selector::ALL.into_iter();
    all.filter_map(|selector| Some((selector, selector.table()?)))
}

impl Assignments {
    /// What is worth looking at: the flags of selectors, and [`CONTROL_UNTAGGED`].
    fn control_flags(&self) -> u32 {
        let has_policy = |(_, record): &(Prefix, ClientRecord)| record.0 & POLICY_BITS != 0;
        let is_used = |selector: &Selector| match selector {
            Selector::Source => self.prefixes.iter().any(has_policy),
            Selector::Interface => self.has_interface(POLICY_BITS),
            selector => self.selected.of(*selector).next().is_some(),
        };
        let used = Selector::ALL.into_iter().filter(is_used);
        let flags = used.fold(0, |all, selector| all | selector.flag());
        match self.has_interface(INTERFACE_UNTAGGED) {
            true => flags | CONTROL_UNTAGGED,
            false => flags,
        }
    }

    /// Whether the maps have room for these beside those that they hold: entries come before others go.
    ///
    /// # Errors
    ///
    /// Names the map that has not.
    pub fn fit_beside(&self, old: &Self) -> Result<(), Error> {
        let selected = tables().map(|(selector, table)| {
            let entries = union(old.selected.of(selector), self.selected.of(selector));
            (selector.noun(), entries, table.max)
        });
        let others = [
            (
                Selector::Source.noun(),
                union(old.prefixes.iter().copied(), self.prefixes.iter().copied()),
                CLIENT_PREFIX_ROOM,
            ),
            (
                Selector::Interface.noun(),
                union(pairs(&old.interfaces), pairs(&self.interfaces)),
                INTERFACE_MAX,
            ),
            (
                "resolvers",
                union(keys(&old.resolvers), keys(&self.resolvers)),
                RESOLVER_MAX,
            ),
        ];
        match selected
            .chain(others)
            .find(|&(_, count, max)| count > max as usize)
        {
            Some((what, needed, max)) => Err(Error::ClientsFull { what, needed, max }),
            None => Ok(()),
        }
    }

    fn has_interface(&self, bits: u32) -> bool {
        let mut records = self.interfaces.values();
        records.any(|record| record.0 & bits != 0)
    }
}

impl Maps {
    /// Turns the maps of clients into `new`.
    ///
    /// # Errors
    ///
    /// When a map cannot be changed; all of them are then as they were.
    pub fn assign(&mut self, new: Arc<Assignments>) -> Result<(), Error> {
        let old = match &self.assignments {
            Some(known) => Arc::clone(known),
            None => self.adopt_assignments()?,
        };
        if let Err(error) = self.put_new(&old, &new) {
            // Nothing here needs more room than there was.
            self.put_new(&new, &old)?;
            self.remove_old(&new, &old)?;
            return Err(error);
        }
        let flags = new.control_flags();
        self.put_flags(flags, flags);
        self.put_flags(CONTROL_BY_ANY | CONTROL_UNTAGGED, flags);
        self.remove_old(&old, &new)?;
        self.assignments = Some(new);
        Ok(())
    }

    /// Takes what the maps of clients hold for what was put there: another process did.
    pub fn adopt_assignments(&mut self) -> Result<Arc<Assignments>, Error> {
        let mut selected = Selected::default();
        for (selector, Table { map, form, .. }) in tables() {
            let entries = entries_of(self.map(map)?, form)?;
            selected.extend(
                entries
                    .into_iter()
                    .map(|(key, policy)| (selector, key, policy)),
            );
        }
        let found = Assignments {
            selected,
            prefixes: (prefixes(self.map("CLIENTS")?)?.into_iter())
                .map(|(prefix, record)| (prefix, ClientRecord(record)))
                .collect(),
            interfaces: (hashed(self.map("INTERFACES")?)?.into_iter())
                .map(|(index, record)| (index, InterfaceRecord(record)))
                .collect(),
            resolvers: prefixes::<u8>(self.map("RESOLVERS")?)?
                .into_keys()
                .collect(),
        };
        let found = Arc::new(found);
        self.assignments = Some(Arc::clone(&found));
        Ok(found)
    }

    fn put_new(&mut self, old: &Assignments, new: &Assignments) -> Result<(), Error> {
        for (selector, Table { map, form, .. }) in tables() {
            let entries = added(old.selected.of(selector), new.selected.of(selector));
            put_entries(self.map_mut(map)?, form, entries)?;
        }
        let prefixes = added(old.prefixes.iter().copied(), new.prefixes.iter().copied());
        put_prefixes(
            self.map_mut("CLIENTS")?,
            prefixes.map(|(prefix, record)| (prefix, record.0)),
        )?;
        let interfaces = added(pairs(&old.interfaces), pairs(&new.interfaces));
        put_hashed(
            self.map_mut("INTERFACES")?,
            interfaces.map(|(index, record)| (index, record.0)),
        )?;
        let resolvers = added(keys(&old.resolvers), keys(&new.resolvers));
        put_prefixes(
            self.map_mut("RESOLVERS")?,
            resolvers.map(|(prefix, ())| (prefix, 1u8)),
        )
    }

    fn remove_old(&mut self, old: &Assignments, new: &Assignments) -> Result<(), Error> {
        for (selector, Table { map, form, .. }) in tables() {
            let keys = removed(old.selected.of(selector), new.selected.of(selector));
            remove_entries(self.map_mut(map)?, form, keys)?;
        }
        let prefixes = removed(old.prefixes.iter().copied(), new.prefixes.iter().copied());
        remove_prefixes::<u32>(self.map_mut("CLIENTS")?, prefixes)?;
        let interfaces = removed(pairs(&old.interfaces), pairs(&new.interfaces));
        remove_hashed(self.map_mut("INTERFACES")?, interfaces)?;
        let resolvers = removed(keys(&old.resolvers), keys(&new.resolvers));
        remove_prefixes::<u8>(self.map_mut("RESOLVERS")?, resolvers)
    }
}

/// Entries of `new` that `old` lacks or has otherwise; both in the order of their keys.
fn added<K: Ord + Copy, V: PartialEq>(
    old: impl Iterator<Item = (K, V)>,
    new: impl Iterator<Item = (K, V)>,
) -> impl Iterator<Item = (K, V)> {
    let mut old = old.peekable();
    new.filter(move |(key, value)| {
        while old.next_if(|(before, _)| before < key).is_some() {}
        old.next_if(|(same, _)| same == key)
            .is_none_or(|(_, before)| before != *value)
    })
}

/// How many keys are in one of them; both in the order of their keys.
fn union<K: Ord + Copy, V>(
    old: impl Iterator<Item = (K, V)> + Clone,
    new: impl Iterator<Item = (K, V)>,
) -> usize {
    old.clone().count() + removed(new, old).count()
}

/// Keys of `old` that `new` lacks; both in the order of their keys.
fn removed<K: Ord + Copy, V>(
    old: impl Iterator<Item = (K, V)>,
    new: impl Iterator<Item = (K, V)>,
) -> impl Iterator<Item = K> {
    let mut new = new.peekable();
    old.filter_map(move |(key, _)| {
        while new.next_if(|(before, _)| *before < key).is_some() {}
        new.next_if(|(same, _)| *same == key)
            .is_none()
            .then_some(key)
    })
}

fn pairs<K: Copy, V: Copy>(map: &BTreeMap<K, V>) -> impl Iterator<Item = (K, V)> + Clone {
    map.iter().map(|(key, value)| (*key, *value))
}

fn keys<K: Copy>(keys: &[K]) -> impl Iterator<Item = (K, ())> + Clone {
    keys.iter().map(|key| (*key, ()))
}

/// Writes entries of a selector's table.
fn put_entries(
    map: &mut Map,
    form: Form,
    entries: impl Iterator<Item = (SelectorKey, u32)>,
) -> Result<(), Error> {
    match form {
        Form::Index => put_indexed(map, entries),
        Form::Bytes8 => put_hashed(map, entries.map(|(key, policy)| (first_eight(key), policy))),
        Form::Bytes16 => put_hashed(map, entries),
    }
}

/// Takes entries of a selector's table away; an array keeps zeros in their places.
fn remove_entries(
    map: &mut Map,
    form: Form,
    keys: impl Iterator<Item = SelectorKey>,
) -> Result<(), Error> {
    match form {
        Form::Index => put_indexed(map, keys.map(|key| (key, 0))),
        Form::Bytes8 => remove_hashed(map, keys.map(first_eight)),
        Form::Bytes16 => remove_hashed(map, keys),
    }
}

/// The entries of a selector's table.
fn entries_of(map: &Map, form: Form) -> Result<BTreeMap<SelectorKey, u32>, Error> {
    match form {
        Form::Index => indexed(map),
        Form::Bytes8 => {
            let entries = hashed::<[u8; 8]>(map)?.into_iter();
            Ok(entries
                .map(|(key, policy)| (padded(&key), policy))
                .collect())
        }
        Form::Bytes16 => hashed(map),
    }
}

const fn first_eight([a, b, c, d, e, f, g, h, ..]: SelectorKey) -> [u8; 8] {
    [a, b, c, d, e, f, g, h]
}

fn padded(bytes: &[u8]) -> SelectorKey {
    let mut key = SelectorKey::default();
    key[..bytes.len()].copy_from_slice(bytes);
    key
}

fn put_hashed<K: Pod>(map: &mut Map, entries: impl Iterator<Item = (K, u32)>) -> Result<(), Error> {
    let mut map: HashMap<&mut MapData, K, u32> = map.try_into().map_err(Error::Clients)?;
    for (key, policy) in entries {
        map.insert(key, policy, 0).map_err(Error::Clients)?;
    }
    Ok(())
}

fn remove_hashed<K: Pod>(map: &mut Map, keys: impl Iterator<Item = K>) -> Result<(), Error> {
    let mut map: HashMap<&mut MapData, K, u32> = map.try_into().map_err(Error::Clients)?;
    for key in keys {
        gone(map.remove(&key))?;
    }
    Ok(())
}

fn put_prefixes<V: Pod>(
    map: &mut Map,
    entries: impl Iterator<Item = (Prefix, V)>,
) -> Result<(), Error> {
    let mut map: LpmTrie<&mut MapData, Address, V> = map.try_into().map_err(Error::Clients)?;
    for (Prefix { address, len }, value) in entries {
        map.insert(&Key::new(len, address), value, 0)
            .map_err(Error::Clients)?;
    }
    Ok(())
}

fn remove_prefixes<V: Pod>(
    map: &mut Map,
    prefixes: impl Iterator<Item = Prefix>,
) -> Result<(), Error> {
    let mut map: LpmTrie<&mut MapData, Address, V> = map.try_into().map_err(Error::Clients)?;
    for Prefix { address, len } in prefixes {
        gone(map.remove(&Key::new(len, address)))?;
    }
    Ok(())
}

fn put_indexed(
    map: &mut Map,
    entries: impl Iterator<Item = (SelectorKey, u32)>,
) -> Result<(), Error> {
    let mut map: Array<&mut MapData, u32> = map.try_into().map_err(Error::Clients)?;
    for ([a, b, c, d, ..], policy) in entries {
        map.set(u32::from_ne_bytes([a, b, c, d]), policy, 0)
            .map_err(Error::Clients)?;
    }
    Ok(())
}

fn hashed<K: Pod + Ord>(map: &Map) -> Result<BTreeMap<K, u32>, Error> {
    let map: HashMap<&MapData, K, u32> = map.try_into().map_err(Error::Clients)?;
    map.iter()
        .map(|entry| entry.map_err(Error::Clients))
        .collect()
}

fn prefixes<V: Pod>(map: &Map) -> Result<BTreeMap<Prefix, V>, Error> {
    let map: LpmTrie<&MapData, Address, V> = map.try_into().map_err(Error::Clients)?;
    let entries = map.iter().map(|entry| {
        let (key, value) = entry.map_err(Error::Clients)?;
        let (address, len) = (key.data(), key.prefix_len());
        Ok((Prefix { address, len }, value))
    });
    entries.collect()
}

fn indexed(map: &Map) -> Result<BTreeMap<SelectorKey, u32>, Error> {
    let map: Array<&MapData, u32> = map.try_into().map_err(Error::Clients)?;
    let mut found = BTreeMap::new();
    for index in 0..map.len() {
        let policy = map.get(&index, 0).map_err(Error::Clients)?;
        if policy != 0 {
            found.insert(padded(&index.to_ne_bytes()), policy);
        }
    }
    Ok(found)
}

/// What is not there any more need not be removed.
pub(crate) fn gone(result: Result<(), MapError>) -> Result<(), Error> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        result => result.map_err(Error::Clients),
    }
}

#[cfg(test)]
mod tests {
    use filter_common::selector::{MAC_MAX, mac_key};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn putting_what_is_new_and_removing_what_is_gone_makes_the_new_of_the_old(
            old in proptest::collection::btree_map(0u8..30, 0u8..3, 0..20),
            new in proptest::collection::btree_map(0u8..30, 0u8..3, 0..20),
        ) {
            let mut map = old.clone();
            let put: Vec<_> = added(pairs(&old), pairs(&new)).collect();
            prop_assert!(put.iter().all(|(key, value)| old.get(key) != Some(value)));
            map.extend(put);
            for key in removed(pairs(&old), pairs(&new)) {
                prop_assert!(map.remove(&key).is_some());
            }
            prop_assert_eq!(map, new);
        }

        #[test]
        fn the_room_for_both_is_that_of_all_keys(
            old in proptest::collection::btree_map(0u8..30, 0u8..3, 0..20),
            new in proptest::collection::btree_map(0u8..30, 0u8..3, 0..20),
        ) {
            let mut all = old.clone();
            all.extend(&new);
            prop_assert_eq!(union(pairs(&old), pairs(&new)), all.len());
        }
    }

    #[test]
    fn other_clients_in_the_place_of_all_do_not_fit_beside_them() {
        let of = |first: u32| Assignments {
            selected: (first..first + MAC_MAX)
                .map(|number| {
                    let [a, b, c, d] = number.to_be_bytes();
                    (Selector::Mac, mac_key([2, 0, a, b, c, d]), 1)
                })
                .collect(),
            ..Assignments::default()
        };
        let old = of(0);
        assert!(old.fit_beside(&old).is_ok());
        assert!(old.fit_beside(&Assignments::default()).is_ok());
        let error = of(1).fit_beside(&old).unwrap_err().to_string();
        for part in ["100001 MAC addresses", "100000 fit", "two reloads"] {
            assert!(error.contains(part), "{error} lacks {part}");
        }
    }
}
