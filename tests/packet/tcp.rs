//! Conversations over TCP whose query is answered in the server's place: segment by segment,
//! on the host and in the kernel, read back with etherparse.

mod order;

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
        let kernel = KernelEngine::new(&image).unwrap();
        // The same places: one that a connection holds is no other one's.
        let host = HostEngine::beside(&image, &kernel);
        Self { host, kernel }
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

/// What the client sends next without data, when it has heard `answer`.
fn heard(query: &Segment, answer: &Segment) -> Segment {
    let fin = u32::from(answer.flags.contains('F'));
    Segment {
        seq: query.seq.wrapping_add(query.payload.len() as u32),
        ack: answer.seq.wrapping_add(answer.payload.len() as u32 + fin),
        ..query.then("A", &[])
    }
}

/// The next segment of the same sender, `sent` bytes later.
fn later(segment: &Segment, sent: usize, payload: &[u8]) -> Segment {
    Segment {
        seq: segment.seq.wrapping_add(sent as u32),
        ..segment.then("AP", payload)
    }
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
        let confirmed = heard(&query, &engines.becomes(&query, Reason::NxDomain));
        engines.becomes(&confirmed, Reason::TcpReset);
        engines.passes(&confirmed, Reason::TcpQuiet);
        // TCP Fast Open (RFC 7413) from the same port.
        engines.passes(&query.then("S", &query.payload), Reason::OddDropped);
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
    let confirmed = heard(&query, &first);
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
    let answer = engines.becomes(&query, Reason::NxDomain);
    // What a sender on the same machine leaves in the field: the sum of the pseudo-header.
    let mut confirmed = heard(&query, &answer).build();
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
    let answer = engines.becomes(&query, Reason::NxDomain);
    let mut confirmed = heard(&query, &answer).build();
    confirmed[50] ^= 0x55;
    let (reason, frame) = engines.judge(&confirmed);
    assert_eq!((reason, frame), (Reason::Tcp, confirmed));
}

#[test]
fn what_has_no_query_passes() {
    let mut engines = Engines::new();
    let whole = query("blocked.test", false);
    engines.passes(&query("free.test", false), Reason::NoRule);
    for flags in ["S", "A", "AF"] {
        engines.passes(&whole.then(flags, &[]), Reason::Tcp);
    }
    // No server takes data of these.
    for flags in ["R", "P", "AR"] {
        engines.passes(&whole.then(flags, &whole.payload), Reason::Tcp);
    }
}

/// The pieces of a query, one behind the other.
fn pieces(whole: &Segment, cuts: &[usize]) -> Vec<Segment> {
    let mut starts = vec![0];
    starts.extend(cuts);
    let ends = cuts.iter().copied().chain([whole.payload.len()]);
    let piece = |(start, end): (usize, usize)| later(whole, start, &whole.payload[start..end]);
    starts.iter().copied().zip(ends).map(piece).collect()
}

#[test]
fn a_query_in_pieces_is_judged_when_its_question_is_whole() {
    let each_byte: Vec<usize> = (1..20).collect();
    for cuts in [&[2][..], &[1], &[1, 2, 3], &[14], &[2, 14, 20], &each_byte] {
        for is_ipv6 in [false, true] {
            let mut engines = Engines::new();
            let clean = pieces(&query("free.test", is_ipv6), cuts);
            let (last, parts) = clean.split_last().unwrap();
            for part in parts {
                engines.passes(part, Reason::TcpPart);
            }
            engines.passes(last, Reason::NoRule);
            // Any of them may come again.
            engines.passes(last, Reason::NoRule);
            engines.passes(&clean[0], Reason::TcpPart);

            let mut engines = Engines::new();
            let whole = query("www.blocked.test", is_ipv6);
            let blocked = pieces(&whole, cuts);
            let (last, parts) = blocked.split_last().unwrap();
            for part in parts {
                engines.passes(part, Reason::TcpPart);
            }
            let answer = engines.becomes(last, Reason::NxDomain);
            assert_eq!((answer.flags, answer.seq), ("AFP", whole.ack));
            assert_eq!(answer.ack, later(&whole, whole.payload.len(), &[]).seq);
            // The server has the pieces before: it waits for the last one.
            let reset = engines.becomes(&heard(last, &answer), Reason::TcpReset);
            assert_eq!((reset.flags, reset.seq), ("R", last.seq));
        }
    }
}

#[test]
fn a_client_that_repeats_its_pieces_in_one_is_answered() {
    let mut engines = Engines::new();
    let whole = query("blocked.test", false);
    engines.passes(&later(&whole, 0, &whole.payload[..2]), Reason::TcpPart);
    let answer = engines.becomes(&whole, Reason::NxDomain);
    assert_eq!(answer.ack, later(&whole, whole.payload.len(), &[]).seq);
}

#[test]
fn a_blocked_question_does_not_pass_before_the_rest_of_its_message() {
    let mut engines = Engines::new();
    let whole = query("blocked.test", false);
    // All but a byte of OPT.
    let cut = whole.payload.len() - 1;
    engines.passes(&later(&whole, 0, &whole.payload[..cut]), Reason::OddDropped);
    engines.becomes(&whole, Reason::NxDomain);
}

#[test]
fn the_rest_of_a_long_clean_message_passes() {
    let mut engines = Engines::new();
    let padding = [&[0, 12, 4, 176][..], &[0; 1200]].concat();
    let whole = Segment::query(false, &Message::new("free.test").opt(0, &padding).bytes());
    let first = later(&whole, 0, &whole.payload[..600]);
    engines.passes(&first, Reason::NoRule);
    engines.passes(
        &later(&whole, 600, &whole.payload[600..1000]),
        Reason::TcpPart,
    );
    // The end of it, and a query behind.
    let blocked = query("blocked.test", false);
    let end = [&whole.payload[1000..], &blocked.payload].concat();
    let (reason, frame) = engines.judge(&later(&whole, 1000, &end).build());
    assert_eq!(reason, Reason::TcpError);
    assert_eq!(
        classes(&Segment::read(&frame).unwrap().payload[end.len() - blocked.payload.len()..]),
        [0]
    );
}

#[test]
fn data_that_starts_in_the_middle_of_a_message_does_not_pass() {
    let mut engines = Engines::new();
    let whole = query("blocked.test", false);
    engines.passes(&later(&whole, 2, &whole.payload[2..]), Reason::Unreadable);
    let clean = query("free.test", false);
    engines.passes(&later(&clean, 9, &clean.payload[9..]), Reason::Unreadable);
    // A receiver takes the urgent byte out.
    engines.passes(&clean.then("APU", &clean.payload), Reason::Unreadable);
    // More queries than are looked at.
    engines.passes(
        &clean.then("AP", &clean.payload.repeat(9)),
        Reason::Unreadable,
    );
    engines.passes(&clean.then("AP", &clean.payload.repeat(8)), Reason::NoRule);
}

#[test]
fn a_connection_may_open_with_one_clean_query() {
    let mut engines = Engines::new();
    let clean = query("free.test", false);
    engines.passes(&clean.then("S", &clean.payload), Reason::NoRule);
    for payload in [&clean.payload[..9], &clean.payload.repeat(2)] {
        engines.passes(&clean.then("S", payload), Reason::Unreadable);
    }
}

/// The classes that the messages of a stream ask for.
fn classes(mut stream: &[u8]) -> Vec<u16> {
    let mut classes = Vec::new();
    while let [a, b, rest @ ..] = stream {
        let (message, behind) = rest.split_at(usize::from(u16::from_be_bytes([*a, *b])));
        let name_end = message[12..].iter().position(|byte| *byte == 0).unwrap();
        let class_at = 12 + name_end + 3;
        classes.push(u16::from_be_bytes([
            message[class_at],
            message[class_at + 1],
        ]));
        stream = behind;
    }
    classes
}

#[test]
fn a_blocked_query_that_cannot_be_answered_in_its_place_gets_an_error_of_the_server() {
    for (is_ipv6, vlan, timestamps) in wrappings() {
        let mut engines = Engines::new();
        let clean = Segment {
            vlan,
            timestamps,
            ..query("free.test", is_ipv6)
        };
        engines.passes(&clean, Reason::NoRule);
        // Nothing was heard of the first one yet.
        let blocked = later(
            &clean,
            clean.payload.len(),
            &query("blocked.test", is_ipv6).payload,
        );
        let passed = engines.becomes(&blocked, Reason::TcpError);
        assert_eq!(classes(&passed.payload), [0]);
        assert_eq!((passed.seq, passed.ack), (blocked.seq, blocked.ack));
        assert_eq!(passed.payload.len(), blocked.payload.len());
        // Again, whatever was heard meanwhile: the server may have it.
        let again = Segment {
            ack: blocked.ack + 100,
            ..blocked.clone()
        };
        assert_eq!(
            engines.becomes(&again, Reason::TcpError).payload,
            passed.payload
        );
    }
}

#[test]
fn a_client_that_waits_for_each_answer_is_answered() {
    let mut engines = Engines::new();
    let clean = query("free.test", false);
    engines.passes(&clean, Reason::NoRule);
    let blocked = Segment {
        ack: clean.ack + 60,
        ..later(
            &clean,
            clean.payload.len(),
            &query("blocked.test", false).payload,
        )
    };
    let answer = engines.becomes(&blocked, Reason::NxDomain);
    assert_eq!((answer.flags, answer.seq), ("AFP", blocked.ack));
    let reset = engines.becomes(&heard(&blocked, &answer), Reason::TcpReset);
    assert_eq!(reset.seq, blocked.seq);
}

#[test]
fn a_blocked_query_beside_a_clean_one_in_a_segment_gets_an_error_of_the_server() {
    let (clean, blocked) = (query("free.test", false), query("blocked.test", false));
    for (order, expected) in [([&clean, &blocked], [1, 0]), ([&blocked, &clean], [0, 1])] {
        let mut engines = Engines::new();
        let payload = order.map(|query| query.payload.clone()).concat();
        let passed = engines.becomes(&clean.then("AP", &payload), Reason::TcpError);
        assert_eq!(classes(&passed.payload), expected);
    }
    // So that an odd place is tried too.
    let mut engines = Engines::new();
    let odd = Segment::query(false, &Message::new("a.free.test").bytes());
    assert_eq!(odd.payload.len() % 2, 1);
    let payload = [odd.payload, blocked.payload].concat();
    let passed = engines.becomes(&clean.then("AP", &payload), Reason::TcpError);
    assert_eq!(classes(&passed.payload), [1, 0]);
}

#[test]
fn a_forged_query_takes_nothing_from_the_connection_that_it_is_forged_for() {
    for is_ipv6 in [false, true] {
        let mut engines = Engines::new();
        let victim = query("free.test", is_ipv6);
        engines.passes(&victim, Reason::NoRule);
        let forged = Segment {
            seq: 0x1357_9bdf,
            ack: 0x2468_ace0,
            ..query("blocked.test", is_ipv6)
        };
        // Whatever comes of it.
        engines.judge(&forged.build());
        let sent = victim.payload.len();
        for (flags, seq) in [("A", 0), ("A", sent), ("AF", sent), ("R", sent)] {
            let segment = Segment {
                flags,
                ack: victim.ack + 60,
                ..later(&victim, seq, &[])
            };
            engines.passes(&segment, Reason::Tcp);
        }
        // Also without a query before it.
        let mut engines = Engines::new();
        engines.becomes(&forged, Reason::NxDomain);
        for flags in ["A", "AF", "R"] {
            engines.passes(&victim.then(flags, &[]), Reason::Tcp);
        }
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
