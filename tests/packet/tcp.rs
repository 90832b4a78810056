//! Conversations over TCP whose query is answered in the server's place: segment by segment,
//! on the host and in the kernel, read back with etherparse.

use filter_common::reason::Reason;
use hickory_proto::op::{Message as Answer, ResponseCode};
use nxdp_lab::{
    cases::Message,
    engines::{HostEngine, KernelEngine, compile_texts},
    segment::Segment,
};

/// Both bodies of the core; what they say must be one.
struct Engines {
    host: HostEngine,
    kernel: KernelEngine,
}

impl Engines {
    fn new() -> Self {
        let image = compile_texts(&[("tcp", "||blocked.test^\n")]).unwrap();
        Self {
            host: HostEngine::new(&image),
            kernel: KernelEngine::new(&image).unwrap(),
        }
    }

    fn judge(&mut self, frame: &[u8]) -> (Reason, Vec<u8>) {
        let on_host = self.host.judge(frame);
        let in_kernel = self.kernel.judge(frame).unwrap();
        assert_eq!(on_host, in_kernel);
        (on_host.reason, on_host.frame)
    }

    /// Judges a segment that passes as it is.
    fn passes(&mut self, segment: &Segment, expected: Reason) {
        let frame = segment.build();
        assert_eq!(self.judge(&frame), (expected, frame));
    }

    /// Judges a segment that becomes another one.
    fn becomes(&mut self, segment: &Segment, expected: Reason) -> Segment {
        let (reason, frame) = self.judge(&segment.build());
        assert_eq!(reason, expected);
        Segment::read(&frame).unwrap()
    }
}

/// The same conversation in every wrapping: IPv4 and IPv6, tagged or not, with timestamps or not.
fn wrappings() -> impl Iterator<Item = (bool, Option<u16>, Option<(u32, u32)>)> {
    [false, true].into_iter().flat_map(|is_ipv6| {
        [None, Some(7)].into_iter().flat_map(move |vlan| {
            [None, Some((900, 800))].map(move |timestamps| (is_ipv6, vlan, timestamps))
        })
    })
}

fn query(name: &str, is_ipv6: bool) -> Segment {
    Segment::query(is_ipv6, &Message::new(name).opt(0x8000, &[]).bytes())
}

#[test]
fn a_blocked_query_is_answered_and_both_sides_are_told_that_it_is_over() {
    for (is_ipv6, vlan, timestamps) in wrappings() {
        let mut engines = Engines::new();
        let query = Segment {
            vlan,
            timestamps,
            ..query("www.blocked.test", is_ipv6)
        };
        let answer = engines.becomes(&query, Reason::NxDomain);
        assert_eq!(answer.source, query.destination);
        assert_eq!(answer.destination, query.source);
        assert_eq!(answer.flags, "AFP");
        assert_eq!(answer.vlan, vlan);
        assert_eq!(answer.seq, query.ack);
        let end = query.seq.wrapping_add(query.payload.len() as u32);
        assert_eq!(answer.ack, end);
        assert_eq!(
            answer.timestamps,
            timestamps.map(|(own, heard)| (heard, own))
        );
        let (len, message) = answer.payload.split_first_chunk().unwrap();
        assert_eq!(usize::from(u16::from_be_bytes(*len)), message.len());
        let message = Answer::from_vec(message).unwrap();
        assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);

        let confirmed = Segment {
            seq: end,
            ack: answer.seq.wrapping_add(answer.payload.len() as u32 + 1),
            ..query.then("A", &[])
        };
        let reset = engines.becomes(&confirmed, Reason::TcpReset);
        assert_eq!((reset.flags, reset.seq), ("R", query.seq));
        assert_eq!(reset.source, query.source);
        assert_eq!(reset.destination, query.destination);

        let fin = confirmed.then("AF", &[]);
        let closed = engines.becomes(&fin, Reason::TcpClosed);
        assert_eq!(closed.flags, "A");
        assert_eq!(closed.seq, fin.ack);
        assert_eq!(closed.ack, end.wrapping_add(1));
        assert_eq!(closed.destination, query.source);
        // The confirmation was lost: the same again.
        assert_eq!(engines.becomes(&fin, Reason::TcpClosed).ack, closed.ack);
        engines.passes(&confirmed, Reason::TcpQuiet);

        // The port is used for another connection: nothing of the old one is left.
        let next = query.then("S", &[]);
        engines.passes(&next, Reason::Tcp);
        engines.passes(&confirmed, Reason::Tcp);
    }
}

#[test]
fn a_connection_that_opens_with_data_is_another_one() {
    for is_ipv6 in [false, true] {
        let mut engines = Engines::new();
        let query = query("blocked.test", is_ipv6);
        let confirmed = query.then("A", &[]);
        engines.becomes(&query, Reason::NxDomain);
        engines.becomes(&confirmed, Reason::TcpReset);
        engines.passes(&confirmed, Reason::TcpQuiet);
        // TCP Fast Open (RFC 7413) from the same port.
        engines.passes(&query.then("S", &query.payload), Reason::TcpSegment);
        engines.passes(&confirmed, Reason::Tcp);
    }
}

#[test]
fn a_query_that_comes_again_is_answered_again() {
    let mut engines = Engines::new();
    let query = query("blocked.test", false);
    let first = engines.becomes(&query, Reason::NxDomain);
    let second = engines.becomes(&query, Reason::NxDomain);
    assert_eq!(first.payload, second.payload);
    // The server is told once, whichever answer is confirmed.
    let confirmed = query.then("A", &[]);
    assert_eq!(engines.becomes(&confirmed, Reason::TcpReset).seq, query.seq);
    engines.becomes(&query, Reason::NxDomain);
    engines.passes(&confirmed, Reason::TcpQuiet);
}

#[test]
fn a_client_that_gives_up_ends_the_server_side_too() {
    let mut engines = Engines::new();
    let query = query("blocked.test", false);
    engines.becomes(&query, Reason::NxDomain);
    let given_up = Segment {
        seq: query.seq.wrapping_add(query.payload.len() as u32),
        ..query.then("R", &[])
    };
    assert_eq!(engines.becomes(&given_up, Reason::TcpReset).seq, query.seq);
}

#[test]
fn a_reset_for_the_server_keeps_a_sum_that_a_device_completes() {
    let mut engines = Engines::new();
    let query = query("blocked.test", false);
    engines.becomes(&query, Reason::NxDomain);
    // What a sender on the same machine leaves in the field: the sum of the pseudo-header.
    let mut confirmed = query.then("A", &[]).build();
    let words = confirmed[26..34]
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum = words.sum::<u32>() + 6 + 20;
    let partial = ((sum & 0xffff) + (sum >> 16)) as u16;
    confirmed[50..52].copy_from_slice(&partial.to_be_bytes());
    let (reason, frame) = engines.judge(&confirmed);
    assert_eq!(reason, Reason::TcpReset);
    assert_eq!(frame[50..52], partial.to_be_bytes());
    assert_eq!(frame[38..42], query.seq.to_be_bytes());
}

#[test]
fn a_reset_is_not_made_of_a_segment_with_a_wrong_sum() {
    let mut engines = Engines::new();
    let query = query("blocked.test", false);
    engines.becomes(&query, Reason::NxDomain);
    let mut confirmed = query.then("A", &[]).build();
    confirmed[50] ^= 0x55;
    let (reason, frame) = engines.judge(&confirmed);
    assert_eq!((reason, frame), (Reason::Tcp, confirmed));
}

#[test]
fn what_is_not_one_whole_query_passes() {
    let mut engines = Engines::new();
    let whole = query("blocked.test", false);
    engines.passes(&query("free.test", false), Reason::NoRule);
    engines.passes(&whole.then("S", &[]), Reason::Tcp);
    engines.passes(&whole.then("A", &[]), Reason::Tcp);
    engines.passes(&whole.then("AF", &[]), Reason::Tcp);
    for cut in [1, 2, 3, 20, whole.payload.len() - 1] {
        engines.passes(&whole.then("AP", &whole.payload[..cut]), Reason::TcpSegment);
    }
    for flags in ["S", "R", "P"] {
        engines.passes(&whole.then(flags, &whole.payload), Reason::TcpSegment);
    }
}

#[test]
fn a_query_behind_another_one_is_left_for_its_sender_to_repeat() {
    for is_ipv6 in [false, true] {
        let mut engines = Engines::new();
        let whole = query("blocked.test", is_ipv6);
        let first_len = whole.payload.len() as u32;
        let two = whole.then(
            "AP",
            &[whole.payload.clone(), whole.payload.clone()].concat(),
        );
        let first = engines.becomes(&two, Reason::NxDomain);
        assert_eq!(first.flags, "AP");
        assert_eq!(first.ack, whole.seq.wrapping_add(first_len));

        // The server is told of the first one, at the number it waits for.
        let heard = first.seq.wrapping_add(first.payload.len() as u32);
        let confirmed = Segment {
            seq: two.seq.wrapping_add(2 * first_len),
            ack: heard,
            ..two.then("A", &[])
        };
        let reset = engines.becomes(&confirmed, Reason::TcpReset);
        assert_eq!(reset.seq, whole.seq);

        let again = Segment {
            seq: first.ack,
            ack: heard,
            ..whole.clone()
        };
        let second = engines.becomes(&again, Reason::NxDomain);
        assert_eq!((second.flags, second.seq), ("AFP", heard));
        assert_eq!(second.ack, confirmed.seq);
        // The server has gone already.
        engines.passes(&confirmed, Reason::TcpQuiet);
    }
}
