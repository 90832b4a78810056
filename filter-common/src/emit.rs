//! Turns the frame of a query into the frame of its answer.
//!
//! Addresses and ports change sides; lengths and checksums are made anew: the
//! UDP checksum of a query may be no more than a pseudo-header sum that an
//! offload was to complete.

use network_types::{
    ip::{IpProto, Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};

use crate::{
    frame::Frame,
    net::{PPPOE_BYTES, Path},
    scratch::{MESSAGE_MAX_BYTES, Message},
};

/// Hops that an answer may take.
const HOP_LIMIT: u8 = 64;
/// IPv4 flags of an answer: DF (RFC 791 §3.1).
const DONT_FRAGMENT: u8 = 0x40;
/// IPv4 option "no operation" (RFC 791 §3.1).
const NO_OPERATION: [u8; 4] = [1; 4];

/// Writes the first `len` bytes of `message` and their headers; `None` if the frame has no room.
#[inline(always)]
pub fn emit<F: Frame>(frame: &mut F, path: &Path, message: &Message, len: usize) -> Option<()> {
    let dns_at = path.dns_at();
    frame.resize(dns_at + len)?;
    frame.store(dns_at, len, message)?;
    let macs: [u8; 12] = frame.read(0)?;
    frame.write(0, swapped::<12>(macs))?;
    if path.is_pppoe {
        // RFC 2516 §4: LENGTH counts the PPP payload with its protocol field.
        let payload = (dns_at + len - path.ip_at + 2) as u16;
        frame.write(path.ip_at - PPPOE_BYTES + 4, payload.to_be_bytes())?;
    }
    let udp_len = (UdpHdr::LEN + len) as u16;
    let addresses = if path.is_ipv6 {
        ipv6(frame, path, udp_len)?
    } else {
        ipv4(frame, path, udp_len)?
    };
    udp(frame, path, udp_len, addresses + words(message, len))
}

/// The two halves of `bytes` in the other order.
#[inline(always)]
fn swapped<const N: usize>(bytes: [u8; N]) -> [u8; N] {
    let mut out = [0; N];
    let mut i = 0;
    while i < N / 2 {
        out[i] = bytes[i + N / 2];
        out[i + N / 2] = bytes[i];
        i += 1;
    }
    out
}

/// Writes the IPv4 header; the sum of its addresses.
#[inline(always)]
fn ipv4<F: Frame>(frame: &mut F, path: &Path, udp_len: u16) -> Option<u64> {
    let query: [u8; Ipv4Hdr::LEN] = frame.read(path.ip_at)?;
    let header_len = path.udp_at - path.ip_at;
    let mut header = query;
    header[1] = 0;
    let total_len = (header_len as u16 + udp_len).to_be_bytes();
    (header[2], header[3]) = (total_len[0], total_len[1]);
    (header[6], header[7]) = (DONT_FRAGMENT, 0);
    (header[8], header[9]) = (HOP_LIMIT, IpProto::Udp as u8);
    (header[10], header[11]) = (0, 0);
    let mut i = 0;
    while i < 4 {
        header[12 + i] = query[16 + i];
        header[16 + i] = query[12 + i];
        i += 1;
    }
    let mut sum = sum_of(&header);
    // Options keep their place, so that the payload does, and say nothing.
    let mut at = Ipv4Hdr::LEN;
    while at < 60 {
        if at < header_len {
            frame.write(path.ip_at + at, NO_OPERATION)?;
            sum += 0x0101 * 2;
        }
        at += 4;
    }
    let checksum = (!folded(sum)).to_ne_bytes();
    (header[10], header[11]) = (checksum[0], checksum[1]);
    frame.write(path.ip_at, header)?;
    let addresses = [
        header[12], header[13], header[14], header[15], header[16], header[17], header[18],
        header[19],
    ];
    Some(sum_of(&addresses))
}

/// Writes the IPv6 header; the sum of its addresses.
#[inline(always)]
fn ipv6<F: Frame>(frame: &mut F, path: &Path, udp_len: u16) -> Option<u64> {
    let addresses: [u8; 32] = frame.read(path.ip_at + 8)?;
    let addresses = swapped::<32>(addresses);
    let len = udp_len.to_be_bytes();
    // Version 6, no traffic class, no flow label.
    let start = [0x60, 0, 0, 0, len[0], len[1], IpProto::Udp as u8, HOP_LIMIT];
    frame.write(path.ip_at, start)?;
    frame.write(path.ip_at + 8, addresses)?;
    debug_assert!(path.udp_at == path.ip_at + Ipv6Hdr::LEN);
    Some(sum_of(&addresses))
}

/// Writes the UDP header (RFC 768, RFC 8200 §8.1); `sum` covers addresses and message.
#[inline(always)]
fn udp<F: Frame>(frame: &mut F, path: &Path, udp_len: u16, sum: u64) -> Option<()> {
    let ports: [u8; 4] = frame.read(path.udp_at)?;
    let len = udp_len.to_be_bytes();
    let mut header = [ports[2], ports[3], ports[0], ports[1], len[0], len[1], 0, 0];
    let pseudo = [0, IpProto::Udp as u8, len[0], len[1], 0, 0, 0, 0];
    let checksum = match !folded(sum + sum_of(&header) + sum_of(&pseudo)) {
        // RFC 768: zero means "no checksum", all ones is the same sum.
        0 => 0xffff,
        checksum => checksum,
    };
    (header[6], header[7]) = (checksum.to_ne_bytes()[0], checksum.to_ne_bytes()[1]);
    frame.write(path.udp_at, header)
}

/// The Internet checksum's sum of `bytes` in the machine's byte order (RFC 1071 §2 B).
#[inline(always)]
fn sum_of<const N: usize>(bytes: &[u8; N]) -> u64 {
    let mut sum = 0;
    let mut i = 0;
    while i + 2 <= N {
        sum += u64::from(u16::from_ne_bytes([bytes[i], bytes[i + 1]]));
        i += 2;
    }
    sum
}

/// The sum of the first `len` bytes of `message`, an odd last byte padded with zero.
#[inline(always)]
fn words(message: &Message, len: usize) -> u64 {
    let mut sum = 0;
    let mut at = 0;
    while at + 8 <= len && at < MESSAGE_MAX_BYTES {
        sum += halves(word_at(message, at));
        at += 8;
    }
    let left = len & 7;
    if left != 0 {
        let word = word_at(message, at & (MESSAGE_MAX_BYTES - 8)).to_le();
        sum += halves(u64::from_le(word & ((1 << (left * 8)) - 1)));
    }
    sum
}

#[inline(always)]
fn word_at(message: &Message, at: usize) -> u64 {
    let at = at & (MESSAGE_MAX_BYTES - 8);
    u64::from_ne_bytes([
        message[at],
        message[at + 1],
        message[at + 2],
        message[at + 3],
        message[at + 4],
        message[at + 5],
        message[at + 6],
        message[at + 7],
    ])
}

#[inline(always)]
const fn halves(word: u64) -> u64 {
    (word >> 32) + (word & 0xffff_ffff)
}

/// Folds a sum to 16 bits with end-around carry.
#[inline(always)]
const fn folded(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}
