//! Frames made by hand: what a test wants to put on the wire, headers right unless asked otherwise.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv4Options, UdpHeader};

use crate::lab;

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// EtherType of an 802.1Q tag.
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// EtherType of an 802.1ad service tag.
pub const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;
/// EtherType of a PPPoE session (RFC 2516 §4).
pub const ETHERTYPE_PPPOE_SESSION: u16 = 0x8864;

/// One VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// [`ETHERTYPE_VLAN`] or [`ETHERTYPE_SERVICE_VLAN`].
    pub ethertype: u16,
    /// Priority, drop eligible bit and VLAN id, as on the wire.
    pub control: u16,
}

/// An IPv6 extension header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Hop-by-hop options (RFC 8200 §4.3), of so many bytes in whole: a multiple of 8.
    HopByHop(usize),
    /// Destination options (RFC 8200 §4.6), of so many bytes in whole: a multiple of 8.
    DestinationOptions(usize),
    /// A routing header of 8 bytes with no segment left (RFC 8200 §4.4).
    Routing,
    /// A fragment header (RFC 8200 §4.5).
    Fragment {
        /// Offset in units of 8 bytes.
        offset: u16,
        /// More fragments follow.
        more: bool,
    },
    /// An authentication header of 24 bytes (RFC 4302 §2) whose integrity value is zero.
    Authentication,
}

/// What the UDP checksum field says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UdpChecksum {
    /// The right sum.
    #[default]
    Right,
    /// Zero: "not computed" (RFC 768).
    Absent,
    /// A wrong sum.
    Wrong,
    /// The sum of the pseudo-header alone: what a sender writes that leaves the rest to its device.
    PseudoHeader,
}

/// A UDP datagram in an Ethernet frame.
#[derive(Clone, Debug)]
pub struct UdpFrame {
    source_mac: [u8; 6],
    destination_mac: [u8; 6],
    tags: Vec<Tag>,
    pppoe_session: Option<u16>,
    source: SocketAddr,
    destination: SocketAddr,
    hop_limit: u8,
    ipv4_options: Vec<u8>,
    ipv4_fragment: (u16, bool),
    extensions: Vec<Extension>,
    checksum: UdpChecksum,
    payload: Vec<u8>,
}

impl UdpFrame {
    /// From the lab's client to its router: the frame the filter sees.
    ///
    /// # Panics
    /// Panics when one address is IPv4 and the other IPv6.
    pub fn new(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Self {
        assert_eq!(
            source.is_ipv4(),
            destination.is_ipv4(),
            "one address family a frame"
        );
        Self {
            source_mac: lab::CLIENT_MAC,
            destination_mac: lab::LAN_MAC,
            tags: Vec::new(),
            pppoe_session: None,
            source,
            destination,
            hop_limit: 64,
            ipv4_options: Vec::new(),
            ipv4_fragment: (0, false),
            extensions: Vec::new(),
            checksum: UdpChecksum::Right,
            payload: payload.to_vec(),
        }
    }

    /// A DNS query of the lab's client over IPv4.
    pub fn query_v4(source_port: u16, payload: &[u8]) -> Self {
        Self::new(
            SocketAddr::from((lab::CLIENT_V4, source_port)),
            lab::DNS_V4,
            payload,
        )
    }

    /// A DNS query of the lab's client over IPv6.
    pub fn query_v6(source_port: u16, payload: &[u8]) -> Self {
        Self::new(
            SocketAddr::from((lab::CLIENT_V6, source_port)),
            lab::DNS_V6,
            payload,
        )
    }

    /// Sets the hardware addresses.
    #[must_use]
    pub fn macs(mut self, source: [u8; 6], destination: [u8; 6]) -> Self {
        (self.source_mac, self.destination_mac) = (source, destination);
        self
    }

    /// Adds a VLAN tag inside those there are.
    #[must_use]
    pub fn tag(mut self, ethertype: u16, control: u16) -> Self {
        self.tags.push(Tag { ethertype, control });
        self
    }

    /// Adds an 802.1Q tag inside those there are.
    #[must_use]
    pub fn vlan(self, id: u16) -> Self {
        self.tag(ETHERTYPE_VLAN, id)
    }

    /// Puts the datagram into a PPPoE session.
    #[must_use]
    pub fn pppoe(mut self, session: u16) -> Self {
        self.pppoe_session = Some(session);
        self
    }

    /// Sets the TTL or hop limit.
    #[must_use]
    pub fn hop_limit(mut self, hop_limit: u8) -> Self {
        self.hop_limit = hop_limit;
        self
    }

    /// Sets the IPv4 options: at most 40 bytes, a multiple of 4.
    #[must_use]
    pub fn ipv4_options(mut self, options: &[u8]) -> Self {
        self.ipv4_options = options.to_vec();
        self
    }

    /// Marks the IPv4 packet as a fragment; the offset counts units of 8 bytes.
    #[must_use]
    pub fn ipv4_fragment(mut self, offset: u16, more: bool) -> Self {
        self.ipv4_fragment = (offset, more);
        self
    }

    /// Adds an IPv6 extension header behind those there are.
    #[must_use]
    pub fn extension(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Chooses what the UDP checksum says.
    #[must_use]
    pub fn udp_checksum(mut self, checksum: UdpChecksum) -> Self {
        self.checksum = checksum;
        self
    }

    /// Writes the frame.
    ///
    /// # Panics
    /// Panics when a part is too long for its length field or has a length its format forbids.
    pub fn build(&self) -> Vec<u8> {
        let mut frame = [self.destination_mac, self.source_mac].concat();
        for tag in &self.tags {
            frame.extend(tag.ethertype.to_be_bytes());
            frame.extend(tag.control.to_be_bytes());
        }
        let packet = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.ipv4_packet(source, destination),
            (IpAddr::V6(source), IpAddr::V6(destination)) => self.ipv6_packet(source, destination),
            _ => unreachable!("`new` refuses mixed families"),
        };
        match self.pppoe_session {
            Some(session) => self.write_pppoe(&mut frame, session, packet.len()),
            None => frame.extend(self.ethertype().to_be_bytes()),
        }
        frame.extend(packet);
        frame
    }

    fn ethertype(&self) -> u16 {
        if self.source.is_ipv4() {
            ETHERTYPE_IPV4
        } else {
            ETHERTYPE_IPV6
        }
    }

    // RFC 2516 §4: version 1, type 1, code 0, session id, length of the PPP part; RFC 1661 §2: protocol.
    fn write_pppoe(&self, frame: &mut Vec<u8>, session: u16, packet_len: usize) {
        let protocol: u16 = if self.source.is_ipv4() {
            0x0021
        } else {
            0x0057
        };
        frame.extend(ETHERTYPE_PPPOE_SESSION.to_be_bytes());
        frame.extend([0x11, 0]);
        frame.extend(session.to_be_bytes());
        frame.extend(field(packet_len + 2).to_be_bytes());
        frame.extend(protocol.to_be_bytes());
    }

    fn ipv4_packet(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
        let datagram = self.datagram(|header, payload| {
            header.calc_checksum_ipv4_raw(source.octets(), destination.octets(), payload)
        });
        let (offset, more) = self.ipv4_fragment;
        let mut header = Ipv4Header {
            identification: 0x5358,
            dont_fragment: offset == 0 && !more,
            more_fragments: more,
            fragment_offset: IpFragOffset::try_new(offset).expect("13 bits"),
            time_to_live: self.hop_limit,
            protocol: IpNumber::UDP,
            source: source.octets(),
            destination: destination.octets(),
            options: Ipv4Options::try_from(self.ipv4_options.as_slice()).expect("a valid length"),
            ..Ipv4Header::default()
        };
        header.set_payload_len(datagram.len()).expect("it fits");
        header.header_checksum = header.calc_header_checksum();
        [header.to_bytes().as_slice(), &datagram].concat()
    }

    fn ipv6_packet(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
        let datagram = self.datagram(|header, payload| {
            header.calc_checksum_ipv6_raw(source.octets(), destination.octets(), payload)
        });
        let (first, chain) = extension_chain(&self.extensions);
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(field(chain.len() + datagram.len()).to_be_bytes());
        packet.extend([first, self.hop_limit]);
        packet.extend(source.octets());
        packet.extend(destination.octets());
        packet.extend(chain);
        packet.extend(datagram);
        packet
    }

    fn datagram<E: std::fmt::Debug>(
        &self,
        sum: impl Fn(&UdpHeader, &[u8]) -> Result<u16, E>,
    ) -> Vec<u8> {
        let mut header = UdpHeader {
            source_port: self.source.port(),
            destination_port: self.destination.port(),
            length: field(UdpHeader::LEN + self.payload.len()),
            checksum: 0,
        };
        let right = sum(&header, &self.payload).expect("it fits");
        header.checksum = match self.checksum {
            UdpChecksum::Right => right,
            UdpChecksum::Absent => 0,
            // Never 0, which would mean "absent".
            UdpChecksum::Wrong => right.wrapping_add(1).max(1),
            UdpChecksum::PseudoHeader => self.pseudo_header_sum(header.length),
        };
        [header.to_bytes().as_slice(), &self.payload].concat()
    }
}

impl UdpFrame {
    /// RFC 768 and RFC 8200 §8.1: addresses, protocol and length, in ones' complement.
    fn pseudo_header_sum(&self, datagram_len: u16) -> u16 {
        let octets = |address: IpAddr| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let addresses = [octets(self.source.ip()), octets(self.destination.ip())].concat();
        let words = addresses
            .chunks_exact(2)
            .map(|word| u16::from_be_bytes([word[0], word[1]]));
        let sum = words.map(u32::from).sum::<u32>()
            + u32::from(IpNumber::UDP.0)
            + u32::from(datagram_len);
        let folded = (sum & 0xffff) + (sum >> 16);
        u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded twice")
    }
}

/// The number of the first header and the bytes of the chain that ends in UDP.
fn extension_chain(extensions: &[Extension]) -> (u8, Vec<u8>) {
    let mut next = IpNumber::UDP.0;
    let mut chain = Vec::new();
    for extension in extensions.iter().rev() {
        let (number, mut header) = extension_header(extension);
        header[0] = next;
        chain.splice(0..0, header);
        next = number;
    }
    (next, chain)
}

/// An extension's number and its bytes, whose first one, the next header, is still zero.
fn extension_header(extension: &Extension) -> (u8, Vec<u8>) {
    match *extension {
        Extension::HopByHop(len) => (0, skipped_options(len)),
        Extension::DestinationOptions(len) => (60, skipped_options(len)),
        Extension::Routing => (43, vec![0; 8]),
        Extension::Fragment { offset, more } => {
            let [high, low] = ((offset << 3) | u16::from(more)).to_be_bytes();
            (44, vec![0, 0, high, low, 0, 0, 0, 1])
        }
        // RFC 4302 §2.2: the length counts 4-byte units, minus 2.
        Extension::Authentication => {
            let mut header = vec![0; 24];
            (header[1], header[7], header[11]) = (4, 1, 1);
            (51, header)
        }
    }
}

/// Fills an options header with options of type 0x1e, an experiment that receivers skip
/// (RFC 4727 §3.6); they refuse padding of more than 7 bytes.
fn skipped_options(len: usize) -> Vec<u8> {
    assert!(
        len >= 8 && len.is_multiple_of(8),
        "options come in units of 8 bytes, not {len}"
    );
    let mut header = vec![0; len];
    header[1] = u8::try_from(len / 8 - 1).expect("at most 2048 bytes");
    let mut position = 2;
    while position < len {
        let option = (len - position).min(257);
        // A single byte left over stays zero, which is Pad1 (RFC 8200 §4.2).
        if option > 1 {
            header[position] = 0x1e;
            header[position + 1] = u8::try_from(option - 2).expect("at most 255");
        }
        position += option;
    }
    header
}

fn field(len: usize) -> u16 {
    u16::try_from(len).expect("a length fits its 16-bit field")
}
