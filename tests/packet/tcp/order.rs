//! Streams that no network stack sends: in another order, or told twice. Only raw sockets send them.

use filter_common::reason::Reason;

use super::{Engines, later, query};

#[test]
fn pieces_in_the_wrong_order_do_not_pass() {
    let mut engines = Engines::new();
    for is_ipv6 in [false, true] {
        let mut whole = query("blocked.test", is_ipv6);
        for at in 1..whole.payload.len() {
            // Each is another connection.
            whole.source.set_port(41_000 + at as u16);
            let [rest, start] = [at..whole.payload.len(), 0..at].map(|part| {
                let segment = later(&whole, part.start, &whole.payload[part]);
                engines.judge(&segment.build()).0
            });
            let is_dropped = |reason| matches!(reason, Reason::Unreadable | Reason::OddDropped);
            assert!(
                is_dropped(rest) || is_dropped(start),
                "{at}: {rest:?}, {start:?}"
            );
        }
    }
}

#[test]
fn other_bytes_in_a_place_of_the_stream_do_not_pass() {
    let (blocked, clean) = (query("blocked.test", false), query("passing.test", false));
    for at in 16..20 {
        // Whichever the server takes.
        for (first, second) in [(&clean, &blocked), (&blocked, &clean)] {
            let mut engines = Engines::new();
            engines.passes(&later(first, 0, &first.payload[..at]), Reason::TcpPart);
            engines.passes(&later(second, 0, &second.payload[..at]), Reason::Unreadable);
            engines.passes(
                &later(second, 14, &second.payload[14..]),
                Reason::Unreadable,
            );
        }
    }
    let mut engines = Engines::new();
    engines.passes(&later(&clean, 0, &clean.payload[..20]), Reason::TcpPart);
    // The same bytes again, more of them, and the rest from the middle of what is known.
    engines.passes(&later(&clean, 0, &clean.payload[..20]), Reason::TcpPart);
    engines.passes(&later(&clean, 0, &clean.payload[..22]), Reason::TcpPart);
    engines.passes(&later(&clean, 16, &clean.payload[16..]), Reason::NoRule);
    // All of it was lost behind the filter.
    engines.passes(&later(&clean, 0, &clean.payload[..20]), Reason::TcpPart);
    engines.passes(&clean, Reason::NoRule);
}

#[test]
fn what_calls_itself_a_response_does_not_pass_over_tcp() {
    let mut engines = Engines::new();
    let mut query = query("blocked.test", false);
    query.payload[4] |= 0x80;
    engines.passes(&query, Reason::Unreadable);
}
