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
    pub(super) const A_FEATURES_HW: u16 = 2;
    pub(super) const A_FEATURES_ACTIVE: u16 = 4;
    pub(super) const A_FEATURES_NOCHANGE: u16 = 5;
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

/// What is known of a device's offloads, by the kernel's names of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offloads {
    active: Vec<String>,
    /// Those that can be switched.
    changeable: Vec<String>,
}

impl Offloads {
    /// Offloads that are on and can all be switched, or none.
    #[cfg(test)]
    pub(super) fn of(active: Vec<String>, can_change: bool) -> Self {
        let changeable = if can_change {
            active.clone()
        } else {
            Vec::new()
        };
        Self { active, changeable }
    }

    /// Whether one is on.
    pub(super) fn has(&self, name: &str) -> bool {
        self.active.iter().any(|active| active == name)
    }

    /// Whether one is on and cannot be switched off, which ethtool shows as `[fixed]`.
    pub(super) fn has_for_good(&self, name: &str) -> bool {
        self.has(name) && !self.changeable.iter().any(|changeable| changeable == name)
    }
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

    /// The offloads of a device; `None` when the kernel does not tell.
    pub(super) fn offloads(&mut self, index: u32) -> io::Result<Option<Offloads>> {
        let answer = self.ask(uapi::MSG_FEATURES_GET, index)?;
        Ok(answer.map(|features| offloads(&features)))
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

fn offloads(features: &Attributes) -> Offloads {
    let set = |kind| set_bits(&features.nest(kind));
    let never = set(uapi::A_FEATURES_NOCHANGE);
    let mut changeable = set(uapi::A_FEATURES_HW);
    changeable.retain(|name| !never.contains(name));
    Offloads {
        active: set(uapi::A_FEATURES_ACTIVE),
        changeable,
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
        let offloads = ethtool.offloads(1).unwrap().unwrap();
        assert!(offloads.has("rx-gro") && !offloads.has_for_good("rx-gro"));
        assert!(offloads.has_for_good("loopback"), "{offloads:?}");
        assert_eq!(ethtool.queues(1).unwrap(), None);
    }
}
