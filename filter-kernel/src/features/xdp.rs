//! Whether a driver runs XDP programs itself, by the kernel's word or by what is known of it.

use std::{fmt, io};

use serde::Serialize;

use super::{drivers, generic::Family, link::Link, netlink::attribute};

/// From the kernel's `linux/netdev.h`.
mod uapi {
    pub(super) const NETDEV_CMD_DEV_GET: u8 = 1;
    pub(super) const NETDEV_A_DEV_IFINDEX: u16 = 1;
    pub(super) const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
}

/// Where an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In the driver.
    Native,
    /// Behind the driver (generic XDP).
    Skb,
    /// On the network card.
    Hardware,
}

/// A program that is attached already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttachedProgram {
    /// Its id, as `bpftool prog show id` takes it.
    pub id: u32,
    /// Where it runs.
    pub mode: Mode,
    /// Its name, if the caller could tell.
    pub name: Option<String>,
}

/// Something that a driver's XDP can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum XdpAbility {
    /// Pass, drop and send back: all that the filter needs.
    Basic,
    /// Redirect to other devices.
    Redirect,
    /// Send frames that other devices redirect here.
    RedirectTarget,
    /// Hand frames to sockets without copying.
    ZeroCopySocket,
    /// Run programs on the card.
    HardwareOffload,
    /// Receive packets of several buffers.
    ReceiveFragments,
    /// Send redirected packets of several buffers.
    RedirectTargetFragments,
}

/// Where the program can be expected to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Expectation {
    /// `None` when the filter can make nothing of the interface's frames.
    pub mode: Option<Mode>,
    /// How that is known.
    pub because: String,
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Native => "native",
            Self::Skb => "skb",
            Self::Hardware => "hardware",
        })
    }
}

impl XdpAbility {
    const ALL: [(u64, Self); 7] = [
        (1, Self::Basic),
        (2, Self::Redirect),
        (4, Self::RedirectTarget),
        (8, Self::ZeroCopySocket),
        (16, Self::HardwareOffload),
        (32, Self::ReceiveFragments),
        (64, Self::RedirectTargetFragments),
    ];

    /// The abilities in the kernel's `enum netdev_xdp_act`; bits of newer kernels are left out.
    pub(super) fn from_bits(bits: u64) -> Vec<Self> {
        let set = Self::ALL.into_iter().filter(|(bit, _)| bits & bit != 0);
        set.map(|(_, ability)| ability).collect()
    }
}

impl Expectation {
    pub(super) fn of(link: &Link, driver: Option<&str>, xdp_bits: Option<u64>) -> Self {
        let nothing = |because: &str| Self {
            mode: None,
            because: because.to_owned(),
        };
        if link.is_loopback() {
            return nothing("answers do not come back on the loopback interface");
        }
        if link.kind.as_deref().is_some_and(drivers::is_blind) {
            return nothing("no frames come by a device of its kind");
        }
        if !link.is_ethernet() {
            return nothing("its frames have no Ethernet header");
        }
        let named = driver.map_or_else(
            || "its driver".to_owned(),
            |driver| format!("the driver {driver}"),
        );
        let has_basic = |bits| XdpAbility::from_bits(bits).contains(&XdpAbility::Basic);
        let (is_native, because) = match xdp_bits.map(has_basic) {
            Some(true) => (true, format!("the kernel says that {named} runs XDP")),
            Some(false) => (false, format!("the kernel says that {named} runs no XDP")),
            None if driver.is_some_and(drivers::is_known_native) => (
                true,
                format!("{named} is known to run XDP; this kernel does not tell"),
            ),
            None => (
                false,
                format!("{named} is not known to run XDP; this kernel does not tell"),
            ),
        };
        let mode = Some(if is_native { Mode::Native } else { Mode::Skb });
        Self { mode, because }
    }
}

/// The bits of `enum netdev_xdp_act`; `None` before Linux 6.3, which does not tell.
pub(super) fn ability_bits(index: u32) -> io::Result<Option<u64>> {
    let Some(mut family) = Family::find("netdev")? else {
        return Ok(None);
    };
    let device = attribute(uapi::NETDEV_A_DEV_IFINDEX, &index.to_ne_bytes());
    let answer = family.ask(uapi::NETDEV_CMD_DEV_GET, &device)?;
    Ok(answer.and_then(|device| device.u64(uapi::NETDEV_A_DEV_XDP_FEATURES)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ethernet() -> Link {
        Link {
            hardware_type: 1,
            ..Link::default()
        }
    }

    fn mode(driver: &str, bits: Option<u64>) -> Option<Mode> {
        Expectation::of(&ethernet(), Some(driver), bits).mode
    }

    #[test]
    fn the_kernels_word_counts_more_than_what_is_known_of_the_driver() {
        assert_eq!(mode("r8169", Some(1)), Some(Mode::Native));
        assert_eq!(mode("veth", Some(0)), Some(Mode::Skb));
        assert_eq!(
            mode("veth", Some(2 | 4)),
            Some(Mode::Skb),
            "redirecting alone is not enough"
        );
    }

    #[test]
    fn an_old_kernel_leaves_it_to_the_drivers_name() {
        assert_eq!(mode("ixgbe", None), Some(Mode::Native));
        assert_eq!(mode("r8169", None), Some(Mode::Skb));
        assert_eq!(
            Expectation::of(&ethernet(), None, None).mode,
            Some(Mode::Skb)
        );
    }

    #[test]
    fn frames_without_an_ethernet_header_are_not_for_the_filter() {
        let tunnel = Link {
            hardware_type: 65534,
            ..Link::default()
        };
        assert_eq!(
            Expectation::of(&tunnel, Some("wireguard"), Some(1)).mode,
            None
        );
    }

    #[test]
    fn devices_that_see_nothing_are_not_for_the_filter_and_a_bond_is() {
        for kind in ["dummy", "ifb", "nlmon", "vrf"] {
            let link = Link {
                kind: Some(kind.to_owned()),
                ..ethernet()
            };
            assert_eq!(Expectation::of(&link, Some(kind), Some(1)).mode, None);
        }
        let loopback = Link {
            hardware_type: 772,
            ..Link::default()
        };
        assert_eq!(Expectation::of(&loopback, None, Some(0)).mode, None);
        assert_eq!(mode("bond", None), Some(Mode::Native));
    }

    #[test]
    fn unknown_bits_of_newer_kernels_are_left_out() {
        assert_eq!(
            XdpAbility::from_bits(1 << 40 | 32 | 1),
            [XdpAbility::Basic, XdpAbility::ReceiveFragments]
        );
    }
}
