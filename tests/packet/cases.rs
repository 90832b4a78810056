//! The table of cases through both bodies of the core.

use filter_common::reason::{Action, Reason};
use hickory_proto::op::{MessageType, ResponseCode};
use nxdp_lab::{
    cases::{self, Case},
    check::check_frame,
    engines::{HostEngine, KernelEngine, Verdict, compile_texts},
};

fn image() -> filter_lists::image::Image {
    compile_texts(&cases::LISTS).expect("the lists of the cases compile")
}

#[test]
fn every_case_on_the_host() {
    let mut engine = HostEngine::new(&image());
    check_all(|case| engine.judge(&case.frame));
}

#[test]
fn every_case_in_the_kernel() {
    let mut engine = KernelEngine::new(&image()).unwrap();
    check_all(|case| engine.judge(&case.frame).unwrap());
}

#[test]
fn an_empty_table_passes_everything() {
    let mut engine = KernelEngine::empty().unwrap();
    for case in cases::all() {
        let verdict = engine.judge(&case.frame).unwrap();
        assert_eq!(
            verdict.reason.action(),
            Action::Pass,
            "{}",
            case.description
        );
        assert_eq!(verdict.frame, case.frame, "{}", case.description);
    }
}

fn check_all(mut judge: impl FnMut(&Case) -> Verdict) {
    let cases = cases::all();
    assert!(cases.len() > 100, "the table is whole");
    let mut wrong = Vec::new();
    for case in &cases {
        let verdict = judge(case);
        if let Err(why) = check(case, &verdict) {
            wrong.push(format!("{}: {why}", case.description));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

fn check(case: &Case, verdict: &Verdict) -> Result<(), String> {
    if verdict.reason != case.reason {
        return Err(format!(
            "{} instead of {}",
            verdict.reason.name(),
            case.reason.name()
        ));
    }
    if case.reason.action() != Action::Transmit {
        return if verdict.frame == case.frame {
            Ok(())
        } else {
            Err("the frame changed".into())
        };
    }
    check_answer(case, &verdict.frame)
}

/// What holds of every answer, read by parsers that know nothing of nxdp.
fn check_answer(case: &Case, frame: &[u8]) -> Result<(), String> {
    let answer = check_frame(frame).map_err(|error| error.to_string())?;
    let asked = check_frame(&case.frame[..case.frame.len() - case.padding])
        .map_err(|error| format!("the query itself: {error}"))?;
    if (answer.source, answer.destination) != (asked.destination, asked.source)
        || (&answer.tags, answer.pppoe_session) != (&asked.tags, asked.pppoe_session)
    {
        return Err(format!(
            "goes from {} to {}",
            answer.source, answer.destination
        ));
    }
    if (answer.source_mac, answer.destination_mac) != (asked.destination_mac, asked.source_mac) {
        return Err("hardware addresses do not change sides".into());
    }
    let query = asked.payload;
    let parsed =
        hickory_proto::op::Message::from_vec(&answer.payload).map_err(|error| error.to_string())?;
    let question_end = question_end(&query);
    if answer.payload[12..question_end] != query[12..question_end]
        || answer.payload[..2] != query[..2]
    {
        return Err("id or question are not echoed byte for byte".into());
    }
    let expected_rcode = match case.reason {
        Reason::NxDomain => ResponseCode::NXDomain,
        Reason::Refused => ResponseCode::Refused,
        Reason::ServFail => ResponseCode::ServFail,
        Reason::FormErr => ResponseCode::FormErr,
        // TSIG has the same number for something else.
        Reason::BadVersion => ResponseCode::BADSIG,
        _ => ResponseCode::NoError,
    };
    let flags_match = parsed.metadata.message_type == MessageType::Response
        && parsed.metadata.recursion_available
        && !parsed.metadata.authoritative
        && !parsed.metadata.authentic_data
        && parsed.metadata.recursion_desired == (query[2] & 1 != 0)
        && parsed.metadata.checking_disabled == (query[3] & 0x10 != 0);
    if parsed.metadata.response_code != expected_rcode || !flags_match {
        return Err(format!("header {:?}", parsed.metadata));
    }
    // RFC 6891 §7: who does not understand what is asked says so without OPT.
    let asked_edns = query[11] != 0 && case.reason != Reason::FormErr;
    if parsed.edns.is_some() != asked_edns {
        return Err(format!(
            "EDNS {} in the answer, {asked_edns} in the query",
            parsed.edns.is_some()
        ));
    }
    let has_soa = matches!(case.reason, Reason::NxDomain | Reason::NoData);
    if parsed.authorities.len() != usize::from(has_soa) {
        return Err(format!(
            "{} records in the authority section",
            parsed.authorities.len()
        ));
    }
    if parsed.answers.len() != usize::from(case.reason == Reason::Address) {
        return Err(format!(
            "{} records in the answer section",
            parsed.answers.len()
        ));
    }
    if parsed.metadata.truncation != (case.reason == Reason::Truncated) {
        return Err("TC is wrong".into());
    }
    Ok(())
}

/// Position behind the question of a query.
fn question_end(query: &[u8]) -> usize {
    let mut at = 12;
    while query[at] != 0 {
        at += 1 + usize::from(query[at]);
    }
    at + 1 + 4
}
