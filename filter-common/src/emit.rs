//! Turns the headers of a query into those of its answer.
//!
//! Addresses and ports change sides; lengths and checksums are made anew: the
//! UDP checksum of a query may be no more than a pseudo-header sum that an
//! offload was to complete. All of it happens in the scratch; the frame is
//! replaced at the end, or not at all.

use network_types::{
    ip::{IpProto, Ipv4Hdr},
    udp::UdpHdr,
};

use crate::{
    checksum::{folded, halves, sum_of},
    frame::Frame,
    net::{PPPOE_BYTES, Path},
    scratch::{FrameBytes, HEADERS_MAX_BYTES, Scratch, header_bytes},
};

/// Hops that an answer may take.
const HOP_LIMIT: u8 = 64;
/// IPv4 flags of an answer: DF (RFC 791 §3.1).
const DONT_FRAGMENT: u8 = 0x40;
/// IPv4 option "no operation" (RFC 791 §3.1).
const NO_OPERATION: [u8; 4] = [1; 4];

/// Turns the headers in `scratch` from those of the query to those of the
/// answer, whose message is in its place.
#[inline(always)]
pub fn rewrite(scratch: &mut Scratch, path: &Path) {
    let udp_len = (UdpHdr::LEN + scratch.message_len as usize) as u16;
    let udp_at = HEADERS_MAX_BYTES - UdpHdr::LEN;
    let addresses = turn(&mut scratch.bytes, path, udp_len, IpProto::Udp);
    udp(
        &mut scratch.bytes,
        udp_at,
        udp_len,
        addresses + scratch.message_sum,
    );
}

/// Turns everything up to the IP header around, `len` bytes of payload behind it; the sum of
/// the addresses.
#[inline(always)]
pub(crate) fn turn(bytes: &mut FrameBytes, path: &Path, len: u16, protocol: IpProto) -> u64 {
    // Positions in the scratch: the message starts at HEADERS_MAX_BYTES.
    let start = HEADERS_MAX_BYTES.wrapping_sub(path.dns_at());
    let ip_at = start.wrapping_add(path.ip_at);
    // Options stay in place, so that the header keeps its length.
    let header_len = path.transport_at.wrapping_sub(path.ip_at);
    swap_link_addresses(bytes, start);
    if path.is_pppoe {
        // RFC 2516 §4: LENGTH counts the PPP payload with its protocol field.
        let payload = header_len as u16 + len + 2;
        let length_at = ip_at.wrapping_sub(PPPOE_BYTES - 4);
        put(bytes, length_at, payload.to_be_bytes());
    }
    if path.is_ipv6 {
        ipv6(bytes, ip_at, len, protocol)
    } else {
        ipv4(bytes, ip_at, header_len, len, protocol)
    }
}

/// Makes `frame` the `len` bytes of the answer in `scratch`; `None` if the frame has no room.
#[inline(always)]
pub fn replace<F: Frame>(frame: &mut F, path: &Path, scratch: &Scratch, len: usize) -> Option<()> {
    let start = HEADERS_MAX_BYTES.wrapping_sub(path.dns_at());
    frame.replace(&scratch.bytes, start, len)
}

/// Version and header length, and the identification.
const KEPT_OF_IPV4: u64 = u64::from_ne_bytes([0xff, 0, 0, 0, 0xff, 0xff, 0, 0]);

/// Writes the IPv4 header; the sum of its addresses.
#[inline(always)]
fn ipv4(bytes: &mut FrameBytes, at: usize, header_len: usize, len: u16, protocol: IpProto) -> u64 {
    let total_len = (header_len as u16 + len).to_be_bytes();
    let before = u64::from_ne_bytes(header_bytes(bytes, at));
    let set = [0, 0, total_len[0], total_len[1], 0, 0, DONT_FRAGMENT, 0];
    let first = before & KEPT_OF_IPV4 | u64::from_ne_bytes(set);
    let source: [u8; 4] = header_bytes(bytes, at + 12);
    let destination: [u8; 4] = header_bytes(bytes, at + 16);
    let addresses = sum_of(&source) + sum_of(&destination);
    let life = [HOP_LIMIT, protocol as u8];
    let mut sum = halves(first) + sum_of(&life) + addresses;
    // Options keep their place, so that the payload does, and say nothing.
    let mut option_at = Ipv4Hdr::LEN;
    while option_at < 60 {
        if option_at < header_len {
            put(bytes, at + option_at, NO_OPERATION);
            sum += sum_of(&NO_OPERATION);
        }
        option_at += 4;
    }
    let [c, d] = (!folded(sum)).to_ne_bytes();
    put(bytes, at, first.to_ne_bytes());
    put(bytes, at + 8, [life[0], life[1], c, d]);
    put(bytes, at + 12, destination);
    put(bytes, at + 16, source);
    addresses
}

/// Writes the IPv6 header, which has no extension; the sum of its addresses.
#[inline(always)]
fn ipv6(bytes: &mut FrameBytes, at: usize, len: u16, protocol: IpProto) -> u64 {
    let len = len.to_be_bytes();
    // Version 6, no traffic class, no flow label.
    put(
        bytes,
        at,
        [0x60, 0, 0, 0, len[0], len[1], protocol as u8, HOP_LIMIT],
    );
    let addresses: [u64; 4] = bytemuck::cast(header_bytes::<32>(bytes, at + 8));
    let [a, b, c, d] = addresses;
    put(bytes, at + 8, c.to_ne_bytes());
    put(bytes, at + 16, d.to_ne_bytes());
    put(bytes, at + 24, a.to_ne_bytes());
    put(bytes, at + 32, b.to_ne_bytes());
    halves(a) + halves(b) + halves(c) + halves(d)
}

/// Writes the UDP header (RFC 768, RFC 8200 §8.1); `sum` covers addresses and message.
#[inline(always)]
fn udp(bytes: &mut FrameBytes, at: usize, udp_len: u16, sum: u64) {
    // They change places.
    let ports = u32::from_ne_bytes(header_bytes(bytes, at)).rotate_left(16);
    let len = udp_len.to_be_bytes();
    // The length counts in the pseudo-header, too.
    let lengths = 2 * sum_of(&len) + sum_of(&[0, IpProto::Udp as u8]);
    let [c, d] = match !folded(sum + u64::from(ports) + lengths) {
        // RFC 768: zero means "no checksum", all ones is the same sum.
        0 => 0xffffu16,
        checksum => checksum,
    }
    .to_ne_bytes();
    put(bytes, at, ports.to_ne_bytes());
    put(bytes, at + 4, [len[0], len[1], c, d]);
}

/// Exchanges the link addresses in front of a frame's EtherType.
#[inline(always)]
fn swap_link_addresses(bytes: &mut FrameBytes, at: usize) {
    let first = u64::from_le_bytes(header_bytes(bytes, at));
    let second = u64::from(u32::from_le_bytes(header_bytes(bytes, at + 8)));
    let turned = first >> 48 | second << 16 | first << 48;
    put(bytes, at, turned.to_le_bytes());
    put(bytes, at + 8, ((first >> 16) as u32).to_le_bytes());
}

/// Exchanges the `N` bytes at `a` with those at `b`.
#[inline(always)]
pub(crate) fn swap<const N: usize>(bytes: &mut FrameBytes, a: usize, b: usize) {
    let (at_a, at_b) = (header_bytes::<N>(bytes, a), header_bytes::<N>(bytes, b));
    put(bytes, a, at_b);
    put(bytes, b, at_a);
}

/// Writes header bytes at `at`; the position wraps so that the verifier sees the bound.
#[inline(always)]
pub(crate) fn put<const N: usize>(bytes: &mut FrameBytes, at: usize, value: [u8; N]) {
    let at = at & (HEADERS_MAX_BYTES - 1);
    // As one piece, for the reason of `answer::put`.
    bytes[at..at + N].copy_from_slice(&value);
}
