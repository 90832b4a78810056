//! Names, and the queries for them.

use std::net::{Ipv4Addr, SocketAddr};

use nxdp_lab::{cases::Message, frame::UdpFrame};

use super::{CLIENT, CLIENT_MAC, SERVER_MAC};

/// Queries that take turns: as many as the generator keeps.
pub(crate) const QUERIES: u32 = 1 << 16;
/// Source ports of the generator, below those of sockets.
const FIRST_PORT: u16 = 20_000;
const PORTS: u32 = 12_000;

/// A name of two or three labels, about as long as names in real lists.
pub(crate) fn blocked_name(number: u32) -> String {
    let mixed = number.wrapping_mul(2_654_435_761);
    match number % 3 {
        0 => format!("ads{number}.tracker{:x}.com", mixed >> 12),
        1 => format!("metrics-{mixed:x}.net"),
        _ => format!("cdn-{number}-{mixed:x}.org"),
    }
}

/// A name that no list here has, as long as those that lists have.
pub(crate) fn clean_name(number: u32) -> String {
    format!("www.site{:x}.edu", number.wrapping_mul(2_654_435_761))
}

/// Names from everywhere in a list of `names`, each once if there are enough.
pub(crate) fn spread_over(names: u32) -> impl Iterator<Item = u32> {
    // Odd and no divisor of a round number: the steps meet every name before one comes again.
    (0..QUERIES).map(move |number| (u64::from(number) * 7_919 % u64::from(names.max(1))) as u32)
}

/// The frames of queries for these names, each with an id and a port of its own.
pub(crate) fn frames(
    names: impl Iterator<Item = String>,
    has_edns: bool,
    destination: Ipv4Addr,
) -> Vec<Vec<u8>> {
    let frame = |(number, name): (u32, String)| {
        let port = FIRST_PORT + (number % PORTS) as u16;
        let destination = SocketAddr::from((destination, 53));
        let payload = message(&name, number as u16, has_edns);
        UdpFrame::new(SocketAddr::from((CLIENT, port)), destination, &payload)
            .macs(CLIENT_MAC, SERVER_MAC)
            .build()
    };
    (0..).zip(names).map(frame).collect()
}

/// A query for the A records of a name.
pub(crate) fn message(name: &str, id: u16, has_edns: bool) -> Vec<u8> {
    let message = Message::new(name);
    let message = if has_edns {
        message.opt(0, &[])
    } else {
        message
    };
    let mut bytes = message.bytes();
    bytes[..2].copy_from_slice(&id.to_be_bytes());
    bytes
}
