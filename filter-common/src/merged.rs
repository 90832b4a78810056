//! Datagrams that hold several others: what a sender hands over unsegmented (UDP_SEGMENT) or an offload merged.
//!
//! A generic program sees such a frame before the stack takes it apart, and nothing in it tells where.
//! Its checksum is not computed yet: the field holds the sum of the pseudo-header alone. So a frame that may
//! be one is known, and does not pass by what its first bytes say. A datagram that came over a wire as
//! it is has a whole checksum.

use network_types::ip::IpProto;

use crate::{
    checksum::{folded, sum_of},
    layout::INTERFACE_GENERIC,
    maps::Maps,
    net::Path,
    scratch::{HEADERS_MAX_BYTES, Scratch, header_bytes},
};

/// Position of the checksum in a UDP header.
const CHECKSUM_AT: usize = 6;
/// Bytes of a UDP header.
const UDP_HEADER_BYTES: usize = 8;

/// Whether the datagram whose headers are in `scratch` may hold several, having come by `interface`.
///
/// One that cannot be answered has no headers there, and is taken for one that may.
#[inline(always)]
pub fn may_be<M: Maps + ?Sized>(maps: &M, scratch: &Scratch, path: &Path, interface: u32) -> bool {
    if maps.interface(interface).0 & INTERFACE_GENERIC == 0 {
        return false;
    }
    if !path.is_answerable {
        return true;
    }
    let at = |position: usize| {
        HEADERS_MAX_BYTES
            .wrapping_sub(path.dns_at())
            .wrapping_add(position)
    };
    let ip_at = at(path.ip_at);
    let addresses = if path.is_ipv6 {
        sum_of(&header_bytes::<32>(&scratch.bytes, ip_at.wrapping_add(8)))
    } else {
        sum_of(&header_bytes::<8>(&scratch.bytes, ip_at.wrapping_add(12)))
    };
    let len = (UDP_HEADER_BYTES as u32).wrapping_add(scratch.payload_len) as u16;
    let [a, b] = len.to_be_bytes();
    let pseudo = addresses + sum_of(&[0, IpProto::Udp as u8, a, b]);
    let checksum: [u8; 2] = header_bytes(
        &scratch.bytes,
        at(path.transport_at).wrapping_add(CHECKSUM_AT),
    );
    u16::from_ne_bytes(checksum) == folded(pseudo)
}
