//! Random and mutated frames: the kernel's verdict and bytes are the host's.

use filter_common::reason::{Action, Reason};
use nxdp_lab::{
    cases,
    check::check_frame,
    engines::{HostEngine, KernelEngine, compile_texts},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

/// Frames that reach every reason; NXDP_FRAMES asks for another number.
const FRAMES: usize = 100_000;

fn frames() -> usize {
    std::env::var("NXDP_FRAMES").map_or(FRAMES, |number| {
        number.parse().expect("NXDP_FRAMES is a number")
    })
}

#[test]
fn the_kernel_does_what_the_host_does() {
    let image = compile_texts(&cases::LISTS).unwrap();
    let mut kernel = KernelEngine::new(&image).unwrap();
    let mut host = HostEngine::beside(&image, &kernel);
    let seeds: Vec<Vec<u8>> = cases::all().into_iter().map(|case| case.frame).collect();
    let mut random = StdRng::seed_from_u64(0x6e78_6470);
    let frames = frames();
    let mut answered = 0;
    let mut reasons = std::collections::BTreeMap::<&str, usize>::new();
    for number in 0..frames {
        let frame = mutated(seeds.choose(&mut random).unwrap(), &mut random);
        let on_host = host.judge(&frame);
        let in_kernel = kernel.judge(&frame).unwrap();
        assert_eq!(on_host, in_kernel, "frame {number}: {frame:02x?}");
        *reasons.entry(on_host.reason.name()).or_default() += 1;
        if on_host.reason.action() == Action::Transmit {
            answered += 1;
            let answer = check_frame(&on_host.frame)
                .unwrap_or_else(|error| panic!("frame {number}: {error}: {frame:02x?}"));
            hickory_proto::op::Message::from_vec(&answer.payload)
                .unwrap_or_else(|error| panic!("frame {number}: {error}: {frame:02x?}"));
        } else {
            let is_changed = matches!(on_host.reason, Reason::TcpReset | Reason::TcpError);
            assert!(
                is_changed || on_host.frame == frame,
                "frame {number} changed on its way"
            );
        }
    }
    println!("tried {frames} frames: {reasons:?}");
    assert!(answered > frames / 20, "the frames reach the answer");
    let silent: Vec<&str> = Reason::ALL
        .iter()
        .filter(|reason| !UNREACHABLE.contains(reason))
        .map(|reason| reason.name())
        .filter(|name| !reasons.contains_key(name))
        .collect();
    let is_slice = frames < FRAMES;
    assert!(
        is_slice || silent.is_empty(),
        "the frames never reach {silent:?}"
    );
}

/// Reasons that this table or TEST_RUN cannot produce.
const UNREACHABLE: &[Reason] = &[
    Reason::NoGeneration,
    Reason::Observed,
    Reason::Inconsistent,
    Reason::NoRoom,
    // There is one policy, nothing is limited or overridden, and tags stay on; see policy_cases.
    Reason::Untagged,
    // Nothing that is blocked is let by; see odd.
    Reason::RecordCount,
    Reason::Qclass,
    Reason::Additional,
    Reason::BadEdns,
    Reason::EdnsVersion,
    Reason::OddHeaders,
    Reason::LabelType,
    Reason::HeaderChain,
    Reason::FirstFragment,
    Reason::TcpSegment,
    Reason::Crowded,
    Reason::NotClient,
    Reason::Unfiltered,
    Reason::Paused,
    Reason::Overridden,
    Reason::Slipped,
    Reason::RateLimited,
    Reason::BypassReset,
    Reason::BypassDropped,
    Reason::BypassObserved,
    // Conversations are in tests/packet/tcp.rs.
    Reason::TcpOnly,
    Reason::TcpReset,
    Reason::TcpClosed,
    Reason::TcpQuiet,
    Reason::TcpError,
];

/// Values where parsers change their mind.
const EDGES: [u8; 8] = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff];

/// A frame with a few bytes changed, cut, repeated or replaced.
fn mutated(seed: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut frame = seed.to_vec();
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..frame.len());
        match random.random_range(0..8) {
            0..=2 => frame[at] ^= 1 << random.random_range(0..8),
            3 => frame[at] = random.random(),
            4 => frame[at] = EDGES[random.random_range(0..EDGES.len())],
            5 => frame.truncate(at.max(14)),
            6 => {
                let byte = frame[at];
                frame.insert(at, byte);
            }
            _ => {
                // Letters of the name change case: still the same name.
                for byte in frame.iter_mut().skip(54) {
                    if byte.is_ascii_alphabetic() && random.random() {
                        *byte ^= 0x20;
                    }
                }
            }
        }
    }
    // TEST_RUN refuses frames that are shorter than an Ethernet header.
    if frame.len() < 14 {
        frame.resize(14, 0);
    }
    frame
}
