//! How many frames an interface received, by the word of its device.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use netlink_sys::protocols::NETLINK_ROUTE;

use super::{
    Error, failed, link,
    netlink::{Attributes, Connection, Want},
    obstacle::receivers,
    stack,
};

/// rtnetlink(7).
mod uapi {
    pub(super) const RTM_GETLINK: u16 = 18;
    pub(super) const IFINFOMSG_BYTES: usize = 16;
    pub(super) const IFLA_STATS64: u16 = 23;
}

/// What came by an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Its name.
    pub name: String,
    /// Frames since it was made.
    pub received: u64,
    /// The indexes that these frames have: that of the interface, or those of a bond's ports.
    pub by: BTreeSet<u32>,
}

/// What came by the interfaces with these indexes; one that is gone is left out.
///
/// # Errors
/// Fails when netlink does not work.
pub fn traffic(indexes: &BTreeSet<u32>) -> Result<BTreeMap<u32, Traffic>, Error> {
    let links = link::all().map_err(failed("the interfaces"))?;
    let mut connection = Connection::open(NETLINK_ROUTE).map_err(failed("the traffic"))?;
    let mut traffic = BTreeMap::new();
    for index in indexes {
        let Some(link) = stack::by_index(*index, &links) else {
            continue;
        };
        let mut by = receivers(link, &links);
        by.insert(*index);
        let received = received(&mut connection, *index).map_err(failed("the traffic"))?;
        let name = link.name.clone();
        traffic.extend(received.map(|received| (*index, Traffic { name, received, by })));
    }
    Ok(traffic)
}

fn received(connection: &mut Connection, index: u32) -> io::Result<Option<u64>> {
    let mut question = vec![0; uapi::IFINFOMSG_BYTES];
    question[4..8].copy_from_slice(&index.to_ne_bytes());
    match connection.ask(uapi::RTM_GETLINK, question, Want::One) {
        Ok(answers) => Ok(answers.first().and_then(|answer| read(answer))),
        // It left meanwhile.
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The first number of `struct rtnl_link_stats64`.
fn read(message: &[u8]) -> Option<u64> {
    let attributes = Attributes::read(message.get(uapi::IFINFOMSG_BYTES..)?);
    let stats = attributes.bytes(uapi::IFLA_STATS64)?;
    stats.first_chunk().map(|first| u64::from_ne_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_loopback_interface_received_is_told_and_grows() {
        let received = || traffic(&BTreeSet::from([1])).unwrap()[&1].received;
        let before = received();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&[0], socket.local_addr().unwrap()).unwrap();
        assert!(received() > before);
    }

    #[test]
    fn an_interface_that_is_gone_has_no_traffic() {
        assert!(
            traffic(&BTreeSet::from([u32::MAX >> 1]))
                .unwrap()
                .is_empty()
        );
    }
}
