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
    /// The client that a policy is for which alone blocks; without one everybody's does.
    pub(super) policy: Option<&'static str>,
    /// Whether it attaches in spite of what is known to be in the way.
    pub(super) is_forced: bool,
    /// What happens while the filter is attached.
    pub(super) change: Option<Change>,
    /// On which cards it says something new.
    pub(super) breadth: Breadth,
}

impl Row {
    /// Every set of interfaces in both modes.
    pub(super) fn attempts(
        &self,
    ) -> impl Iterator<Item = (&'static [&'static str], &'static str)> + use<> {
        let both = |interfaces: &'static &'static [&'static str]| {
            ["native", "skb"].map(|mode| (*interfaces, mode))
        };
        self.attach.iter().flat_map(both)
    }
}

/// On which cards a row says something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Breadth {
    /// On every one: it is about the driver.
    Driver,
    /// On those that take tags off or put packets together.
    Offloads,
    /// On any one: it is about the kernel's devices above.
    Kernel,
}

/// Something that happens to a router while the filter is attached.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// Commands are run; the addresses move to other interfaces.
    Commands {
        /// In the router.
        router: &'static str,
        /// The router's interface that has the addresses then.
        router_l3: &'static str,
        /// In the client.
        client: &'static str,
        /// The client's interface that has the addresses then.
        client_l3: &'static str,
    },
    /// The driver lets go of the router's first card and takes it again.
    Replug,
    /// Packets get as large as the card can have them.
    LargePackets,
}

/// One card, with the addresses on it.
pub(super) const PLAIN: Row = Row {
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
    policy: None,
    is_forced: false,
    change: None,
    breadth: Breadth::Driver,
};

const TAGGED: Row = Row {
    modules: &["8021q"],
    breadth: Breadth::Offloads,
    ..PLAIN
};

const STACKED: Row = Row {
    breadth: Breadth::Kernel,
    ..PLAIN
};

/// Two cards as one.
pub(super) const BOND: Row = Row {
    cables: 2,
    modules: &["bonding"],
    router_l3: "bond0",
    client_l3: "bond0",
    attach: &[&["bond0"], &["lan1", "lan2"]],
    breadth: Breadth::Kernel,
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
pub(super) use bond;

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
        router: "ethtool -K lan1 rxvlan off || true\n\
            ip link add link lan1 name lan1.10 type vlan id 10\nip link set lan1.10 up",
        router_l3: "lan1.10",
        client: "ip link add link eth1 name eth1.10 type vlan id 10\nip link set eth1.10 up",
        client_l3: "eth1.10",
        attach: &[&["lan1"]],
        ..TAGGED
    },
    Row {
        name: "vlan in another namespace",
        router: "ip netns add guests\nip -n guests link set lo up\n\
            ip link add link lan1 name lan1.10 type vlan id 10\n\
            ip link set lan1.10 netns guests\nip -n guests link set lan1.10 up",
        router_l3: "lan1.10",
        l3_namespace: Some("guests"),
        client: "ip link add link eth1 name eth1.10 type vlan id 10\nip link set eth1.10 up",
        client_l3: "eth1.10",
        attach: &[&["lan1"]],
        ..TAGGED
    },
    Row {
        name: "QinQ",
        router: "ip link add link lan1 name lan1.100 type vlan proto 802.1ad id 100\n\
            ip link set lan1.100 up\n\
            ip link add link lan1.100 name qinq type vlan id 10\nip link set qinq up",
        router_l3: "qinq",
        client: "ip link add link eth1 name eth1.100 type vlan proto 802.1ad id 100\n\
            ip link set eth1.100 up\n\
            ip link add link eth1.100 name qinq type vlan id 10\nip link set qinq up",
        client_l3: "qinq",
        attach: &[&["lan1"], &["qinq"]],
        ..TAGGED
    },
    Row {
        name: "QinQ, rxvlan off",
        router: "ethtool -K lan1 rxvlan off || true\n\
            ip link add link lan1 name lan1.100 type vlan proto 802.1ad id 100\n\
            ip link set lan1.100 up\n\
            ip link add link lan1.100 name qinq type vlan id 10\nip link set qinq up",
        router_l3: "qinq",
        client: "ethtool -K eth1 rxvlan off || true\n\
            ip link add link eth1 name eth1.100 type vlan proto 802.1ad id 100\n\
            ip link set eth1.100 up\n\
            ip link add link eth1.100 name qinq type vlan id 10\nip link set qinq up",
        client_l3: "qinq",
        attach: &[&["lan1"]],
        ..TAGGED
    },
    Row {
        name: "bridge",
        modules: &["bridge"],
        router: "ip link add br-lan type bridge\nip link set lan1 master br-lan\n\
            ip link set br-lan up",
        router_l3: "br-lan",
        attach: &[&["lan1"], &["br-lan"]],
        ..STACKED
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
        ..TAGGED
    },
    Row {
        name: "bond, active-backup",
        breadth: Breadth::Offloads,
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
        // Without a known speed a port joins no aggregate, and virtio cards have none.
        router: concat!(
            "for card in lan1 lan2; do ethtool -s $card speed 1000 duplex full || true; done\n",
            bond!("802.3ad lacp_rate fast", "lan1 lan2")
        ),
        client: concat!(
            "for card in eth1 eth2; do ethtool -s $card speed 1000 duplex full || true; done\n",
            bond!("802.3ad lacp_rate fast", "eth1 eth2")
        ),
        ..BOND
    },
    Row {
        name: "macvlan",
        modules: &["macvlan"],
        router: "ip link add link lan1 name mv0 type macvlan mode bridge\nip link set mv0 up",
        router_l3: "mv0",
        attach: &[&["lan1"], &["mv0"]],
        ..STACKED
    },
    Row {
        name: "ipvlan",
        modules: &["ipvlan"],
        router: "ip link add link lan1 name iv0 type ipvlan mode l2\nip link set iv0 up",
        router_l3: "iv0",
        attach: &[&["lan1"], &["iv0"]],
        ..STACKED
    },
    Row {
        name: "vrf",
        modules: &["vrf"],
        // The routes lead the answers of a resolver outside of the vrf back into it.
        router: "ip link add vrf0 type vrf table 10\nip link set vrf0 up\n\
            ip link set lan1 master vrf0\n\
            for key in ipv4/udp_l3mdev_accept ipv4/tcp_l3mdev_accept ipv4/ip_nonlocal_bind \
            ipv6/ip_nonlocal_bind; do echo 1 > /proc/sys/net/$key; done\n\
            for to in 192.168.77.0/24 203.0.114.0/24 fd77::/64 2001:db8:77::/64; \
            do ip route add $to dev lan1; done",
        attach: &[&["lan1"], &["vrf0"]],
        ..STACKED
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
        ..STACKED
    },
    Row {
        name: "PPPoE session",
        modules: &["pppoe"],
        has_session: true,
        router_l3: "ppp0",
        client_l3: "ppp0",
        attach: &[&["lan1"], &["ppp0"]],
        ..STACKED
    },
];
