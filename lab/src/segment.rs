//! TCP segments made by hand, and read back with an independent parser.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use etherparse::{
    NetSlice, PacketBuilder, SlicedPacket, TcpHeaderSlice, TcpOptionElement, TransportSlice,
};

use crate::lab;

/// A TCP segment in an Ethernet frame.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Sender.
    pub source: SocketAddr,
    /// Receiver.
    pub destination: SocketAddr,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Letters of the flags that are set: `S`, `A`, `F`, `R`, `P`, `U`.
    pub flags: &'static str,
    /// Timestamps: what this side says, and what it heard.
    pub timestamps: Option<(u32, u32)>,
    /// VLAN identifier.
    pub vlan: Option<u16>,
    /// Data.
    pub payload: Vec<u8>,
}

impl Segment {
    /// From the lab's client to the DNS port of its resolver.
    pub fn new(is_ipv6: bool, flags: &'static str, payload: &[u8]) -> Self {
        let (source, destination) = if is_ipv6 {
            (SocketAddr::from((lab::CLIENT_V6, 40_000)), lab::DNS_V6)
        } else {
            (SocketAddr::from((lab::CLIENT_V4, 40_000)), lab::DNS_V4)
        };
        Self {
            source,
            destination,
            seq: 0xffff_fff0,
            ack: 7_000,
            flags,
            timestamps: None,
            vlan: None,
            payload: payload.to_vec(),
        }
    }

    /// A query in one segment, with its length in front (RFC 1035 §4.2.2).
    pub fn query(is_ipv6: bool, message: &[u8]) -> Self {
        let len = u16::try_from(message.len()).expect("a message fits its length");
        Self::new(is_ipv6, "AP", &[&len.to_be_bytes()[..], message].concat())
    }

    /// The next segment of the same sender.
    #[must_use]
    pub fn then(&self, flags: &'static str, payload: &[u8]) -> Self {
        Self {
            flags,
            payload: payload.to_vec(),
            ..self.clone()
        }
    }

    /// Writes the frame.
    ///
    /// # Panics
    /// Panics when one address is IPv4 and the other IPv6.
    pub fn build(&self) -> Vec<u8> {
        let link = PacketBuilder::ethernet2(lab::CLIENT_MAC, lab::LAN_MAC);
        let (from, to) = (self.source.ip(), self.destination.ip());
        macro_rules! packet {
            ($link:expr) => {
                match (from, to) {
                    (std::net::IpAddr::V4(from), std::net::IpAddr::V4(to)) => {
                        $link.ipv4(from.octets(), to.octets(), 64)
                    }
                    (std::net::IpAddr::V6(from), std::net::IpAddr::V6(to)) => {
                        $link.ipv6(from.octets(), to.octets(), 64)
                    }
                    _ => panic!("one address family a segment"),
                }
            };
        }
        let ip = match self.vlan {
            Some(id) => packet!(link.single_vlan(id.try_into().expect("12 bits"))),
            None => packet!(link),
        };
        let mut tcp = ip.tcp(self.source.port(), self.destination.port(), self.seq, 501);
        for flag in self.flags.chars() {
            tcp = match flag {
                'S' => tcp.syn(),
                'A' => tcp.ack(self.ack),
                'F' => tcp.fin(),
                'R' => tcp.rst(),
                'P' => tcp.psh(),
                'U' => tcp.urg(1),
                other => panic!("no flag {other}"),
            };
        }
        if let Some((own, heard)) = self.timestamps {
            let options = [
                TcpOptionElement::Noop,
                TcpOptionElement::Noop,
                TcpOptionElement::Timestamp(own, heard),
            ];
            tcp = tcp.options(&options).expect("twelve bytes");
        }
        let mut frame = Vec::new();
        tcp.write(&mut frame, &self.payload)
            .expect("a vector grows");
        frame
    }

    /// Reads a frame and checks its lengths and checksums.
    pub fn read(frame: &[u8]) -> Result<Self> {
        let packet = SlicedPacket::from_ethernet(frame).context("read the frame")?;
        let net = packet.net.clone().context("no IP")?;
        let Some(TransportSlice::Tcp(tcp)) = packet.transport.clone() else {
            anyhow::bail!("no TCP");
        };
        let (source, destination, right) = match &net {
            NetSlice::Ipv4(ip) => {
                let header = ip.header().to_header();
                ensure!(
                    header.header_checksum == header.calc_header_checksum(),
                    "IPv4 checksum"
                );
                ensure!(
                    usize::from(header.total_len) + packet_offset(&packet) == frame.len(),
                    "IPv4 length"
                );
                (
                    ip.header().source_addr().into(),
                    ip.header().destination_addr().into(),
                    tcp.calc_checksum_ipv4(header.source, header.destination)?,
                )
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header();
                let len = usize::from(header.payload_length()) + 40;
                ensure!(len + packet_offset(&packet) == frame.len(), "IPv6 length");
                (
                    std::net::IpAddr::from(header.source_addr()),
                    std::net::IpAddr::from(header.destination_addr()),
                    tcp.calc_checksum_ipv6(header.source(), header.destination())?,
                )
            }
            NetSlice::Arp(_) => anyhow::bail!("ARP"),
        };
        ensure!(tcp.checksum() == right, "TCP checksum");
        let header = tcp.to_header();
        let timestamps = header.options_iterator().flatten().find_map(|o| match o {
            TcpOptionElement::Timestamp(own, heard) => Some((own, heard)),
            _ => None,
        });
        Ok(Self {
            source: SocketAddr::new(source, tcp.source_port()),
            destination: SocketAddr::new(destination, tcp.destination_port()),
            seq: tcp.sequence_number(),
            ack: tcp.acknowledgment_number(),
            flags: flags(&TcpHeaderSlice::from_slice(tcp.header_slice())?),
            timestamps,
            vlan: packet.vlan().and_then(|vlan| match vlan {
                etherparse::VlanSlice::SingleVlan(tag) => Some(tag.vlan_identifier().value()),
                etherparse::VlanSlice::DoubleVlan(_) => None,
            }),
            payload: tcp.payload().to_vec(),
        })
    }
}

/// Bytes in front of the IP header.
fn packet_offset(packet: &SlicedPacket<'_>) -> usize {
    if packet.vlan().is_some() { 18 } else { 14 }
}

fn flags(tcp: &TcpHeaderSlice<'_>) -> &'static str {
    match (tcp.syn(), tcp.ack(), tcp.fin(), tcp.rst(), tcp.psh()) {
        (false, true, true, false, true) => "AFP",
        (false, true, false, false, true) => "AP",
        (false, true, false, false, false) => "A",
        (false, false, false, true, false) => "R",
        (false, true, false, true, false) => "AR",
        _ => "?",
    }
}
