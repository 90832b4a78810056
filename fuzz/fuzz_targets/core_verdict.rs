#![no_main]

use std::sync::{LazyLock, Mutex};

use filter_common::reason::Reason;
use nxdp_lab::{
    cases::Message,
    engines::{HostEngine, compile_texts},
    frame::UdpFrame,
    reference::{self, Decision, LABELS},
};

static ENGINE: LazyLock<Mutex<HostEngine>> = LazyLock::new(|| {
    let image = compile_texts(&[("reference", &reference::list())]).expect("the list compiles");
    Mutex::new(HostEngine::new(&image))
});

// A name made of the labels of the rules, against a matcher that tries every rule.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((qtype, labels)) = bytes.split_first() else {
        return;
    };
    let qtype = [1, 28, 65, 16][usize::from(qtype & 3)];
    let labels: Vec<String> = labels.iter().take(24).map(|byte| label(*byte)).collect();
    let name = labels.join(".");
    if name.len() > 253 {
        return;
    }
    let message = Message::new(&name).qtype(qtype);
    let frame = UdpFrame::query_v4(40_000, &message.bytes()).build();
    let reason = ENGINE.lock().expect("one thread").judge(&frame).reason;
    let expected = match reference::verdict(&name.to_ascii_lowercase(), qtype) {
        Decision::NoRule => Reason::NoRule,
        Decision::Allowed => Reason::Allowed,
        Decision::Blocked => Reason::NxDomain,
    };
    assert_eq!(reason, expected, "{name} type {qtype}");
});

/// A label of a rule, in either case, or one that no rule has.
fn label(byte: u8) -> String {
    match LABELS.get(usize::from(byte & 7)) {
        Some(label) if byte & 8 == 0 => (*label).to_owned(),
        Some(label) => label.to_uppercase(),
        None => format!("x{byte}"),
    }
}
