//! What a machine and one of its interfaces can do for the filter, and what stands in the way.
//!
//! Asks the kernel over netlink, in the namespace of the calling thread, and
//! changes nothing. The names of attached programs are the only thing it cannot
//! find out: whoever may ask the kernel about programs hands them in.

mod advice;
mod drivers;
mod ethtool;
mod generic;
mod kernel;
mod link;
mod netlink;
mod render;
mod route;
mod tags;
mod xdp;

use std::io;

use serde::Serialize;

use self::{advice::advise, ethtool::Ethtool, link::Link};
pub use self::{
    kernel::Kernel,
    route::other_ways,
    tags::untagged,
    xdp::{AttachedProgram, Expectation, Mode, XdpAbility},
};

/// Version of the serialized form of [`Features`].
pub const FEATURES_VERSION: u32 = 1;

/// Everything there is to know before `nxdp run`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Features {
    /// [`FEATURES_VERSION`].
    pub version: u32,
    /// The kernel.
    pub kernel: Kernel,
    /// The interface.
    pub interface: Interface,
    /// Where the program can be expected to run, and why.
    pub expected: Expectation,
    /// Offloads that concern the filter.
    pub offloads: Vec<Offload>,
    /// Programs that own the hook already.
    pub attached: Vec<AttachedProgram>,
    /// What to do, in order; the last is the command to start.
    pub advice: Vec<String>,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Index.
    pub index: u32,
    /// Whether it is switched on.
    pub is_up: bool,
    /// Driver, or the kind of a virtual device; unknown when it has neither.
    pub driver: Option<String>,
    /// Whether its frames start with an Ethernet header.
    pub is_ethernet: bool,
    /// Largest packet, in bytes.
    pub mtu_bytes: u32,
    /// Queues that receive.
    pub rx_queues: u32,
    /// Queues that send.
    pub tx_queues: u32,
    /// Most queues that can be had, when the driver tells.
    pub queues_max: Option<u32>,
    /// What the kernel says the driver's XDP can do; unknown before Linux 6.3.
    pub xdp_abilities: Option<Vec<XdpAbility>>,
    /// The interface under a VLAN, macvlan or the like.
    pub parent: Option<String>,
    /// Interfaces that are ports of this bridge or bond.
    pub ports: Vec<String>,
    /// For one end of a veth pair: what is known of the other.
    pub peer: Option<Peer>,
}

/// The other end of a veth pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// In this namespace.
    Here {
        /// Its name.
        name: String,
        /// Whether an XDP program is attached in its driver.
        has_native_program: bool,
        /// Whether generic receive offload is on; unknown when the kernel does not tell.
        has_receive_offload: Option<bool>,
        /// Whether it keeps VLAN tags beside the frames it sends; unknown when the kernel does not tell.
        has_tag_offload: Option<bool>,
    },
    /// In another namespace, where this one cannot look.
    Elsewhere,
}

/// An offload that the filter has to do with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offload {
    /// The kernel's name of it.
    pub name: &'static str,
    /// Whether it is on.
    pub is_on: bool,
    /// What it does to the filter while it is on.
    pub harm: &'static str,
    /// The command that switches it off.
    pub remedy: String,
}

/// An interface and the XDP programs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Index of the interface.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The programs.
    pub attached: Vec<AttachedProgram>,
}

/// Why an interface could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there.
    #[error("look at interface '{name}': there is none of that name here; there are {}", existing.join(", "))]
    NoSuchInterface {
        /// The name.
        name: String,
        /// Those that are there.
        existing: Vec<String>,
    },
    /// The kernel refused a question.
    #[error("ask the kernel for {what}")]
    Netlink {
        /// What was asked for.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Lists the interfaces of the calling thread's network namespace; no privilege is needed.
///
/// # Errors
/// Fails when netlink does not work.
pub fn hooks() -> Result<Vec<Hook>, Error> {
    let links = link::all().map_err(failed("the interfaces"))?;
    let hook = |link: Link| Hook {
        index: link.index,
        name: link.name,
        attached: link.attached,
    };
    Ok(links.into_iter().map(hook).collect())
}

/// Looks at an interface of the calling thread's network namespace.
///
/// `program_name` tells the name of the program with an id, if it knows. No privilege
/// is needed.
///
/// # Errors
/// Fails when there is no such interface or netlink does not work.
pub fn inspect(
    interface: &str,
    program_name: impl Fn(u32) -> Option<String>,
) -> Result<Features, Error> {
    let links = link::all().map_err(failed("the interfaces"))?;
    let Some(link) = links.iter().find(|link| link.name == interface) else {
        let existing = links.into_iter().map(|link| link.name).collect();
        let name = interface.to_owned();
        return Err(Error::NoSuchInterface { name, existing });
    };
    let mut ethtool = Ethtool::open().map_err(failed("the offloads"))?;
    let xdp_bits = xdp::ability_bits(link.index).map_err(failed("the abilities of the driver"))?;
    let driver = drivers::driver_of(link);
    let mut attached = link.attached.clone();
    for program in &mut attached {
        program.name = program_name(program.id);
    }
    let mut features = Features {
        version: FEATURES_VERSION,
        kernel: Kernel::running().map_err(failed("its release"))?,
        expected: Expectation::of(link, driver.as_deref(), xdp_bits),
        offloads: offloads(link, &mut ethtool)?,
        interface: describe(link, &links, driver, xdp_bits, &mut ethtool)?,
        attached,
        advice: Vec::new(),
    };
    features.advice = advise(&features);
    Ok(features)
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Netlink { what, source }
}

fn describe(
    link: &Link,
    links: &[Link],
    driver: Option<String>,
    xdp_bits: Option<u64>,
    ethtool: &mut Ethtool,
) -> Result<Interface, Error> {
    let queues = ethtool.queues(link.index).map_err(failed("the queues"))?;
    let is_veth = link.kind.as_deref() == Some("veth");
    let below = link.lower.filter(|index| *index != link.index && !is_veth);
    Ok(Interface {
        name: link.name.clone(),
        index: link.index,
        is_up: link.is_up,
        driver,
        is_ethernet: link.is_ethernet(),
        mtu_bytes: link.mtu_bytes,
        rx_queues: queues.map_or(link.rx_queues, |queues| queues.receive),
        tx_queues: link.tx_queues,
        queues_max: queues.map(|queues| queues.most),
        xdp_abilities: xdp_bits.map(XdpAbility::from_bits),
        parent: below.and_then(|index| name_of(index, links)),
        ports: ports(link, links),
        peer: if is_veth {
            Some(peer(link, links, ethtool)?)
        } else {
            None
        },
    })
}

fn name_of(index: u32, links: &[Link]) -> Option<String> {
    links
        .iter()
        .find(|link| link.index == index)
        .map(|link| link.name.clone())
}

fn ports(link: &Link, links: &[Link]) -> Vec<String> {
    let ports = links.iter().filter(|port| port.master == Some(link.index));
    ports.map(|port| port.name.clone()).collect()
}

fn peer(link: &Link, links: &[Link], ethtool: &mut Ethtool) -> Result<Peer, Error> {
    let is_here = |other: &&Link| !link.lower_is_elsewhere && Some(other.index) == link.lower;
    let Some(other) = links.iter().find(is_here) else {
        return Ok(Peer::Elsewhere);
    };
    let active = ethtool
        .active_offloads(other.index)
        .map_err(failed("the offloads"))?;
    let has = |wanted| {
        active
            .as_ref()
            .map(|active| active.iter().any(|name| name == wanted))
    };
    Ok(Peer::Here {
        name: other.name.clone(),
        has_native_program: other
            .attached
            .iter()
            .any(|program| program.mode == Mode::Native),
        has_receive_offload: has("rx-gro"),
        has_tag_offload: has("tx-vlan-hw-insert"),
    })
}

/// What harms, by the kernel's name: the harm and the name that `ethtool -K` takes.
const HARMFUL_OFFLOADS: [(&str, &str, &str); 4] = [
    (
        "rx-lro",
        "lro",
        "merges packets before XDP; many drivers then refuse native mode",
    ),
    (
        "rx-gro-hw",
        "rx-gro-hw",
        "merges packets before XDP; many drivers then refuse native mode",
    ),
    (
        TAG_OFFLOADS[0],
        "rxvlan",
        "takes the VLAN tag off before native XDP: answers leave untagged",
    ),
    (
        TAG_OFFLOADS[1],
        TAG_OFFLOADS[1],
        "takes the service tag off before native XDP: answers leave untagged",
    ),
];

/// On a veth end these say nothing: whether tags are taken off is up to the other end.
const TAG_OFFLOADS: [&str; 2] = ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];

fn offloads(link: &Link, ethtool: &mut Ethtool) -> Result<Vec<Offload>, Error> {
    let active = ethtool
        .active_offloads(link.index)
        .map_err(failed("the offloads"))?;
    let Some(active) = active else {
        return Ok(Vec::new());
    };
    let concerns =
        |name: &str| link.kind.as_deref() != Some("veth") || !TAG_OFFLOADS.contains(&name);
    let offload = |(name, short, harm)| Offload {
        name,
        is_on: active.iter().any(|on| on == name),
        harm,
        remedy: format!("ethtool -K {} {short} off", link.name),
    };
    let concerning = HARMFUL_OFFLOADS
        .into_iter()
        .filter(|(name, ..)| concerns(name));
    Ok(concerning.map(offload).collect())
}
