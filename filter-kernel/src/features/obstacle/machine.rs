//! What is in the way by the machine's interfaces and their offloads.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Obstacle, ObstacleKind, Purpose,
    device::{answers_for_others, blind, has_vlans, ignored, large_packets, passed_by, receivers},
    obstacle,
};
use crate::features::{
    Error, Mode,
    ethtool::{Ethtool, Offloads},
    failed,
    link::{self, Link},
    stack,
};

/// The kernel's names of offloads that take VLAN tags off, and those that `ethtool -K` takes.
pub(in crate::features) const TAG_OFFLOADS: [(&str, &str); 2] = [
    ("rx-vlan-hw-parse", "rxvlan"),
    ("rx-vlan-stag-hw-parse", "rx-vlan-stag-hw-parse"),
];

/// Those that put datagrams together.
const MERGING_OFFLOADS: [(&str, &str); 2] = [
    ("rx-gro-list", "rx-gro-list"),
    ("rx-udp-gro-forwarding", "rx-udp-gro-forwarding"),
];

/// The interfaces, and what was asked about them.
pub(in crate::features) struct Machine {
    pub(in crate::features) links: Vec<Link>,
    ethtool: Option<Ethtool>,
    offloads: BTreeMap<u32, Option<Offloads>>,
}

impl Machine {
    pub(in crate::features) fn look() -> Result<Self, Error> {
        Ok(Self {
            links: link::all().map_err(failed("the interfaces"))?,
            ethtool: Some(Ethtool::open().map_err(failed("the offloads"))?),
            offloads: BTreeMap::new(),
        })
    }

    /// What is in the way on one interface, the worst first.
    pub(in crate::features) fn obstacles(
        &mut self,
        index: u32,
        purpose: Purpose,
    ) -> Result<Vec<Obstacle>, Error> {
        let Some(link) = stack::by_index(index, &self.links).cloned() else {
            return Ok(Vec::new());
        };
        let blind = blind(&link, &self.links);
        if !blind.is_empty() {
            return Ok(blind);
        }
        let mut found = Vec::new();
        if purpose.mode == Mode::Native {
            found.extend(ignored(&link));
            found.extend(self.tags(&link)?);
            found.extend(self.peer(&link));
            found.extend(large_packets(&link));
        } else {
            found.extend(self.merging(&link)?);
        }
        found.extend(passed_by(&link, &self.links, answers_for_others));
        if purpose.has_vlan_policies {
            found.extend(self.tag_policies(&link, purpose.mode)?);
        }
        Ok(found)
    }

    /// Tags that are taken off before a native program sees the frame, where there are VLANs.
    fn tags(&mut self, link: &Link) -> Result<Option<Obstacle>, Error> {
        if !has_vlans(link, &self.links) {
            return Ok(None);
        }
        let taken_off = self.taken_off(&receivers(link, &self.links))?;
        Ok(taken_off.map(|remedy| Obstacle {
            says: format!(
                "VLAN tags are taken off before the program sees them, and there are VLANs: answers could leave in \
                 another VLAN, so blocked queries are dropped{}",
                remedy.hint()
            ),
            remedy: remedy.command,
            ..obstacle(link, ObstacleKind::Tags)
        }))
    }

    /// Tags that the program does not see, where policies ask for them.
    fn tag_policies(&mut self, link: &Link, mode: Mode) -> Result<Option<Obstacle>, Error> {
        let mut receivers = receivers(link, &self.links);
        if mode == Mode::Skb {
            receivers.extend(stack::below(link.index, &self.links));
        }
        let taken_off = self.taken_off(&receivers)?;
        Ok(taken_off.map(|remedy| Obstacle {
            says: format!(
                "VLAN tags are taken off before the program sees them: clients of `vlan:` policies get the default \
                 one{}",
                remedy.hint()
            ),
            remedy: remedy.command,
            ..obstacle(link, ObstacleKind::TagPolicies)
        }))
    }

    /// How tags stay on, if they do not.
    pub(in crate::features) fn taken_off(
        &mut self,
        receivers: &BTreeSet<u32>,
    ) -> Result<Option<Remedy>, Error> {
        for index in receivers {
            let Some(link) = stack::by_index(*index, &self.links).cloned() else {
                continue;
            };
            // On a veth pair the sender keeps the tag beside the frame.
            let is_veth = link.is_of(&["veth"]);
            let (device, names) = match self.peer_of(&link) {
                Some(peer) if is_veth => (peer, &[("tx-vlan-hw-insert", "txvlan")][..]),
                _ if is_veth => continue,
                _ => (link, &TAG_OFFLOADS[..]),
            };
            if let Some(remedy) = self.switched_off(&device, names)? {
                return Ok(Some(remedy));
            }
        }
        Ok(None)
    }

    /// Datagrams that something below an interface puts together. The device that has the generic
    /// program does not: the kernel sees to that.
    fn merging(&mut self, link: &Link) -> Result<Option<Obstacle>, Error> {
        for index in stack::below(link.index, &self.links) {
            let Some(port) = stack::by_index(index, &self.links).cloned() else {
                continue;
            };
            if let Some(remedy) = self.switched_off(&port, &MERGING_OFFLOADS)? {
                return Ok(Some(Obstacle {
                    says: format!(
                        "{} puts several queries into one frame (receive offload of lists or for forwarding): some \
                         would be lost{}",
                        port.name,
                        remedy.hint()
                    ),
                    remedy: remedy.command,
                    ..obstacle(link, ObstacleKind::Merging)
                }));
            }
        }
        Ok(None)
    }

    /// The command that switches the first of these offloads off that is on.
    fn switched_off(
        &mut self,
        link: &Link,
        names: &[(&str, &str)],
    ) -> Result<Option<Remedy>, Error> {
        let Some(offloads) = self.offloads(link.index)? else {
            return Ok(None);
        };
        let on = names.iter().find(|(name, _)| offloads.has(name));
        Ok(on.map(|(name, short)| Remedy {
            command: (!offloads.has_for_good(name))
                .then(|| format!("ethtool -K {} {short} off", link.name)),
            fixed: offloads
                .has_for_good(name)
                .then(|| format!("{name} of {}", link.name)),
        }))
    }

    fn offloads(&mut self, index: u32) -> Result<Option<Offloads>, Error> {
        if !self.offloads.contains_key(&index) {
            let asked = self.ethtool.as_mut().map(|ethtool| ethtool.offloads(index));
            let told = asked.transpose().map_err(failed("the offloads"))?.flatten();
            self.offloads.insert(index, told);
        }
        Ok(self.offloads.get(&index).cloned().flatten())
    }

    /// The other end of a veth pair, if it is in this namespace.
    fn peer_of(&self, link: &Link) -> Option<Link> {
        let is_here = link.is_of(&["veth"]) && !link.lower_is_elsewhere;
        let peer = link.lower.filter(|_| is_here)?;
        stack::by_index(peer, &self.links).cloned()
    }

    fn peer(&self, link: &Link) -> Option<Obstacle> {
        let peer = self.peer_of(link)?;
        let has_program = peer.attached.iter().any(|found| found.mode == Mode::Native);
        (!has_program).then(|| Obstacle {
            says: format!(
                "its other end {} has no XDP program: answers get stuck; attach one there, if only one that passes \
                 everything, or use --mode skb",
                peer.name
            ),
            ..obstacle(link, ObstacleKind::Peer)
        })
    }
}

/// How an offload is ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::features) struct Remedy {
    pub(in crate::features) command: Option<String>,
    /// The offload that cannot be switched off.
    fixed: Option<String>,
}

impl Remedy {
    fn hint(&self) -> String {
        let fixed = self.fixed.as_ref();
        fixed.map_or_else(String::new, |fixed| {
            format!("; {fixed} cannot be switched off ([fixed]): use another interface or mode")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::largest_native_mtu_bytes, *};
    use crate::features::{
        AttachedProgram,
        stack::tests::{link, port, stacked},
    };

    const NATIVE: Purpose = Purpose {
        mode: Mode::Native,
        has_vlan_policies: false,
    };
    const SKB: Purpose = Purpose {
        mode: Mode::Skb,
        ..NATIVE
    };

    fn machine(links: Vec<Link>, on: &[(u32, &str)], can_change: bool) -> Machine {
        let mut offloads: BTreeMap<u32, Option<Offloads>> = BTreeMap::new();
        for link in &links {
            let names = on.iter().filter(|(index, _)| *index == link.index);
            let names: Vec<String> = names.map(|(_, name)| (*name).to_owned()).collect();
            let told = Offloads::of(names, can_change);
            offloads.insert(link.index, Some(told));
        }
        Machine {
            links,
            ethtool: None,
            offloads,
        }
    }

    fn kinds(machine: &mut Machine, index: u32, purpose: Purpose) -> Vec<ObstacleKind> {
        let found = machine.obstacles(index, purpose).unwrap();
        found.into_iter().map(|obstacle| obstacle.kind).collect()
    }

    #[test]
    fn devices_that_no_frames_come_by_are_told_with_their_ports() {
        let tun = Link {
            hardware_type: 65534,
            ..link(2, "tun")
        };
        let loopback = Link {
            hardware_type: 772,
            ..link(1, "")
        };
        let links = vec![
            loopback,
            tun,
            link(3, "vrf"),
            port(4, "", 3),
            link(5, "dummy"),
        ];
        let mut machine = machine(links, &[], true);
        let found = [1, 2, 3, 5].map(|index| kinds(&mut machine, index, SKB));
        let expected = [
            ObstacleKind::Loopback,
            ObstacleKind::NoEthernet,
            ObstacleKind::Blind,
            ObstacleKind::Blind,
        ];
        assert_eq!(found, expected.map(|kind| vec![kind]));
        assert!(kinds(&mut machine, 4, SKB).is_empty());
        let text = machine.obstacles(3, SKB).unwrap()[0].to_string();
        assert_eq!(
            text,
            "if3: no frames come by a device of kind vrf; attach to its ports: if4"
        );
    }

    #[test]
    fn tags_are_in_the_way_where_vlans_are_and_at_the_ports_of_a_bond() {
        let links = vec![
            port(1, "", 3),
            port(2, "", 3),
            link(3, "bond"),
            stacked(4, "vlan", 3),
            link(5, ""),
        ];
        let mut bond = machine(
            links,
            &[(2, "rx-vlan-hw-parse"), (5, "rx-vlan-hw-parse")],
            true,
        );
        let found = bond.obstacles(3, NATIVE).unwrap();
        assert_eq!(found[0].kind, ObstacleKind::Tags);
        assert_eq!(
            found[0].remedy.as_deref(),
            Some("ethtool -K if2 rxvlan off")
        );
        // Generic mode sends the tag back, and without VLANs nobody reads it.
        assert!(kinds(&mut bond, 3, SKB).is_empty());
        assert!(kinds(&mut bond, 5, NATIVE).is_empty());
    }

    #[test]
    fn a_bridge_that_keeps_vlans_apart_is_a_reader_of_tags() {
        let bridge = Link {
            filters_vlans: true,
            ..link(3, "bridge")
        };
        let mut machine = machine(
            vec![port(2, "", 3), bridge],
            &[(2, "rx-vlan-hw-parse")],
            true,
        );
        assert_eq!(kinds(&mut machine, 2, NATIVE), [ObstacleKind::Tags]);
    }

    #[test]
    fn policies_by_vlan_meet_tags_that_are_taken_off_in_both_modes() {
        let links = || vec![port(2, "", 3), link(3, "bridge")];
        let mut machine = machine(links(), &[(2, "rx-vlan-hw-parse")], true);
        for (index, mode) in [(2, Mode::Native), (2, Mode::Skb), (3, Mode::Skb)] {
            let purpose = Purpose {
                mode,
                has_vlan_policies: true,
            };
            let found = kinds(&mut machine, index, purpose);
            assert_eq!(found, [ObstacleKind::TagPolicies], "{index} {mode}");
        }
    }

    #[test]
    fn a_veth_pair_keeps_tags_where_the_sender_does() {
        let links = vec![
            stacked(2, "veth", 3),
            stacked(3, "veth", 2),
            stacked(4, "vlan", 2),
        ];
        let mut machine = machine(
            links,
            &[(2, "rx-vlan-hw-parse"), (3, "tx-vlan-hw-insert")],
            true,
        );
        let found = machine.obstacles(2, NATIVE).unwrap();
        assert_eq!(
            found[0].remedy.as_deref(),
            Some("ethtool -K if3 txvlan off")
        );
        assert_eq!(found[1].kind, ObstacleKind::Peer);
    }

    #[test]
    fn an_offload_that_cannot_be_switched_off_gets_no_command() {
        let links = vec![link(2, ""), stacked(3, "vlan", 2)];
        let mut machine = machine(links, &[(2, "rx-vlan-hw-parse")], false);
        let text = machine.obstacles(2, NATIVE).unwrap()[0].to_string();
        assert!(
            text.contains("[fixed]") && !text.contains("ethtool"),
            "{text}"
        );
    }

    #[test]
    fn merging_below_a_generic_attachment_is_in_the_way_and_on_it_is_not() {
        for name in ["rx-gro-list", "rx-udp-gro-forwarding"] {
            let links = vec![port(2, "", 3), link(3, "bridge"), stacked(4, "vlan", 3)];
            let mut machine = machine(links, &[(2, name)], true);
            for index in [3, 4] {
                let found = machine.obstacles(index, SKB).unwrap();
                assert_eq!(found[0].kind, ObstacleKind::Merging);
                let remedy = format!("ethtool -K if2 {name} off");
                assert_eq!(found[0].remedy.as_ref(), Some(&remedy));
            }
            assert!(kinds(&mut machine, 2, SKB).is_empty());
            assert!(kinds(&mut machine, 2, NATIVE).is_empty());
        }
    }

    #[test]
    fn the_other_end_of_a_pair_needs_a_program_in_native_mode() {
        let program = AttachedProgram {
            id: 7,
            mode: Mode::Native,
            name: None,
        };
        let peer = Link {
            attached: vec![program],
            ..stacked(3, "veth", 2)
        };
        let pair = |peer| vec![stacked(2, "veth", 3), peer];
        let mut with = machine(pair(peer), &[], true);
        assert!(kinds(&mut with, 2, NATIVE).is_empty());
        let mut without = machine(pair(stacked(3, "veth", 2)), &[], true);
        assert_eq!(kinds(&mut without, 2, NATIVE), [ObstacleKind::Peer]);
        assert!(kinds(&mut without, 2, SKB).is_empty());
        assert!(!ObstacleKind::Peer.refuses());
    }

    #[test]
    fn packets_that_do_not_fit_a_page_are_told_of_hardware_in_native_mode() {
        let mtu_bytes = largest_native_mtu_bytes() + 1;
        let card = Link {
            mtu_bytes,
            device: Some(("pci".to_owned(), "none".to_owned())),
            ..link(2, "")
        };
        let pair = Link {
            mtu_bytes,
            ..link(3, "veth")
        };
        let mut machine = machine(vec![card, pair], &[], true);
        assert_eq!(kinds(&mut machine, 2, NATIVE), [ObstacleKind::LargePackets]);
        assert!(kinds(&mut machine, 2, SKB).is_empty());
        assert!(
            kinds(&mut machine, 3, NATIVE).is_empty(),
            "the kernel limits it"
        );
    }
}
