//! Prefixes of addresses in the form of the kernel's maps.

use std::{fmt, net::IpAddr};

use filter_common::address::{Address, mapped};
use ipnet::IpNet;

/// A prefix in the form of the kernel's maps: IPv4 is mapped into IPv6.
///
/// The order puts a prefix in front of those inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// The first address.
    pub address: Address,
    /// Bits that count, of 128.
    pub len: u32,
}

/// Bits in front of a mapped IPv4 address.
const MAPPED_BITS: u32 = 96;

impl Prefix {
    /// Bits of an address.
    pub const BITS: u32 = 128;

    /// The prefix of this length around an address.
    pub fn of(address: &Address, len: u32) -> Self {
        let hidden = Self::BITS.saturating_sub(len);
        let mask = u128::MAX.checked_shl(hidden).unwrap_or(0);
        Self {
            address: (u128::from_be_bytes(*address) & mask).to_be_bytes(),
            len,
        }
    }

    /// Whether an address is inside.
    pub fn covers(&self, address: &Address) -> bool {
        self.bits_shared_with(address) >= self.len
    }

    /// Bits at the start that its first address and another one have in common.
    pub fn bits_shared_with(&self, address: &Address) -> u32 {
        let differing = u128::from_be_bytes(self.address) ^ u128::from_be_bytes(*address);
        differing.leading_zeros()
    }

    /// Whether another prefix is inside, or the same.
    pub fn contains(&self, other: &Self) -> bool {
        self.len <= other.len && self.covers(&other.address)
    }
}

impl From<IpNet> for Prefix {
    fn from(prefix: IpNet) -> Self {
        let len = u32::from(prefix.prefix_len());
        let prefix = prefix.trunc();
        Self {
            address: address_of(prefix.addr()),
            len: match prefix {
                IpNet::V4(_) => MAPPED_BITS + len,
                IpNet::V6(_) => len,
            },
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match IpAddr::from(self.address).to_canonical() {
            IpAddr::V4(address) if self.len >= MAPPED_BITS => {
                write!(f, "{address}/{}", self.len - MAPPED_BITS)
            }
            _ => write!(f, "{}/{}", IpAddr::from(self.address), self.len),
        }
    }
}

/// An address in the form of the kernel's maps.
pub fn address_of(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => mapped(address.octets()),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_become_one_form_and_are_written_as_they_were() {
        let prefix = |text: &str| Prefix::from(text.parse::<IpNet>().unwrap());
        let v4 = prefix("203.0.113.7/24");
        assert_eq!((v4.address, v4.len), (mapped([203, 0, 113, 0]), 120));
        for text in ["203.0.113.0/24", "2001:db8::/32", "192.0.2.1/32", "::/96"] {
            assert_eq!(prefix(text).to_string(), text);
        }
    }
}
