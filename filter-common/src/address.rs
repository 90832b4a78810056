//! Addresses, and who asks: what is looked up of a packet besides its name.
//!
//! The types alone. [`policy`](crate::policy) reads an [`QueryClient`] from a frame, and
//! [`client`](crate::client) tells who may be answered.

use core::fmt;

use bytemuck::{Pod, Zeroable};

/// An IPv6 address, or an IPv4 address as an IPv4-mapped one (RFC 4291 §2.5.5.2).
pub type Address = [u8; 16];
/// A link-layer address (IEEE 802).
pub type Mac = [u8; 6];

/// Reads a link-layer address: six bytes of two hexadecimal digits, between colons or hyphens.
pub fn mac_from_text(text: &str) -> Option<Mac> {
    let mut mac = [0; 6];
    let mut pairs = text.split([':', '-']);
    for byte in &mut mac {
        let pair = pairs.next().filter(|pair| pair.len() == 2)?;
        // `from_str_radix` takes a sign, too.
        let is_hex = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
        *byte = u8::from_str_radix(pair, 16).ok().filter(|_| is_hex)?;
    }
    pairs.next().is_none().then_some(mac)
}

/// Writes a link-layer address as [`mac_from_text`] reads it, in lower case with colons.
#[derive(Clone, Copy, Debug)]
pub struct MacText(pub Mac);

impl fmt::Display for MacText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An IPv4 address in the form of all keys.
#[inline(always)]
pub const fn mapped([a, b, c, d]: [u8; 4]) -> Address {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// Where a query comes from and where it goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(8))]
pub struct QueryClient {
    /// SourceAddress address; IPv4 is mapped.
    pub source: Address,
    /// Destination address; IPv4 is mapped.
    pub destination: Address,
    /// SourceAddress on the link.
    pub mac: Mac,
    /// Identifier of the outer VLAN; 0 means untagged.
    pub vlan: u16,
    /// Index of the interface.
    pub interface: u32,
    /// SourceAddress port.
    pub port: u16,
    /// IP protocol.
    pub protocol: u16,
}

/// An address as two numbers, which are cheaper to look into than sixteen bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceAddress {
    /// The first eight bytes.
    pub high: u64,
    /// The last eight bytes.
    pub low: u64,
}

/// What the last eight bytes of a mapped IPv4 address start with.
const MAPPED: u64 = 0xffff;

impl SourceAddress {
    /// The numbers of an address.
    #[inline(always)]
    pub const fn of(address: &Address) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *address;
        Self {
            high: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            low: u64::from_be_bytes([i, j, k, l, m, n, o, p]),
        }
    }

    /// The numbers of an IPv4 address in mapped form.
    #[inline(always)]
    pub const fn of_ipv4(address: [u8; 4]) -> Self {
        Self {
            high: 0,
            low: MAPPED << 32 | u32::from_be_bytes(address) as u64,
        }
    }

    /// The IPv4 address, if it is one.
    #[inline(always)]
    pub const fn ipv4(self) -> Option<u32> {
        if self.high == 0 && self.low >> 32 == MAPPED {
            Some(self.low as u32)
        } else {
            None
        }
    }

    /// The address.
    #[inline(always)]
    pub fn address(self) -> Address {
        let mut address = [0; 16];
        address[..8].copy_from_slice(&self.high.to_be_bytes());
        address[8..].copy_from_slice(&self.low.to_be_bytes());
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_is_written_as_it_is_read() {
        let text = "02:00:5e:1f:a0:07";
        let mac = mac_from_text(text).unwrap();
        assert_eq!(mac, [2, 0, 0x5e, 0x1f, 0xa0, 7]);
        assert_eq!(MacText(mac).to_string(), text);
        assert_eq!(mac_from_text("02-00-5E-1F-A0-07"), Some(mac));
    }

    #[test]
    fn a_mac_address_is_six_pairs_of_hexadecimal_digits_and_nothing_else() {
        for text in [
            "",
            "02:00:5e:1f:a0",
            "02:00:5e:1f:a0:07:01",
            "2:0:5e:1f:a0:7",
            "02:00:5e:1f:a0:0g",
            // A sign is no digit.
            "02:00:5e:1f:a0:+7",
            "02005e1fa007",
        ] {
            assert_eq!(mac_from_text(text), None, "{text}");
        }
    }

    #[test]
    fn only_a_mapped_address_is_one_of_ipv4() {
        let ipv4 = |high, low| SourceAddress { high, low }.ipv4();
        assert_eq!(ipv4(0, MAPPED << 32 | 7), Some(7));
        assert_eq!(ipv4(0, 7), None);
        assert_eq!(ipv4(1, MAPPED << 32 | 7), None);
        assert_eq!(ipv4(0, 1 << 63 | MAPPED << 32 | 7), None);
    }
}
