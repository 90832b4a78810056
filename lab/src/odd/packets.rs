//! Datagrams whose headers are no longer as they should be.

use std::net::SocketAddr;

use super::{
    draw::Draw,
    fragments::{self, IP_AT, Piece, is_ipv6, payload_at, set_ip_length, sum_ipv4},
};
use crate::{
    frame::{ETHERTYPE_SERVICE_VLAN, ETHERTYPE_VLAN, Extension, UdpChecksum, UdpFrame},
    mutate::mutate,
};

/// From where to where a query goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
}

/// One kind of datagram: what it is called, and the frames that carry a message.
pub(super) type Kind = (&'static str, fn(&mut Draw, Route, &[u8]) -> Vec<Vec<u8>>);

/// Every kind but [`usual`].
pub(super) const KINDS: [Kind; 17] = [
    ("priority tags", priority_tags),
    ("IPv4 options, IPv6 extension headers", options),
    ("many extension headers", many_headers),
    ("fragments", in_fragments),
    ("fragments out of order", out_of_order),
    ("fragments that overlap", overlapping),
    ("first fragment without headers", late_headers),
    ("UDP length", udp_length),
    ("IP length", ip_length),
    ("jumbo length", jumbo),
    ("bytes behind the packet", bytes_behind),
    ("checksums", checksums),
    ("header fields", fields),
    ("hardware addresses", hardware),
    ("source port", source_port),
    ("changed header", changed),
    ("destination port and protocol", elsewhere),
];

/// A datagram as every client sends it.
pub(super) fn usual(_: &mut Draw, route: Route, message: &[u8]) -> Vec<Vec<u8>> {
    vec![frame(route, message).build()]
}

fn frame(route: Route, message: &[u8]) -> UdpFrame {
    UdpFrame::new(route.source, route.destination, message)
}

/// Tags without a VLAN, which stacks take off (IEEE 802.1Q §6.9.1).
fn priority_tags(draw: &mut Draw, route: Route, message: &[u8]) -> Vec<Vec<u8>> {
    let count = 1 + draw.each(7);
    let tagged = (0..count).fold(frame(route, message), |frame, _| {
        let ethertype = draw.choice(&[ETHERTYPE_VLAN, ETHERTYPE_VLAN, ETHERTYPE_SERVICE_VLAN]);
        frame.tag(ethertype, draw.choice(&[0, 0x2000, 0xe000]))
    });
    vec![tagged.build()]
}

fn options(draw: &mut Draw, route: Route, message: &[u8]) -> Vec<Vec<u8>> {
    let frame = frame(route, message);
    if route.source.is_ipv6() {
        let extension = any_extension(draw);
        return vec![frame.extension(extension).build()];
    }
    let len = 4 * (1 + draw.each(10));
    let mut options = vec![1; len];
    match draw.below(4) {
        // RFC 791 §3.1: timestamps, the way that was taken, the way to take.
        0 if len >= 8 => options[..4].copy_from_slice(&[68, len as u8, 5, 0]),
        1 if len >= 8 => options[..3].copy_from_slice(&[7, len as u8, 4]),
        2 if len >= 8 => options[..3].copy_from_slice(&[131, len as u8, len as u8 + 1]),
        _ => options[0] = 0,
    }
    vec![frame.ipv4_options(&options).build()]
}

fn any_extension(draw: &mut Draw) -> Extension {
    let len = 8 * draw.between(1, 6);
    match draw.below(4) {
        0 => Extension::HopByHop(len),
        1 => Extension::Routing,
        2 => Extension::Fragment {
            offset: 0,
            more: false,
        },
        _ => Extension::DestinationOptions(len),
    }
}

fn many_headers(draw: &mut Draw, route: Route, message: &[u8]) -> Vec<Vec<u8>> {
    if route.source.is_ipv4() {
        return options(draw, route, message);
    }
    let count = 2 + draw.each(9);
    let mut frame = frame(route, message);
    for number in 0..count {
        // RFC 8200 §4.1: these come first, if at all.
        frame = match draw.below(6) {
            0 if number == 0 => frame.extension(Extension::HopByHop(8)),
            1 => frame.extension(Extension::Routing),
            2 => frame.extension(any_extension(draw)),
            _ => frame.extension(Extension::DestinationOptions(8)),
        };
    }
    vec![frame.build()]
}

/// The pieces of a datagram, and the frame that it was.
fn taken_apart(draw: &mut Draw, route: Route, message: &[u8]) -> (Vec<u8>, Vec<Piece>) {
    let whole = frame(route, message).build();
    let payload = &whole[payload_at(&whole)..];
    let places = payload.len().div_ceil(8).max(2) - 1;
    let mut cuts = vec![8 * (1 + draw.each(places))];
    if draw.once_in(3) {
        cuts.push(8 * (1 + draw.below(places)));
    }
    cuts.sort_unstable();
    cuts.dedup();
    let pieces = fragments::pieces(payload, &cuts);
    (whole, pieces)
}

fn all_of(whole: &[u8], route: Route, pieces: &[Piece]) -> Vec<Vec<u8>> {
    let id = route.source.port();
    let frames = pieces
        .iter()
        .map(|piece| fragments::fragment(whole, id, piece));
    frames.collect()
}

fn in_fragments(draw: &mut Draw, route: Route, message: &[u8]) -> Vec<Vec<u8>> {
    let (whole, pieces) = taken_apart(draw, route, message);
    all_of(&whole, route, &pieces)
}

fn out_of_order(draw: &mut Draw, route: Route, message: &[u8]) -> Vec<Vec<u8>> {
    let (whole, mut pieces) = taken_apart(draw, route, message);
    pieces.reverse();
    if draw.once_in(3) {
        pieces.push(pieces[0].clone());
    }
    all_of(&whole, route, &pieces)
}

/// Of bytes that come twice, a stack takes the first ones, the last ones or none.
fn overlapping(draw: &mut Draw, route: Route, message: &[u8]) -> Vec<Vec<u8>> {
    let (whole, mut pieces) = taken_apart(draw, route, message);
    let clean = {
        let message = draw.clean_query().opt(0, &[]).bytes();
        let frame = frame(route, &message).build();
        frame[payload_at(&frame)..].to_vec()
    };
    let decoy = Piece {
        at: 0,
        bytes: clean,
        more: true,
    };
    let decoy = match draw.below(3) {
        // The first fragment has a clean question in whole; what overlaps has the other one.
        0 => Piece {
            bytes: decoy.bytes[..decoy.bytes.len() / 8 * 8].to_vec(),
            ..decoy
        },
        1 => Piece {
            bytes: decoy.bytes[..pieces[0].bytes.len().min(decoy.bytes.len() / 8 * 8)].to_vec(),
            ..decoy
        },
        _ => pieces[0].clone(),
    };
    let place = draw.below(pieces.len() + 1);
    pieces.insert(place, decoy);
    all_of(&whole, route, &pieces)
}

/// RFC 7112: the first fragment of IPv6 has to have all headers. That of IPv4 has eight bytes at least.
fn late_headers(draw: &mut Draw, route: Route, message: &[u8]) -> Vec<Vec<u8>> {
    if route.source.is_ipv4() {
        let whole = frame(route, message).build();
        let pieces = fragments::pieces(&whole[payload_at(&whole)..], &[8]);
        return all_of(&whole, route, &pieces);
    }
    let len = 8 * draw.between(1, 4);
    let options = Extension::DestinationOptions(len);
    let whole = frame(route, message).extension(options).build();
    let cut = if draw.once_in(2) { len } else { len + 8 };
    let pieces = fragments::pieces(&whole[payload_at(&whole)..], &[cut]);
    all_of(&whole, route, &pieces)
}

fn udp_length(draw: &mut Draw, route: Route, message: &[u8]) -> Vec<Vec<u8>> {
    let mut whole = frame(route, message)
        .udp_checksum(draw.choice(&[UdpChecksum::Right, UdpChecksum::Absent]))
        .build();
    let right = 8 + message.len() as u16;
    let len = match draw.below(6) {
        0 | 1 => 0,
        2 => right.saturating_sub(1 + draw.each(20) as u16),
        3 => right + 1 + draw.each(20) as u16,
        4 => draw.choice(&[1, 7, 8, 20, 24, 65_535]),
        _ => draw.number(),
    };
    let at = payload_at(&whole);
    whole[at + 4..at + 6].copy_from_slice(&len.to_be_bytes());
    if len < right && len >= 8 {
        sum_udp(&mut whole, usize::from(len));
    }
    vec![whole]
}

/// Puts the checksum of a datagram of `len` bytes right.
fn sum_udp(frame: &mut [u8], len: usize) {
    let at = payload_at(frame);
    frame[at + 6..at + 8].fill(0);
    let addresses = if is_ipv6(frame) {
        IP_AT + 8..IP_AT + 40
    } else {
        IP_AT + 12..IP_AT + 20
    };
    let sum_of = |bytes: &[u8]| -> u32 {
        let words = bytes
            .chunks(2)
            .map(|word| [word[0], *word.get(1).unwrap_or(&0)]);
        words.map(|word| u32::from(u16::from_be_bytes(word))).sum()
    };
    let sum = sum_of(&frame[addresses]) + 17 + len as u32 + sum_of(&frame[at..at + len]);
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    frame[at + 6..at + 8].copy_from_slice(&checksum.max(1).to_be_bytes());
}

fn ip_length(draw: &mut Draw, route: Route, message: &[u8]) -> Vec<Vec<u8>> {
    let mut whole = frame(route, message)
        .udp_checksum(draw.choice(&[UdpChecksum::Right, UdpChecksum::Absent]))
        .build();
    let at = IP_AT + if is_ipv6(&whole) { 4 } else { 2 };
    let right = u16::from_be_bytes([whole[at], whole[at + 1]]);
    let len = match draw.below(5) {
        0 => right - 1 - draw.each(20) as u16,
        1 => right + 1 + draw.each(20) as u16,
        2 => draw.choice(&[0, 8, 20, 28, 65_535]),
        3 => draw.number(),
        // There are as many bytes as it says.
        _ => {
            let more = draw.between(1, 60);
            whole.extend(vec![0; more]);
            right + more as u16
        }
    };
    whole[at..at + 2].copy_from_slice(&len.to_be_bytes());
    sum_ipv4(&mut whole);
    vec![whole]
}

/// RFC 2675: lengths of 0, and an option that has the length.
fn jumbo(draw: &mut Draw, route: Route, message: &[u8]) -> Vec<Vec<u8>> {
    if route.source.is_ipv4() {
        return udp_length(draw, route, message);
    }
    let mut whole = frame(route, message)
        .extension(Extension::HopByHop(8))
        .build();
    let len = (whole.len() - IP_AT - 40) as u32;
    let options = match draw.below(3) {
        0 => [0xc2, 4],
        1 => [0xc2, 2],
        _ => [0x1e, 4],
    };
    let at = IP_AT + 40;
    whole[at + 2..at + 4].copy_from_slice(&options);
    whole[at + 4..at + 8].copy_from_slice(&len.to_be_bytes());
    whole[IP_AT + 4..IP_AT + 6].fill(0);
    if draw.once_in(2) {
        whole[at + 12..at + 14].fill(0);
    }
    vec![whole]
}

fn bytes_behind(draw: &mut Draw, route: Route, message: &[u8]) -> Vec<Vec<u8>> {
    let mut whole = frame(route, message).build();
    let len = draw.choice(&[1, 4, 18, 46, 200]);
    let more = draw.bytes(len);
    whole.extend(more);
    if draw.once_in(2) {
        // They are in the IP packet, and behind the datagram.
        set_ip_length(&mut whole);
    }
    vec![whole]
}

fn checksums(draw: &mut Draw, route: Route, message: &[u8]) -> Vec<Vec<u8>> {
    let checksums = [
        UdpChecksum::Absent,
        UdpChecksum::Wrong,
        UdpChecksum::PseudoHeader,
    ];
    let mut whole = frame(route, message)
        .udp_checksum(checksums[draw.each(3)])
        .build();
    if draw.once_in(4) {
        whole[IP_AT + 10] ^= 1;
    }
    vec![whole]
}

/// Time to live, class of traffic, flags that nobody may set.
fn fields(draw: &mut Draw, route: Route, message: &[u8]) -> Vec<Vec<u8>> {
    let hop_limit = draw.choice(&[0, 1, 2, 255]);
    let mut whole = frame(route, message).hop_limit(hop_limit).build();
    if is_ipv6(&whole) {
        let [class, flow] = draw.number().to_be_bytes();
        whole[IP_AT] |= class & 0x0f;
        whole[IP_AT + 1] = flow;
    } else {
        whole[IP_AT + 1] = draw.random().bits() as u8;
        whole[IP_AT + 6] = draw.choice(&[0, 0x40, 0x80, 0xc0]);
        sum_ipv4(&mut whole);
    }
    vec![whole]
}

fn hardware(draw: &mut Draw, route: Route, message: &[u8]) -> Vec<Vec<u8>> {
    let mut whole = frame(route, message).build();
    match draw.below(4) {
        0 => whole[..6].fill(0xff),
        1 => whole[..6].copy_from_slice(&[0x01, 0, 0x5e, 0, 0, 1]),
        2 => whole[6] |= 1,
        _ => {
            let mac = draw.bytes(6);
            whole[6..12].copy_from_slice(&mac);
            whole[6] &= 0xfe;
        }
    }
    vec![whole]
}

/// Ports that are never answered, and port 0.
fn source_port(draw: &mut Draw, mut route: Route, message: &[u8]) -> Vec<Vec<u8>> {
    // Below those by which queries are told apart.
    let any = draw.number() % 10_000;
    let port = draw.choice(&[0, 7, 19, 37, 53, 123, 464, 853, 5353, 65_535, any]);
    route.source.set_port(port);
    vec![frame(route, message).build()]
}

fn changed(draw: &mut Draw, route: Route, message: &[u8]) -> Vec<Vec<u8>> {
    let mut whole = frame(route, message)
        .udp_checksum(draw.choice(&[UdpChecksum::Right, UdpChecksum::Absent]))
        .build();
    let end = payload_at(&whole) + 8;
    let mut headers: Vec<u8> = whole.drain(..end).collect();
    mutate(&mut headers, IP_AT + 12, draw.random());
    headers.extend(whole);
    if draw.once_in(2) {
        sum_ipv4(&mut headers);
    }
    vec![headers]
}

/// What is no UDP to port 53, by one field.
fn elsewhere(draw: &mut Draw, mut route: Route, message: &[u8]) -> Vec<Vec<u8>> {
    if draw.once_in(2) {
        let any = draw.number();
        let port = draw.choice(&[0, 52, 54, 5353, 853, 443, any]);
        route.destination.set_port(port);
        return vec![frame(route, message).build()];
    }
    let mut whole = frame(route, message).build();
    let at = IP_AT + if is_ipv6(&whole) { 6 } else { 9 };
    // UDP-Lite (RFC 3828), DCCP, SCTP, any.
    whole[at] = draw.choice(&[136, 33, 132, 0, 59, 255]);
    sum_ipv4(&mut whole);
    vec![whole]
}
