//! The rows of the table in which something happens while the filter is attached, or in which its
//! configuration asks for more than a block.

use super::rows::{BOND, Breadth, Change, PLAIN, Row, bond};

const VLAN_ROUTER: &str =
    "ip link add link lan1 name lan1.10 type vlan id 10\nip link set lan1.10 up";
const VLAN_CLIENT: &str =
    "ip link add link eth1 name eth1.10 type vlan id 10\nip link set eth1.10 up";

const VLAN: Row = Row {
    modules: &["8021q"],
    router: VLAN_ROUTER,
    router_l3: "lan1.10",
    client: VLAN_CLIENT,
    client_l3: "eth1.10",
    breadth: Breadth::Offloads,
    ..PLAIN
};

const OFFLOADS: Row = Row {
    breadth: Breadth::Offloads,
    ..PLAIN
};

/// All of them.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "by another name of the card",
        router: "ip link property add dev lan1 altname enlan1",
        attach: &[&["enlan1"]],
        breadth: Breadth::Kernel,
        ..PLAIN
    },
    Row {
        name: "renamed while attached",
        change: Some(Change::Commands {
            router: "ip link set lan1 down\nip link set lan1 name garden0\nip link set garden0 up",
            router_l3: "garden0",
            client: "",
            client_l3: "eth1",
        }),
        ..PLAIN
    },
    Row {
        name: "driver unbound and bound while attached",
        change: Some(Change::Replug),
        ..PLAIN
    },
    Row {
        name: "MTU raised while attached",
        change: Some(Change::LargePackets),
        ..PLAIN
    },
    Row {
        name: "a VLAN made while attached",
        modules: &["8021q"],
        change: Some(Change::Commands {
            router: VLAN_ROUTER,
            router_l3: "lan1.10",
            client: VLAN_CLIENT,
            client_l3: "eth1.10",
        }),
        ..OFFLOADS
    },
    Row {
        name: "vlan, rxvlan switched on while attached",
        router: "ethtool -K lan1 rxvlan off || true\n\
            ip link add link lan1 name lan1.10 type vlan id 10\nip link set lan1.10 up",
        change: Some(Change::Commands {
            router: "ethtool -K lan1 rxvlan on || true",
            router_l3: "lan1.10",
            client: "",
            client_l3: "eth1.10",
        }),
        ..VLAN
    },
    Row {
        name: "untagged clients beside a vlan",
        modules: &["8021q"],
        router: VLAN_ROUTER,
        client: VLAN_CLIENT,
        attach: &[&["lan1"]],
        ..OFFLOADS
    },
    Row {
        name: "vlan, a policy for its tag",
        policy: Some("vlan:10"),
        ..VLAN
    },
    Row {
        name: "bond, a policy for its name",
        policy: Some("interface:bond0"),
        router: bond!("active-backup", "lan1 lan2"),
        client: bond!("active-backup", "eth1 eth2"),
        ..BOND
    },
    Row {
        name: "bond with a vlan",
        breadth: Breadth::Offloads,
        modules: &["bonding", "8021q"],
        router: concat!(
            bond!("active-backup", "lan1 lan2"),
            "\nip link add link bond0 name bond0.10 type vlan id 10\nip link set bond0.10 up"
        ),
        router_l3: "bond0.10",
        client: concat!(
            bond!("active-backup", "eth1 eth2"),
            "\nip link add link bond0 name bond0.10 type vlan id 10\nip link set bond0.10 up"
        ),
        client_l3: "bond0.10",
        ..BOND
    },
    Row {
        name: "merging offloads on",
        router: "for one in gro lro rx-gro-hw rx-gro-list rx-udp-gro-forwarding; \
            do ethtool -K lan1 $one on || true; done",
        ..OFFLOADS
    },
    Row {
        name: "bridge, merging offloads on at its port",
        modules: &["bridge"],
        router: "for one in gro lro rx-gro-hw rx-gro-list rx-udp-gro-forwarding; \
            do ethtool -K lan1 $one on || true; done\n\
            ip link add br-lan type bridge\nip link set lan1 master br-lan\n\
            ip link set br-lan up",
        router_l3: "br-lan",
        attach: &[&["lan1"], &["br-lan"]],
        ..OFFLOADS
    },
    Row {
        name: "plain, with --force",
        is_forced: true,
        ..PLAIN
    },
    Row {
        name: "vlan, with --force",
        is_forced: true,
        ..VLAN
    },
];
