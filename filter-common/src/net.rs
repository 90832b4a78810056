//! From the start of a frame to its DNS message.
//!
//! Reads Ethernet, up to four VLAN tags, a PPPoE session, IPv4 with options, IPv6 with up to six
//! extension headers, and UDP and TCP to port 53. It reads as network stacks do, not as standards ask.
// tidy: long because every header on the way to a query is read in one place.

use core::hint::black_box;

use network_types::{
    eth::EthHdr,
    ip::{IpProto, Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};

use crate::{
    frame::Frame,
    odd,
    reason::Reason,
    scratch::{HEADERS_MAX_BYTES, PathRecord},
};

/// The port of DNS.
pub const DNS_PORT: u16 = 53;
/// DNS over TLS and QUIC (RFC 7858 §3.1, RFC 9250 §4.1.1).
pub const ENCRYPTED_DNS_PORT: u16 = 853;
/// HTTPS, and with it DNS over HTTPS (RFC 8484 §4.1).
pub const HTTPS_PORT: u16 = 443;
/// Ports by which DNS goes past a filter of port 53.
pub const BYPASS_PORTS: [u16; 2] = [ENCRYPTED_DNS_PORT, HTTPS_PORT];
/// VLAN tags that are followed: two, and priority tags, of which Linux takes off any number.
const TAGS_MAX: usize = 4;
/// A VLAN tag with the EtherType behind it (IEEE 802.1Q).
const VLAN_TAG_BYTES: usize = 4;
/// PPPoE session header and PPP protocol (RFC 2516 §4).
pub const PPPOE_BYTES: usize = 8;
/// IPv6 extension headers that are followed: one more than RFC 8200 §4.1 has any use for, which lists
/// seven with authentication and encryption.
const EXTENSION_HEADERS_MAX: usize = 6;

/// Where the parts of a packet to port 53 are in its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Position of the IP header.
    pub ip_at: usize,
    /// IPv6, else IPv4.
    pub is_ipv6: bool,
    /// The IP header follows a PPPoE header.
    pub is_pppoe: bool,
    /// Identifier of the outer VLAN; 0 means untagged or a priority tag alone.
    pub vlan: u16,
    /// TCP, else UDP.
    pub is_tcp: bool,
    /// Position of the UDP or TCP header.
    pub transport_at: usize,
    /// Bytes of the UDP or TCP header.
    pub transport_len: usize,
    /// Bytes behind it.
    pub payload_len: usize,
    /// SourceAddress port.
    pub source_port: u16,
    /// Destination port: that of DNS, or one of [`BYPASS_PORTS`].
    pub destination_port: u16,
    /// An answer would be well-formed and could not loop or hit a third party.
    pub is_answerable: bool,
    /// What is odd about the headers: [`odd::HEADERS`], [`odd::FRAGMENT`].
    pub odd: u32,
}

impl Path {
    /// Position of what follows the UDP or TCP header.
    #[inline(always)]
    pub const fn payload_at(&self) -> usize {
        self.transport_at + self.transport_len
    }

    /// Position of the DNS message; over TCP its length is in front (RFC 1035 §4.2.2).
    #[inline(always)]
    pub const fn dns_at(&self) -> usize {
        self.payload_at() + if self.is_tcp { LENGTH_BYTES } else { 0 }
    }
}

/// Longest headers of what is looked at closer.
const SETTLED_MAX_BYTES: usize = 0x0fff;
const IS_IPV6: u16 = 1;
const IS_PPPOE: u16 = 2;
const IS_TCP: u16 = 4;
const IS_ANSWERABLE: u16 = 8;

/// The path as it comes back from memory.
///
/// Verifiers follow each way through [`locate`] on its own, and whatever comes behind it as often. What
/// went through memory is one way.
///
/// # Errors
///
/// If the headers are longer than anybody's.
#[inline(always)]
pub fn settled(path: &Path, record: &mut PathRecord) -> Result<Path, Reason> {
    if path.payload_at() > SETTLED_MAX_BYTES {
        return Err(Reason::HeaderChain);
    }
    // Opaque, or what is read is known to be what was written.
    let record = black_box(record);
    record.numbers = [
        path.ip_at as u16,
        path.transport_at as u16,
        path.transport_len as u16,
        path.payload_len as u16,
        path.source_port,
        path.destination_port,
        path.vlan,
    ];
    let bit = |is_set: bool, bit: u16| if is_set { bit } else { 0 };
    record.flags = bit(path.is_ipv6, IS_IPV6)
        | bit(path.is_pppoe, IS_PPPOE)
        | bit(path.is_tcp, IS_TCP)
        | bit(path.is_answerable, IS_ANSWERABLE);
    record.odd = path.odd;
    Ok(path_of(record))
}

/// The path that was [`settled`].
#[inline(always)]
pub fn path_of(record: &mut PathRecord) -> Path {
    let record = black_box(record);
    let [
        ip_at,
        transport_at,
        transport_len,
        payload_len,
        source_port,
        destination_port,
        vlan,
    ] = record.numbers;
    Path {
        ip_at: usize::from(ip_at) & SETTLED_MAX_BYTES,
        is_ipv6: record.flags & IS_IPV6 != 0,
        is_pppoe: record.flags & IS_PPPOE != 0,
        vlan,
        is_tcp: record.flags & IS_TCP != 0,
        transport_at: usize::from(transport_at) & SETTLED_MAX_BYTES,
        transport_len: usize::from(transport_len) & 0xff,
        payload_len: usize::from(payload_len),
        source_port,
        destination_port,
        is_answerable: record.flags & IS_ANSWERABLE != 0,
        odd: record.odd,
    }
}

/// Bytes of the length in front of a message over TCP.
pub const LENGTH_BYTES: usize = 2;

/// Finds the DNS query in a frame, or says why there is none to judge.
#[inline(always)]
pub fn locate<F: Frame>(frame: &F) -> Result<Path, Reason> {
    let ethernet: [u8; EthHdr::LEN] = frame.read(0).ok_or(Reason::BadFrame)?;
    let mut ethertype = u16::from_be_bytes([ethernet[12], ethernet[13]]);
    let mut at = EthHdr::LEN;
    let mut tags = 0;
    let mut vlan = 0;
    while is_vlan(ethertype) {
        if tags == TAGS_MAX {
            return Err(Reason::HeaderChain);
        }
        let tag: [u8; VLAN_TAG_BYTES] = frame.read(at).ok_or(Reason::BadFrame)?;
        ethertype = u16::from_be_bytes([tag[2], tag[3]]);
        if vlan == 0 {
            // IEEE 802.1Q: three bits of priority and one more are above the identifier. 0 is no
            // VLAN, but a priority for what follows.
            vlan = u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff;
        }
        at += VLAN_TAG_BYTES;
        tags += 1;
    }
    let is_pppoe = ethertype == ETHERTYPE_PPPOE_SESSION;
    let mut odd = 0;
    if is_pppoe {
        let session = pppoe(frame, at)?;
        ethertype = session.ethertype;
        odd = session.odd;
        at += session.len;
    }
    // A group address in either place: no unicast answer can be made of it.
    let is_group = (ethernet[0] | ethernet[6]) & 1 != 0;
    let mut path = match ethertype {
        ETHERTYPE_IPV4 => ipv4(frame, at)?,
        ETHERTYPE_IPV6 => ipv6(frame, at)?,
        _ => return Err(Reason::NotIp),
    };
    path.is_pppoe = is_pppoe;
    path.vlan = vlan;
    path.odd |= odd;
    path.is_answerable &= !is_group && path.odd == 0 && path.dns_at() <= HEADERS_MAX_BYTES;
    Ok(path)
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;
const ETHERTYPE_PPPOE_SESSION: u16 = 0x8864;

#[inline(always)]
const fn is_vlan(ethertype: u16) -> bool {
    ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ
}

/// What is in front of the IP header in a PPPoE session.
struct Session {
    /// The EtherType that stands for the PPP protocol.
    ethertype: u16,
    /// Bytes of the session header and the protocol.
    len: usize,
    /// What is odd about it.
    odd: u32,
}

#[inline(always)]
fn pppoe<F: Frame>(frame: &F, at: usize) -> Result<Session, Reason> {
    let header: [u8; PPPOE_BYTES] = frame.read(at).ok_or(Reason::BadFrame)?;
    // RFC 2516 §4: version 1, type 1, code 0 for session data. Linux looks at none of them.
    let mut odd = if header[0] != 0x11 || header[1] != 0 {
        odd::HEADERS
    } else {
        0
    };
    // RFC 1661 §6.5: a protocol of one byte is odd, the first of two is even. RFC 2516 §7 asks not to
    // use it; Linux takes it.
    let is_short = header[6] & 1 != 0;
    let protocol = if is_short {
        odd = odd::HEADERS;
        u16::from(header[6])
    } else {
        u16::from_be_bytes([header[6], header[7]])
    };
    // RFC 1332 §2.1 and RFC 5072 §2.
    let ethertype = match protocol {
        0x0021 => ETHERTYPE_IPV4,
        0x0057 => ETHERTYPE_IPV6,
        _ => return Err(Reason::NotIp),
    };
    let len = if is_short {
        PPPOE_BYTES - 1
    } else {
        PPPOE_BYTES
    };
    Ok(Session {
        ethertype,
        len,
        odd,
    })
}

#[inline(always)]
fn ipv4<F: Frame>(frame: &F, at: usize) -> Result<Path, Reason> {
    let header: [u8; Ipv4Hdr::LEN] = frame.read(at).ok_or(Reason::BadFrame)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_len < Ipv4Hdr::LEN {
        return Err(Reason::BadFrame);
    }
    let protocol = header[9];
    if protocol != IpProto::Udp as u8 && protocol != IpProto::Tcp as u8 {
        return Err(Reason::OtherProtocol);
    }
    let fragment = u16_of(&header, 6);
    // RFC 791 §3.1: MF is 0x2000, the offset is 13 bits. Later fragments are nothing without the first.
    if fragment & 0x1fff != 0 {
        return Err(Reason::Fragment);
    }
    let part = Part {
        is_first_fragment: fragment & 0x2000 != 0,
        is_ipv6: false,
    };
    let total_len = usize::from(u16_of(&header, 2));
    if total_len < header_len || at + total_len > frame.len_bytes() {
        return Err(Reason::BadFrame);
    }
    let len = total_len - header_len;
    let mut path = transport(frame, protocol, at + header_len, len, part)?;
    path.ip_at = at;
    let source = u32_of(&header, 12);
    let destination = u32_of(&header, 16);
    path.is_answerable &=
        is_ipv4_host(source) && is_ipv4_host(destination) && source != destination;
    Ok(path)
}

/// Not 0/8, 127/8, multicast, reserved or broadcast (RFC 6890).
#[inline(always)]
const fn is_ipv4_host(address: u32) -> bool {
    let first = address >> 24;
    first != 0 && first != 127 && first < 224
}

#[inline(always)]
fn ipv6<F: Frame>(frame: &F, at: usize) -> Result<Path, Reason> {
    let header: [u8; Ipv6Hdr::LEN] = frame.read(at).ok_or(Reason::BadFrame)?;
    if header[0] >> 4 != 6 {
        return Err(Reason::BadFrame);
    }
    let mut payload_len = usize::from(u16_of(&header, 4));
    let mut protocol = header[6];
    let mut odd = 0;
    if payload_len == 0 && protocol == HOP_BY_HOP {
        // RFC 2675 §3: the length is in a hop-by-hop option. Linux takes the whole packet without one too.
        payload_len = frame.len_bytes().saturating_sub(at + Ipv6Hdr::LEN);
        odd = odd::HEADERS;
    }
    let mut part = Part {
        is_first_fragment: false,
        is_ipv6: true,
    };
    let mut len = 0;
    let mut headers = 0;
    while protocol != IpProto::Udp as u8 && protocol != IpProto::Tcp as u8 {
        if headers == EXTENSION_HEADERS_MAX {
            return Err(Reason::HeaderChain);
        }
        let next: [u8; 4] = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | FRAGMENT => frame
                .read(at + Ipv6Hdr::LEN + len)
                .ok_or(Reason::BadFrame)?,
            AUTHENTICATION | ENCRYPTION => return Err(Reason::ExtensionHeaders),
            _ => return Err(Reason::OtherProtocol),
        };
        if protocol == FRAGMENT {
            // RFC 8200 §4.5: 13 bits of offset, 2 reserved, M. RFC 6946: an
            // atomic fragment has neither.
            let fragment = u16::from_be_bytes([next[2], next[3]]);
            if fragment & 0xfff8 != 0 {
                return Err(Reason::Fragment);
            }
            // RFC 7112 §5 forbids a chain that goes on in the next fragment. Linux takes one; few have any.
            if fragment & 1 != 0 && is_chained(next[0]) {
                return Err(Reason::FirstFragment);
            }
            part.is_first_fragment |= fragment & 1 != 0;
            len += 8;
        } else {
            // RFC 8200 §4.3: in units of 8 bytes, not counting the first.
            len += (usize::from(next[1]) + 1) * 8;
        }
        protocol = next[0];
        headers += 1;
    }
    if payload_len < len || at + Ipv6Hdr::LEN + payload_len > frame.len_bytes() {
        return Err(Reason::BadFrame);
    }
    let transport_at = at + Ipv6Hdr::LEN + len;
    let mut path = transport(frame, protocol, transport_at, payload_len - len, part)?;
    path.ip_at = at;
    path.is_ipv6 = true;
    path.odd |= odd;
    path.is_answerable &= headers == 0 && are_ipv6_hosts(&header);
    Ok(path)
}

/// Whether another header is behind one of this kind, whatever comes in the end.
#[inline(always)]
const fn is_chained(header: u8) -> bool {
    matches!(
        header,
        HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | FRAGMENT
    )
}

const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;
const ROUTING: u8 = IpProto::Ipv6Route as u8;
const FRAGMENT: u8 = IpProto::Ipv6Frag as u8;
const DESTINATION_OPTIONS: u8 = IpProto::Ipv6Opts as u8;
const AUTHENTICATION: u8 = IpProto::Ah as u8;
const ENCRYPTION: u8 = IpProto::Esp as u8;

/// Neither side is multicast, `::` or `::1`, and they differ (RFC 4291 §2.4).
#[inline(always)]
fn are_ipv6_hosts(header: &[u8; Ipv6Hdr::LEN]) -> bool {
    let source = ipv6_halves(header, 8);
    let destination = ipv6_halves(header, 24);
    is_ipv6_host(source) && is_ipv6_host(destination) && source != destination
}

#[inline(always)]
fn ipv6_halves(header: &[u8; Ipv6Hdr::LEN], at: usize) -> (u64, u64) {
    let half = |at| u64::from_be_bytes(piece(header, at));
    (half(at), half(at + 8))
}

#[inline(always)]
fn u16_of<const N: usize>(header: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes(piece(header, at))
}

#[inline(always)]
fn u32_of<const N: usize>(header: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes(piece(header, at))
}

/// `M` bytes of a header as one piece: put together from single ones, they are loaded one by one.
#[inline(always)]
fn piece<const N: usize, const M: usize>(header: &[u8; N], at: usize) -> [u8; M] {
    let mut piece = [0; M];
    piece.copy_from_slice(&header[at..at + M]);
    piece
}

#[inline(always)]
const fn is_ipv6_host((high, low): (u64, u64)) -> bool {
    high >> 56 != 0xff && !(high == 0 && low <= 1)
}

/// What the IP header says of its payload, besides the length.
#[derive(Clone, Copy)]
struct Part {
    /// More follows in other packets.
    is_first_fragment: bool,
    is_ipv6: bool,
}

/// The path of a datagram whose transport header is at `at`; the caller knows the rest.
#[inline(always)]
fn transport<F: Frame>(
    frame: &F,
    protocol: u8,
    at: usize,
    len: usize,
    part: Part,
) -> Result<Path, Reason> {
    let header: [u8; UdpHdr::LEN] = frame.read(at).ok_or(Reason::BadFrame)?;
    let source_port = u16_of(&header, 0);
    let destination_port = u16_of(&header, 2);
    if destination_port != DNS_PORT
        && !(BYPASS_PORTS.contains(&destination_port) && frame.watches_bypasses())
    {
        return Err(Reason::OtherPort);
    }
    let is_tcp = protocol == IpProto::Tcp as u8;
    if is_tcp && !part.is_first_fragment {
        return tcp(frame, source_port, destination_port, at, len);
    }
    if is_tcp && destination_port == DNS_PORT {
        return Err(Reason::FirstFragment);
    }
    let mut udp_len = usize::from(u16_of(&header, 4));
    let mut odd = 0;
    if part.is_first_fragment {
        odd = odd::HEADERS | odd::FRAGMENT;
        // Whatever the header says: 0 also stands for the whole, once that is put together.
        udp_len = len;
    } else if udp_len == 0 && part.is_ipv6 {
        // RFC 2675 §4: the rest of the packet. Linux takes it in any packet.
        odd = odd::HEADERS;
        udp_len = len;
    }
    if udp_len < UdpHdr::LEN || udp_len > len {
        return Err(Reason::BadFrame);
    }
    Ok(Path {
        ip_at: 0,
        is_ipv6: false,
        is_pppoe: false,
        vlan: 0,
        is_tcp,
        transport_at: at,
        transport_len: UdpHdr::LEN,
        payload_len: udp_len - UdpHdr::LEN,
        source_port,
        destination_port,
        is_answerable: is_answerable_port(source_port),
        odd,
    })
}

/// The path of a segment (RFC 9293 §3.1).
#[inline(always)]
fn tcp<F: Frame>(
    frame: &F,
    source_port: u16,
    destination_port: u16,
    at: usize,
    len: usize,
) -> Result<Path, Reason> {
    let offset: [u8; 1] = frame.read(at + 12).ok_or(Reason::BadFrame)?;
    let transport_len = usize::from(offset[0] >> 4) * 4;
    if transport_len < TCP_HEADER_BYTES || transport_len > len {
        return Err(Reason::BadFrame);
    }
    Ok(Path {
        ip_at: 0,
        is_ipv6: false,
        is_pppoe: false,
        vlan: 0,
        is_tcp: true,
        transport_at: at,
        transport_len,
        payload_len: len - transport_len,
        source_port,
        destination_port,
        is_answerable: source_port != 0,
        odd: 0,
    })
}

/// Bytes of a TCP header without options.
pub const TCP_HEADER_BYTES: usize = 20;

/// Ports whose owner would answer an answer: echo, daytime, chargen, time, DNS, kpasswd.
#[inline(always)]
const fn is_answerable_port(port: u16) -> bool {
    !matches!(port, 0 | 7 | 13 | 19 | 37 | DNS_PORT | 464)
}

#[cfg(test)]
mod tests;
