//! Interfaces that take VLAN tags off frames before a native program sees them.
//!
//! Such a frame looks like one that never had a tag, and its answer would leave
//! without one: in another VLAN, or nowhere. The program cannot know; but where
//! this machine is in no VLAN behind an interface, nobody reads tagged frames there.

use std::collections::BTreeMap;

use super::{
    Error, Peer, TAG_OFFLOADS,
    ethtool::Ethtool,
    failed,
    link::{self, Link},
    offloads, peer,
};

/// Those of `names` that take tags off and have VLANs behind them, by index; each with the
/// command that lets tags be.
///
/// # Errors
/// Fails when netlink does not work.
pub fn untagged(names: &[String]) -> Result<BTreeMap<u32, String>, Error> {
    let links = link::all().map_err(failed("the interfaces"))?;
    let is_trunk = |link: &&Link| names.contains(&link.name) && has_vlans(link, &links);
    let mut trunks = links.iter().filter(is_trunk).peekable();
    let mut untagged = BTreeMap::new();
    // Without VLANs there is nothing to ask.
    if trunks.peek().is_none() {
        return Ok(untagged);
    }
    let mut ethtool = Ethtool::open().map_err(failed("the offloads"))?;
    for trunk in trunks {
        if let Some(remedy) = remedy(trunk, &links, &mut ethtool)? {
            untagged.insert(trunk.index, remedy);
        }
    }
    Ok(untagged)
}

/// Whether a VLAN is on top of an interface, or of the bridge that it is a port of.
fn has_vlans(link: &Link, links: &[Link]) -> bool {
    links.iter().any(|upper| {
        upper.kind.as_deref() == Some("vlan")
            && !upper.lower_is_elsewhere
            && upper.lower.is_some()
            && (upper.lower == Some(link.index) || upper.lower == link.master)
    })
}

/// How tags stay on, if they do not.
fn remedy(link: &Link, links: &[Link], ethtool: &mut Ethtool) -> Result<Option<String>, Error> {
    if link.kind.as_deref() != Some("veth") {
        let mut active = offloads(link, ethtool)?.into_iter();
        let found = active.find(|offload| offload.is_on && TAG_OFFLOADS.contains(&offload.name));
        return Ok(found.map(|offload| offload.remedy));
    }
    // The sender keeps the tag beside the frame. Where it cannot be seen, `nxdp features` says so.
    match peer(link, links, ethtool)? {
        Peer::Here {
            name,
            has_tag_offload: Some(true),
            ..
        } => Ok(Some(format!("ethtool -K {name} txvlan off"))),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, kind: Option<&str>) -> Link {
        Link {
            index,
            kind: kind.map(str::to_owned),
            ..Link::default()
        }
    }

    #[test]
    fn vlans_on_an_interface_or_on_its_bridge_are_seen() {
        let port = Link {
            master: Some(9),
            ..link(3, None)
        };
        let on = |lower| Link {
            lower: Some(lower),
            ..link(20, Some("vlan"))
        };
        assert!(has_vlans(&link(2, None), &[on(2)]));
        assert!(!has_vlans(&link(2, None), &[on(3)]));
        assert!(has_vlans(&port, &[on(9)]));
        let elsewhere = Link {
            lower_is_elsewhere: true,
            ..on(2)
        };
        assert!(!has_vlans(&link(2, None), &[elsewhere]));
        // Nothing is below either of them.
        assert!(!has_vlans(&link(2, None), &[link(4, Some("vlan"))]));
    }
}
