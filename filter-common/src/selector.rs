//! By what a policy is chosen: each selector once, from the most specific to the least.
//!
//! A selector that is looked up as it is, bit by bit, has a [`Table`]; userspace fills such tables,
//! counts their entries and tells of them by this list alone. Client prefixes and interfaces have
//! records of their own, which say more than the policy.

use crate::{
    address::{Address, Mac, QueryClient},
    listed,
};

listed! {
    /// What a policy is chosen by. The number is the flag of the control record which says that some
    /// policy is, the word is for counts.
    pub enum Selector: u32 {
        /// Source on the link.
        Mac = 1, "MACs";
        /// Source address, by the longest prefix that covers it.
        Source = 2, "prefixes";
        /// Outer VLAN.
        Vlan = 4, "VLANs";
        /// Interface by which the query comes in.
        Interface = 8, "interfaces";
        /// Destination address.
        Destination = 16, "destinations";
    }
}

/// What is looked up in a table, zeros behind it.
pub type Key = [u8; 16];

/// The map of a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub map: &'static str,
    /// What of a [`Key`] it knows an entry by.
    pub form: Form,
    /// Entries that it has room for.
    pub max: u32,
}

/// How a map knows its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An array, by four bytes as a number.
    Index,
    /// A hash map, by eight bytes.
    Bytes8,
    /// A hash map, by all of them.
    Bytes16,
}

/// Sources on the link that can have a policy.
pub const MAC_MAX: u32 = 100_000;
/// Identifiers of 12 bits (IEEE 802.1Q).
pub const VLAN_MAX: u32 = 4096;
/// Destinations that can have a policy.
pub const DESTINATION_MAX: u32 = 4096;

impl Selector {
    /// The flags of all of them.
    pub const EVERY: u32 = {
        let (mut flags, mut i) = (0, 0);
        while i < Self::ALL.len() {
            flags |= Self::ALL[i].flag();
            i += 1;
        }
        flags
    };

    /// The flag of the control record.
    #[inline(always)]
    pub const fn flag(self) -> u32 {
        self as u32
    }

    /// Where policies by it are looked up, if they are by what the query has bit by bit.
    pub const fn table(self) -> Option<Table> {
        let (map, form, max) = match self {
            Self::Mac => ("MACS", Form::Bytes8, MAC_MAX),
            Self::Vlan => ("VLANS", Form::Index, VLAN_MAX),
            Self::Destination => ("DESTINATIONS", Form::Bytes16, DESTINATION_MAX),
            Self::Source | Self::Interface => return None,
        };
        Some(Table { map, form, max })
    }

    /// What its table is asked for one who asks; zeros if it has none.
    pub fn key(self, client: &QueryClient) -> Key {
        match self {
            Self::Mac => mac_key(client.mac),
            Self::Vlan => vlan_key(client.vlan),
            Self::Destination => client.destination,
            Self::Source | Self::Interface => [0; 16],
        }
    }

    /// What its entries are called in full.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Mac => "MAC addresses",
            Self::Source => "client prefixes",
            Self::Vlan | Self::Interface | Self::Destination => self.word(),
        }
    }
}

/// The key of a source on the link.
pub const fn mac_key([a, b, c, d, e, f]: Mac) -> Key {
    [a, b, c, d, e, f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// The key of a VLAN.
pub fn vlan_key(vlan: u16) -> Key {
    let mut key: Address = [0; 16];
    key[..4].copy_from_slice(&u32::from(vlan).to_ne_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_selector_has_a_flag_of_its_own() {
        let mut flags = 0;
        for selector in Selector::ALL {
            assert!(selector.flag().is_power_of_two(), "{selector:?}");
            assert_eq!(flags & selector.flag(), 0, "{selector:?}");
            flags |= selector.flag();
        }
        assert_eq!(flags, Selector::EVERY);
    }

    #[test]
    fn each_table_has_a_map_of_its_own_and_a_key_of_the_asker() {
        let client = QueryClient {
            mac: [1; 6],
            vlan: 2,
            destination: [3; 16],
            ..QueryClient::default()
        };
        let mut maps = Vec::new();
        for selector in Selector::ALL {
            let key = selector.key(&client);
            assert_eq!(selector.table().is_some(), key != [0; 16], "{selector:?}");
            maps.extend(selector.table().map(|table| table.map));
        }
        let count = maps.len();
        maps.sort_unstable();
        maps.dedup();
        assert_eq!(maps.len(), count);
        assert_eq!(Selector::Vlan.key(&client)[..4], 2u32.to_ne_bytes());
    }
}
