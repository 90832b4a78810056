//! A further client of a lab, on a link of its own.
//!
//! ```text
//!  station n              router                     resolver
//!  station0 ── veth ── lan<n>         wan0 ── veth ── resolver0
//!  10.53.<n>.2         10.53.<n>.1
//!  fd00:53:<n>::2      fd00:53:<n>::1
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use aya::programs::XdpMode;
use filter_common::address::MacText;

use crate::{
    lab::Lab,
    namespace::Namespace,
    vlan_stub::VlanStub,
    xdp_stub::{StubAction, XdpStub},
};

/// The station's interface.
const INTERFACE: &str = "station0";

/// A client; dropping it removes its namespace and its link.
#[derive(Debug)]
pub struct Station {
    namespace: Namespace,
    number: u8,
    _stub: XdpStub,
    _vlan: Option<[VlanStub; 2]>,
}

impl Station {
    /// Joins a station to the lab's router; in the VLAN with this identifier, if there is one.
    ///
    /// Numbers start at 10, which is the third byte of its addresses.
    ///
    /// # Errors
    /// As [`Lab::new`].
    pub fn join(lab: &Lab, number: u8, vlan: Option<u16>) -> Result<Self> {
        let namespace = Namespace::new(&format!("station {number}"))?;
        namespace.write_sysctl("net/ipv6/conf/all/disable_ipv6", "0")?;
        namespace.write_sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        namespace.write_sysctl("net/ipv6/conf/default/router_solicitations", "0")?;
        let (lan, path) = (lan(number), namespace.path());
        lab.router().ip_batch(&format!(
            "link add {lan} address {} type veth peer name {INTERFACE} address {} netns {}\n\
             address add 10.53.{number}.1/24 dev {lan}\n\
             address add fd00:53:{number}::1/64 dev {lan} nodad\nlink set {lan} up\n",
            MacText([2, 0x53, 0, 0, number, 1]),
            MacText(mac(number)),
            path.display(),
        ))?;
        namespace.ip_batch(&format!(
            "address add 10.53.{number}.2/24 dev {INTERFACE}\n\
             address add fd00:53:{number}::2/64 dev {INTERFACE} nodad\nlink set {INTERFACE} up\n\
             route add default via 10.53.{number}.1\nroute add ::/0 via fd00:53:{number}::1\n"
        ))?;
        let tagged = |id| {
            let near = VlanStub::attach(&namespace, INTERFACE, id)?;
            anyhow::Ok([near, VlanStub::attach(lab.router(), &lan, id)?])
        };
        let vlan = vlan.map(tagged).transpose()?;
        let stub = XdpStub::attach(&namespace, INTERFACE, StubAction::Pass, XdpMode::Driver)?;
        Ok(Self {
            namespace,
            number,
            _stub: stub,
            _vlan: vlan,
        })
    }

    /// Where its queries come from.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The router's interface towards it.
    pub fn lan(&self) -> String {
        lan(self.number)
    }

    /// Its address on the link.
    pub fn mac(&self) -> String {
        MacText(mac(self.number)).to_string()
    }

    /// Its IPv4 address.
    pub fn ipv4(&self) -> IpAddr {
        Ipv4Addr::new(10, 53, self.number, 2).into()
    }

    /// Its IPv6 address.
    pub fn ipv6(&self) -> IpAddr {
        ipv6(self.number, 2)
    }

    /// Gives it another IPv6 address of its prefix, as privacy extensions do (RFC 8981).
    pub fn add_privacy_address(&self, interface_id: u64) -> Result<IpAddr> {
        let address = ipv6(self.number, interface_id);
        let line = format!("address add {address}/64 dev {INTERFACE} nodad\n");
        self.namespace.ip_batch(&line)?;
        Ok(address)
    }
}

fn lan(number: u8) -> String {
    format!("lan{number}")
}

const fn mac(number: u8) -> [u8; 6] {
    [2, 0x53, 0, 0, number, 2]
}

/// `fd00:53:NUMBER::/64`, where the number is written in decimal digits.
fn ipv6(number: u8, interface_id: u64) -> IpAddr {
    let digits =
        u16::from(number / 100) << 8 | u16::from(number / 10 % 10) << 4 | u16::from(number % 10);
    let prefix = u128::from_be_bytes([0xfd, 0, 0, 0x53, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    Ipv6Addr::from(prefix | u128::from(digits) << 80 | u128::from(interface_id)).into()
}
