//! Who asks, and which policy that means.

use bytemuck::{Pod, Zeroable};
use network_types::ip::IpProto;

use crate::{
    frame::Frame,
    layout::{
        CONTROL_BY_DESTINATION, CONTROL_BY_INTERFACE, CONTROL_BY_MAC, CONTROL_BY_SOURCE,
        CONTROL_BY_VLAN,
    },
    maps::{Address, Mac, Maps},
    net::Path,
};

/// Where a query comes from and where it goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Asker {
    /// Source address; IPv4 is mapped.
    pub source: Address,
    /// Destination address; IPv4 is mapped.
    pub destination: Address,
    /// Source on the link.
    pub mac: Mac,
    /// Identifier of the outer VLAN; 0 means untagged.
    pub vlan: u16,
    /// Index of the interface.
    pub interface: u32,
    /// Source port.
    pub port: u16,
    /// IP protocol.
    pub protocol: u16,
}

impl Asker {
    /// Reads the headers of `frame` again; `None` if it is shorter than `path` says.
    #[inline(always)]
    pub fn read<F: Frame>(&mut self, frame: &F, path: &Path) -> Option<()> {
        let ethernet: [u8; 12] = frame.read(0)?;
        let mut i = 0;
        while i < self.mac.len() {
            self.mac[i] = ethernet[6 + i];
            i += 1;
        }
        self.vlan = path.vlan;
        self.interface = frame.interface();
        if path.is_ipv6 {
            let addresses: [u8; 32] = frame.read(path.ip_at + 8)?;
            copy(&mut self.source, 0, &addresses, 0, 16);
            copy(&mut self.destination, 0, &addresses, 16, 16);
        } else {
            let addresses: [u8; 8] = frame.read(path.ip_at + 12)?;
            self.source = MAPPED;
            self.destination = MAPPED;
            copy(&mut self.source, 12, &addresses, 0, 4);
            copy(&mut self.destination, 12, &addresses, 4, 4);
        }
        self.port = path.source_port;
        self.protocol = if path.is_tcp {
            IpProto::Tcp as u16
        } else {
            IpProto::Udp as u16
        };
        Some(())
    }
}

/// The prefix of IPv4-mapped addresses, and an IPv4 address of zeros.
const MAPPED: Address = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];

#[inline(always)]
fn copy<const N: usize>(to: &mut Address, at: usize, from: &[u8; N], from_at: usize, len: usize) {
    let mut i = 0;
    while i < len {
        to[at + i] = from[from_at + i];
        i += 1;
    }
}

/// Number of the policy for `asker`, the most specific one; `flags` are those of the control record.
///
/// Source on the link, source address (longest prefix), VLAN, interface, destination
/// address, and the default.
#[inline(always)]
pub fn select<M: Maps + ?Sized>(maps: &M, flags: u32, asker: &Asker) -> u32 {
    if flags & CONTROL_BY_MAC != 0 {
        let policy = maps.policy_of_mac(&asker.mac);
        if policy != 0 {
            return policy;
        }
    }
    if flags & CONTROL_BY_SOURCE != 0 {
        let policy = maps.client(&asker.source).0 & 0xffff;
        if policy != 0 {
            return policy;
        }
    }
    if flags & CONTROL_BY_VLAN != 0 && asker.vlan != 0 {
        let policy = maps.policy_of_vlan(asker.vlan);
        if policy != 0 {
            return policy;
        }
    }
    if flags & CONTROL_BY_INTERFACE != 0 {
        let policy = maps.policy_of_interface(asker.interface);
        if policy != 0 {
            return policy;
        }
    }
    if flags & CONTROL_BY_DESTINATION != 0 {
        return maps.policy_of_destination(&asker.destination);
    }
    0
}
