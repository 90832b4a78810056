//! Who may be answered: an answer to a forged source would hit a third party.
//!
//! Addresses that are not routed on the Internet are clients always; others
//! must be in a prefix that the operator lists or that is on the attached
//! interface itself.

use crate::{
    layout::{CLIENT_ANSWERED, Control},
    limit::{self, Admission},
    maps::Address,
    net::Path,
    reason::Reason,
    scratch::{HEADERS_MAX_BYTES, Scratch, header_bytes},
    verdict::Steps,
};

/// The sender of the query whose headers are in `scratch`.
#[inline(always)]
pub fn source(scratch: &Scratch, path: &Path) -> Address {
    let ip_at = (HEADERS_MAX_BYTES + path.ip_at).wrapping_sub(path.dns_at());
    if path.is_ipv6 {
        header_bytes(&scratch.bytes, ip_at.wrapping_add(8))
    } else {
        mapped(header_bytes(&scratch.bytes, ip_at.wrapping_add(12)))
    }
}

/// Whether `source` may be sent an answer now; [`Reason::Slipped`] asks for a truncated one.
#[inline(always)]
pub fn admit<S: Steps + ?Sized>(steps: &S, source: &Address) -> Result<(), Reason> {
    let is_client = is_private(source) || steps.client(source).0 & CLIENT_ANSWERED != 0;
    if !is_client {
        return Err(Reason::NotClient);
    }
    let control = steps
        .record(0)
        .map(Control::of)
        .ok_or(Reason::Inconsistent)?;
    match limit::spend(steps, control, source) {
        Admission::Send => Ok(()),
        Admission::Slip => Err(Reason::Slipped),
        Admission::Drop => Err(Reason::RateLimited),
    }
}

/// Whether an address is not routed on the Internet.
#[inline(always)]
const fn is_private(address: &Address) -> bool {
    match *address {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => is_private_ipv4([a, b, c, d]),
        _ => is_private_ipv6(*address),
    }
}

/// RFC 1918, RFC 6598 (shared address space) and RFC 3927 (link-local).
#[inline(always)]
const fn is_private_ipv4([a, b, _, _]: [u8; 4]) -> bool {
    match a {
        10 => true,
        100 => b & 0xc0 == 64,
        169 => b == 254,
        172 => b & 0xf0 == 16,
        192 => b == 168,
        _ => false,
    }
}

/// RFC 4193 (unique local) and RFC 4291 §2.5.6 (link-local).
#[inline(always)]
const fn is_private_ipv6(address: Address) -> bool {
    address[0] & 0xfe == 0xfc || (address[0] == 0xfe && address[1] & 0xc0 == 0x80)
}

/// An IPv4 address in the form of all keys.
#[inline(always)]
pub const fn mapped([a, b, c, d]: [u8; 4]) -> Address {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_ranges_end_where_their_rfcs_say() {
        for (address, private) in [
            ([9, 255, 255, 255], false),
            ([10, 0, 0, 0], true),
            ([11, 0, 0, 0], false),
            ([100, 63, 255, 255], false),
            ([100, 64, 0, 0], true),
            ([100, 127, 255, 255], true),
            ([100, 128, 0, 0], false),
            ([169, 254, 1, 1], true),
            ([172, 15, 0, 0], false),
            ([172, 16, 0, 0], true),
            ([172, 31, 255, 255], true),
            ([172, 32, 0, 0], false),
            ([192, 168, 0, 0], true),
            ([192, 169, 0, 0], false),
            ([8, 8, 8, 8], false),
        ] {
            assert_eq!(is_private_ipv4(address), private, "{address:?}");
        }
        for (start, private) in [
            ([0xfb, 0xff], false),
            ([0xfc, 0], true),
            ([0xfd, 0xff], true),
            ([0xfe, 0x7f], false),
            ([0xfe, 0x80], true),
            ([0xfe, 0xbf], true),
            ([0xfe, 0xc0], false),
            ([0x20, 0x01], false),
        ] {
            let mut address = [0; 16];
            address[..2].copy_from_slice(&start);
            assert_eq!(is_private_ipv6(address), private, "{start:?}");
        }
    }
}
