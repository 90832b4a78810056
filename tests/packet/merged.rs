//! Datagrams that a client hands over unsegmented, before a program in generic mode: UDP_SEGMENT.

use std::{net::UdpSocket, time::Duration};

use hickory_proto::rr::RecordType;
use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use nxdp_lab::{lab, query::Query, running::Running};

/// How long an answer that comes at all takes at most.
const SHORT: Duration = Duration::from_millis(300);

fn message(name: &str) -> Vec<u8> {
    Query::new(name, RecordType::A).unwrap().to_bytes(7)
}

/// Whether the resolver answers the second segment of a datagram whose first one is `first`.
fn is_resolved(show: &Running, mut first: Vec<u8>, second: &[u8]) -> bool {
    // All but the last are of one size.
    first.resize(first.len().max(second.len()), 0);
    let size = first.len() as i32;
    let both = [first, second.to_vec()].concat();
    let answered = show.lab.client().run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(SHORT)).unwrap();
        setsockopt(&socket, UdpGsoSegment, &size).unwrap();
        socket.send_to(&both, lab::DNS_V4).unwrap();
        let mut answer = [0; 512];
        let answers = std::iter::from_fn(|| {
            socket
                .recv(&mut answer)
                .ok()
                .map(|len| answer[..len].to_vec())
        });
        // The question of the second one, and a record.
        let question = &second[12..];
        answers.take(2).any(|answer| {
            answer[7] != 0 && answer.windows(question.len()).any(|part| part == question)
        })
    });
    answered.unwrap()
}

#[test]
fn a_blocked_query_does_not_hide_in_a_datagram_that_is_not_cut_yet() {
    let list = [("list.txt", "||blocked.example^\n")];
    let show = Running::start(&list, &["list.txt", "--mode", "skb"]);
    let (blocked, clean) = (message("www.blocked.example"), message("www.clean.example"));
    let with = |at: usize, byte: u8| {
        let mut first = message("www.other.example");
        first[at] = byte;
        first
    };
    let padded = [message("www.other.example"), vec![0; 30]].concat();
    for (what, first) in [
        ("a response", with(2, 0x80)),
        ("another opcode", with(2, 0x10)),
        ("no question", with(5, 0)),
        ("zeros", vec![0; 35]),
        ("records", with(7, 1)),
        ("something behind a clean query", padded),
    ] {
        assert!(!is_resolved(&show, first, &blocked), "{what}");
    }
    // Two queries as they are: the answers come.
    assert!(is_resolved(&show, message("www.other.example"), &clean));
}
