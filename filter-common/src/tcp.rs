//! Queries over TCP: a blocked one is answered in the server's place, and the
//! connection is ended cleanly on both sides.
//!
//! The answer carries FIN (RFC 7766 §6.2.1 lets a server close when it likes).
//! What follows is a conversation that the server cannot take part in, because
//! it never saw the query: its sequence numbers do not fit any more. So the
//! connection is remembered, and
//!
//! - the client's first segment becomes a reset for the server, at the number it waits for;
//! - the client's FIN is confirmed;
//! - what else the client confirms goes nowhere.
//!
//! A query is judged if its length and all of it are in one segment, as resolvers
//! send it (RFC 7766 §8). Other data passes. A stub resolver sends its queries for A and
//! for AAAA in one segment: the answer to the first one confirms nothing behind it and
//! carries no FIN, so that the client sends the second one again, by itself.

use network_types::ip::IpProto;

use crate::{
    address::QueryClient,
    checksum::{folded, sum_of},
    dns,
    emit::{put, swap, turn},
    frame::Frame,
    hash::{self, HashKey},
    layout::Control,
    maps::Flow,
    net::{LENGTH_BYTES, Path, TCP_HEADER_BYTES},
    reason::Reason,
    scratch::{FrameBytes, HEADERS_MAX_BYTES, Scratch, header_bytes},
    steps::Steps,
};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
/// Position of the flags in a header.
const FLAGS_AT: usize = 13;
/// Position of the message's length in the scratch.
const LENGTH_AT: usize = HEADERS_MAX_BYTES - LENGTH_BYTES;
/// More than what a client sends behind a query before it hears an answer.
const CONVERSATION_BYTES: u32 = 1 << 16;
/// Most bytes of options.
const OPTIONS_MAX_BYTES: usize = 40;
/// Two times "no operation", then timestamps and their length (RFC 7323 appendix A).
const TIMESTAMPS: [u8; 4] = [1, 1, 8, 10];
/// RFC 9293 §3.1.
const NO_OPERATION: [u8; 4] = [1; 4];

/// Bytes of the query in a segment; `None` if there is no data, or if a connection begins with it.
#[inline(always)]
pub fn query_len<F: Frame>(frame: &F, path: &Path) -> Result<Option<usize>, Reason> {
    let flags: [u8; 1] = frame
        .read(path.transport_at + FLAGS_AT)
        .ok_or(Reason::BadFrame)?;
    // Data beside SYN is not acknowledged yet (RFC 7413).
    if path.payload_len == 0 || flags[0] & SYN != 0 {
        return Ok(None);
    }
    // Data beside RST is a message for people.
    if flags[0] & (RST | ACK) != ACK || path.payload_len < LENGTH_BYTES {
        return Err(Reason::TcpSegment);
    }
    let len: [u8; LENGTH_BYTES] = frame.read(path.payload_at()).ok_or(Reason::BadFrame)?;
    // RFC 1035 §4.2.2: two bytes of length in front of the message.
    let len = usize::from(u16::from_be_bytes(len));
    if len < dns::QUERY_MIN_BYTES || len + LENGTH_BYTES > path.payload_len {
        return Err(Reason::TcpSegment);
    }
    Ok(Some(len))
}

/// Turns the headers in `scratch` into those of the answer, whose message is in its place.
#[inline(always)]
pub fn rewrite<S: Steps + ?Sized>(steps: &S, scratch: &mut Scratch, path: &Path) {
    let at = header_at(path);
    let [seq, ack] = numbers(&scratch.bytes, at);
    remember(steps, &scratch.client, seq);
    let query_len = u16::from_be_bytes(header_bytes(&scratch.bytes, LENGTH_AT));
    // Only this query: a second one in the segment is sent again by the client, and judged then.
    let confirmed = LENGTH_BYTES as u32 + u32::from(query_len);
    // FIN says that nothing else comes, which is wrong while a query waits behind this one.
    let is_last = confirmed == scratch.payload_len;
    let message_len = (scratch.message_len as u16).to_be_bytes();
    put(&mut scratch.bytes, LENGTH_AT, message_len);
    let len = path.transport_len + LENGTH_BYTES + scratch.message_len as usize;
    let end = seq.wrapping_add(confirmed);
    let flags = if is_last { FIN | PSH | ACK } else { PSH | ACK };
    let message_sum = scratch.message_sum + sum_of(&message_len);
    let bytes = &mut scratch.bytes;
    let addresses = turn(bytes, path, len as u16, IpProto::Tcp);
    turn_header(bytes, at, path.transport_len, [ack, end], flags);
    let sum = addresses + message_sum + pseudo(len);
    finish(bytes, at, path.transport_len, sum);
}

/// Remembers that the query at `seq` was answered here.
#[inline(always)]
fn remember<S: Steps + ?Sized>(steps: &S, client: &QueryClient, seq: u32) {
    let Some(key) = flow_key(steps, client) else {
        return;
    };
    match steps.flow(key) {
        // The answer was lost and the query comes again, or it is the next one of the connection.
        Some(flow) if seq.wrapping_sub(flow.server_next) < CONVERSATION_BYTES => {}
        _ => steps.set_flow(
            key,
            Flow {
                server_next: seq,
                is_reset: 0,
            },
        ),
    }
}

/// What becomes of a segment without a query, which is changed in `scratch` if need be.
#[inline(always)]
pub fn follow<S: Steps + ?Sized>(steps: &S, scratch: &mut Scratch, path: &Path) -> Reason {
    let Some(key) = flow_key(steps, &scratch.client) else {
        return passing(scratch.payload_len);
    };
    let Some(flow) = steps.flow(key) else {
        return passing(scratch.payload_len);
    };
    let at = header_at(path);
    let [flags] = header_bytes(&scratch.bytes, at.wrapping_add(FLAGS_AT));
    if flags & SYN != 0 {
        // Another connection from the same port.
        steps.remove_flow(key);
        return passing(scratch.payload_len);
    }
    // The server still waits for the query that it never saw: it is released once.
    if flow.is_reset == 0 {
        if !reset_server(&mut scratch.bytes, path, at, flow.server_next) {
            return passing(scratch.payload_len);
        }
        steps.set_flow(
            key,
            Flow {
                is_reset: 1,
                ..flow
            },
        );
        return Reason::TcpReset;
    }
    if flags & RST != 0 || flags & FIN == 0 {
        return Reason::TcpQuiet;
    }
    let [seq, ack] = numbers(&scratch.bytes, at);
    let len = path.transport_len;
    let addresses = turn(&mut scratch.bytes, path, len as u16, IpProto::Tcp);
    let bytes = &mut scratch.bytes;
    turn_header(bytes, at, len, [ack, seq.wrapping_add(1)], ACK);
    finish(bytes, at, len, addresses + pseudo(len));
    Reason::TcpClosed
}

/// Why a segment without a query passes. What data it has is beside SYN.
#[inline(always)]
pub const fn passing(payload_len: u32) -> Reason {
    if payload_len == 0 {
        Reason::Tcp
    } else {
        Reason::TcpSegment
    }
}

/// Whether a segment can be answered with a reset: it is none itself.
#[inline(always)]
pub fn can_be_refused(scratch: &Scratch, path: &Path) -> bool {
    let [flags] = header_bytes(&scratch.bytes, header_at(path).wrapping_add(FLAGS_AT));
    flags & RST == 0
}

/// Makes the segment in `scratch` its refusal (RFC 9293 §3.5.2).
#[inline(always)]
pub fn refuse(scratch: &mut Scratch, path: &Path) {
    let (at, len) = (header_at(path), path.transport_len);
    let [flags] = header_bytes(&scratch.bytes, at.wrapping_add(FLAGS_AT));
    let [seq, ack] = numbers(&scratch.bytes, at);
    // SYN and FIN take a number each (RFC 9293 §3.4).
    let phantom = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
    let end = seq.wrapping_add(scratch.payload_len).wrapping_add(phantom);
    let bytes = &mut scratch.bytes;
    let addresses = turn(bytes, path, len as u16, IpProto::Tcp);
    if flags & ACK != 0 {
        turn_header(bytes, at, len, [ack, 0], RST);
    } else {
        turn_header(bytes, at, len, [0, end], RST | ACK);
    }
    finish(bytes, at, len, addresses + pseudo(len));
}

/// Makes the segment a reset at the number that the server waits for; `false` if its checksum is unknown.
///
/// RFC 5961 §3.2: any other number would only be challenged.
#[inline(always)]
fn reset_server(bytes: &mut FrameBytes, path: &Path, at: usize, server_next: u32) -> bool {
    let len = path.transport_len;
    let around = addresses(bytes, path) + pseudo(len);
    let checksum: [u8; 2] = header_bytes(bytes, at.wrapping_add(CHECKSUM_AT));
    // A segment that was made on this machine may hold but the sum of its pseudo-header, to which
    // the rest is added when it leaves. That sum stays right.
    let is_partial = u16::from_ne_bytes(checksum) == folded(around);
    if !is_partial && folded(around + header_sum(bytes, at, len)) != u16::MAX {
        return false;
    }
    put(bytes, at.wrapping_add(4), server_next.to_be_bytes());
    put(bytes, at.wrapping_add(8), [0; 4]);
    put(bytes, at.wrapping_add(FLAGS_AT), [RST]);
    if !is_partial {
        finish(bytes, at, len, around);
    }
    true
}

/// Position of the TCP header in the scratch.
#[inline(always)]
fn header_at(path: &Path) -> usize {
    HEADERS_MAX_BYTES
        .wrapping_sub(path.dns_at())
        .wrapping_add(path.transport_at)
}

/// Sequence and acknowledgment number.
#[inline(always)]
fn numbers(bytes: &FrameBytes, at: usize) -> [u32; 2] {
    [
        u32::from_be_bytes(header_bytes(bytes, at.wrapping_add(4))),
        u32::from_be_bytes(header_bytes(bytes, at.wrapping_add(8))),
    ]
}

const CHECKSUM_AT: usize = 16;

/// Writes the header of a segment in the other direction. Window, length and place of options stay.
#[inline(always)]
fn turn_header(bytes: &mut FrameBytes, at: usize, len: usize, [seq, ack]: [u32; 2], flags: u8) {
    swap::<2>(bytes, at, at.wrapping_add(2));
    put(bytes, at.wrapping_add(4), seq.to_be_bytes());
    put(bytes, at.wrapping_add(8), ack.to_be_bytes());
    put(bytes, at.wrapping_add(FLAGS_AT), [flags]);
    // The urgent pointer is for data that is not sent.
    put(bytes, at.wrapping_add(18), [0; 2]);
    let options_at = at.wrapping_add(TCP_HEADER_BYTES);
    let first: [u8; 4] = header_bytes(bytes, options_at);
    let has_timestamps = len >= TCP_HEADER_BYTES + 12 && first == TIMESTAMPS;
    if has_timestamps {
        // RFC 7323 §3.2: every segment carries them; what each side said last is known from the other.
        swap::<4>(
            bytes,
            options_at.wrapping_add(4),
            options_at.wrapping_add(8),
        );
    }
    let mut option = if has_timestamps { 12 } else { 0 };
    while option < OPTIONS_MAX_BYTES {
        if TCP_HEADER_BYTES + option < len {
            put(bytes, options_at.wrapping_add(option), NO_OPERATION);
        }
        option += 4;
    }
}

/// Writes the checksum; `sum` covers everything but the header.
#[inline(always)]
fn finish(bytes: &mut FrameBytes, at: usize, len: usize, sum: u64) {
    put(bytes, at.wrapping_add(CHECKSUM_AT), [0; 2]);
    let checksum = !folded(sum + header_sum(bytes, at, len));
    put(bytes, at.wrapping_add(CHECKSUM_AT), checksum.to_ne_bytes());
}

/// The sum of the header.
#[inline(always)]
fn header_sum(bytes: &FrameBytes, at: usize, len: usize) -> u64 {
    let mut sum = sum_of(&header_bytes::<TCP_HEADER_BYTES>(bytes, at));
    let mut option = TCP_HEADER_BYTES;
    while option < TCP_HEADER_BYTES + OPTIONS_MAX_BYTES {
        if option < len {
            sum += sum_of(&header_bytes::<4>(bytes, at.wrapping_add(option)));
        }
        option += 4;
    }
    sum
}

/// The sum of the addresses in the IP header.
#[inline(always)]
fn addresses(bytes: &FrameBytes, path: &Path) -> u64 {
    let ip_at = HEADERS_MAX_BYTES
        .wrapping_sub(path.dns_at())
        .wrapping_add(path.ip_at);
    if path.is_ipv6 {
        sum_of(&header_bytes::<32>(bytes, ip_at.wrapping_add(8)))
    } else {
        sum_of(&header_bytes::<8>(bytes, ip_at.wrapping_add(12)))
    }
}

/// The sum of the pseudo-header without the addresses (RFC 9293 §3.1).
#[inline(always)]
fn pseudo(len: usize) -> u64 {
    let [a, b] = (len as u16).to_be_bytes();
    sum_of(&[0, IpProto::Tcp as u8, a, b])
}

/// The key of a connection.
#[inline(always)]
fn flow_key<S: Steps + ?Sized>(steps: &S, client: &QueryClient) -> Option<u64> {
    let key: &HashKey = &steps.record(0).map(Control::of)?.key;
    let source = hash::address_hash(&client.source, key);
    let destination = hash::address_hash(&client.destination, key);
    Some(hash::mix(source ^ u64::from(client.port), destination, key))
}
