//! Who may be answered, besides private addresses: the prefixes of the
//! configuration, and those that the attached interfaces are in themselves.
//!
//! The latter change when a provider renumbers; they are read again every second.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use filter_kernel::{Prefix, features};
use ipnet::IpNet;
use nix::{
    ifaddrs::{InterfaceAddress, getifaddrs},
    net::if_::if_nametoindex,
    sys::socket::SockaddrStorage,
};

use crate::{
    config::{Config, ModeChoice},
    policy::Policies,
    regime::Links,
};

/// What clients depend on: interfaces as they are now.
pub(super) fn links(config: &Config, policies: &Policies) -> Links {
    let names = policies.clients().interfaces.keys();
    // One that is not there yet may come.
    let indexes = names.filter_map(|name| {
        let index = if_nametoindex(name.as_str()).ok()?;
        Some((name.clone(), index))
    });
    Links {
        answered: answered(config),
        indexes: indexes.collect(),
        untagged: untagged(config),
    }
}

/// Interfaces on which answers would leave without their VLAN tag; generic mode sees every tag.
fn untagged(config: &Config) -> BTreeMap<u32, String> {
    match config.mode {
        // A kernel that tells nothing of its interfaces is told of where they are looked at.
        ModeChoice::Native => features::untagged(&config.interfaces).unwrap_or_default(),
        ModeChoice::Skb => BTreeMap::new(),
    }
}

/// Every prefix whose addresses may be answered, those of policies apart.
fn answered(config: &Config) -> BTreeSet<Prefix> {
    let listed = config.clients.iter().copied().map(Prefix::from);
    // Without addresses there are no prefixes on the link; the next look may find some.
    let addresses = getifaddrs().into_iter().flatten();
    let on_link = addresses
        .filter(|address| config.interfaces.contains(&address.interface_name))
        .filter_map(|address| on_link_prefix(&address))
        .map(Prefix::from);
    listed.chain(on_link).collect()
}

fn on_link_prefix(address: &InterfaceAddress) -> Option<IpNet> {
    let ip = ip_of(address.address.as_ref()?)?;
    let mask = ip_of(address.netmask.as_ref()?)?;
    let prefix = IpNet::with_netmask(ip, mask).ok()?.trunc();
    // A default route as an address says nothing about who is near.
    (prefix.prefix_len() > 0).then_some(prefix)
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    if let Some(address) = address.as_sockaddr_in() {
        return Some(SocketAddr::from((address.ip(), 0)).ip());
    }
    address.as_sockaddr_in6().map(|address| address.ip().into())
}
