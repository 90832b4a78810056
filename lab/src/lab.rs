//! Three namespaces in a row: client, router, resolver.
//!
//! ```text
//!  client                  router                     resolver
//!  client0 ── veth ── lan0        wan0 ── veth ── resolver0
//!  10.53.1.2          10.53.1.1   10.53.2.1       10.53.2.53
//!  fd00:53:1::2       fd00:53:1::1  fd00:53:2::1  fd00:53:2::53
//! ```
//!
//! The router forwards; the filter is meant for `lan0`. Addresses repeat in every
//! lab: labs share nothing, so any number of them can run at the same time.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use aya::programs::XdpMode;
use filter_common::address::MacText;

use crate::{
    namespace::Namespace,
    query::{Query, QueryError, Reply},
    raw_socket::RawSocket,
    responder::Responder,
    xdp_stub::{StubAction, XdpStub},
};

/// The client's interface.
pub const CLIENT_INTERFACE: &str = "client0";
/// The router's interface towards the client, where the filter belongs.
pub const LAN_INTERFACE: &str = "lan0";
/// The router's interface towards the resolver.
pub const WAN_INTERFACE: &str = "wan0";
/// The resolver's interface.
pub const RESOLVER_INTERFACE: &str = "resolver0";

/// Hardware address of [`CLIENT_INTERFACE`].
pub const CLIENT_MAC: [u8; 6] = [0x02, 0x53, 0, 0, 1, 0x02];
/// Hardware address of [`LAN_INTERFACE`].
pub const LAN_MAC: [u8; 6] = [0x02, 0x53, 0, 0, 1, 0x01];
/// Hardware address of [`WAN_INTERFACE`].
pub const WAN_MAC: [u8; 6] = [0x02, 0x53, 0, 0, 2, 0x01];
/// Hardware address of [`RESOLVER_INTERFACE`].
pub const RESOLVER_MAC: [u8; 6] = [0x02, 0x53, 0, 0, 2, 0x53];

/// The client's IPv4 address.
pub const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(10, 53, 1, 2);
/// The client's IPv6 address.
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x53, 1, 0, 0, 0, 0, 2);
/// The resolver's IPv4 address.
pub const RESOLVER_V4: Ipv4Addr = Ipv4Addr::new(10, 53, 2, 53);
/// The resolver's IPv6 address.
pub const RESOLVER_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x53, 2, 0, 0, 0, 0, 0x53);

/// Where DNS queries over IPv4 go.
pub const DNS_V4: SocketAddr = SocketAddr::new(IpAddr::V4(RESOLVER_V4), 53);
/// Where DNS queries over IPv6 go.
pub const DNS_V6: SocketAddr = SocketAddr::new(IpAddr::V6(RESOLVER_V6), 53);

/// Where queries go, by the name of the address family.
pub const DNS_SERVERS: [(&str, SocketAddr); 2] = [("IPv4", DNS_V4), ("IPv6", DNS_V6)];

/// The three namespaces; dropping it removes them with everything inside.
#[derive(Debug)]
pub struct Lab {
    client: Namespace,
    router: Namespace,
    resolver: Namespace,
    client_stub: Option<XdpStub>,
}

impl Lab {
    /// Makes the namespaces, joins them and waits until packets can flow.
    ///
    /// # Errors
    /// Fails without root, when `ip` is missing, or when the kernel
    /// lacks network namespaces, veth, XDP or IPv6.
    pub fn new() -> Result<Self> {
        let mut lab = Self {
            client: Namespace::new("client")?,
            router: Namespace::new("router")?,
            resolver: Namespace::new("resolver")?,
            client_stub: None,
        };
        lab.prepare_stacks()?;
        lab.join_up().context("cannot join the namespaces")?;
        lab.address()?;
        lab.attach_client_stub()?;
        Ok(lab)
    }

    /// Lets frames that a program on the router's interface sends back reach the client.
    ///
    /// [`Lab::new`] does it; see [`crate::xdp_stub`] for the reason.
    pub fn attach_client_stub(&mut self) -> Result<()> {
        let stub = XdpStub::attach(
            &self.client,
            CLIENT_INTERFACE,
            StubAction::Pass,
            XdpMode::Driver,
        )?;
        self.client_stub = Some(stub);
        Ok(())
    }

    /// Takes the client's program away, to see what a client without one sees.
    pub fn detach_client_stub(&mut self) {
        self.client_stub = None;
    }

    /// Where queries come from.
    pub fn client(&self) -> &Namespace {
        &self.client
    }

    /// Where the filter runs, on [`LAN_INTERFACE`].
    pub fn router(&self) -> &Namespace {
        &self.router
    }

    /// Where the responder runs.
    pub fn resolver(&self) -> &Namespace {
        &self.resolver
    }

    /// Starts a responder on [`DNS_V4`] and [`DNS_V6`], on threads of this process.
    pub fn start_responder(&self) -> Result<Responder> {
        self.resolver
            .run(|| Responder::start(&[DNS_V4, DNS_V6], 2))?
            .context("cannot start the responder")
    }

    /// Asks from the client over IPv4.
    pub fn ask_v4(&self, query: &Query) -> Result<Reply, QueryError> {
        query.ask_from(&self.client, DNS_V4)
    }

    /// Asks from the client over IPv6.
    pub fn ask_v6(&self, query: &Query) -> Result<Reply, QueryError> {
        query.ask_from(&self.client, DNS_V6)
    }

    /// Opens a raw socket on the client's interface.
    pub fn client_socket(&self) -> Result<RawSocket> {
        RawSocket::open(&self.client, CLIENT_INTERFACE)
    }

    /// Opens a raw socket on the resolver's interface.
    pub fn resolver_socket(&self) -> Result<RawSocket> {
        RawSocket::open(&self.resolver, RESOLVER_INTERFACE)
    }

    /// Switches an offload by the name that `ethtool -K` takes.
    pub fn switch_offload(
        &self,
        namespace: &Namespace,
        interface: &str,
        offload: &str,
        on: bool,
    ) -> Result<()> {
        let state = if on { "on" } else { "off" };
        namespace.output("ethtool", &["-K", interface, offload, state])?;
        Ok(())
    }

    fn join_up(&self) -> Result<()> {
        let pair = |near: &str, near_mac, far: &str, far_mac, namespace: &Namespace| {
            format!(
                "link add {near} address {} type veth peer name {far} address {} netns {}\n",
                MacText(near_mac),
                MacText(far_mac),
                namespace.path().display()
            )
        };
        self.router.ip_batch(&format!(
            "{}{}",
            pair(
                LAN_INTERFACE,
                LAN_MAC,
                CLIENT_INTERFACE,
                CLIENT_MAC,
                &self.client
            ),
            pair(
                WAN_INTERFACE,
                WAN_MAC,
                RESOLVER_INTERFACE,
                RESOLVER_MAC,
                &self.resolver
            ),
        ))
    }

    fn prepare_stacks(&self) -> Result<()> {
        for namespace in [&self.client, &self.router, &self.resolver] {
            // Without duplicate address detection addresses work at once; without
            // router solicitations no unasked packets disturb what a test counts.
            namespace.write_sysctl("net/ipv6/conf/all/disable_ipv6", "0")?;
            namespace.write_sysctl("net/ipv6/conf/default/accept_dad", "0")?;
            namespace.write_sysctl("net/ipv6/conf/default/router_solicitations", "0")?;
        }
        for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            self.router.write_sysctl(key, "1")?;
        }
        Ok(())
    }

    fn address(&self) -> Result<()> {
        self.router.ip_batch(
            "address add 10.53.1.1/24 dev lan0\naddress add fd00:53:1::1/64 dev lan0 nodad\n\
             address add 10.53.2.1/24 dev wan0\naddress add fd00:53:2::1/64 dev wan0 nodad\n\
             link set lan0 up\nlink set wan0 up\n",
        )?;
        end_station(&self.client, CLIENT_INTERFACE, 1, "2")?;
        end_station(&self.resolver, RESOLVER_INTERFACE, 2, "53")?;
        self.wait_for_carrier()
    }

    /// Waits until all ends of the pairs are up: routes to them exist only then.
    fn wait_for_carrier(&self) -> Result<()> {
        let ends = [
            (&self.client, CLIENT_INTERFACE),
            (&self.router, LAN_INTERFACE),
            (&self.router, WAN_INTERFACE),
            (&self.resolver, RESOLVER_INTERFACE),
        ];
        for (namespace, interface) in ends {
            let up = || namespace.output("ip", &["-o", "link", "show", "up", "dev", interface]);
            let mut tries = 0;
            while !up()?.contains("LOWER_UP") {
                tries += 1;
                ensure!(
                    tries < 200,
                    "{interface} in {} does not come up",
                    namespace.name()
                );
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(())
    }
}

fn end_station(namespace: &Namespace, interface: &str, network: u8, host: &str) -> Result<()> {
    namespace.ip_batch(&format!(
        "address add 10.53.{network}.{host}/24 dev {interface}\n\
         address add fd00:53:{network}::{host}/64 dev {interface} nodad\n\
         link set {interface} up\n\
         route add default via 10.53.{network}.1\n\
         route add ::/0 via fd00:53:{network}::1\n"
    ))
}
