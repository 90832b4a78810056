//! Offloads and queues, over the generic netlink family `ethtool`.

use std::io;

use super::{
    generic::Family,
    netlink::{Attributes, attribute},
};

/// From the kernel's `linux/ethtool_netlink.h` and `linux/netlink.h`.
mod uapi {
    pub(super) const MSG_FEATURES_GET: u8 = 11;
    pub(super) const MSG_CHANNELS_GET: u8 = 17;
    pub(super) const A_HEADER: u16 = 1;
    pub(super) const A_HEADER_DEV_INDEX: u16 = 1;
    pub(super) const A_FEATURES_ACTIVE: u16 = 4;
    pub(super) const A_BITSET_NOMASK: u16 = 1;
    pub(super) const A_BITSET_BITS: u16 = 3;
    pub(super) const A_BITSET_BITS_BIT: u16 = 1;
    pub(super) const A_BITSET_BIT_NAME: u16 = 2;
    pub(super) const A_BITSET_BIT_VALUE: u16 = 3;
    pub(super) const A_CHANNELS_RX_MAX: u16 = 2;
    pub(super) const A_CHANNELS_COMBINED_MAX: u16 = 5;
    pub(super) const A_CHANNELS_RX_COUNT: u16 = 6;
    pub(super) const A_CHANNELS_COMBINED_COUNT: u16 = 9;
    pub(super) const NLA_F_NESTED: u16 = 1 << 15;
}

/// Receive queues of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queues {
    pub(super) receive: u32,
    pub(super) most: u32,
}

/// Questions about devices.
pub(super) struct Ethtool {
    family: Option<Family>,
}

impl Ethtool {
    pub(super) fn open() -> io::Result<Self> {
        let family = Family::find("ethtool")?;
        Ok(Self { family })
    }

    /// The kernel's names of the offloads that are on; `None` when it does not tell.
    pub(super) fn active_offloads(&mut self, index: u32) -> io::Result<Option<Vec<String>>> {
        let answer = self.ask(uapi::MSG_FEATURES_GET, index)?;
        Ok(answer.map(|features| set_bits(&features.nest(uapi::A_FEATURES_ACTIVE))))
    }

    /// How many receive queues there are and can be; `None` when the device cannot change them.
    pub(super) fn queues(&mut self, index: u32) -> io::Result<Option<Queues>> {
        let answer = self.ask(uapi::MSG_CHANNELS_GET, index)?;
        Ok(answer.map(|channels| {
            let number = |kind| channels.u32(kind).unwrap_or_default();
            Queues {
                receive: number(uapi::A_CHANNELS_RX_COUNT)
                    + number(uapi::A_CHANNELS_COMBINED_COUNT),
                most: number(uapi::A_CHANNELS_RX_MAX) + number(uapi::A_CHANNELS_COMBINED_MAX),
            }
        }))
    }

    fn ask(&mut self, command: u8, index: u32) -> io::Result<Option<Attributes>> {
        let Some(family) = &mut self.family else {
            return Ok(None);
        };
        let device = attribute(uapi::A_HEADER_DEV_INDEX, &index.to_ne_bytes());
        family.ask(
            command,
            &attribute(uapi::A_HEADER | uapi::NLA_F_NESTED, &device),
        )
    }
}

/// Names of the bits that are set. Without a mask a set lists these alone; with
/// one it lists all and marks them.
fn set_bits(set: &Attributes) -> Vec<String> {
    let has_mask = !set.has(uapi::A_BITSET_NOMASK);
    let bits = set.nest(uapi::A_BITSET_BITS);
    let bits = bits.each(uapi::A_BITSET_BITS_BIT).map(Attributes::read);
    let set_bits = bits.filter(|bit| !has_mask || bit.has(uapi::A_BITSET_BIT_VALUE));
    set_bits
        .filter_map(|bit| bit.text(uapi::A_BITSET_BIT_NAME))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_set_tells_its_bits_by_their_marks() {
        let bit = |name: &[u8], is_set: bool| {
            let mark = if is_set {
                attribute(uapi::A_BITSET_BIT_VALUE, &[])
            } else {
                Vec::new()
            };
            attribute(
                uapi::A_BITSET_BITS_BIT,
                &[attribute(uapi::A_BITSET_BIT_NAME, name), mark].concat(),
            )
        };
        let bits = attribute(
            uapi::A_BITSET_BITS,
            &[bit(b"rx-lro\0", true), bit(b"rx-gro\0", false)].concat(),
        );
        assert_eq!(set_bits(&Attributes::read(&bits)), ["rx-lro"]);
        let unmasked = [attribute(uapi::A_BITSET_NOMASK, &[]), bits].concat();
        assert_eq!(set_bits(&Attributes::read(&unmasked)), ["rx-lro", "rx-gro"]);
    }

    #[test]
    fn the_loopback_interface_has_receive_offload_and_no_queues_to_change() {
        let mut ethtool = Ethtool::open().unwrap();
        let active = ethtool.active_offloads(1).unwrap().unwrap();
        assert!(active.iter().any(|name| name == "rx-gro"), "{active:?}");
        assert_eq!(ethtool.queues(1).unwrap(), None);
    }
}
