//! Which policy a client has, and why: by the function that the kernel runs.

use std::{cell::Cell, fmt, net::IpAddr};

use filter_common::{
    address::{Address, Mac, MacText, QueryClient},
    layout::{ClientRecord, InterfaceRecord, PolicyRecord},
    maps::Maps,
    policy::select,
    selector::Selector,
};
use filter_kernel::{Prefix, address_of};

use super::{Clients, Policies, Policy};

/// Who asks whom, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFacts {
    /// Source address.
    pub client: Option<IpAddr>,
    /// Source on the link.
    pub mac: Option<Mac>,
    /// VLAN.
    pub vlan: Option<u16>,
    /// Name of the interface.
    pub interface: Option<String>,
    /// Destination address.
    pub to: Option<IpAddr>,
}

/// A policy and why it applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Why.
    pub because: Because,
}

/// By what a policy was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    /// By the source on the link.
    Mac(Mac),
    /// By the longest prefix that covers the source address.
    Prefix(Prefix),
    /// By the VLAN.
    Vlan(u16),
    /// By the interface.
    Interface(String),
    /// By the destination address.
    Destination(IpAddr),
    /// By nothing: it is the default one.
    Default,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => write!(f, "client {}", MacText(*mac)),
            Self::Prefix(prefix) => write!(f, "client prefix {prefix}"),
            Self::Vlan(number) => write!(f, "vlan:{number}"),
            Self::Interface(name) => write!(f, "interface:{name}"),
            Self::Destination(address) => write!(f, "destination {address}"),
            Self::Default => f.write_str("no other policy is for this client"),
        }
    }
}

impl ClientFacts {
    /// The same as a packet would tell it; without an address it comes from nowhere.
    pub fn client(&self, policies: &Policies) -> QueryClient {
        let interface = self.interface.as_ref();
        let number = interface.and_then(|name| interface_number(policies.clients(), name));
        QueryClient {
            source: self.client.map_or([0; 16], address_of),
            destination: self.to.map_or([0; 16], address_of),
            mac: self.mac.unwrap_or_default(),
            vlan: self.vlan.unwrap_or(0),
            interface: number.unwrap_or(0),
            ..QueryClient::default()
        }
    }
}

impl Policies {
    /// The policy that applies to a query.
    pub fn chosen(&self, facts: &ClientFacts) -> Chosen<'_> {
        let lookup = Lookup {
            clients: &self.clients,
            prefix: Cell::new(None),
        };
        let client = facts.client(self);
        let number = select(&lookup, self.clients.control_flags(), &client);
        // The first of the ways by which the kernel would come to it alone.
        let way = Selector::ALL
            .into_iter()
            .find(|selector| number != 0 && select(&lookup, selector.flag(), &client) == number);
        let because = way.and_then(|selector| match selector {
            Selector::Mac => facts.mac.map(Because::Mac),
            Selector::Source => lookup.prefix.get().map(Because::Prefix),
            Selector::Vlan => facts.vlan.map(Because::Vlan),
            Selector::Interface => facts.interface.clone().map(Because::Interface),
            Selector::Destination => facts.to.map(Because::Destination),
        });
        Chosen {
            // Every number in the maps is that of a policy.
            policy: self.numbered(number).unwrap_or(&self.policies[0]),
            because: because.unwrap_or(Because::Default),
        }
    }
}

/// The kernel's maps of clients, on the host.
struct Lookup<'a> {
    clients: &'a Clients,
    /// The prefix that was found last.
    prefix: Cell<Option<Prefix>>,
}

impl Maps for Lookup<'_> {
    fn policy(&self, _number: u32) -> Option<&PolicyRecord> {
        None
    }

    fn client(&self, address: &Address) -> ClientRecord {
        let Some((prefix, policy)) = self.clients.longest(address) else {
            return ClientRecord(0);
        };
        self.prefix.set(Some(prefix));
        ClientRecord(policy)
    }

    fn policy_of(&self, selector: Selector, client: &QueryClient) -> u32 {
        self.clients.selected.policy(selector, client)
    }

    fn interface(&self, interface: u32) -> InterfaceRecord {
        let mut numbers = self.clients.interfaces.values();
        let policy = (interface as usize)
            .checked_sub(1)
            .and_then(|i| numbers.nth(i));
        InterfaceRecord(policy.copied().unwrap_or(0))
    }
}

/// Counts the interfaces that policies name, from 1: they need not exist here.
fn interface_number(clients: &Clients, name: &str) -> Option<u32> {
    let position = clients.interfaces.keys().position(|known| known == name)?;
    u32::try_from(position + 1).ok()
}
