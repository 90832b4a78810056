#![no_main]

use std::sync::{LazyLock, Mutex};

use nxdp_lab::{
    cases,
    engines::{HostEngine, compile_texts},
    invariants,
};

/// More bytes than a network with jumbo frames carries find nothing new.
const FRAME_MAX_BYTES: usize = 2048;

static ENGINE: LazyLock<Mutex<HostEngine>> = LazyLock::new(|| {
    let image = compile_texts(&cases::LISTS).expect("the lists of the cases compile");
    Mutex::new(HostEngine::new(&image))
});

// A whole frame: what does not leave as an answer leaves unchanged, and answers are right.
libfuzzer_sys::fuzz_target!(|frame: &[u8]| {
    if frame.len() <= FRAME_MAX_BYTES {
        let verdict = ENGINE.lock().expect("one thread").judge(frame);
        if let Err(why) = invariants::check(frame, &verdict) {
            panic!("{why}");
        }
    }
});
