//! Who is who by the machine's interfaces: which policy an interface means, and whose addresses
//! may be answered besides private ones.
//!
//! Both change with the machine: a provider renumbers, a port joins a bridge, an interface gets
//! another name. They are read again at each change that the kernel tells of, and every second.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
};

use filter_common::{
    address::{Address, SourceAddress},
    client::is_private,
};
use filter_kernel::{
    Prefix, address_of,
    features::{self, Bindings, OnLink},
};

use super::{display::Display, interfaces::Interfaces};
use crate::{
    config::{Config, ModeChoice},
    control::ClientsStatus,
    enforcement::Links,
    policy::Policies,
};

/// So many looks are a minute.
const MINUTE_LOOKS: usize = 60;
/// Every so many looks the map is compared, also if nothing changed: others write it too.
const COMPARE_LOOKS: u32 = 16;

/// What policies depend on: interfaces as they are now.
pub(super) fn links(
    config: &Config,
    policies: &Policies,
    interfaces: &Interfaces,
    bindings: &mut Bindings,
) -> Result<Links, features::Error> {
    let names = policies.clients().interfaces.keys();
    let mut named = BTreeMap::new();
    if names.len() > 0 {
        // One that is not there yet may come.
        named = bindings.resolve_all(names, &features::hooks()?);
    }
    let listed = config.clients.iter().copied().map(Prefix::from);
    Ok(Links {
        answered: listed.collect(),
        names: features::policy_names(&named, &interfaces.indexes())?,
        untagged: untagged(config, interfaces)?,
        generic: match config.mode {
            ModeChoice::Native => BTreeSet::new(),
            ModeChoice::Skb => interfaces.indexes(),
        },
    })
}

/// Names of interfaces in policies that nothing filtered comes by.
pub(super) fn idle(policies: &Policies, links: &Links) -> BTreeSet<String> {
    let names = policies.clients().interfaces.keys();
    let is_used = |name: &&String| links.names.values().any(|used| used == *name);
    names.filter(|name| !is_used(name)).cloned().collect()
}

/// Interfaces on which answers would leave without their VLAN tag; generic mode sends the tag back.
fn untagged(config: &Config, interfaces: &Interfaces) -> Result<BTreeSet<u32>, features::Error> {
    match config.mode {
        ModeChoice::Native => features::untagged(&interfaces.indexes()),
        ModeChoice::Skb => Ok(BTreeSet::new()),
    }
}

/// Whether an address is one of a client, by a configuration and this machine's networks as they are now.
pub fn is_client(config: &Config, policies: &Policies, address: IpAddr) -> bool {
    let address = address_of(address);
    let mut listed = config.clients.iter().copied().map(Prefix::from);
    is_private(SourceAddress::of(&address))
        || policies.clients().longest(&address).is_some()
        || listed.any(|prefix| prefix.covers(&address))
        || is_near(config, &address).unwrap_or(false)
}

/// Whether an address is in a network behind an interface of a configuration.
fn is_near(config: &Config, address: &Address) -> Result<bool, features::Error> {
    let names = config.interfaces.iter();
    let indexes = Bindings::default().resolve_all(names, &features::hooks()?);
    let indexes: BTreeSet<u32> = indexes.into_values().collect();
    let near = prefixes(&features::on_link(&indexes)?);
    Ok(near.iter().any(|prefix| prefix.covers(address)))
}

/// The prefixes of networks, as the kernel has them.
pub(super) fn prefixes(on_link: &OnLink) -> BTreeSet<Prefix> {
    on_link.keys().copied().map(Prefix::from).collect()
}

/// The networks behind the filtered interfaces, kept up in the kernel.
#[derive(Debug, Default)]
pub(super) struct Near {
    on_link: Option<OnLink>,
    looks: u32,
}

impl Near {
    /// Looks which networks there are, and lets `put` write them where it may be necessary.
    pub(super) fn keep<E: From<features::Error> + From<filter_kernel::Error>>(
        &mut self,
        interfaces: &Interfaces,
        display: &Display,
        put: impl FnOnce(&BTreeSet<Prefix>) -> Result<bool, filter_kernel::Error>,
    ) -> Result<(), E> {
        let on_link = features::on_link(&interfaces.indexes())?;
        let is_new = self.on_link.as_ref() != Some(&on_link);
        self.looks = self.looks.wrapping_add(1);
        if is_new || self.looks.is_multiple_of(COMPARE_LOOKS) {
            let is_changed = put(&prefixes(&on_link))?;
            if is_new && (is_changed || self.on_link.is_none()) {
                display.clients(&on_link);
            }
            self.on_link = Some(on_link);
        }
        Ok(())
    }

    /// Writes them anew at the next look: the maps are others.
    pub(super) fn forget(&mut self) {
        self.on_link = None;
    }
}

/// How many blocked queries came from nobody's address, lately.
#[derive(Debug, Default)]
pub(super) struct Strangers(VecDeque<u64>);

impl Strangers {
    /// Takes the count of this second.
    pub(super) fn note(&mut self, count: u64) {
        self.0.push_back(count);
        while self.0.len() > MINUTE_LOOKS + 1 {
            self.0.pop_front();
        }
    }

    /// Those of the last minute.
    fn last_minute(&self) -> u64 {
        let first = self.0.front().copied().unwrap_or_default();
        let last = self.0.back().copied().unwrap_or_default();
        last.saturating_sub(first)
    }
}

/// What is told of who counts as a client.
pub(super) fn status(config: &Config, near: &Near, strangers: &Strangers) -> ClientsStatus {
    ClientsStatus {
        on_link: near.on_link.clone().unwrap_or_default(),
        listed: config.clients.clone(),
        strangers_last_minute: strangers.last_minute(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_of_more_than_a_minute_ago_are_not_lately() {
        let mut strangers = Strangers::default();
        assert_eq!(strangers.last_minute(), 0);
        strangers.note(5);
        assert_eq!(strangers.last_minute(), 0, "they came before this process");
        strangers.note(8);
        assert_eq!(strangers.last_minute(), 3);
        for _ in 0..MINUTE_LOOKS {
            strangers.note(8);
        }
        assert_eq!(strangers.last_minute(), 0);
    }
}
