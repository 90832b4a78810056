//! Who has which policy, in the form of the kernel's maps.

use std::{collections::BTreeMap, path::Path};

use filter_common::{
    address::Address,
    layout::{CLIENT_PREFIX_MAX, INTERFACE_MAX},
    selector::Selector,
};
use filter_kernel::{Prefix, Selected, address_of};
use filter_lists::input;

use super::Numbers;
use crate::config::{ClientMatch, Config, Error, PolicyConfig, SelectedBy};

/// Number of the policy by what tells a client, or the resolver that it asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// By what is looked up as it is.
    pub selected: Selected,
    /// By source address, in order and each once.
    pub prefixes: Vec<(Prefix, u32)>,
    /// By the name of the interface.
    pub interfaces: BTreeMap<String, u32>,
}

impl Clients {
    /// Collects the clients of all policies, also from files.
    pub(super) fn resolve(config: &Config, numbers: &Numbers) -> Result<Self, Error> {
        let collected = Self::collected(config, numbers);
        collected.map_err(|error| located(error, config))
    }

    fn collected(config: &Config, numbers: &Numbers) -> Result<Self, Error> {
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
        clients.sort(numbers)?;
        clients.check_counts()?;
        Ok(clients)
    }

    /// What the kernel has to look at for these clients: flags of selectors.
    pub fn control_flags(&self) -> u32 {
        let is_used = |selector: &Selector| self.numbers(*selector).next().is_some();
        let used = Selector::ALL.into_iter().filter(is_used);
        used.fold(0, |all, selector| all | selector.flag())
    }

    /// The policies of all that are told by this selector.
    pub fn numbers(&self, selector: Selector) -> Box<dyn Iterator<Item = u32> + '_> {
        match selector {
            Selector::Source => Box::new(self.prefixes.iter().map(|(_, policy)| *policy)),
            Selector::Interface => Box::new(self.interfaces.values().copied()),
            selector => Box::new(self.selected.of(selector).map(|(_, policy)| policy)),
        }
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
            let key = address_of(*destination);
            let before = (self.selected).insert(Selector::Destination, key, owner.number);
            owner.claim(before, || destination.to_string())?;
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
        match client.selected_by() {
            SelectedBy::Key(selector, key) => {
                let before = self.selected.insert(selector, key, owner.number);
                owner.claim(before, told)
            }
            SelectedBy::Interface(name) => {
                let before = self.interfaces.insert(name.to_owned(), owner.number);
                owner.claim(before, told)
            }
            SelectedBy::Prefix(prefix) => {
                self.prefixes.push((prefix.into(), owner.number));
                Ok(())
            }
        }
    }

    /// Puts the prefixes in order; there may be a million of them.
    fn sort(&mut self, numbers: &Numbers) -> Result<(), Error> {
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
        let counts = Selector::ALL.map(|selector| {
            let max = match selector {
                Selector::Source => CLIENT_PREFIX_MAX,
                Selector::Interface => INTERFACE_MAX,
                selector => selector.table().map_or(u32::MAX, |table| table.max),
            };
            (selector.noun(), self.numbers(selector).count(), max)
        });
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
    fn claim(self, before: Option<u32>, told: impl FnOnce() -> String) -> Result<(), Error> {
        match before {
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

/// The same, with the lines of files that claim the client.
fn located(error: Error, config: &Config) -> Error {
    let Error::TwoPolicies {
        what,
        first,
        second,
    } = error
    else {
        return error;
    };
    let told = |policy: &str| {
        let config = config.policies.get(policy);
        match config.and_then(|config| place_of(&what, config)) {
            Some(place) => format!("'{policy}' ({place})"),
            None => format!("'{policy}'"),
        }
    };
    let (first, second) = (told(&first), told(&second));
    Error::TwoPolicies {
        what,
        first,
        second,
    }
}

/// File and line of a policy's client, which were read a moment ago.
fn place_of(what: &str, policy: &PolicyConfig) -> Option<String> {
    policy.client_files.iter().find_map(|path| {
        let text = input::text(path).ok()?;
        let line = text.lines().position(|line| {
            let client = line.split('#').next().unwrap_or_default().trim();
            ClientMatch::parse(client).is_ok_and(|client| match client.selected_by() {
                SelectedBy::Prefix(prefix) => Prefix::from(prefix).to_string() == what,
                SelectedBy::Key(..) | SelectedBy::Interface(_) => client.to_string() == what,
            })
        })?;
        Some(format!("{}:{}", path.display(), line + 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Categories, Policies};

    #[test]
    fn a_client_of_two_policies_is_told_with_the_lines_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a"), "# ours\n10.0.0.1\n203.0.113.2\n").unwrap();
        std::fs::write(path("b"), "203.0.113.2/32 # again\n02:00:00:00:00:01\n").unwrap();
        let refused = |more: &str| {
            let text = format!(
                "[policy.a]\nclient_files = [{:?}]\n[policy.b]\nclient_files = [{:?}]\n{more}",
                path("a"),
                path("b")
            );
            let config: Config = toml::from_str(&text).unwrap();
            let categories = Categories::of(&config);
            Policies::resolve(&config, &categories, &Numbers::new())
                .unwrap_err()
                .to_string()
        };
        let (a, b) = (path("a"), path("b"));
        let told = refused("");
        assert!(told.contains(&format!("'a' ({}:3)", a.display())), "{told}");
        assert!(told.contains(&format!("'b' ({}:1)", b.display())), "{told}");
        std::fs::write(path("a"), "10.0.0.1\n").unwrap();
        let told = refused("[policy.c]\nclients = ['02:00:00:00:00:01']\n");
        assert!(
            told.contains(&format!("'b' ({}:2) and to policy 'c':", b.display())),
            "{told}"
        );
    }
}
