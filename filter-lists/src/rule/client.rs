//! Conditions on who asks, and whether somebody meets them.

use std::{net::IpAddr, str::FromStr};

use filter_common::address::mac_from_text;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A condition on who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// An address range.
    Prefix {
        /// Any address of the range.
        address: IpAddr,
        /// Bits that count.
        len: u8,
        /// Everybody but these.
        not: bool,
    },
    /// A hardware address.
    Mac {
        /// The address.
        address: [u8; 6],
        /// Everybody but this one.
        not: bool,
    },
}

/// Who asks, as far as a condition can tell.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ClientAddress {
    /// The source address of the query.
    Ip(IpAddr),
    /// The source hardware address.
    Mac([u8; 6]),
}

impl Client {
    /// Whether a rule with these conditions is for the client.
    ///
    /// As in AdGuard: it is one of those that are named, if any are, and none of those
    /// that are excluded. A condition of the other kind of address says nothing about it.
    pub fn any_is(conditions: &[Self], client: ClientAddress) -> bool {
        let excluded = conditions.iter().filter(|condition| condition.excludes());
        let mut named = conditions.iter().filter(|condition| !condition.excludes());
        let mut excluded = excluded.filter(|condition| condition.covers(client));
        let names_none = named.clone().next().is_none();
        excluded.next().is_none() && (names_none || named.any(|named| named.covers(client)))
    }

    fn excludes(&self) -> bool {
        let (Self::Prefix { not, .. } | Self::Mac { not, .. }) = self;
        *not
    }

    /// Whether the client is in the range, whatever follows from it.
    fn covers(&self, client: ClientAddress) -> bool {
        match (self, client) {
            (Self::Prefix { address, len, .. }, ClientAddress::Ip(client)) => {
                IpNet::new(*address, *len).is_ok_and(|range| range.contains(&client))
            }
            (Self::Mac { address, .. }, ClientAddress::Mac(client)) => *address == client,
            _ => false,
        }
    }
}

impl FromStr for ClientAddress {
    type Err = UnknownClient;

    fn from_str(text: &str) -> Result<Self, UnknownClient> {
        let ip = text.parse().ok().map(Self::Ip);
        ip.or_else(|| mac_from_text(text).map(Self::Mac))
            .ok_or_else(|| UnknownClient(text.to_owned()))
    }
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no address: use one like 192.0.2.7, 2001:db8::7 or 02:00:5e:10:00:07")]
pub struct UnknownClient(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_one_of_those_named_and_none_of_those_excluded() {
        let prefix = |text: &str, not| {
            let range: IpNet = text.parse().unwrap();
            let (address, len) = (range.addr(), range.prefix_len());
            Client::Prefix { address, len, not }
        };
        let mac = |not| Client::Mac {
            address: [2, 0, 0, 0, 0, 1],
            not,
        };
        let home = prefix("192.0.2.0/24", false);
        let guest = prefix("192.0.2.128/25", true);
        let cases: [(&[Client], &str, bool); 10] = [
            (std::slice::from_ref(&home), "192.0.2.1", true),
            (std::slice::from_ref(&home), "192.0.3.1", false),
            (&[home.clone(), guest.clone()], "192.0.2.1", true),
            (&[home.clone(), guest.clone()], "192.0.2.129", false),
            (std::slice::from_ref(&guest), "198.51.100.1", true),
            (std::slice::from_ref(&guest), "192.0.2.200", false),
            (&[prefix("2001:db8::/32", false)], "2001:db8::7", true),
            (&[home.clone(), mac(false)], "02:00:00:00:00:01", true),
            (std::slice::from_ref(&home), "02:00:00:00:00:01", false),
            (&[mac(true)], "02-00-00-00-00-01", false),
        ];
        for (conditions, client, expected) in cases {
            let address = client.parse().unwrap();
            let found = Client::any_is(conditions, address);
            assert_eq!(found, expected, "{conditions:?} {client}");
        }
    }

    #[test]
    fn what_is_no_address_is_told_with_the_way_out() {
        let error = "kids-tablet".parse::<ClientAddress>().unwrap_err();
        assert!(error.to_string().contains("'kids-tablet' is no address"));
    }
}
