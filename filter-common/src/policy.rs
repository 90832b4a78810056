//! Who asks, and which policy that means.

use core::hint::black_box;

use network_types::ip::IpProto;

use crate::{
    address::{QueryClient, mapped},
    frame::Frame,
    layout::{
        CONTROL_BY_DESTINATION, CONTROL_BY_INTERFACE, CONTROL_BY_MAC, CONTROL_BY_SOURCE,
        CONTROL_BY_VLAN,
    },
    maps::Maps,
    net::Path,
};

impl QueryClient {
    /// Reads the headers of `frame` again; `None` if it is shorter than `path` says.
    ///
    /// Few packets need it, and most should not pay for it.
    #[inline(always)]
    pub fn read<F: Frame>(&mut self, frame: &F, path: &Path) -> Option<()> {
        // Opaque, or the compiler concludes that the frame's end need not be looked at again.
        self.mac = frame.read(black_box(6))?;
        self.vlan = path.vlan;
        self.interface = frame.interface();
        self.port = path.source_port;
        self.protocol = if path.is_tcp {
            IpProto::Tcp as u16
        } else {
            IpProto::Udp as u16
        };
        if path.is_ipv6 {
            self.source = frame.read(path.ip_at + 8)?;
            self.destination = frame.read(path.ip_at + 24)?;
        } else {
            self.source = mapped(frame.read(path.ip_at + 12)?);
            self.destination = mapped(frame.read(path.ip_at + 16)?);
        }
        Some(())
    }
}

/// Number of the policy for `client`, the most specific one; `flags` are those of the control record.
///
/// SourceAddress on the link, source address (longest prefix), VLAN, interface, destination
/// address, and the default.
#[inline(always)]
pub fn select<M: Maps + ?Sized>(maps: &M, flags: u32, client: &QueryClient) -> u32 {
    if flags & CONTROL_BY_MAC != 0 {
        let policy = maps.policy_of_mac(&client.mac);
        if policy != 0 {
            return policy;
        }
    }
    if flags & CONTROL_BY_SOURCE != 0 {
        let policy = maps.client(&client.source).0 & 0xffff;
        if policy != 0 {
            return policy;
        }
    }
    if flags & CONTROL_BY_VLAN != 0 && client.vlan != 0 {
        let policy = maps.policy_of_vlan(client.vlan);
        if policy != 0 {
            return policy;
        }
    }
    if flags & CONTROL_BY_INTERFACE != 0 {
        let policy = maps.interface(client.interface).0 & 0xffff;
        if policy != 0 {
            return policy;
        }
    }
    if flags & CONTROL_BY_DESTINATION != 0 {
        return maps.policy_of_destination(&client.destination);
    }
    0
}
