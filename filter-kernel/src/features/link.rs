//! The interfaces of a namespace as rtnetlink lists them.

use std::io;

use netlink_sys::protocols::NETLINK_ROUTE;

use super::{
    netlink::{Attributes, Connection, Want, attribute},
    xdp::{AttachedProgram, Mode},
};

/// rtnetlink(7): the question and the length of the fixed part, `struct ifinfomsg`.
const RTM_GETLINK: u16 = 18;
const IFINFOMSG_BYTES: usize = 16;

/// From the kernel's `linux/if_link.h` and `linux/if_arp.h`.
mod uapi {
    pub(super) const IFLA_ADDRESS: u16 = 1;
    pub(super) const IFLA_IFNAME: u16 = 3;
    pub(super) const IFLA_MTU: u16 = 4;
    pub(super) const IFLA_LINK: u16 = 5;
    pub(super) const IFLA_MASTER: u16 = 10;
    pub(super) const IFLA_LINKINFO: u16 = 18;
    pub(super) const IFLA_EXT_MASK: u16 = 29;
    pub(super) const IFLA_NUM_TX_QUEUES: u16 = 31;
    pub(super) const IFLA_NUM_RX_QUEUES: u16 = 32;
    pub(super) const IFLA_LINK_NETNSID: u16 = 37;
    pub(super) const IFLA_XDP: u16 = 43;
    pub(super) const IFLA_PROP_LIST: u16 = 52;
    pub(super) const IFLA_ALT_IFNAME: u16 = 53;
    pub(super) const IFLA_PARENT_DEV_NAME: u16 = 56;
    pub(super) const IFLA_PARENT_DEV_BUS_NAME: u16 = 57;
    pub(super) const IFLA_INFO_KIND: u16 = 1;
    pub(super) const IFLA_INFO_DATA: u16 = 2;
    pub(super) const IFLA_BR_VLAN_FILTERING: u16 = 7;
    pub(super) const IFLA_XDP_ATTACHED: u16 = 2;
    pub(super) const IFLA_XDP_PROG_ID: u16 = 4;
    pub(super) const IFLA_XDP_DRV_PROG_ID: u16 = 5;
    pub(super) const IFLA_XDP_SKB_PROG_ID: u16 = 6;
    pub(super) const IFLA_XDP_HW_PROG_ID: u16 = 7;
    pub(super) const XDP_ATTACHED_DRV: u8 = 1;
    pub(super) const XDP_ATTACHED_SKB: u8 = 2;
    pub(super) const XDP_ATTACHED_HW: u8 = 3;
    pub(super) const XDP_ATTACHED_MULTI: u8 = 4;
    pub(super) const RTEXT_FILTER_SKIP_STATS: u32 = 8;
    pub(super) const ARPHRD_ETHER: u16 = 1;
    pub(super) const ARPHRD_LOOPBACK: u16 = 772;
    pub(super) const ARPHRD_PPP: u16 = 512;
    pub(super) const IFF_UP: u32 = 1;
}

/// What is needed of one interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    /// Other names of it, which udev sets.
    pub(super) altnames: Vec<String>,
    pub(super) hardware_type: u16,
    pub(super) hardware_address: Vec<u8>,
    pub(super) is_up: bool,
    pub(super) mtu_bytes: u32,
    /// `veth`, `vlan`, `bridge`, …; physical devices have none.
    pub(super) kind: Option<String>,
    /// The device below, or the other end of a veth pair.
    pub(super) lower: Option<u32>,
    /// `lower` counts in another namespace.
    pub(super) lower_is_elsewhere: bool,
    pub(super) master: Option<u32>,
    /// A bridge that keeps VLANs apart by itself.
    pub(super) filters_vlans: bool,
    pub(super) rx_queues: u32,
    pub(super) tx_queues: u32,
    /// The bus and the name of the hardware device.
    pub(super) device: Option<(String, String)>,
    pub(super) attached: Vec<AttachedProgram>,
}

/// Lists the interfaces of the calling thread's namespace.
pub(super) fn all() -> io::Result<Vec<Link>> {
    let mut question = vec![0; IFINFOMSG_BYTES];
    question.extend(attribute(
        uapi::IFLA_EXT_MASK,
        &uapi::RTEXT_FILTER_SKIP_STATS.to_ne_bytes(),
    ));
    let answers = Connection::open(NETLINK_ROUTE)?.ask(RTM_GETLINK, question, Want::All)?;
    Ok(answers
        .iter()
        .filter_map(|answer| Link::read(answer))
        .collect())
}

impl Link {
    fn read(message: &[u8]) -> Option<Self> {
        let (header, rest) = message.split_first_chunk::<IFINFOMSG_BYTES>()?;
        let attributes = Attributes::read(rest);
        let flags = u32::from_ne_bytes(header[8..12].try_into().ok()?);
        let device = attributes.text(uapi::IFLA_PARENT_DEV_BUS_NAME);
        let info = attributes.nest(uapi::IFLA_LINKINFO);
        let kind = info.text(uapi::IFLA_INFO_KIND);
        let data = info.nest(uapi::IFLA_INFO_DATA);
        let is_bridge = kind.as_deref() == Some("bridge");
        Some(Self {
            index: u32::from_ne_bytes(header[4..8].try_into().ok()?),
            name: attributes.text(uapi::IFLA_IFNAME)?,
            altnames: attributes
                .nest(uapi::IFLA_PROP_LIST)
                .texts(uapi::IFLA_ALT_IFNAME),
            hardware_type: u16::from_ne_bytes(header[2..4].try_into().ok()?),
            hardware_address: attributes
                .bytes(uapi::IFLA_ADDRESS)
                .unwrap_or_default()
                .to_vec(),
            is_up: flags & uapi::IFF_UP != 0,
            mtu_bytes: attributes.u32(uapi::IFLA_MTU).unwrap_or_default(),
            kind,
            lower: attributes.u32(uapi::IFLA_LINK),
            lower_is_elsewhere: attributes.has(uapi::IFLA_LINK_NETNSID),
            master: attributes.u32(uapi::IFLA_MASTER),
            filters_vlans: is_bridge && data.u8(uapi::IFLA_BR_VLAN_FILTERING) == Some(1),
            rx_queues: attributes.u32(uapi::IFLA_NUM_RX_QUEUES).unwrap_or(1),
            tx_queues: attributes.u32(uapi::IFLA_NUM_TX_QUEUES).unwrap_or(1),
            device: device.zip(attributes.text(uapi::IFLA_PARENT_DEV_NAME)),
            attached: attached(&attributes.nest(uapi::IFLA_XDP)),
        })
    }

    /// Whether this is one of its names.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.altnames.iter().any(|altname| altname == name)
    }

    /// Whether it is of one of these kinds.
    pub(super) fn is_of(&self, kinds: &[&str]) -> bool {
        self.kind
            .as_deref()
            .is_some_and(|kind| kinds.contains(&kind))
    }

    /// Whether it is one end of a connection over PPP.
    pub(super) fn is_ppp(&self) -> bool {
        self.hardware_type == uapi::ARPHRD_PPP
    }

    /// Whether it is the loopback interface.
    pub(super) fn is_loopback(&self) -> bool {
        self.hardware_type == uapi::ARPHRD_LOOPBACK
    }

    /// Whether frames start with an Ethernet header, as they also do on the loopback interface.
    pub(super) fn is_ethernet(&self) -> bool {
        matches!(
            self.hardware_type,
            uapi::ARPHRD_ETHER | uapi::ARPHRD_LOOPBACK
        )
    }
}

fn attached(xdp: &Attributes) -> Vec<AttachedProgram> {
    let single = |mode| vec![(mode, uapi::IFLA_XDP_PROG_ID)];
    let places = match xdp.u8(uapi::IFLA_XDP_ATTACHED) {
        Some(uapi::XDP_ATTACHED_DRV) => single(Mode::Native),
        Some(uapi::XDP_ATTACHED_SKB) => single(Mode::Skb),
        Some(uapi::XDP_ATTACHED_HW) => single(Mode::Hardware),
        Some(uapi::XDP_ATTACHED_MULTI) => vec![
            (Mode::Native, uapi::IFLA_XDP_DRV_PROG_ID),
            (Mode::Skb, uapi::IFLA_XDP_SKB_PROG_ID),
            (Mode::Hardware, uapi::IFLA_XDP_HW_PROG_ID),
        ],
        _ => Vec::new(),
    };
    let program = |(mode, kind)| {
        xdp.u32(kind).map(|id| AttachedProgram {
            id,
            mode,
            name: None,
        })
    };
    places.into_iter().filter_map(program).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_always_listed() {
        let links = all().unwrap();
        let loopback = links.iter().find(|link| link.name == "lo").unwrap();
        assert_eq!(
            (loopback.index, loopback.hardware_type),
            (1, uapi::ARPHRD_LOOPBACK)
        );
        assert!(loopback.is_ethernet() && loopback.kind.is_none());
    }

    #[test]
    fn programs_in_several_places_are_all_reported() {
        let number = |kind, id: u32| attribute(kind, &id.to_ne_bytes());
        let bytes = [
            attribute(uapi::IFLA_XDP_ATTACHED, &[uapi::XDP_ATTACHED_MULTI]),
            number(uapi::IFLA_XDP_DRV_PROG_ID, 7),
            number(uapi::IFLA_XDP_SKB_PROG_ID, 8),
        ]
        .concat();
        let modes: Vec<_> = attached(&Attributes::read(&bytes))
            .into_iter()
            .map(|program| (program.id, program.mode))
            .collect();
        assert_eq!(modes, [(7, Mode::Native), (8, Mode::Skb)]);
    }

    #[test]
    fn every_name_of_an_interface_and_what_its_bridge_does_is_read() {
        let names = [
            attribute(uapi::IFLA_ALT_IFNAME, b"enp1s0\0"),
            attribute(uapi::IFLA_ALT_IFNAME, b"enx0a1b2c3d4e5f\0"),
        ]
        .concat();
        let info = [
            attribute(uapi::IFLA_INFO_KIND, b"bridge\0"),
            attribute(
                uapi::IFLA_INFO_DATA,
                &attribute(uapi::IFLA_BR_VLAN_FILTERING, &[1]),
            ),
        ]
        .concat();
        let message = [
            vec![0; IFINFOMSG_BYTES],
            attribute(uapi::IFLA_IFNAME, b"br-lan\0"),
            attribute(uapi::IFLA_PROP_LIST | 1 << 15, &names),
            attribute(uapi::IFLA_LINKINFO, &info),
        ]
        .concat();
        let link = Link::read(&message).unwrap();
        assert!(link.filters_vlans && link.is_called("br-lan"));
        assert!(link.is_called("enx0a1b2c3d4e5f") && !link.is_called("enp1s1"));
    }

    #[test]
    fn no_program_is_no_program() {
        let bytes = attribute(uapi::IFLA_XDP_ATTACHED, &[0]);
        assert!(attached(&Attributes::read(&bytes)).is_empty());
        assert!(attached(&Attributes::read(&[])).is_empty());
    }
}
