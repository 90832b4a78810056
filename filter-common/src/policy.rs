//! Who asks, and which policy that means.

use core::hint::black_box;

use network_types::ip::IpProto;

use crate::{
    address::{QueryClient, mapped},
    frame::Frame,
    maps::Maps,
    net::Path,
    selector::Selector,
};

impl QueryClient {
    /// Reads of `frame` who sends it on the link, where the headers behind are not followed.
    #[inline(always)]
    pub fn read_link<F: Frame>(&mut self, frame: &F) {
        *self = Self {
            mac: frame.read(black_box(6)).unwrap_or_default(),
            interface: frame.interface(),
            ..Self::default()
        };
    }

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
/// By each [`Selector`] in turn, and the default.
#[inline(always)]
pub fn select<M: Maps + ?Sized>(maps: &M, flags: u32, client: &QueryClient) -> u32 {
    let mut i = 0;
    while i < Selector::ALL.len() {
        let selector = Selector::ALL[i];
        if flags & selector.flag() != 0 {
            let policy = policy_by(maps, selector, client);
            if policy != 0 {
                return policy;
            }
        }
        i += 1;
    }
    0
}

/// Number of the policy by one selector; 0 if there is none.
#[inline(always)]
fn policy_by<M: Maps + ?Sized>(maps: &M, selector: Selector, client: &QueryClient) -> u32 {
    match selector {
        Selector::Source => maps.client(&client.source).0 & POLICY_BITS,
        Selector::Interface => maps.interface(client.interface).0 & POLICY_BITS,
        Selector::Vlan if client.vlan == 0 => 0,
        selector => maps.policy_of(selector, client),
    }
}

/// The bits of a client's and of an interface's record that tell the policy.
pub const POLICY_BITS: u32 = 0xffff;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::BufferFrame;

    #[test]
    fn of_headers_that_are_not_followed_the_link_is_known_alone() {
        let mut frame: Vec<u8> = (0..14).collect();
        let frame = BufferFrame::new(&mut frame, 14).from_interface(7);
        let mut client = QueryClient {
            vlan: 30,
            source: [1; 16],
            ..QueryClient::default()
        };
        client.read_link(&frame);
        let expected = QueryClient {
            mac: [6, 7, 8, 9, 10, 11],
            interface: 7,
            ..QueryClient::default()
        };
        assert_eq!(client, expected);
    }
}
