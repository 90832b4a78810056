//! Who has which policy, in the form of the kernel's maps.

use std::{collections::BTreeMap, path::Path};

use filter_common::{
    address::{Address, Mac},
    layout::{
        CLIENT_PREFIX_MAX, CONTROL_BY_DESTINATION, CONTROL_BY_INTERFACE, CONTROL_BY_MAC,
        CONTROL_BY_SOURCE, CONTROL_BY_VLAN, DESTINATION_MAX, INTERFACE_MAX, MAC_MAX,
    },
};
use filter_kernel::{Prefix, address_of};
use filter_lists::input;

use super::Numbers;
use crate::config::{ClientMatch, Config, Error, PolicyConfig};

/// Number of the policy by what tells a client, or the resolver that it asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// By source on the link.
    pub macs: BTreeMap<Mac, u32>,
    /// By source address, in order and each once.
    pub prefixes: Vec<(Prefix, u32)>,
    /// By VLAN.
    pub vlans: BTreeMap<u16, u32>,
    /// By the name of the interface.
    pub interfaces: BTreeMap<String, u32>,
    /// By destination address.
    pub destinations: BTreeMap<Address, u32>,
}

impl Clients {
    /// Collects the clients of all policies, also from files.
    pub(super) fn resolve(config: &Config, numbers: &Numbers) -> Result<Self, Error> {
        let mut clients = Self::default();
        for (name, policy) in &config.policies {
            clients.collect(
                policy,
                Owner {
                    number: numbers[name],
                    numbers,
                },
            )?;
        }
        clients.order(numbers)?;
        clients.check_counts()?;
        Ok(clients)
    }

    /// What the kernel has to look at for these clients: [`CONTROL_BY_MAC`] and others.
    pub fn control_flags(&self) -> u32 {
        let flags = [
            (self.macs.is_empty(), CONTROL_BY_MAC),
            (self.prefixes.is_empty(), CONTROL_BY_SOURCE),
            (self.vlans.is_empty(), CONTROL_BY_VLAN),
            (self.interfaces.is_empty(), CONTROL_BY_INTERFACE),
            (self.destinations.is_empty(), CONTROL_BY_DESTINATION),
        ];
        let used = flags.iter().filter(|(is_empty, _)| !is_empty);
        used.fold(0, |all, (_, flag)| all | flag)
    }

    /// The longest prefix that covers an address, and its policy.
    ///
    /// They are in order: between one that covers the address and the address itself are only
    /// prefixes inside it.
    pub fn longest(&self, address: &Address) -> Option<(Prefix, u32)> {
        let mut bits = Prefix::BITS;
        loop {
            let wanted = Prefix::of(address, bits);
            let end = self
                .prefixes
                .partition_point(|(prefix, _)| *prefix <= wanted);
            let (prefix, policy) = *self.prefixes[..end].last()?;
            if prefix.covers(address) {
                return Some((prefix, policy));
            }
            // One that covers the address covers the one that was found, too.
            bits = prefix.bits_shared_with(address);
        }
    }

    fn collect(&mut self, policy: &PolicyConfig, owner: Owner<'_>) -> Result<(), Error> {
        for client in &policy.clients {
            self.add(client, owner)?;
        }
        for path in &policy.client_files {
            self.read(path, owner)?;
        }
        for destination in &policy.destinations {
            let address = address_of(*destination);
            owner.claim(&mut self.destinations, address, || destination.to_string())?;
        }
        Ok(())
    }

    /// Adds the clients of a file, one a line, comments behind `#`.
    fn read(&mut self, path: &Path, owner: Owner<'_>) -> Result<(), Error> {
        let text = input::text(path).map_err(|source| Error::ReadClients {
            path: path.to_owned(),
            source,
        })?;
        for (number, line) in text.lines().enumerate() {
            let client = line.split('#').next().unwrap_or_default().trim();
            if client.is_empty() {
                continue;
            }
            let client = ClientMatch::parse(client).map_err(|reason| Error::Client {
                path: path.to_owned(),
                line: number + 1,
                reason,
            })?;
            self.add(&client, owner)?;
        }
        Ok(())
    }

    fn add(&mut self, client: &ClientMatch, owner: Owner<'_>) -> Result<(), Error> {
        let told = || client.to_string();
        match client {
            ClientMatch::Mac(mac) => owner.claim(&mut self.macs, *mac, told),
            ClientMatch::Vlan(number) => owner.claim(&mut self.vlans, *number, told),
            ClientMatch::Interface(name) => owner.claim(&mut self.interfaces, name.clone(), told),
            ClientMatch::Prefix(prefix) => {
                self.prefixes.push(((*prefix).into(), owner.number));
                Ok(())
            }
        }
    }

    /// Puts the prefixes in order; there may be a million of them.
    fn order(&mut self, numbers: &Numbers) -> Result<(), Error> {
        self.prefixes.sort_unstable();
        self.prefixes.dedup();
        self.prefixes.shrink_to_fit();
        let twice = self.prefixes.windows(2).find(|pair| pair[0].0 == pair[1].0);
        match twice {
            Some(&[(prefix, first), (_, second)]) => {
                Err(two_policies(numbers, prefix.to_string(), first, second))
            }
            _ => Ok(()),
        }
    }

    fn check_counts(&self) -> Result<(), Error> {
        let counts = [
            ("client prefixes", self.prefixes.len(), CLIENT_PREFIX_MAX),
            ("MAC addresses", self.macs.len(), MAC_MAX),
            ("interfaces", self.interfaces.len(), INTERFACE_MAX),
            ("destinations", self.destinations.len(), DESTINATION_MAX),
        ];
        for (what, count, max) in counts {
            let max = max as usize;
            if count > max {
                return Err(Error::TooMany { what, count, max });
            }
        }
        Ok(())
    }
}

/// The policy that claims clients.
#[derive(Clone, Copy)]
struct Owner<'a> {
    number: u32,
    numbers: &'a Numbers,
}

impl Owner<'_> {
    /// Fails if another policy has the client already.
    fn claim<K: Ord>(
        self,
        map: &mut BTreeMap<K, u32>,
        key: K,
        told: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        match map.insert(key, self.number) {
            Some(first) if first != self.number => {
                Err(two_policies(self.numbers, told(), first, self.number))
            }
            _ => Ok(()),
        }
    }
}

fn two_policies(numbers: &Numbers, what: String, first: u32, second: u32) -> Error {
    let name = |number: u32| {
        let mut named = numbers.iter().filter(|(_, known)| **known == number);
        named
            .next()
            .map_or_else(String::new, |(name, _)| name.clone())
    };
    Error::TwoPolicies {
        what,
        first: name(first),
        second: name(second),
    }
}
