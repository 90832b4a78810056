//! Queries over TCP: a blocked one is answered in the server's place, and the
//! connection is ended cleanly on both sides.
//!
//! The answer carries FIN (RFC 7766 §6.2.1 lets a server close when it likes).
//! What follows is a conversation that the server cannot take part in, because
//! it never saw the query: its sequence numbers do not fit any more. So the
//! connection is remembered, and of what has the sequence numbers of that conversation
//!
//! - the client's first segment becomes a reset for the server, at the number it waits for;
//! - the client's FIN is confirmed;
//! - what else the client confirms goes nowhere.
//!
//! Only the next bytes of the stream can be answered: what a client has not heard yet would come to
//! the same place. So a query that comes while others wait for their answer, or behind a clean one in
//! its segment, is turned into one of class 0: the server says an error, where it belongs.
//!
//! A client may send a query in pieces; some send its length apart. A piece without a whole question
//! passes and is kept ([`parts`](crate::parts)). The piece that completes the question is judged.
//! A stub resolver sends its queries for A and for AAAA in one segment: the answer to the first one
//! confirms nothing behind it and carries no FIN, so that the client sends the second one again, by itself.

use network_types::ip::IpProto;

use crate::{
    address::QueryClient,
    checksum::{folded, sum_of},
    dns::CLASS_IN,
    emit::{put, swap, turn},
    frame::Frame,
    hash::{self, HashKey},
    layout::Control,
    maps::{FLOW_ANSWERED, FLOW_OPEN, FLOW_PIPELINED, FLOW_RESET, Flow},
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
const URG: u8 = 0x20;
/// The last byte of class 0, which is reserved (RFC 6895 §3.2): servers have an error for it, and go on with the
/// connection. An opcode that is not assigned is none: Knot Resolver does not look at it.
pub(crate) const NO_CLASS: u8 = 0;
/// Position of the flags in a header.
const FLAGS_AT: usize = 13;
/// Position of the message's length in the scratch.
pub(crate) const LENGTH_AT: usize = HEADERS_MAX_BYTES - LENGTH_BYTES;
/// More than what a client sends behind a query before it hears an answer.
const CONVERSATION_BYTES: u32 = 1 << 16;
/// Most bytes of options.
const OPTIONS_MAX_BYTES: usize = 40;
/// Two times "no operation", then timestamps and their length (RFC 7323 appendix A).
const TIMESTAMPS: [u8; 4] = [1, 1, 8, 10];
/// RFC 9293 §3.1.
const NO_OPERATION: [u8; 4] = [1; 4];

/// What a segment to the DNS port has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Nothing, or nothing that a server takes.
    Nothing,
    /// The start of a connection's data, beside SYN (RFC 7413).
    Opening,
    /// More of a connection's data.
    Stream,
}

/// Tells what a segment has.
///
/// # Errors
///
/// If it has urgent data, which receivers take out of the stream (RFC 6093 §3.1): nobody can say what is
/// left.
#[inline(always)]
pub fn data<F: Frame>(frame: &F, path: &Path) -> Result<Data, Reason> {
    let flags: [u8; 1] = frame
        .read(path.transport_at + FLAGS_AT)
        .ok_or(Reason::BadFrame)?;
    let [flags] = flags;
    // Data beside RST is a message for people; without ACK only that beside SYN is taken.
    if path.payload_len == 0 || flags & RST != 0 || flags & (SYN | ACK) == 0 {
        Ok(Data::Nothing)
    } else if flags & URG != 0 {
        Err(Reason::TcpSegment)
    } else if flags & SYN != 0 {
        Ok(Data::Opening)
    } else {
        Ok(Data::Stream)
    }
}

/// Turns the headers in `scratch` into those of the answer, whose message is in its place.
#[inline(always)]
pub fn rewrite<S: Steps + ?Sized>(steps: &S, scratch: &mut Scratch, path: &Path) {
    let at = header_at(path);
    let [seq, ack] = numbers(&scratch.bytes, at);
    let query_len = u16::from_be_bytes(header_bytes(&scratch.bytes, LENGTH_AT));
    let confirmed = (LENGTH_BYTES as u32 + u32::from(query_len)).wrapping_sub(scratch.part_len);
    let is_last = confirmed == scratch.payload_len;
    let answer_len = LENGTH_BYTES as u32 + scratch.message_len;
    let end = seq.wrapping_add(confirmed);
    remember(
        steps,
        &scratch.client,
        Flow {
            state: FLOW_ANSWERED,
            server_next: seq,
            heard: ack,
            client_from: end,
            client_to: seq.wrapping_add(scratch.payload_len).wrapping_add(1),
            heard_to: ack.wrapping_add(answer_len).wrapping_add(1),
        },
    );
    let message_len = (scratch.message_len as u16).to_be_bytes();
    put(&mut scratch.bytes, LENGTH_AT, message_len);
    let len = path.transport_len + answer_len as usize;
    let flags = if is_last { FIN | PSH | ACK } else { PSH | ACK };
    let message_sum = scratch.message_sum + sum_of(&message_len);
    let bytes = &mut scratch.bytes;
    let addresses = turn(bytes, path, len as u16, IpProto::Tcp);
    turn_header(bytes, at, path.transport_len, [ack, end], flags);
    let sum = addresses + message_sum + pseudo(len);
    finish(bytes, at, path.transport_len, sum);
}

/// Remembers that a query was answered here.
#[inline(always)]
fn remember<S: Steps + ?Sized>(steps: &S, client: &QueryClient, answered: Flow) {
    let Some(key) = flow_key(steps, client) else {
        return;
    };
    let next = match steps.flow(key) {
        // The answer was lost and the query comes again, or it is the next one of the connection.
        Some(flow)
            if flow.state >= FLOW_ANSWERED
                && is_within(answered.server_next, flow.server_next, CONVERSATION_BYTES) =>
        {
            Flow {
                state: flow.state,
                server_next: flow.server_next,
                heard: flow.heard,
                client_from: flow.client_from,
                ..answered
            }
        }
        _ => answered,
    };
    steps.set_flow(key, next);
}

/// Whether a sequence number is one of the `len` that start with `first`.
#[inline(always)]
const fn is_within(number: u32, first: u32, len: u32) -> bool {
    number.wrapping_sub(first) < len
}

/// Whether the data in the segment cannot be answered here: queries before it wait for their answer, or
/// it passed once already.
#[inline(always)]
pub fn is_waiting<S: Steps + ?Sized>(steps: &S, scratch: &Scratch, path: &Path) -> bool {
    let flow = flow_key(steps, &scratch.client).and_then(|key| steps.flow(key));
    let Some(flow) = flow.filter(|flow| flow.state < FLOW_ANSWERED) else {
        return false;
    };
    let [seq, ack] = numbers(&scratch.bytes, header_at(path));
    let is_next = is_within(seq, flow.server_next, CONVERSATION_BYTES);
    flow.state == FLOW_PIPELINED || flow.heard == ack || !is_next
}

/// Whether a message that starts at `start` comes before what passed of the connection already.
#[inline(always)]
pub(crate) fn is_behind<S: Steps + ?Sized>(steps: &S, key: u64, start: u32) -> bool {
    let flow = steps.flow(key).filter(|flow| flow.state < FLOW_ANSWERED);
    flow.is_some_and(|flow| is_before(start, flow.server_next))
}

/// Whether a sequence number comes before another one of the same conversation.
#[inline(always)]
pub(crate) const fn is_before(number: u32, other: u32) -> bool {
    let distance = other.wrapping_sub(number);
    distance != 0 && distance < CONVERSATION_BYTES
}

/// Remembers that `count` queries of the segment pass.
#[inline(always)]
pub fn pass<S: Steps + ?Sized>(steps: &S, scratch: &Scratch, path: &Path, count: u32) {
    let Some(key) = flow_key(steps, &scratch.client) else {
        return;
    };
    let [seq, ack] = numbers(&scratch.bytes, header_at(path));
    let known = steps.flow(key);
    if known.is_some_and(|flow| flow.state >= FLOW_ANSWERED) {
        return;
    }
    let is_again = |flow: Flow| !is_within(seq, flow.server_next, CONVERSATION_BYTES);
    let was_pipelined = known
        .is_some_and(|flow| flow.state == FLOW_PIPELINED || flow.heard == ack && !is_again(flow));
    steps.set_flow(
        key,
        Flow {
            state: if was_pipelined || count > 1 {
                FLOW_PIPELINED
            } else {
                FLOW_OPEN
            },
            server_next: seq.wrapping_add(scratch.payload_len),
            heard: ack,
            ..Flow::default()
        },
    );
}

/// What becomes of a segment without a query, which is changed in `scratch` if need be.
#[inline(always)]
pub fn follow<S: Steps + ?Sized>(steps: &S, scratch: &mut Scratch, path: &Path) -> Reason {
    let Some(key) = flow_key(steps, &scratch.client) else {
        return Reason::Tcp;
    };
    let Some(flow) = steps.flow(key) else {
        return Reason::Tcp;
    };
    let at = header_at(path);
    let [flags] = header_bytes(&scratch.bytes, at.wrapping_add(FLAGS_AT));
    if flags & SYN != 0 {
        // Another connection from the same port.
        steps.remove_flow(key);
        return Reason::Tcp;
    }
    let [seq, ack] = numbers(&scratch.bytes, at);
    // Who only knows addresses and ports does not know the numbers.
    if flow.state < FLOW_ANSWERED || !belongs(flow, flags, seq, ack) {
        return Reason::Tcp;
    }
    if flow.state == FLOW_ANSWERED {
        if !reset_server(&mut scratch.bytes, path, at, flow.server_next) {
            return Reason::Tcp;
        }
        steps.set_flow(
            key,
            Flow {
                state: FLOW_RESET,
                ..flow
            },
        );
        return Reason::TcpReset;
    }
    if flags & RST != 0 || flags & FIN == 0 {
        return Reason::TcpQuiet;
    }
    let len = path.transport_len;
    let addresses = turn(&mut scratch.bytes, path, len as u16, IpProto::Tcp);
    let bytes = &mut scratch.bytes;
    turn_header(bytes, at, len, [ack, seq.wrapping_add(1)], ACK);
    finish(bytes, at, len, addresses + pseudo(len));
    Reason::TcpClosed
}

/// Whether a segment is of the conversation behind an answer: its numbers are those that the answer led to.
#[inline(always)]
fn belongs(flow: Flow, flags: u8, seq: u32, ack: u32) -> bool {
    let sent = flow.client_to.wrapping_sub(flow.client_from);
    let told = flow.heard_to.wrapping_sub(flow.heard);
    let is_heard = flags & ACK == 0 || ack.wrapping_sub(flow.heard) <= told;
    seq.wrapping_sub(flow.client_from) <= sent && is_heard
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

/// Turns the query with the last byte of its class at `class_at` of the frame into one of class 0 ([`NO_CLASS`]):
/// the checksum. It is of class IN: what is odd is not changed, but dropped.
#[inline(always)]
pub fn disarmed(scratch: &mut Scratch, path: &Path, class_at: usize) -> [u8; 2] {
    let at = header_at(path);
    let len = path.transport_len + scratch.payload_len as usize;
    let around = addresses(&scratch.bytes, path) + pseudo(len);
    let checksum: [u8; 2] = header_bytes(&scratch.bytes, at.wrapping_add(CHECKSUM_AT));
    // The sum of the pseudo-header alone stays, as in `reset_server`.
    if u16::from_ne_bytes(checksum) == folded(around) {
        return checksum;
    }
    // RFC 1624 §3: HC' = ~(~HC + ~m + m').
    let word = |byte: u8| match (class_at.wrapping_sub(path.transport_at)) & 1 {
        0 => u16::from_ne_bytes([byte, 0]),
        _ => u16::from_ne_bytes([0, byte]),
    };
    let sum = u64::from(!u16::from_ne_bytes(checksum))
        + u64::from(!word(CLASS_IN as u8))
        + u64::from(word(NO_CLASS));
    let checksum = (!folded(sum)).to_ne_bytes();
    put(&mut scratch.bytes, at.wrapping_add(CHECKSUM_AT), checksum);
    checksum
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
pub(crate) fn header_at(path: &Path) -> usize {
    HEADERS_MAX_BYTES
        .wrapping_sub(path.dns_at())
        .wrapping_add(path.transport_at)
}

/// Sequence and acknowledgment number.
#[inline(always)]
pub(crate) fn numbers(bytes: &FrameBytes, at: usize) -> [u32; 2] {
    [
        u32::from_be_bytes(header_bytes(bytes, at.wrapping_add(4))),
        u32::from_be_bytes(header_bytes(bytes, at.wrapping_add(8))),
    ]
}

/// Position of the checksum in a header.
pub const CHECKSUM_AT: usize = 16;

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
pub(crate) fn flow_key<S: Steps + ?Sized>(steps: &S, client: &QueryClient) -> Option<u64> {
    let key: &HashKey = &steps.record(0).map(Control::of)?.key;
    let source = hash::address_hash(&client.source, key);
    let destination = hash::address_hash(&client.destination, key);
    Some(hash::mix(source ^ u64::from(client.port), destination, key))
}

#[cfg(test)]
mod tests;
