//! The map of networks behind the attached interfaces.
//!
//! Several processes write it: whoever attaches, whoever keeps attachments, and the daemon. Each writes
//! the same, what the machine's interfaces say now; so each compares with what is there.

use std::collections::BTreeSet;

use aya::maps::{
    MapData,
    lpm_trie::{Key, LpmTrie},
};
use filter_common::{address::Address, layout::ON_LINK_MAX};

use crate::{Error, Hold, Maps, Prefix, assignments::gone};

/// Its name in the object.
pub(crate) const NAME: &str = "ON_LINK";

impl Maps {
    /// Lets the map hold these prefixes, or as many of them as it has room for; says whether that
    /// changed it.
    pub fn put_on_link(&mut self, wanted: &BTreeSet<Prefix>) -> Result<bool, Error> {
        let map = self.map_mut(NAME)?;
        put(map.try_into().map_err(Error::Clients)?, wanted)
    }

    /// The prefixes that the map holds.
    pub fn on_link(&self) -> Result<BTreeSet<Prefix>, Error> {
        let map: LpmTrie<&MapData, Address, u8> =
            self.map(NAME)?.try_into().map_err(Error::Clients)?;
        held(map.keys())
    }
}

impl Hold<'_> {
    /// [`Maps::put_on_link`].
    pub fn put_on_link(&mut self, wanted: &BTreeSet<Prefix>) -> Result<bool, Error> {
        put(
            (&mut *self.on_link).try_into().map_err(Error::Clients)?,
            wanted,
        )
    }
}

fn put(
    mut map: LpmTrie<&mut MapData, Address, u8>,
    wanted: &BTreeSet<Prefix>,
) -> Result<bool, Error> {
    let wanted: BTreeSet<Prefix> = wanted.iter().take(ON_LINK_MAX as usize).copied().collect();
    let held = held(map.keys())?;
    // First out: a full map has room then, and packets of who left need no answer.
    for Prefix { address, len } in held.difference(&wanted) {
        gone(map.remove(&Key::new(*len, *address)))?;
    }
    for Prefix { address, len } in wanted.difference(&held) {
        map.insert(&Key::new(*len, *address), 1, 0)
            .map_err(Error::Clients)?;
    }
    Ok(held != wanted)
}

fn held(
    keys: impl Iterator<Item = Result<Key<Address>, aya::maps::MapError>>,
) -> Result<BTreeSet<Prefix>, Error> {
    let prefixes = keys.map(|key| {
        let key = key.map_err(Error::Clients)?;
        let (address, len) = (key.data(), key.prefix_len());
        Ok(Prefix { address, len })
    });
    prefixes.collect()
}
