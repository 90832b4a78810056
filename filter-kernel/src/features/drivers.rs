//! Names of drivers, and which of them are known to run XDP.

use std::fs;

use super::link::Link;

/// Drivers that run XDP programs in every kernel since 6.1; newer kernels tell by themselves.
const NATIVE: [&str; 40] = [
    "atlantic",
    "bnxt_en",
    "bonding",
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
