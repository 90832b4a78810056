//! How interfaces lie over each other: what is below a bridge, a bond or a VLAN, and what is above.

use std::collections::BTreeSet;

use super::link::Link;

/// Devices that are made of others: frames come in by those.
const MADE_OF_PORTS: [&str; 3] = ["bridge", "bond", "team"];

/// Indexes of everything that hands up what `index` receives: its masters, what is stacked on it and on
/// them, and so on; not itself.
///
/// A routing domain (VRF) is no master in this sense: it has no frames of its own.
pub(super) fn above(index: u32, links: &[Link]) -> BTreeSet<u32> {
    closure(index, |found| {
        let upper = links
            .iter()
            .filter(move |link| is_port_of(found, link, links) || is_stacked_on(link, found));
        upper.map(|link| link.index).collect()
    })
}

/// Indexes of everything whose frames may come up to `index`: its ports, what it is stacked on, and so
/// on; not itself.
pub(super) fn below(index: u32, links: &[Link]) -> BTreeSet<u32> {
    closure(index, |found| {
        let Some(link) = by_index(found, links) else {
            return Vec::new();
        };
        let ports = links
            .iter()
            .filter(|port| is_port_of(port.index, link, links))
            .map(|port| port.index);
        let under = link.lower.filter(|lower| is_stacked_on(link, *lower));
        ports.chain(under).collect()
    })
}

/// Indexes of the bridges, bonds and teams that `index` is a port of, the nearest first.
pub(super) fn masters(index: u32, links: &[Link]) -> Vec<u32> {
    let mut masters = Vec::new();
    let mut next = by_index(index, links);
    while let Some(master) = next.and_then(|link| by_index(link.master?, links)) {
        if !master.is_of(&MADE_OF_PORTS) || masters.contains(&master.index) {
            break;
        }
        masters.push(master.index);
        next = Some(master);
    }
    masters
}

/// Whether a device is stacked on `lower`, as a VLAN or a macvlan is; the other end of a veth pair
/// is told in the same place.
pub(super) fn is_stacked_on(link: &Link, lower: u32) -> bool {
    link.lower == Some(lower)
        && link.index != lower
        && !link.lower_is_elsewhere
        && !link.is_of(&["veth", "netkit"])
}

/// The interface with this index.
pub(super) fn by_index(index: u32, links: &[Link]) -> Option<&Link> {
    links.iter().find(|link| link.index == index)
}

fn is_port_of(port: u32, master: &Link, links: &[Link]) -> bool {
    master.is_of(&MADE_OF_PORTS)
        && by_index(port, links).is_some_and(|port| port.master == Some(master.index))
}

fn closure(start: u32, next: impl Fn(u32) -> Vec<u32>) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut todo = vec![start];
    while let Some(index) = todo.pop() {
        todo.extend(next(index).into_iter().filter(|index| found.insert(*index)));
    }
    found.remove(&start);
    found
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An interface of a kind; `""` is hardware.
    pub(in crate::features) fn link(index: u32, kind: &str) -> Link {
        Link {
            index,
            name: format!("if{index}"),
            kind: (!kind.is_empty()).then(|| kind.to_owned()),
            hardware_type: 1,
            is_up: true,
            mtu_bytes: 1500,
            ..Link::default()
        }
    }

    /// A port of a bridge or a bond.
    pub(in crate::features) fn port(index: u32, kind: &str, master: u32) -> Link {
        Link {
            master: Some(master),
            ..link(index, kind)
        }
    }

    /// A device stacked on another one.
    pub(in crate::features) fn stacked(index: u32, kind: &str, lower: u32) -> Link {
        Link {
            lower: Some(lower),
            ..link(index, kind)
        }
    }

    /// Two cards in a bond in a bridge, VLANs on card, bond and bridge, a VLAN's macvlan.
    fn tower() -> Vec<Link> {
        vec![
            port(1, "", 3),
            port(2, "", 3),
            port(3, "bond", 4),
            link(4, "bridge"),
            stacked(5, "vlan", 4),
            stacked(6, "macvlan", 5),
            stacked(7, "vlan", 2),
            port(8, "veth", 4),
            link(9, "vrf"),
        ]
    }

    #[test]
    fn what_is_above_is_reached_over_masters_and_stacked_devices() {
        let links = tower();
        assert_eq!(above(1, &links), BTreeSet::from([3, 4, 5, 6]));
        assert_eq!(above(2, &links), BTreeSet::from([3, 4, 5, 6, 7]));
        assert_eq!(above(4, &links), BTreeSet::from([5, 6]));
        assert_eq!(masters(1, &links), [3, 4]);
    }

    #[test]
    fn what_is_below_is_every_port_and_everything_under_it() {
        let links = tower();
        assert_eq!(below(6, &links), BTreeSet::from([1, 2, 3, 4, 5, 8]));
        assert_eq!(below(3, &links), BTreeSet::from([1, 2]));
        assert!(below(1, &links).is_empty());
    }

    #[test]
    fn the_other_end_of_a_pair_is_not_below_and_a_routing_domain_not_above() {
        let links = [
            stacked(2, "veth", 3),
            stacked(3, "veth", 2),
            port(4, "", 5),
            link(5, "vrf"),
        ];
        assert!(above(2, &links).is_empty() && below(2, &links).is_empty());
        assert!(above(4, &links).is_empty() && masters(4, &links).is_empty());
    }

    #[test]
    fn a_ring_of_devices_has_an_end() {
        let links = [stacked(2, "vlan", 3), stacked(3, "vlan", 2)];
        assert_eq!(above(2, &links), BTreeSet::from([3]));
        let links = [port(2, "bond", 3), port(3, "bond", 2)];
        assert_eq!(masters(2, &links), [3, 2]);
    }
}
