//! Networks that this machine has addresses in, and the ways out of all of them.

use std::{collections::BTreeSet, io, net::IpAddr};

use ipnet::IpNet;
use netlink_sys::protocols::NETLINK_ROUTE;

use super::netlink::{Attributes, Connection, Want, attribute};

/// rtnetlink(7).
mod uapi {
    pub(super) const RTM_GETADDR: u16 = 22;
    pub(super) const RTM_GETROUTE: u16 = 26;
    pub(super) const IFADDRMSG_BYTES: usize = 8;
    pub(super) const RTMSG_BYTES: usize = 12;
    pub(super) const IFA_ADDRESS: u16 = 1;
    pub(super) const RTA_DST: u16 = 1;
    pub(super) const RTA_OIF: u16 = 4;
    pub(super) const RTA_MULTIPATH: u16 = 9;
    /// Answers with the entry of the table, not with the route that is made of it.
    pub(super) const RTM_F_FIB_MATCH: u32 = 0x2000;
    pub(super) const RT_SCOPE_UNIVERSE: u8 = 0;
    pub(super) const RT_SCOPE_SITE: u8 = 200;
    pub(super) const AF_INET: u8 = 2;
    pub(super) const AF_INET6: u8 = 10;
}

/// A network on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Network {
    pub(super) interface: u32,
    pub(super) prefix: IpNet,
}

/// Addresses that nobody has (RFC 5737, RFC 3849, RFC 9637): only a default route leads there.
const NOWHERE: [&str; 5] = [
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "2001:db8::1",
    "3fff::1",
];

/// Lists the networks of the calling thread's namespace, but those of the link and of the host.
pub(super) fn networks() -> io::Result<Vec<Network>> {
    let question = vec![0; uapi::IFADDRMSG_BYTES];
    let answers = Connection::open(NETLINK_ROUTE)?.ask(uapi::RTM_GETADDR, question, Want::All)?;
    let networks = answers.iter().filter_map(|answer| network(answer));
    Ok(networks.collect())
}

fn network(message: &[u8]) -> Option<Network> {
    let (header, rest) = message.split_first_chunk::<{ uapi::IFADDRMSG_BYTES }>()?;
    let &[_, len, _, scope, a, b, c, d] = header;
    if scope != uapi::RT_SCOPE_UNIVERSE && scope != uapi::RT_SCOPE_SITE {
        return None;
    }
    // Between two points it is the other one, and else the interface's own.
    let address = ip(Attributes::read(rest).bytes(uapi::IFA_ADDRESS)?)?;
    let prefix = IpNet::new(address, len).ok()?.trunc();
    // A default route as an address says nothing about who is near.
    (len > 0).then_some(Network {
        interface: u32::from_ne_bytes([a, b, c, d]),
        prefix,
    })
}

/// Indexes of the interfaces by which packets to the rest of the world leave.
pub(super) fn ways_out() -> io::Result<BTreeSet<u32>> {
    let mut connection = Connection::open(NETLINK_ROUTE)?;
    let mut ways = BTreeSet::new();
    for address in NOWHERE.iter().filter_map(|address| address.parse().ok()) {
        // Without any route there is no way out.
        if let Ok(answers) = connection.ask(uapi::RTM_GETROUTE, question(address), Want::One) {
            ways.extend(answers.iter().flat_map(|answer| default_ways(answer)));
        }
    }
    Ok(ways)
}

fn question(address: IpAddr) -> Vec<u8> {
    let (family, bytes) = match address {
        IpAddr::V4(address) => (uapi::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (uapi::AF_INET6, address.octets().to_vec()),
    };
    let mut question = vec![0; uapi::RTMSG_BYTES];
    question[0] = family;
    question[1] = bytes.len() as u8 * 8;
    question[8..12].copy_from_slice(&uapi::RTM_F_FIB_MATCH.to_ne_bytes());
    question.extend(attribute(uapi::RTA_DST, &bytes));
    question
}

/// The interfaces of a route, if it is one to everywhere.
fn default_ways(message: &[u8]) -> Vec<u32> {
    let Some((header, rest)) = message.split_first_chunk::<{ uapi::RTMSG_BYTES }>() else {
        return Vec::new();
    };
    if header[1] != 0 {
        return Vec::new();
    }
    let attributes = Attributes::read(rest);
    let mut ways: Vec<u32> = attributes.u32(uapi::RTA_OIF).into_iter().collect();
    let mut hops = attributes.bytes(uapi::RTA_MULTIPATH).unwrap_or_default();
    // struct rtnexthop: length, flags, hops, index of the interface.
    while let Some(&[a, b, _, _, c, d, e, f]) = hops.first_chunk::<8>() {
        ways.push(u32::from_ne_bytes([c, d, e, f]));
        let len = usize::from(u16::from_ne_bytes([a, b])).max(8);
        hops = hops.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    ways
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(len: u8, scope: u8, bytes: &[u8]) -> Vec<u8> {
        let header = [uapi::AF_INET, len, 0, scope, 7, 0, 0, 0];
        [header.to_vec(), attribute(uapi::IFA_ADDRESS, bytes)].concat()
    }

    #[test]
    fn a_network_is_read_from_an_address_and_its_length() {
        let found = network(&address(24, 0, &[203, 0, 113, 7])).unwrap();
        assert_eq!(found.prefix.to_string(), "203.0.113.0/24");
        assert_eq!(found.interface, 7_u32.to_le());
        assert_eq!(network(&address(0, 0, &[203, 0, 113, 7])), None);
        // RT_SCOPE_LINK and RT_SCOPE_HOST.
        for scope in [253, 254] {
            assert_eq!(network(&address(24, scope, &[203, 0, 113, 7])), None);
        }
        assert_eq!(network(&address(24, 0, &[1, 2, 3])), None);
    }

    #[test]
    fn only_a_route_to_everywhere_is_a_way_out() {
        let hop = |index: u32| [[8, 0, 0, 0].to_vec(), index.to_ne_bytes().to_vec()].concat();
        let route = |len: u8, attributes: &[u8]| {
            let mut header = vec![0; uapi::RTMSG_BYTES];
            header[1] = len;
            [&header, attributes].concat()
        };
        let single = attribute(uapi::RTA_OIF, &5_u32.to_ne_bytes());
        assert_eq!(default_ways(&route(0, &single)), [5]);
        assert!(default_ways(&route(24, &single)).is_empty());
        let several = attribute(uapi::RTA_MULTIPATH, &[hop(5), hop(6)].concat());
        assert_eq!(default_ways(&route(0, &several)), [5, 6]);
        assert!(default_ways(&[]).is_empty());
    }

    #[test]
    fn the_loopback_network_is_not_told() {
        let is_loopback = |network: &Network| network.prefix.addr().is_loopback();
        assert!(!networks().unwrap().iter().any(is_loopback));
    }
}
