//! The map of prefixes that may be answered.

use std::collections::BTreeSet;

use aya::maps::{LpmTrie, Map, MapData, lpm_trie::Key};
use filter_common::{client::mapped, layout::CLIENT_ANSWERED, maps::Address};
use ipnet::IpNet;

use super::Error;

/// A prefix in the form of the map: IPv4 is mapped into IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientPrefix {
    address: Address,
    len: u32,
}

impl From<IpNet> for ClientPrefix {
    fn from(prefix: IpNet) -> Self {
        match prefix.trunc() {
            IpNet::V4(prefix) => Self {
                address: mapped(prefix.network().octets()),
                len: 96 + u32::from(prefix.prefix_len()),
            },
            IpNet::V6(prefix) => Self {
                address: prefix.network().octets(),
                len: u32::from(prefix.prefix_len()),
            },
        }
    }
}

/// The prefixes in the map.
pub(super) fn all(map: &Map) -> Result<BTreeSet<ClientPrefix>, Error> {
    let map: LpmTrie<&MapData, Address, u32> = map.try_into().map_err(Error::Clients)?;
    let prefix = |key: Key<Address>| ClientPrefix {
        address: key.data(),
        len: key.prefix_len(),
    };
    map.keys()
        .map(|key| key.map(prefix).map_err(Error::Clients))
        .collect()
}

/// Turns the map from `old` into `new`, or leaves it; who is in both is answered all the while.
pub(super) fn change(
    map: &mut Map,
    old: &BTreeSet<ClientPrefix>,
    new: &BTreeSet<ClientPrefix>,
) -> Result<(), Error> {
    let mut map: LpmTrie<&mut MapData, Address, u32> = map.try_into().map_err(Error::Clients)?;
    for (number, prefix) in new.difference(old).enumerate() {
        if let Err(error) = map.insert(&Key::new(prefix.len, prefix.address), CLIENT_ANSWERED, 0) {
            for prefix in new.difference(old).take(number) {
                // What was put in a moment ago can be taken out.
                let _ = map.remove(&Key::new(prefix.len, prefix.address));
            }
            return Err(Error::Clients(error));
        }
    }
    for prefix in old.difference(new) {
        map.remove(&Key::new(prefix.len, prefix.address))
            .map_err(Error::Clients)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_become_one_form() {
        let prefix = |text: &str| ClientPrefix::from(text.parse::<IpNet>().unwrap());
        let v4 = prefix("203.0.113.7/24");
        assert_eq!((v4.address, v4.len), (mapped([203, 0, 113, 0]), 120));
        let v6 = prefix("2001:db8::7/32");
        assert_eq!(
            (v6.address[..4].to_vec(), v6.len),
            (vec![0x20, 1, 0x0d, 0xb8], 32)
        );
        assert_eq!(v6.address[4..], [0; 12]);
    }
}
