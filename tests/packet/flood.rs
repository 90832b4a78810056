//! What an attacker gets out of the filter: a flood of forged sources, and two filters face to face.

use std::{net::SocketAddr, time::Instant};

use filter_common::reason::Action;
use nxdp_lab::{
    cases::{self, Message},
    engines::{HostEngine, compile_texts},
    filter::Filter,
    frame::UdpFrame,
    frame_watch::FrameWatch,
    lab::{self, Lab},
};

/// Queries of the flood, and the forged senders of one /24 that they come from.
const QUERIES: u32 = 40_000;
const SENDERS: u32 = 200;
const ANSWERS_PER_S: u64 = 50;
/// Answers at once, by default.
const BURST: u64 = 5_000;

fn query(number: u32) -> Vec<u8> {
    let message = Message::new("blocked.test").opt(0, &[]).bytes();
    let sender = [10, 7, 7, (number % SENDERS) as u8 + 1];
    let source = SocketAddr::from((sender, 1024 + (number % 50_000) as u16));
    UdpFrame::new(source, lab::DNS_V4, &message).build()
}

#[test]
fn a_flood_of_forged_sources_gets_less_out_than_it_puts_in() {
    let lab = Lab::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.txt");
    std::fs::write(&list, "||blocked.test^\n").unwrap();
    let rate = ANSWERS_PER_S.to_string();
    let arguments = ["--list", list.to_str().unwrap(), "--answers-per-s", &rate];
    let filter = Filter::start(&lab, folder.path(), &arguments).unwrap();
    let watch = FrameWatch::start(lab.client_socket().unwrap());
    let socket = lab.client_socket().unwrap();
    let start = Instant::now();
    let mut bytes_in = 0;
    for number in 0..QUERIES {
        let frame = query(number);
        bytes_in += frame.len();
        socket.send(&frame).unwrap();
    }
    let seconds = start.elapsed().as_secs() + 2;
    let counters = filter.counters().unwrap();
    let answers = watch.finish().unwrap();
    let answers = answers.iter().filter(|frame| frame.source == lab::DNS_V4);
    let seen_bytes: usize = answers.map(|frame| 42 + frame.payload.len()).sum();

    let count = |name: &str| counters[name];
    let (whole, slipped) = (count("answer_nxdomain"), count("answer_slip"));
    let judged = whole + slipped + count("drop_rate_limited");
    assert_eq!(judged, u64::from(QUERIES), "{counters:?}");
    assert!(whole >= BURST, "{whole} answers: the burst is given");
    assert!(whole <= BURST + ANSWERS_PER_S * seconds, "{whole} answers");
    // A token that comes in between starts the alternation anew.
    let uneven = slipped.abs_diff(count("drop_rate_limited"));
    assert!(uneven <= 2 + ANSWERS_PER_S * seconds, "{counters:?}");
    println!(
        "{bytes_in} bytes in, {seen_bytes} bytes out, {whole} whole answers, {slipped} truncated"
    );
    assert!(seen_bytes > 0, "answers were seen");
    assert!(seen_bytes <= bytes_in, "{seen_bytes} of {bytes_in} bytes");
}

#[test]
fn an_answer_that_meets_another_filter_is_not_answered() {
    let image = compile_texts(&cases::LISTS).unwrap();
    let (mut first, mut second) = (HostEngine::new(&image), HostEngine::new(&image));
    let mut answers = 0;
    for case in cases::all() {
        let answer = first.judge(&case.frame);
        if answer.reason.action() != Action::Transmit {
            continue;
        }
        answers += 1;
        // As it left, and as if it had been asked from port 53.
        let mut to_dns = answer.frame.clone();
        let ports = to_dns
            .windows(4)
            .position(|ports| ports == [0, 53, 0x9c, 0x40]);
        if let Some(at) = ports {
            to_dns[at + 2..at + 4].copy_from_slice(&[0, 53]);
        }
        for frame in [&answer.frame, &to_dns] {
            let again = second.judge(frame);
            assert_eq!(again.reason.action(), Action::Pass, "{}", case.description);
        }
    }
    assert!(answers > 100, "{answers} answers");
}
