//! Frames taken apart: fragments, lengths that lie, checksums put right.

use crate::frame::ETHERTYPE_IPV6;

/// Bytes of an Ethernet header without tags, behind which the IP header is.
pub(super) const IP_AT: usize = 14;
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;
const FRAGMENT: u8 = 44;

/// A piece of an IP packet's payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Position in the payload, a multiple of 8.
    pub(super) at: usize,
    pub(super) bytes: Vec<u8>,
    /// Others follow.
    pub(super) more: bool,
}

pub(super) fn is_ipv6(frame: &[u8]) -> bool {
    frame[12..IP_AT] == ETHERTYPE_IPV6.to_be_bytes()
}

/// Position of what follows the IP header, in a frame without tags, options and extension headers.
pub(super) fn payload_at(frame: &[u8]) -> usize {
    IP_AT
        + if is_ipv6(frame) {
            IPV6_BYTES
        } else {
            IPV4_BYTES
        }
}

/// The payload in pieces that end at the positions in `cuts`, which are multiples of 8.
pub(super) fn pieces(payload: &[u8], cuts: &[usize]) -> Vec<Piece> {
    let mut ends: Vec<usize> = cuts
        .iter()
        .copied()
        .filter(|cut| *cut < payload.len())
        .collect();
    ends.push(payload.len());
    let mut at = 0;
    let mut pieces = Vec::new();
    for end in ends {
        pieces.push(Piece {
            at,
            bytes: payload[at..end].to_vec(),
            more: end < payload.len(),
        });
        at = end;
    }
    pieces
}

/// The frame of one piece; all pieces of a packet have one `id`.
pub(super) fn fragment(frame: &[u8], id: u16, piece: &Piece) -> Vec<u8> {
    let flags = piece.at as u16 | u16::from(piece.more);
    let mut fragment = frame[..payload_at(frame)].to_vec();
    if is_ipv6(frame) {
        let next = std::mem::replace(&mut fragment[IP_AT + 6], FRAGMENT);
        let [high, low] = flags.to_be_bytes();
        fragment.extend([next, 0, high, low, 0, 0]);
        fragment.extend(id.to_be_bytes());
    } else {
        // RFC 791 §3.1: units of 8 bytes, MF is the third bit.
        let field = (piece.at / 8) as u16 | if piece.more { 0x2000 } else { 0 };
        fragment[IP_AT + 4..][..2].copy_from_slice(&id.to_be_bytes());
        fragment[IP_AT + 6..][..2].copy_from_slice(&field.to_be_bytes());
    }
    fragment.extend(&piece.bytes);
    set_ip_length(&mut fragment);
    fragment
}

/// Lets the IP header say how long the packet is.
pub(super) fn set_ip_length(frame: &mut [u8]) {
    let len = (frame.len() - IP_AT) as u16;
    if is_ipv6(frame) {
        let len = len - IPV6_BYTES as u16;
        frame[IP_AT + 4..][..2].copy_from_slice(&len.to_be_bytes());
    } else {
        frame[IP_AT + 2..][..2].copy_from_slice(&len.to_be_bytes());
        sum_ipv4(frame);
    }
}

/// Puts the checksum of an IPv4 header right (RFC 1071); IPv6 has none.
pub(super) fn sum_ipv4(frame: &mut [u8]) {
    if is_ipv6(frame) {
        return;
    }
    let len = (usize::from(frame[IP_AT] & 0x0f) * 4).min(frame.len() - IP_AT);
    frame[IP_AT + 10..][..2].fill(0);
    let words = frame[IP_AT..IP_AT + len].chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    frame[IP_AT + 10..][..2].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::UdpFrame;

    #[test]
    fn the_fragments_of_a_frame_hold_all_of_it() {
        for frame in [
            UdpFrame::query_v4(40_000, &[7; 50]).build(),
            UdpFrame::query_v6(40_000, &[7; 50]).build(),
        ] {
            let payload = &frame[payload_at(&frame)..];
            let pieces = pieces(payload, &[8, 32]);
            let together: Vec<u8> = pieces
                .iter()
                .flat_map(|piece| piece.bytes.clone())
                .collect();
            assert_eq!(together, payload);
            assert_eq!(
                pieces.iter().map(|piece| piece.at).collect::<Vec<_>>(),
                [0, 8, 32]
            );
            let fragments: Vec<_> = pieces
                .iter()
                .map(|piece| fragment(&frame, 9, piece))
                .collect();
            for bytes in fragments {
                let packet = etherparse::SlicedPacket::from_ethernet(&bytes).unwrap();
                assert!(packet.is_ip_payload_fragmented());
            }
        }
    }

    #[test]
    fn a_checksum_that_is_put_right_is_that_of_the_builder() {
        let frame = UdpFrame::query_v4(40_000, &[7; 50]).build();
        let mut changed = frame.clone();
        changed[IP_AT + 10] ^= 0xff;
        sum_ipv4(&mut changed);
        assert_eq!(changed, frame);
    }
}
