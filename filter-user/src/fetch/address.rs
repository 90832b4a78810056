//! Which addresses lists may come from.
//!
//! A list's address is somebody else's text, and so is every redirection: they
//! must not make a router ask itself or its network (SSRF).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// IPv4 networks that are not globally reachable: IANA's special-purpose registry
/// (RFC 6890 §2.2.2), multicast and the reserved end.
const SPECIAL_V4: [Ipv4Net; 15] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
];

/// Global unicast (RFC 4291 §2.4); whatever is outside of it is special.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0], 3);
/// IPv6 networks within global unicast that are not globally reachable: protocol assignments
/// with Teredo, and documentation.
const SPECIAL_V6: [Ipv6Net; 3] = [
    v6([0x2001, 0, 0, 0], 23),
    v6([0x2001, 0xdb8, 0, 0], 32),
    v6([0x3fff, 0, 0, 0], 20),
];
/// 6to4 (RFC 3056 §2): an IPv4 address follows.
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0], 16);
/// NAT64 (RFC 6052 §2.1): an IPv4 address is at the end.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0], 96);

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6([a, b, c, d]: [u16; 4], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), length)
}

/// Whether lists may come from an address: a public one, or one of `allowed`.
pub(super) fn is_admitted(address: IpAddr, allowed: &[IpNet]) -> bool {
    let address = address.to_canonical();
    is_public(address) || allowed.iter().any(|prefix| prefix.contains(&address))
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|net| net.contains(&address))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [_, _, a, b, c, d, .., w, x, y, z] = address.octets();
    if SIX_TO_FOUR.contains(&address) {
        is_public_v4([a, b, c, d].into())
    } else if NAT64.contains(&address) {
        is_public_v4([w, x, y, z].into())
    } else {
        GLOBAL_V6.contains(&address) && !SPECIAL_V6.iter().any(|net| net.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_admitted_text(address: &str, allowed: &str) -> bool {
        let allowed: Vec<IpNet> = allowed
            .split_whitespace()
            .map(|p| p.parse().unwrap())
            .collect();
        is_admitted(address.parse().unwrap(), &allowed)
    }

    #[test]
    fn public_addresses_are_admitted() {
        for address in [
            "1.1.1.1",
            "9.9.9.9",
            "192.0.1.1",
            "172.32.0.1",
            "2606:4700::1",
            "2a00::1",
        ] {
            assert!(is_admitted_text(address, ""), "{address}");
        }
    }

    #[test]
    fn addresses_of_this_machine_its_network_and_of_nobody_are_not() {
        for address in [
            "0.0.0.0",
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.31.255.255",
            "192.168.0.1",
            "100.64.0.1",
            "169.254.169.254",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "3fff::1",
        ] {
            assert!(!is_admitted_text(address, ""), "{address}");
        }
    }

    #[test]
    fn an_address_inside_an_address_counts() {
        for (address, admitted) in [
            ("::ffff:127.0.0.1", false),
            ("::ffff:9.9.9.9", true),
            ("64:ff9b::127.0.0.1", false),
            ("64:ff9b::9.9.9.9", true),
            ("2002:7f00:1::1", false),
            ("2002:909:909::1", true),
        ] {
            assert_eq!(is_admitted_text(address, ""), admitted, "{address}");
        }
    }

    #[test]
    fn the_operator_admits_prefixes_and_nothing_beside_them() {
        let allowed = "127.0.0.1/32 fd00:1::/32";
        assert!(is_admitted_text("127.0.0.1", allowed));
        assert!(is_admitted_text("::ffff:127.0.0.1", allowed));
        assert!(is_admitted_text("fd00:1::5", allowed));
        assert!(!is_admitted_text("127.0.0.2", allowed));
        assert!(!is_admitted_text("::1", allowed));
    }
}
