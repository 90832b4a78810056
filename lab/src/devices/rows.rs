//! The interfaces of a router that the table tries, each with the way to make it.

/// One kind of interface between a router and its clients.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// What the row is called.
    pub(super) name: &'static str,
    /// How many cables it takes.
    pub(super) cables: usize,
    /// Whether a PPPoE session runs over the first cable.
    pub(super) has_session: bool,
    /// The kernel modules without which it cannot be made.
    pub(super) modules: &'static [&'static str],
    /// Commands in the router, run by its shell; its cards are `lan1` and `lan2`, and up.
    pub(super) router: &'static str,
    /// The router's interface that has the addresses.
    pub(super) router_l3: &'static str,
    /// The named namespace where that interface is, if it left the router's.
    pub(super) l3_namespace: Option<&'static str>,
    /// Commands in the client; its cards are `eth1` and `eth2`, and up.
    pub(super) client: &'static str,
    /// The client's interface that has the addresses.
    pub(super) client_l3: &'static str,
    /// Each set of interfaces that an operator may attach the filter to.
    pub(super) attach: &'static [&'static [&'static str]],
}

const PLAIN: Row = Row {
    name: "plain",
    cables: 1,
    has_session: false,
    modules: &[],
    router: "",
    router_l3: "lan1",
    l3_namespace: None,
    client: "",
    client_l3: "eth1",
    attach: &[&["lan1"]],
};

const BOND: Row = Row {
    cables: 2,
    modules: &["bonding"],
    router_l3: "bond0",
    client_l3: "bond0",
    attach: &[&["bond0"], &["lan1", "lan2"]],
    ..PLAIN
};

/// A bond of both cards, the same in the router and in the client.
macro_rules! bond {
    ($mode:literal, $cards:literal) => {
        concat!(
            "ip link add bond0 type bond mode ",
            $mode,
            " miimon 50\n",
            "for card in ",
            $cards,
            "; do ip link set $card down; ip link set $card master bond0; ip link set $card up; done\n",
            "ip link set bond0 up"
        )
    };
}

/// All of them.
pub(super) const ROWS: &[Row] = &[
    PLAIN,
    Row {
        name: "vlan",
        modules: &["8021q"],
        router: "ip link add link lan1 name lan1.10 type vlan id 10\nip link set lan1.10 up",
        router_l3: "lan1.10",
        client: "ip link add link eth1 name eth1.10 type vlan id 10\nip link set eth1.10 up",
        client_l3: "eth1.10",
        attach: &[&["lan1"], &["lan1.10"]],
        ..PLAIN
    },
    Row {
        name: "vlan, rxvlan off",
        modules: &["8021q"],
        router: "ethtool -K lan1 rxvlan off || true\n\
            ip link add link lan1 name lan1.10 type vlan id 10\nip link set lan1.10 up",
        router_l3: "lan1.10",
        client: "ip link add link eth1 name eth1.10 type vlan id 10\nip link set eth1.10 up",
        client_l3: "eth1.10",
        attach: &[&["lan1"]],
        ..PLAIN
    },
    Row {
        name: "vlan in another namespace",
        modules: &["8021q"],
        router: "ip netns add guests\nip -n guests link set lo up\n\
            ip link add link lan1 name lan1.10 type vlan id 10\n\
            ip link set lan1.10 netns guests\nip -n guests link set lan1.10 up",
        router_l3: "lan1.10",
        l3_namespace: Some("guests"),
        client: "ip link add link eth1 name eth1.10 type vlan id 10\nip link set eth1.10 up",
        client_l3: "eth1.10",
        attach: &[&["lan1"]],
        ..PLAIN
    },
    Row {
        name: "QinQ",
        modules: &["8021q"],
        router: "ip link add link lan1 name lan1.100 type vlan proto 802.1ad id 100\n\
            ip link set lan1.100 up\n\
            ip link add link lan1.100 name qinq type vlan id 10\nip link set qinq up",
        router_l3: "qinq",
        client: "ip link add link eth1 name eth1.100 type vlan proto 802.1ad id 100\n\
            ip link set eth1.100 up\n\
            ip link add link eth1.100 name qinq type vlan id 10\nip link set qinq up",
        client_l3: "qinq",
        attach: &[&["lan1"], &["qinq"]],
        ..PLAIN
    },
    Row {
        name: "bridge",
        modules: &["bridge"],
        router: "ip link add br-lan type bridge\nip link set lan1 master br-lan\n\
            ip link set br-lan up",
        router_l3: "br-lan",
        attach: &[&["lan1"], &["br-lan"]],
        ..PLAIN
    },
    Row {
        name: "bridge, vlan_filtering",
        modules: &["bridge", "8021q"],
        router: "ip link add br-lan type bridge vlan_filtering 1\n\
            ip link set lan1 master br-lan\nip link set br-lan up\n\
            bridge vlan add dev lan1 vid 10\nbridge vlan add dev br-lan vid 10 self\n\
            ip link add link br-lan name br-lan.10 type vlan id 10\nip link set br-lan.10 up",
        router_l3: "br-lan.10",
        client: "ip link add link eth1 name eth1.10 type vlan id 10\nip link set eth1.10 up",
        client_l3: "eth1.10",
        attach: &[&["lan1"], &["br-lan"], &["br-lan.10"]],
        ..PLAIN
    },
    Row {
        name: "bond, active-backup",
        router: bond!("active-backup", "lan1 lan2"),
        client: bond!("active-backup", "eth1 eth2"),
        ..BOND
    },
    Row {
        name: "bond, balance-rr",
        router: bond!("balance-rr", "lan1 lan2"),
        client: bond!("balance-rr", "eth1 eth2"),
        ..BOND
    },
    Row {
        name: "bond, 802.3ad",
        router: bond!("802.3ad lacp_rate fast", "lan1 lan2"),
        client: bond!("802.3ad lacp_rate fast", "eth1 eth2"),
        ..BOND
    },
    Row {
        name: "macvlan",
        modules: &["macvlan"],
        router: "ip link add link lan1 name mv0 type macvlan mode bridge\nip link set mv0 up",
        router_l3: "mv0",
        attach: &[&["lan1"], &["mv0"]],
        ..PLAIN
    },
    Row {
        name: "ipvlan",
        modules: &["ipvlan"],
        router: "ip link add link lan1 name iv0 type ipvlan mode l2\nip link set iv0 up",
        router_l3: "iv0",
        attach: &[&["lan1"], &["iv0"]],
        ..PLAIN
    },
    Row {
        name: "vrf",
        modules: &["vrf"],
        router: "ip link add vrf0 type vrf table 10\nip link set vrf0 up\n\
            ip link set lan1 master vrf0\n\
            for key in ipv4/udp_l3mdev_accept ipv4/tcp_l3mdev_accept ipv4/ip_nonlocal_bind \
            ipv6/ip_nonlocal_bind; do echo 1 > /proc/sys/net/$key; done",
        attach: &[&["lan1"], &["vrf0"]],
        ..PLAIN
    },
    Row {
        name: "WireGuard",
        modules: &["wireguard"],
        router: "ip addr add 10.78.0.1/24 dev lan1\nip link add wg0 type wireguard\n\
            wg set wg0 listen-port 51820 private-key /tmp/router.key \
            peer $(wg pubkey < /tmp/client.key) allowed-ips 0.0.0.0/0,::/0\n\
            ip link set wg0 up",
        router_l3: "wg0",
        client: "ip addr add 10.78.0.2/24 dev eth1\nip link add wg0 type wireguard\n\
            wg set wg0 private-key /tmp/client.key \
            peer $(wg pubkey < /tmp/router.key) allowed-ips 0.0.0.0/0,::/0 \
            endpoint 10.78.0.1:51820\n\
            ip link set wg0 up",
        client_l3: "wg0",
        attach: &[&["wg0"]],
        ..PLAIN
    },
    Row {
        name: "PPPoE session",
        modules: &["pppoe"],
        has_session: true,
        router_l3: "ppp0",
        client_l3: "ppp0",
        attach: &[&["lan1"], &["ppp0"]],
        ..PLAIN
    },
];
