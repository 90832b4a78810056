//! What a machine and one of its interfaces can do for the filter, and what stands in the way.
//!
//! Asks the kernel over netlink, in the namespace of the calling thread, and
//! changes nothing. The names of attached programs are the only thing it cannot
//! find out: whoever may ask the kernel about programs hands them in.

mod address;
mod advice;
mod bindings;
mod drivers;
mod ethtool;
mod generic;
mod kernel;
mod link;
mod neighbour;
mod netlink;
mod obstacle;
mod on_link;
mod render;
mod route;
mod stack;
mod tags;
mod traffic;
mod xdp;

use std::{collections::BTreeSet, io};

use serde::Serialize;

use self::{
    advice::advise,
    ethtool::Ethtool,
    link::Link,
    obstacle::{Machine, TAG_OFFLOADS, receivers},
};
pub use self::{
    bindings::{Bindings, policy_names},
    kernel::Kernel,
    neighbour::hardware_addresses,
    obstacle::{Obstacle, ObstacleKind, Purpose, notes, obstacles},
    on_link::{OnLink, on_link},
    route::other_ways,
    tags::untagged,
    traffic::{Traffic, traffic},
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
    /// Networks whose addresses count as clients, each with the interface that it is on.
    pub clients: OnLink,
    /// What keeps the interface from being filtered in the expected mode.
    pub obstacles: Vec<Obstacle>,
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
    /// Devices of kind macvlan on this one, or beside it.
    pub macvlans: Vec<String>,
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
    /// The command that switches it off, if that can be done.
    pub remedy: Option<String>,
}

/// An interface and the XDP programs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Index of the interface.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its other names.
    pub altnames: Vec<String>,
    /// The programs.
    pub attached: Vec<AttachedProgram>,
}

impl Hook {
    /// Whether this is one of its names.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.altnames.iter().any(|altname| altname == name)
    }
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
        altnames: link.altnames,
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
    let Some(link) = links.iter().find(|link| link.is_called(interface)) else {
        let existing = links.into_iter().map(|link| link.name).collect();
        let name = interface.to_owned();
        return Err(Error::NoSuchInterface { name, existing });
    };
    let mut ethtool = Ethtool::open().map_err(failed("the offloads"))?;
    let expected_mode = |expected: &Expectation| expected.mode.unwrap_or(Mode::Skb);
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
        offloads: offloads(link, &links, &mut ethtool)?,
        interface: describe(link, &links, driver, xdp_bits, &mut ethtool)?,
        attached,
        clients: on_link(&BTreeSet::from([link.index]))?,
        obstacles: Vec::new(),
        advice: Vec::new(),
    };
    let purpose = Purpose {
        mode: expected_mode(&features.expected),
        has_vlan_policies: false,
    };
    features.obstacles = Machine::look()?.obstacles(link.index, purpose)?;
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
        macvlans: macvlans(link, links),
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

/// Devices of kind macvlan on an interface, or beside it: frames between them pass by what is below.
fn macvlans(link: &Link, links: &[Link]) -> Vec<String> {
    let is_macvlan = |link: &Link| link.is_of(&["macvlan", "ipvlan"]);
    let below = if is_macvlan(link) {
        link.lower
    } else {
        Some(link.index)
    };
    let on = |other: &&Link| {
        is_macvlan(other)
            && other.index != link.index
            && below.is_some_and(|below| stack::is_stacked_on(other, below))
    };
    let macvlans = links.iter().filter(on);
    macvlans.map(|other| other.name.clone()).collect()
}

fn peer(link: &Link, links: &[Link], ethtool: &mut Ethtool) -> Result<Peer, Error> {
    let is_here = |other: &&Link| !link.lower_is_elsewhere && Some(other.index) == link.lower;
    let Some(other) = links.iter().find(is_here) else {
        return Ok(Peer::Elsewhere);
    };
    let offloads = ethtool
        .offloads(other.index)
        .map_err(failed("the offloads"))?;
    let has = |wanted| offloads.as_ref().map(|offloads| offloads.has(wanted));
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
        TAG_OFFLOADS[0].0,
        TAG_OFFLOADS[0].1,
        "takes the VLAN tag off before native XDP: answers leave untagged",
    ),
    (
        TAG_OFFLOADS[1].0,
        TAG_OFFLOADS[1].1,
        "takes the service tag off before native XDP: answers leave untagged",
    ),
];

/// The offloads of the devices that receive an interface's frames.
fn offloads(link: &Link, links: &[Link], ethtool: &mut Ethtool) -> Result<Vec<Offload>, Error> {
    let mut found = Vec::new();
    for index in receivers(link, links) {
        if let Some(device) = stack::by_index(index, links) {
            found.extend(offloads_of(device, ethtool)?);
        }
    }
    Ok(found)
}

fn offloads_of(link: &Link, ethtool: &mut Ethtool) -> Result<Vec<Offload>, Error> {
    let told = ethtool
        .offloads(link.index)
        .map_err(failed("the offloads"))?;
    let Some(told) = told else {
        return Ok(Vec::new());
    };
    // On a veth end they say nothing: whether tags are taken off is up to the other end.
    let is_of_tags = |name: &str| TAG_OFFLOADS.iter().any(|(tag, _)| *tag == name);
    let concerns = |name: &str| !link.is_of(&["veth"]) || !is_of_tags(name);
    let offload = |(name, short, harm)| Offload {
        name,
        is_on: told.has(name),
        harm,
        remedy: (!told.has_for_good(name)).then(|| format!("ethtool -K {} {short} off", link.name)),
    };
    let concerning = HARMFUL_OFFLOADS
        .into_iter()
        .filter(|(name, ..)| concerns(name));
    Ok(concerning.map(offload).collect())
}
