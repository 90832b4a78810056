//! What the operator lets by: `odd = "pass"` and `strangers = "pass"`, on the host and in the kernel.

use filter_common::{
    layout::{CONTROL_ODD_PASSES, CONTROL_PASSES, CONTROL_STRANGERS_PASS, Control, Record},
    reason::{Action, Reason},
};
use nxdp_lab::{
    cases,
    engines::{HostEngine, KernelEngine, compile_texts},
    host_tables::HostTables,
};

/// Judges every case with these flags in the control record; those that leave otherwise than without.
fn changed_by(flags: u32) -> Vec<(Reason, Reason, String)> {
    let image = compile_texts(&cases::LISTS).unwrap();
    let control = Control {
        active: 1,
        flags,
        ..Control::default()
    };
    let records = [&[Record(bytemuck::cast(control))], image.records()].concat();
    let mut host = HostEngine::over(HostTables::new(records));
    let mut kernel = KernelEngine::new(&image).unwrap();
    kernel.filter().maps.put_flags(CONTROL_PASSES, flags);
    let mut changed = Vec::new();
    for case in cases::all() {
        let verdict = host.judge(&case.frame);
        let in_kernel = kernel.judge(&case.frame).unwrap();
        assert_eq!(verdict, in_kernel, "{}", case.description);
        if verdict.reason != case.reason {
            assert_eq!(verdict.frame, case.frame, "{}", case.description);
            changed.push((case.reason, verdict.reason, case.description));
        }
    }
    changed
}

#[test]
fn odd_queries_pass_if_the_operator_says_so() {
    let changed = changed_by(CONTROL_ODD_PASSES);
    for refusal in [
        Reason::OddDropped,
        Reason::FormErr,
        Reason::BadVersion,
        Reason::Unreadable,
    ] {
        assert!(
            changed.iter().any(|(before, ..)| *before == refusal),
            "{refusal:?}"
        );
    }
    for passing in [
        Reason::RecordCount,
        Reason::Qclass,
        Reason::Additional,
        Reason::BadEdns,
        Reason::EdnsVersion,
        Reason::OddHeaders,
        Reason::LabelType,
        Reason::HeaderChain,
        Reason::FirstFragment,
        Reason::Crowded,
    ] {
        assert!(
            changed.iter().any(|(_, after, _)| *after == passing),
            "{passing:?}"
        );
    }
    for (before, after, description) in changed {
        assert_eq!(
            after.action(),
            Action::Pass,
            "{description}: {before:?}, {after:?}"
        );
        assert_ne!(
            before.action(),
            Action::Pass,
            "{description}: {before:?}, {after:?}"
        );
    }
}

#[test]
fn strangers_pass_if_the_operator_says_so() {
    let changed = changed_by(CONTROL_STRANGERS_PASS);
    assert!(!changed.is_empty());
    for (before, after, description) in changed {
        assert_eq!(
            (before, after),
            (Reason::Stranger, Reason::NotClient),
            "{description}"
        );
    }
}
