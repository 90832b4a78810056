//! Who is near: the networks behind attached interfaces, whose addresses are clients.
//!
//! The addresses are seldom on the attached device itself. Those of a bridge's port are on the bridge,
//! those of a trunk on its VLANs, those of PPPoE sessions on ppp devices. A device above that is the way
//! to the rest of the world is left out where there are others: on a trunk it is the other side.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use ipnet::IpNet;

use super::{
    Error,
    address::{self, Network},
    failed,
    link::{self, Link},
    stack,
};

/// Networks whose addresses are clients, each with the interface that it is on.
pub type OnLink = BTreeMap<IpNet, String>;

/// The sessions of this namespace: number, address of the other end, device below.
const PPPOE_SESSIONS: &str = "/proc/thread-self/net/pppoe";

/// What is known of a machine's networks.
#[derive(Debug, Default)]
struct Machine {
    links: Vec<Link>,
    networks: Vec<Network>,
    ways_out: BTreeSet<u32>,
    /// Names of devices that carry PPPoE sessions.
    carriers: BTreeSet<String>,
}

/// Looks for the networks behind interfaces of the calling thread's namespace, by their indexes.
///
/// # Errors
/// Fails when netlink does not work.
pub fn on_link(attached: &BTreeSet<u32>) -> Result<OnLink, Error> {
    if attached.is_empty() {
        return Ok(OnLink::new());
    }
    let links = link::all().map_err(failed("the interfaces"))?;
    let machine = Machine {
        networks: address::networks().map_err(failed("the addresses"))?,
        ways_out: address::ways_out().map_err(failed("the routes"))?,
        // Without the module there is no such file, and no session.
        carriers: carriers(&fs::read_to_string(PPPOE_SESSIONS).unwrap_or_default()),
        links,
    };
    Ok(machine.on_link(attached))
}

impl Machine {
    fn on_link(&self, attached: &BTreeSet<u32>) -> OnLink {
        let mut near = OnLink::new();
        for index in attached {
            for network in self.networks_behind(*index) {
                if let Some(link) = stack::by_index(network.interface, &self.links) {
                    near.insert(network.prefix, link.name.clone());
                }
            }
        }
        near
    }

    /// The networks behind one interface.
    fn networks_behind(&self, index: u32) -> Vec<Network> {
        let mut own = BTreeSet::from([index]);
        own.extend(stack::masters(index, &self.links));
        let mut above = stack::above(index, &self.links);
        above.extend(self.sessions(index, &above));
        let on = |devices: &BTreeSet<u32>| -> Vec<Network> {
            let networks = self.networks.iter().copied();
            networks
                .filter(|network| devices.contains(&network.interface))
                .collect()
        };
        let others: BTreeSet<u32> = above.difference(&own).copied().collect();
        let inside: BTreeSet<u32> = others.difference(&self.ways_out).copied().collect();
        let mut networks = on(&own);
        networks.extend(on(&inside));
        // What is the only network there is may be both: that of clients and the way out.
        if networks.is_empty() {
            networks = on(&others);
        }
        networks
    }

    /// PPP devices whose sessions may run over an interface or over what is above it. The kernel does
    /// not tell which session has which device.
    fn sessions(&self, index: u32, above: &BTreeSet<u32>) -> Vec<u32> {
        let carries = |link: &&Link| {
            (link.index == index || above.contains(&link.index))
                && self.carriers.contains(&link.name)
        };
        if !self.links.iter().any(|link| carries(&link)) {
            return Vec::new();
        }
        let ppp = self.links.iter().filter(|link| link.is_ppp());
        ppp.map(|link| link.index).collect()
    }
}

/// The devices in a list of PPPoE sessions: a line of headings, and then the device last.
fn carriers(sessions: &str) -> BTreeSet<String> {
    let rows = sessions.lines().skip(1);
    let devices = rows.filter_map(|row| row.split_whitespace().nth(2));
    devices.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::stack::tests::{link, port, stacked};

    fn machine(links: Vec<Link>, networks: &[(u32, &str)], ways_out: &[u32]) -> Machine {
        let network = |(interface, prefix): &(u32, &str)| Network {
            interface: *interface,
            prefix: prefix.parse().unwrap(),
        };
        Machine {
            links,
            networks: networks.iter().map(network).collect(),
            ways_out: ways_out.iter().copied().collect(),
            carriers: BTreeSet::new(),
        }
    }

    fn near(machine: &Machine, attached: &[u32]) -> Vec<String> {
        let near = machine.on_link(&attached.iter().copied().collect());
        near.into_keys().map(|prefix| prefix.to_string()).collect()
    }

    #[test]
    fn a_bridge_port_has_the_networks_of_the_bridge_and_of_vlans_on_it() {
        let links = vec![
            port(2, "", 4),
            link(3, ""),
            link(4, "bridge"),
            stacked(5, "vlan", 4),
        ];
        let networks = [
            (4, "203.0.113.0/24"),
            (5, "2001:db8:5::/64"),
            (3, "198.51.100.0/24"),
        ];
        let machine = machine(links, &networks, &[3]);
        assert_eq!(near(&machine, &[2]), ["203.0.113.0/24", "2001:db8:5::/64"]);
        assert_eq!(near(&machine, &[3]), ["198.51.100.0/24"]);
    }

    #[test]
    fn the_way_out_on_a_trunk_is_not_a_network_of_clients() {
        let links = vec![link(2, ""), stacked(3, "vlan", 2), stacked(4, "vlan", 2)];
        let networks = [(3, "203.0.113.0/24"), (4, "198.51.100.0/24")];
        let both = machine(links.clone(), &networks, &[4]);
        assert_eq!(near(&both, &[2]), ["203.0.113.0/24"]);
        // A server in one VLAN has its clients and its gateway there.
        let only = machine(links, &networks[1..], &[4]);
        assert_eq!(near(&only, &[2]), ["198.51.100.0/24"]);
    }

    #[test]
    fn the_interface_itself_and_its_bridge_count_also_as_the_way_out() {
        let links = vec![port(2, "", 3), link(3, "bridge")];
        let machine = machine(links, &[(3, "203.0.113.0/24")], &[3]);
        assert_eq!(near(&machine, &[2]), ["203.0.113.0/24"]);
        assert_eq!(near(&machine, &[3]), ["203.0.113.0/24"]);
    }

    #[test]
    fn sessions_over_an_interface_bring_their_other_ends() {
        let ppp = |index| Link {
            hardware_type: 512,
            ..link(index, "ppp")
        };
        let links = vec![
            link(2, ""),
            stacked(3, "vlan", 2),
            ppp(7),
            ppp(8),
            link(9, ""),
        ];
        let networks = [(7, "203.0.113.5/32"), (8, "198.51.100.1/32")];
        let mut machine = machine(links, &networks, &[8]);
        assert!(near(&machine, &[2]).is_empty());
        machine.carriers =
            carriers("Id       Address              Device\n0000002A 02:00:00:00:00:01     if3\n");
        assert_eq!(near(&machine, &[2]), ["203.0.113.5/32"]);
        assert!(near(&machine, &[9]).is_empty(), "no session runs over it");
    }
}
