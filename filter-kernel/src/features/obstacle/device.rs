//! What is in the way by what a device is.

use std::{collections::BTreeSet, fs};

use super::{Obstacle, ObstacleKind, obstacle};
use crate::features::{Mode, drivers, link::Link, stack};

/// From this size on drivers that need a packet in one page refuse native mode, or drop it: the page less 256
/// bytes of headroom, 320 for the buffer's end and the headers of a frame.
const PAGE_OVERHEAD_BYTES: u32 = 598;

/// The devices that receive the frames of an interface: a bond's are those of its ports.
pub(in crate::features) fn receivers(link: &Link, links: &[Link]) -> BTreeSet<u32> {
    if link.is_of(&["bond", "team"]) {
        return stack::below(link.index, links);
    }
    BTreeSet::from([link.index])
}

/// Whether somebody reads tags behind an interface: a VLAN above it, or a bridge that keeps VLANs apart.
/// A VLAN in another namespace cannot be seen.
pub(in crate::features) fn has_vlans(link: &Link, links: &[Link]) -> bool {
    let above = stack::above(link.index, links);
    let mut above = above
        .iter()
        .filter_map(|index| stack::by_index(*index, links));
    above.any(|upper| upper.is_of(&["vlan"]) || upper.filters_vlans)
}

/// What cannot be found out from here.
pub(super) fn notes(link: &Link, links: &[Link], mode: Mode) -> Vec<String> {
    let name = &link.name;
    let mut notes = Vec::new();
    if mode == Mode::Native && link.is_of(&["veth"]) && link.lower_is_elsewhere {
        notes.push(format!(
            "{name}: its other end is in another namespace: answers get stuck unless that end has an XDP program too"
        ));
    }
    let is_macvlan = |upper: &&Link| {
        upper.is_of(&["macvlan", "ipvlan"]) && stack::is_stacked_on(upper, link.index)
    };
    if let Some(upper) = links.iter().find(is_macvlan) {
        notes.push(format!(
            "{name}: queries between {} and others of its kind do not pass {name}; where a resolver is on one of them, \
             attach to it too",
            upper.name
        ));
    }
    notes
}

/// Why nothing can be filtered on an interface at all.
pub(super) fn blind(link: &Link, links: &[Link]) -> Vec<Obstacle> {
    let kind = link.kind.as_deref().unwrap_or_default();
    let found = if link.is_loopback() {
        let says = "answers do not come back on the loopback interface, every blocked name times out; choose the \
                    interface that faces the clients";
        Some((ObstacleKind::Loopback, says.to_owned()))
    } else if drivers::is_blind(kind) {
        let ports = links.iter().filter(|port| port.master == Some(link.index));
        let ports: Vec<&str> = ports.map(|port| port.name.as_str()).collect();
        let instead = match ports.is_empty() {
            true => "choose the interface that carries the packets".to_owned(),
            false => format!("attach to its ports: {}", ports.join(", ")),
        };
        let says = format!("no frames come by a device of kind {kind}; {instead}");
        Some((ObstacleKind::Blind, says))
    } else if !link.is_ethernet() {
        let says = "its frames have no Ethernet header: nothing would be filtered; choose the interface that carries \
                    its packets";
        Some((ObstacleKind::NoEthernet, says.to_owned()))
    } else {
        None
    };
    let found = found.map(|(kind, says)| Obstacle {
        says,
        ..obstacle(link, kind)
    });
    found.into_iter().collect()
}

/// A driver that takes the program and does not run it.
pub(super) fn ignored(link: &Link) -> Option<Obstacle> {
    let why = drivers::ignores_programs(link)?;
    Some(Obstacle {
        says: format!(
            "{why}: nothing would be filtered; give the machine's card mergeable buffers (mrg_rxbuf=on) or use \
             --mode skb"
        ),
        ..obstacle(link, ObstacleKind::IgnoredProgram)
    })
}

/// Packets that do not fit one buffer with the program, which drivers that take the size at any time drop.
pub(super) fn large_packets(link: &Link) -> Option<Obstacle> {
    let most = largest_native_mtu_bytes();
    let is_limited = link.device.is_some() && link.mtu_bytes > most;
    is_limited.then(|| Obstacle {
        says: format!(
            "packets of {} bytes do not fit one page with a native program: larger ones than {most} bytes are dropped, \
             and detaching may fail",
            link.mtu_bytes
        ),
        remedy: Some(format!("ip link set dev {} mtu 1500", link.name)),
        ..obstacle(link, ObstacleKind::LargePackets)
    })
}

/// The devices of other hardware addresses by which queries for a macvlan's addresses may come, where it
/// is beside them: the card below it and its other macvlans.
pub(super) fn beside<'a>(link: &'a Link, links: &'a [Link]) -> impl Iterator<Item = &'a Link> {
    let below = link
        .lower
        .filter(|lower| link.is_of(&["macvlan"]) && stack::is_stacked_on(link, *lower));
    let is_beside = move |other: &&Link| {
        let on_the_same = other.is_of(&["macvlan"]) && stack::is_stacked_on(other, below?);
        let is_there = other.is_up && other.attached.is_empty();
        let is_other = other.hardware_address != link.hardware_address;
        Some(is_there && is_other && (Some(other.index) == below || on_the_same))
    };
    links
        .iter()
        .filter(move |other| is_beside(other) == Some(true))
}

/// Whether the kernel answers ARP on a device for the addresses of others (arp_ignore, arp_filter and
/// rp_filter of Documentation/networking/ip-sysctl.rst).
pub(super) fn answers_for_others(name: &str) -> bool {
    let setting = |key: &str| {
        let of = |device: &str| {
            let path = format!("/proc/sys/net/ipv4/conf/{device}/{key}");
            fs::read_to_string(path).ok()?.trim().parse::<u8>().ok()
        };
        Some(of("all")?.max(of(name)?))
    };
    let [ignore, filter, reverse] = ["arp_ignore", "arp_filter", "rp_filter"].map(setting);
    ignore == Some(0) && filter == Some(0) && reverse != Some(1)
}

/// Queries that are sent to the hardware address of another device.
pub(super) fn passed_by(
    link: &Link,
    links: &[Link],
    answers_for_others: impl Fn(&str) -> bool,
) -> Option<Obstacle> {
    let name = &link.name;
    let other = &beside(link, links)
        .find(|other| answers_for_others(&other.name))?
        .name;
    Some(Obstacle {
        says: format!(
            "{other} on the same card answers ARP for the addresses of {name}, too: queries that clients then send to \
             {other} do not pass {name}; attach to {other} as well, or leave the answers to {name}"
        ),
        remedy: Some(format!("sysctl -w net.ipv4.conf.{other}.arp_ignore=1")),
        ..obstacle(link, ObstacleKind::Arp)
    })
}

/// The largest packet that fits one page in native mode.
pub(in crate::features) fn largest_native_mtu_bytes() -> u32 {
    let page = fs::read("/proc/self/auxv")
        .ok()
        .and_then(|auxiliary| page_bytes(&auxiliary));
    page.unwrap_or(4096).saturating_sub(PAGE_OVERHEAD_BYTES)
}

/// The size of a page in the auxiliary vector of a process (getauxval(3)).
fn page_bytes(auxiliary: &[u8]) -> Option<u32> {
    const AT_PAGESZ: usize = 6;
    const WORD: usize = size_of::<usize>();
    let (words, _) = auxiliary.as_chunks::<WORD>();
    let (pairs, _) = words.as_chunks::<2>();
    let [_, bytes] = pairs
        .iter()
        .find(|[kind, _]| usize::from_ne_bytes(*kind) == AT_PAGESZ)?;
    u32::try_from(usize::from_ne_bytes(*bytes)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::stack::tests::{link, stacked};

    #[test]
    fn what_cannot_be_seen_from_here_is_told() {
        let far = Link {
            lower_is_elsewhere: true,
            ..stacked(2, "veth", 9)
        };
        let links = [far.clone(), link(3, ""), stacked(4, "macvlan", 3)];
        assert!(notes(&far, &links, Mode::Native)[0].contains("another namespace"));
        assert!(notes(&far, &links, Mode::Skb).is_empty());
        assert!(notes(&links[1], &links, Mode::Skb)[0].contains("between if4 and others"));
    }

    #[test]
    fn who_else_answers_for_a_macvlan_is_told_unless_it_is_filtered_too() {
        let up = |link: Link| Link {
            is_up: true,
            hardware_address: vec![2, 0, 0, 0, 0, link.index as u8],
            ..link
        };
        let links = [
            up(link(2, "")),
            up(stacked(3, "macvlan", 2)),
            up(link(4, "")),
        ];
        let found = passed_by(&links[1], &links, |name| name == "if2").unwrap();
        assert_eq!(
            found.remedy.as_deref(),
            Some("sysctl -w net.ipv4.conf.if2.arp_ignore=1")
        );
        assert_eq!(passed_by(&links[1], &links, |name| name == "if4"), None);
        assert_eq!(passed_by(&links[0], &links, |_| true), None);
        let with_sibling = [&links[1..], &[up(stacked(5, "macvlan", 2))]].concat();
        assert!(passed_by(&links[1], &with_sibling, |name| name == "if5").is_some());
        let mut filtered = links.clone();
        filtered[0].attached = vec![crate::features::AttachedProgram {
            id: 7,
            mode: Mode::Skb,
            name: None,
        }];
        assert_eq!(passed_by(&links[1], &filtered, |_| true), None);
        // In passthru mode both have one hardware address, and the macvlan gets all.
        let mut passthru = links.clone();
        passthru[1].hardware_address = passthru[0].hardware_address.clone();
        assert_eq!(passed_by(&passthru[1], &passthru, |_| true), None);
    }

    #[test]
    fn a_page_less_what_goes_with_a_packet_is_told() {
        let auxiliary = fs::read("/proc/self/auxv").unwrap();
        let page = page_bytes(&auxiliary).unwrap();
        assert!(page.is_power_of_two() && page >= 4096, "{page}");
        assert_eq!(largest_native_mtu_bytes(), page - PAGE_OVERHEAD_BYTES);
        assert_eq!(page_bytes(&[]), None);
    }
}
