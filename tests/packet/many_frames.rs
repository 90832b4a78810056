//! Millions of changed frames, each held against what must hold of every frame.
//!
//! `cargo test --release -p filter-user --test packet many_frames -- --ignored --nocapture` tries fifty
//! million on the host and every fiftieth of them in the kernel; NXDP_FRAMES sets the number.

use std::{collections::BTreeMap, time::Instant};

use filter_common::reason::{Action, Reason};
use nxdp_lab::{
    cases,
    conformance::{self, BLOCKED, FREE},
    engines::{HostEngine, KernelEngine, compile_texts},
    frame::UdpFrame,
    invariants,
    mutate::{Random, mutate},
};

/// One in so many frames goes through the kernel too.
const KERNEL_SHARE: usize = 50;

/// What frames are made of.
struct Seeds {
    frames: Vec<Vec<u8>>,
    messages: Vec<Vec<u8>>,
}

impl Seeds {
    fn new() -> Self {
        let messages = [BLOCKED, FREE].into_iter().flat_map(conformance::all);
        Self {
            frames: cases::all().into_iter().map(|case| case.frame).collect(),
            messages: messages.map(|case| case.message).collect(),
        }
    }

    /// In turn a frame with changed bytes, and a right frame around a changed message.
    fn frame(&self, number: usize, random: &mut Random) -> Vec<u8> {
        if number.is_multiple_of(2) {
            let mut frame = random.choice(&self.frames).clone();
            mutate(&mut frame, 14, random);
            return frame;
        }
        let mut message = random.choice(&self.messages).clone();
        mutate(&mut message, 1, random);
        let port = random.bits() as u16;
        let frame = if random.below(2) == 0 {
            UdpFrame::query_v4(port, &message)
        } else {
            UdpFrame::query_v6(port, &message)
        };
        match random.below(4) {
            0 => frame.vlan(7).build(),
            1 => frame.pppoe(9).build(),
            _ => frame.build(),
        }
    }
}

#[test]
fn what_must_hold_holds_of_a_slice_of_the_frames() {
    try_frames(100_000);
}

#[test]
#[ignore = "takes minutes"]
fn what_must_hold_holds_of_fifty_million_frames() {
    let count = std::env::var("NXDP_FRAMES");
    try_frames(count.map_or(50_000_000, |count| count.parse().unwrap()));
}

fn try_frames(count: usize) {
    let image = compile_texts(&cases::LISTS).unwrap();
    let mut kernel = KernelEngine::new(&image).unwrap();
    let mut host = HostEngine::beside(&image, &kernel);
    let seeds = Seeds::new();
    let mut random = Random::new(0x6e78_6470_0000_0000 + count as u64);
    let mut reasons = BTreeMap::<&str, usize>::new();
    let (mut in_kernel, start) = (0, Instant::now());
    for number in 0..count {
        let frame = seeds.frame(number, &mut random);
        let verdict = host.judge(&frame);
        *reasons.entry(verdict.reason.name()).or_default() += 1;
        invariants::check(&frame, &verdict)
            .unwrap_or_else(|why| panic!("frame {number}: {why}: {frame:02x?}"));
        // Of connections, the kernel has to know what the host knows.
        if number % KERNEL_SHARE == 0 || host.has_followed() {
            in_kernel += 1;
            let outcome = kernel.filter().test_run(&frame, 1).unwrap();
            let action = match verdict.reason.action() {
                Action::Drop => 1,
                Action::Pass => 2,
                Action::Transmit => 3,
            };
            assert_eq!(outcome.action, action, "frame {number}: {frame:02x?}");
            assert_eq!(outcome.frame, verdict.frame, "frame {number}: {frame:02x?}");
        }
    }
    println!(
        "{count} frames, {in_kernel} of them in the kernel, in {:.0} s: {reasons:#?}",
        start.elapsed().as_secs_f64()
    );
    let answered = |reason: Reason| reasons.contains_key(reason.name());
    assert!(answered(Reason::NxDomain) && answered(Reason::Address));
}
