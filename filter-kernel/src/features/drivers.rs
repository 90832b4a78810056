//! Names of drivers, and which of them are known to run XDP.

use std::fs;

use super::link::Link;

/// Drivers that run XDP programs in every kernel since 6.1; newer kernels tell by themselves.
const NATIVE: [&str; 40] = [
    "atlantic",
    "bnxt_en",
    "bond",
    "dwmac-intel",
    "dwmac-rk",
    "dwmac-sun8i",
    "ena",
    "enetc",
    "fsl_dpaa2_eth",
    "fsl_dpa",
    "fsl_enetc",
    "hv_netvsc",
    "i40e",
    "iavf",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "ixgbevf",
    "mana",
    "mlx4_en",
    "mlx4_core",
    "mlx5_core",
    "mtk_soc_eth",
    "mvneta",
    "mvpp2",
    "netsec",
    "nfp",
    "qede",
    "sfc",
    "stmmac",
    "st_gmac",
    "ti-cpsw",
    "cpsw-switch",
    "tun",
    "tsnep",
    "veth",
    "virtio_net",
    "vif",
    "nicvf",
];

/// Drivers that take a card down and up again when a program comes or goes.
const RESTARTING: [&str; 14] = [
    "atlantic",
    "bnxt_en",
    "dwmac-intel",
    "dwmac-rk",
    "dwmac-sun8i",
    "ena",
    "i40e",
    "igb",
    "igc",
    "ixgbe",
    "mvneta",
    "qede",
    "st_gmac",
    "stmmac",
];

/// Kinds of devices by which no frames come that a program could see.
const BLIND: [&str; 4] = ["dummy", "ifb", "nlmon", "vrf"];

/// The driver of a device, or the kind of a virtual one.
pub(super) fn driver_of(link: &Link) -> Option<String> {
    link.kind.clone().or_else(|| {
        // The buses of sysfs are the same in every network namespace; /sys/class/net is not.
        let (bus, device) = link.device.as_ref()?;
        let target = fs::read_link(format!("/sys/bus/{bus}/devices/{device}/driver")).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    })
}

pub(super) fn is_known_native(driver: &str) -> bool {
    NATIVE.contains(&driver)
}

/// Whether attaching interrupts the link.
pub(super) fn restarts(driver: &str) -> bool {
    RESTARTING.contains(&driver)
}

/// Whether a program sees nothing on a device of this kind.
pub(super) fn is_blind(kind: &str) -> bool {
    BLIND.contains(&kind)
}

/// Why the driver of a device takes a program and does not run it, if it does.
pub(super) fn ignores_programs(link: &Link) -> Option<&'static str> {
    let (bus, device) = link.device.as_ref().filter(|(bus, _)| bus == "virtio")?;
    let features = fs::read_to_string(format!("/sys/bus/{bus}/devices/{device}/features")).ok()?;
    has_big_buffers(features.trim()).then_some(
        "the virtual card hands over large packets as chains of pages (guest offloads without mergeable receive \
         buffers), past the program",
    )
}

/// Whether virtio_net receives into chains of pages: it may be sent merged packets (bits 7 to 10, 54 and 55 of
/// the features that both sides have) and has no mergeable buffers for them (bit 15). Such a chain
/// never reaches the program, whatever size the packet is.
fn has_big_buffers(features: &str) -> bool {
    let has = |bit: usize| features.as_bytes().get(bit) == Some(&b'1');
    let is_sent_merged = [7, 8, 9, 10, 54, 55].into_iter().any(has);
    is_sent_merged && !has(15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(bits: &[usize]) -> String {
        let bit = |bit| if bits.contains(&bit) { '1' } else { '0' };
        (0..64).map(bit).collect()
    }

    #[test]
    fn merged_packets_without_mergeable_buffers_go_past_a_program() {
        for bit in [7, 8, 9, 10, 54, 55] {
            assert!(has_big_buffers(&features(&[0, 1, bit, 32])), "bit {bit}");
            assert!(
                !has_big_buffers(&features(&[0, 1, bit, 15, 32])),
                "bit {bit}"
            );
        }
        assert!(!has_big_buffers(&features(&[0, 1, 2, 5, 16, 17, 32])));
        assert!(!has_big_buffers(""));
    }
}
