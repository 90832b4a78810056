//! What keeps an interface from being filtered as its configuration says.
//!
//! One account of it for `features`, `check`, `run`, `load`, `status` and the metrics. Each obstacle says
//! what happens, and the command that ends it, if one does.

mod device;
mod machine;

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

pub(super) use self::{
    device::{has_vlans, largest_native_mtu_bytes, receivers},
    machine::{Machine, TAG_OFFLOADS},
};
use super::{Error, Mode, link::Link, stack};

/// Something that keeps an interface from being filtered.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct Obstacle {
    /// Name of the interface that is to be filtered.
    pub interface: String,
    /// What it is.
    pub kind: ObstacleKind,
    /// What happens.
    pub says: String,
    /// The command that ends it.
    pub remedy: Option<String>,
}

/// The kinds of obstacles.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum ObstacleKind {
    /// Frames without an Ethernet header.
    NoEthernet,
    /// The loopback interface.
    Loopback,
    /// A device by which no frames come.
    Blind,
    /// The driver takes the program and does not run it.
    IgnoredProgram,
    /// VLAN tags are taken off, and there are VLANs.
    Tags,
    /// VLAN tags are taken off, and policies are for VLANs.
    TagPolicies,
    /// Several datagrams come as one.
    Merging,
    /// The other end of a veth pair does not empty the ring of answers.
    Peer,
    /// Large packets are dropped.
    LargePackets,
    /// Clients are told the hardware address of another device, too.
    Arp,
    /// Frames come, and the program does not see them.
    Unseen,
}

impl ObstacleKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::NoEthernet,
        Self::Loopback,
        Self::Blind,
        Self::IgnoredProgram,
        Self::Tags,
        Self::TagPolicies,
        Self::Merging,
        Self::Peer,
        Self::LargePackets,
        Self::Arp,
        Self::Unseen,
    ];

    /// Whether an interface is not attached to for it, unless that is forced.
    pub const fn refuses(self) -> bool {
        !matches!(
            self,
            Self::Peer | Self::LargePackets | Self::Arp | Self::Unseen
        )
    }

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoEthernet => "no_ethernet",
            Self::Loopback => "loopback",
            Self::Blind => "blind",
            Self::IgnoredProgram => "ignored_program",
            Self::Tags => "tags",
            Self::TagPolicies => "tag_policies",
            Self::Merging => "merging",
            Self::Peer => "peer",
            Self::LargePackets => "large_packets",
            Self::Arp => "arp",
            Self::Unseen => "unseen",
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.interface, self.says)?;
        match &self.remedy {
            Some(remedy) => write!(f, ": {remedy}"),
            None => Ok(()),
        }
    }
}

/// What is to be done with interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// Where the program is to run.
    pub mode: Mode,
    /// Whether there are policies for VLANs.
    pub has_vlan_policies: bool,
}

/// What an operator should know of interfaces with these indexes that cannot be found out from here.
///
/// # Errors
/// Fails when netlink does not work.
pub fn notes(indexes: &BTreeSet<u32>, mode: Mode) -> Result<Vec<String>, Error> {
    let machine = Machine::look()?;
    let links = indexes
        .iter()
        .filter_map(|index| stack::by_index(*index, &machine.links));
    Ok(links
        .flat_map(|link| device::notes(link, &machine.links, mode))
        .collect())
}

/// Looks for what is in the way on interfaces with these indexes.
///
/// # Errors
/// Fails when netlink does not work.
pub fn obstacles(indexes: &BTreeSet<u32>, purpose: Purpose) -> Result<Vec<Obstacle>, Error> {
    let mut machine = Machine::look()?;
    let mut found = Vec::new();
    for index in indexes {
        found.extend(machine.obstacles(*index, purpose)?);
    }
    Ok(found)
}

/// One whose words are still missing.
fn obstacle(link: &Link, kind: ObstacleKind) -> Obstacle {
    Obstacle {
        interface: link.name.clone(),
        kind,
        says: String::new(),
        remedy: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: BTreeSet<_> = ObstacleKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), ObstacleKind::ALL.len());
    }
}
