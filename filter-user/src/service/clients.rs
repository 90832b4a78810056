//! Who may be answered, besides private addresses: the prefixes of the
//! configuration, and those that the attached interfaces are in themselves.
//!
//! The latter change when a provider renumbers; they are read again every second.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use nix::{
    ifaddrs::{InterfaceAddress, getifaddrs},
    sys::socket::SockaddrStorage,
};

use crate::{config::Config, kernel::ClientPrefix};

/// Every prefix whose addresses may be answered.
pub(super) fn prefixes(config: &Config) -> BTreeSet<ClientPrefix> {
    let listed = config.clients.iter().copied().map(ClientPrefix::from);
    // Without addresses there are no prefixes on the link; the next look may find some.
    let addresses = getifaddrs().into_iter().flatten();
    let on_link = addresses
        .filter(|address| config.interfaces.contains(&address.interface_name))
        .filter_map(|address| on_link_prefix(&address))
        .map(ClientPrefix::from);
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
