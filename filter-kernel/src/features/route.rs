//! By which interface packets to clients leave, other than the one they are answered on.
//!
//! An answer goes to the neighbour that the query came from. That is right where
//! routes are symmetric, and mostly where they are not: the neighbour knows the way.
//! Whoever watches a copy of the traffic, or a line with one direction, has to know.

use std::{io, net::IpAddr};

use ipnet::IpNet;
use netlink_sys::protocols::NETLINK_ROUTE;

use super::{
    Error, failed,
    link::{self, Link},
    netlink::{Attributes, Connection, Want, attribute},
};

/// rtnetlink(7): the question and the length of the fixed part, `struct rtmsg`.
const RTM_GETROUTE: u16 = 26;
const RTMSG_BYTES: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// So many prefixes are asked for.
const PREFIXES_MAX: usize = 64;

/// Prefixes whose packets leave by none of the interfaces `names`, each with the one that they
/// leave by.
///
/// # Errors
/// Fails when netlink does not work.
pub fn other_ways(names: &[String], prefixes: &[IpNet]) -> Result<Vec<(IpNet, String)>, Error> {
    if prefixes.is_empty() {
        return Ok(Vec::new());
    }
    let links = link::all().map_err(failed("the interfaces"))?;
    let mut connection = Connection::open(NETLINK_ROUTE).map_err(failed("the routes"))?;
    let mut ways = Vec::new();
    for prefix in prefixes.iter().take(PREFIXES_MAX) {
        let address = prefix.hosts().next().unwrap_or(prefix.network());
        // Without a route there is no way to compare with.
        let Ok(Some(index)) = way_to(&mut connection, address) else {
            continue;
        };
        let way = links.iter().find(|link| link.index == index);
        if let Some(way) = way.filter(|way| !is_ours(way, &links, names)) {
            ways.push((*prefix, way.name.clone()));
        }
    }
    Ok(ways)
}

/// Index of the interface by which packets to an address leave.
fn way_to(connection: &mut Connection, address: IpAddr) -> io::Result<Option<u32>> {
    let (family, bytes) = match address {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    };
    let mut question = vec![0; RTMSG_BYTES];
    question[0] = family;
    question[1] = bytes.len() as u8 * 8;
    question.extend(attribute(RTA_DST, &bytes));
    let answers = connection.ask(RTM_GETROUTE, question, Want::One)?;
    let route = answers.first().and_then(|answer| answer.get(RTMSG_BYTES..));
    Ok(route.and_then(|route| Attributes::read(route).u32(RTA_OIF)))
}

/// Whether a device is one of `names`, a VLAN on one, or a bridge with one as its port.
fn is_ours(way: &Link, links: &[Link], names: &[String]) -> bool {
    let ours = |link: &&Link| names.contains(&link.name);
    links.iter().filter(ours).any(|link| {
        link.index == way.index
            || link.master == Some(way.index)
            || (way.lower == Some(link.index) && !way.lower_is_elsewhere)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vlan_and_a_bridge_are_ours_where_their_interface_is() {
        let names = ["lan0".to_owned()];
        let lan = Link {
            index: 3,
            name: "lan0".to_owned(),
            master: Some(5),
            ..Link::default()
        };
        let other = |index, lower| Link {
            index,
            lower,
            name: format!("if{index}"),
            ..Link::default()
        };
        let links = [lan.clone()];
        assert!(is_ours(&lan, &links, &names));
        assert!(is_ours(&other(4, Some(3)), &links, &names));
        assert!(is_ours(&other(5, None), &links, &names));
        assert!(!is_ours(&other(6, None), &links, &names));
    }

    #[test]
    fn this_machine_is_reached_by_its_loopback() {
        let ways = other_ways(&["lan0".to_owned()], &["127.0.0.0/8".parse().unwrap()]).unwrap();
        assert_eq!(ways[0].1, "lo");
    }
}
