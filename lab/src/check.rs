//! Judges a frame with an independent parser: every length and every checksum must be right.

use std::net::SocketAddr;

use etherparse::{IpSlice, Ipv4Slice, UdpHeader, UdpSlice, ip_number};
use thiserror::Error;

use crate::frame::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_PPPOE_SESSION, ETHERTYPE_SERVICE_VLAN,
    ETHERTYPE_VLAN, Tag,
};

/// Shortest Ethernet frame without its check sequence; shorter packets may be padded up to it.
const ETHERNET_BYTES_MIN: usize = 60;

/// What a right frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedFrame {
    /// Ethernet destination.
    pub destination_mac: [u8; 6],
    /// Ethernet source.
    pub source_mac: [u8; 6],
    /// VLAN tags from the outside in.
    pub tags: Vec<Tag>,
    /// Session id, when the packet is in a PPPoE session.
    pub pppoe_session: Option<u16>,
    /// IP address and UDP port of the sender.
    pub source: SocketAddr,
    /// IP address and UDP port of the receiver.
    pub destination: SocketAddr,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Whether the UDP checksum was computed; only IPv4 may leave it out.
    pub has_udp_checksum: bool,
    /// What UDP carries.
    pub payload: Vec<u8>,
}

/// What is wrong with a frame.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// A header is cut off.
    #[error("frame of {len} bytes ends within its {header} header")]
    Short {
        /// Bytes of the frame.
        len: usize,
        /// The header.
        header: &'static str,
    },
    /// Another EtherType or protocol.
    #[error("not a UDP frame: {0}")]
    NotUdp(String),
    /// The IP parser refuses it.
    #[error("ip: {0}")]
    Ip(String),
    /// A length field contradicts another or the frame.
    #[error("{field} says {said} bytes, there are {there}")]
    Length {
        /// The field.
        field: &'static str,
        /// Its value.
        said: usize,
        /// The bytes that there are.
        there: usize,
    },
    /// A checksum is wrong.
    #[error("{field} checksum is {said:#06x}, should be {right:#06x}")]
    Checksum {
        /// The field.
        field: &'static str,
        /// Its value.
        said: u16,
        /// What it should be.
        right: u16,
    },
}

/// Checks a frame from its Ethernet header to its UDP payload.
///
/// # Errors
/// Fails on the first thing that is wrong, and on frames that do not carry a whole UDP datagram.
pub fn check_frame(frame: &[u8]) -> Result<CheckedFrame, FrameError> {
    let mut rest = Cursor { frame, position: 0 };
    let destination_mac = rest.take("ethernet")?;
    let source_mac = rest.take("ethernet")?;
    let (tags, ethertype) = tags(&mut rest)?;
    let (pppoe_session, ethertype) = session(&mut rest, ethertype)?;
    if !matches!(ethertype, ETHERTYPE_IPV4 | ETHERTYPE_IPV6) {
        return Err(FrameError::NotUdp(format!("ethertype {ethertype:#06x}")));
    }
    let ip = IpSlice::from_slice(rest.left()).map_err(|error| FrameError::Ip(error.to_string()))?;
    check_ip_version(&ip, ethertype)?;
    check_ip_length(&ip, rest.left().len(), frame.len())?;
    if let Some(ipv4) = ip.ipv4() {
        check_header_checksum(ipv4)?;
    }
    let udp = udp(&ip)?;
    Ok(CheckedFrame {
        destination_mac,
        source_mac,
        tags,
        pppoe_session,
        source: SocketAddr::new(ip.source_addr(), udp.source_port()),
        destination: SocketAddr::new(ip.destination_addr(), udp.destination_port()),
        hop_limit: match &ip {
            IpSlice::Ipv4(ipv4) => ipv4.header().ttl(),
            IpSlice::Ipv6(ipv6) => ipv6.header().hop_limit(),
        },
        has_udp_checksum: udp.checksum() != 0,
        payload: udp.payload().to_vec(),
    })
}

struct Cursor<'a> {
    frame: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    fn take<const N: usize>(&mut self, header: &'static str) -> Result<[u8; N], FrameError> {
        let bytes = self.left().first_chunk::<N>().ok_or(FrameError::Short {
            len: self.frame.len(),
            header,
        })?;
        self.position += N;
        Ok(*bytes)
    }

    fn take_u16(&mut self, header: &'static str) -> Result<u16, FrameError> {
        self.take(header).map(u16::from_be_bytes)
    }

    fn left(&self) -> &'a [u8] {
        &self.frame[self.position..]
    }
}

fn tags(rest: &mut Cursor<'_>) -> Result<(Vec<Tag>, u16), FrameError> {
    let mut tags = Vec::new();
    loop {
        let ethertype = rest.take_u16("ethernet")?;
        if !matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN) {
            return Ok((tags, ethertype));
        }
        let control = rest.take_u16("vlan")?;
        tags.push(Tag { ethertype, control });
    }
}

/// Steps into a PPPoE session (RFC 2516 §4) and says which EtherType its protocol corresponds to.
fn session(rest: &mut Cursor<'_>, ethertype: u16) -> Result<(Option<u16>, u16), FrameError> {
    if ethertype != ETHERTYPE_PPPOE_SESSION {
        return Ok((None, ethertype));
    }
    let version_and_code = rest.take_u16("pppoe")?;
    let session = rest.take_u16("pppoe")?;
    let said = usize::from(rest.take_u16("pppoe")?);
    let there = rest.left().len();
    if version_and_code != 0x1100 {
        return Err(FrameError::NotUdp(format!("pppoe {version_and_code:#06x}")));
    }
    if said != there {
        return Err(FrameError::Length {
            field: "pppoe length",
            said,
            there,
        });
    }
    match rest.take_u16("ppp")? {
        0x0021 => Ok((Some(session), ETHERTYPE_IPV4)),
        0x0057 => Ok((Some(session), ETHERTYPE_IPV6)),
        other => Err(FrameError::NotUdp(format!("ppp protocol {other:#06x}"))),
    }
}

fn check_ip_version(ip: &IpSlice<'_>, ethertype: u16) -> Result<(), FrameError> {
    let is_ipv4 = ip.ipv4().is_some();
    if is_ipv4 == (ethertype == ETHERTYPE_IPV4) {
        Ok(())
    } else {
        Err(FrameError::NotUdp(format!(
            "an ip version that contradicts {ethertype:#06x}"
        )))
    }
}

fn check_ip_length(ip: &IpSlice<'_>, there: usize, frame_len: usize) -> Result<(), FrameError> {
    let (field, said) = match ip {
        IpSlice::Ipv4(ipv4) => ("ipv4 total length", usize::from(ipv4.header().total_len())),
        IpSlice::Ipv6(ipv6) => (
            "ipv6 payload length",
            40 + usize::from(ipv6.header().payload_length()),
        ),
    };
    if said == there || (said < there && frame_len <= ETHERNET_BYTES_MIN) {
        Ok(())
    } else {
        Err(FrameError::Length { field, said, there })
    }
}

fn check_header_checksum(ipv4: &Ipv4Slice<'_>) -> Result<(), FrameError> {
    let header = ipv4.header().to_header();
    compare(
        "ipv4 header",
        header.header_checksum,
        header.calc_header_checksum(),
    )
}

fn udp<'a>(ip: &IpSlice<'a>) -> Result<UdpSlice<'a>, FrameError> {
    if ip.is_fragmenting_payload() {
        return Err(FrameError::NotUdp("a fragment".to_owned()));
    }
    if ip.payload_ip_number() != ip_number::UDP {
        return Err(FrameError::NotUdp(format!(
            "ip protocol {}",
            ip.payload_ip_number().0
        )));
    }
    let bytes = ip.payload().payload;
    let short = |_| FrameError::Short {
        len: bytes.len(),
        header: "udp",
    };
    let (header, payload) = UdpHeader::from_slice(bytes).map_err(short)?;
    let said = usize::from(header.length);
    if said != bytes.len() {
        return Err(FrameError::Length {
            field: "udp length",
            said,
            there: bytes.len(),
        });
    }
    let right = match ip {
        IpSlice::Ipv4(_) if header.checksum == 0 => Ok(0),
        IpSlice::Ipv4(ipv4) => header.calc_checksum_ipv4_raw(
            ipv4.header().source(),
            ipv4.header().destination(),
            payload,
        ),
        IpSlice::Ipv6(ipv6) => header.calc_checksum_ipv6_raw(
            ipv6.header().source(),
            ipv6.header().destination(),
            payload,
        ),
    };
    compare(
        "udp",
        header.checksum,
        right.map_err(|error| FrameError::Ip(error.to_string()))?,
    )?;
    UdpSlice::from_slice(bytes).map_err(|error| FrameError::Ip(error.to_string()))
}

fn compare(field: &'static str, said: u16, right: u16) -> Result<(), FrameError> {
    if said == right {
        Ok(())
    } else {
        Err(FrameError::Checksum { field, said, right })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Extension, UdpChecksum, UdpFrame};

    fn frames() -> Vec<(usize, Vec<u8>)> {
        let payload = [0x5a; 40];
        let (v4, v6) = (
            UdpFrame::query_v4(4000, &payload),
            UdpFrame::query_v6(4000, &payload),
        );
        let options = v4.clone().ipv4_options(&[1, 1, 1, 0]);
        let chain = v6
            .clone()
            .extension(Extension::Routing)
            .extension(Extension::Authentication);
        // With each frame, where its IP header starts.
        vec![
            (14, v4.build()),
            (14, v6.build()),
            (18, options.vlan(7).build()),
            (30, chain.vlan(1).vlan(2).pppoe(9).build()),
        ]
    }

    #[test]
    fn a_right_frame_is_read_back() {
        let frame = UdpFrame::query_v4(4000, b"hello")
            .hop_limit(9)
            .vlan(7)
            .pppoe(3)
            .build();
        let checked = check_frame(&frame).unwrap();
        assert_eq!(
            (
                checked.hop_limit,
                checked.pppoe_session,
                checked.source.port()
            ),
            (9, Some(3), 4000)
        );
        assert_eq!(
            (checked.payload.as_slice(), checked.tags[0].control),
            (b"hello".as_slice(), 7)
        );
    }

    #[test]
    fn any_other_byte_in_an_ip_packet_is_noticed() {
        for (ip_start, frame) in frames() {
            let right = check_frame(&frame).unwrap();
            for position in ip_start..frame.len() {
                let mut wrong = frame.clone();
                wrong[position] ^= 0x40;
                let unnoticed = check_frame(&wrong).is_ok_and(|checked| checked == right);
                // IPv6 protects neither its traffic class and flow label nor what extension headers hold.
                let is_protected = frame[ip_start] >> 4 == 4
                    || position >= frame.len() - 48
                    || (ip_start + 4..ip_start + 40).contains(&position);
                assert!(
                    !(unnoticed && is_protected),
                    "byte {position} of {frame:02x?}"
                );
            }
        }
    }

    #[test]
    fn a_byte_too_many_or_too_few_is_noticed() {
        for (_, frame) in frames() {
            assert!(check_frame(&frame[..frame.len() - 1]).is_err());
            assert!(check_frame(&[frame.as_slice(), &[0]].concat()).is_err());
        }
    }

    #[test]
    fn a_short_frame_may_be_padded_to_the_ethernet_minimum() {
        let mut frame = UdpFrame::query_v4(4000, b"tiny").build();
        frame.resize(ETHERNET_BYTES_MIN, 0);
        assert_eq!(check_frame(&frame).unwrap().payload, b"tiny");
    }

    #[test]
    fn a_missing_checksum_is_right_for_ipv4_only() {
        let without = |frame: UdpFrame| frame.udp_checksum(UdpChecksum::Absent).build();
        let checked = check_frame(&without(UdpFrame::query_v4(1, b"x"))).unwrap();
        assert!(!checked.has_udp_checksum);
        assert!(check_frame(&without(UdpFrame::query_v6(1, b"x"))).is_err());
    }
}
