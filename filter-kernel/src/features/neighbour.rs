//! The hardware addresses of neighbours: what this machine knows of who is at the other end of a link.

use std::net::IpAddr;

use netlink_sys::protocols::NETLINK_ROUTE;

use super::{
    Error, failed,
    netlink::{Attributes, Connection, Want},
};

/// rtnetlink(7): the question, and the length of the fixed part, `struct ndmsg`.
const RTM_GETNEIGH: u16 = 30;
const NDMSG_BYTES: usize = 12;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
/// Entries of these states have no address that was heard: incomplete, failed, none.
const UNHEARD: u16 = 0x01 | 0x20 | 0x40;

/// The hardware addresses at which an address was seen, each once; mostly one.
///
/// # Errors
/// Fails when netlink does not work.
pub fn hardware_addresses(address: IpAddr) -> Result<Vec<[u8; 6]>, Error> {
    let mut connection = Connection::open(NETLINK_ROUTE).map_err(failed("the neighbours"))?;
    let answers = connection
        .ask(RTM_GETNEIGH, vec![0; NDMSG_BYTES], Want::All)
        .map_err(failed("the neighbours"))?;
    let neighbours = answers.iter().filter_map(|answer| read(answer));
    let seen = neighbours.filter(|(ip, _)| *ip == address);
    let mut seen: Vec<[u8; 6]> = seen.map(|(_, mac)| mac).collect();
    seen.sort_unstable();
    seen.dedup();
    Ok(seen)
}

/// Both addresses of a neighbour; nothing if one is not known.
fn read(answer: &[u8]) -> Option<(IpAddr, [u8; 6])> {
    let (fixed, attributes) = answer.split_at_checked(NDMSG_BYTES)?;
    let state = u16::from_ne_bytes([fixed[8], fixed[9]]);
    if state == 0 || state & UNHEARD != 0 {
        return None;
    }
    let attributes = Attributes::read(attributes);
    let ip = attributes.bytes(NDA_DST)?;
    let ip = match ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
    };
    let mac = attributes.bytes(NDA_LLADDR)?.try_into().ok()?;
    Some((ip, mac))
}

#[cfg(test)]
mod tests {
    use super::{super::netlink::attribute, *};

    #[test]
    fn a_neighbour_is_read_if_it_was_heard() {
        let message = |state: u16, ip: &[u8]| {
            let [low, high] = state.to_ne_bytes();
            let fixed = [2, 0, 0, 0, 3, 0, 0, 0, low, high, 0, 1];
            let attributes = [
                attribute(NDA_DST, ip),
                attribute(NDA_LLADDR, &[2, 0, 0, 0, 0, 7]),
            ];
            [fixed.to_vec(), attributes.concat()].concat()
        };
        let known = Some(("192.0.2.7".parse().unwrap(), [2, 0, 0, 0, 0, 7]));
        assert_eq!(read(&message(0x02, &[192, 0, 2, 7])), known);
        assert_eq!(read(&message(0x20, &[192, 0, 2, 7])), None);
        assert_eq!(read(&message(0x02, &[192, 0])), None);
        let ip = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap();
        assert_eq!(
            read(&message(0x80, &ip.octets())).unwrap().0,
            IpAddr::from(ip)
        );
    }

    #[test]
    fn nobody_has_the_address_of_a_documentation_prefix() {
        let nobody = hardware_addresses("192.0.2.254".parse().unwrap()).unwrap();
        assert!(nobody.is_empty(), "{nobody:?}");
    }
}
