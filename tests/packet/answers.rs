//! `nxdp run --answer KIND` does to a blocked query what its name says.

use std::time::Duration;

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, RecordType},
};
use nxdp_lab::{
    lab::DNS_SERVERS,
    query::{Query, QueryError, Reply},
    responder::ipv4_of,
    running::Running,
};

const BLOCKED: &str = "www.blocked.nxdp-show.example";
const A_MOMENT: Duration = Duration::from_millis(300);

fn filter(answer: &str) -> Running {
    let list = ("ours.txt", "||blocked.nxdp-show.example^\n");
    Running::start(&[list], &["--answer", answer, "--list", "ours.txt"])
}

/// Asks for the blocked name over IPv4 and IPv6.
fn ask(show: &Running, record_type: RecordType) -> Vec<Result<Reply, QueryError>> {
    let query = Query::new(BLOCKED, record_type).unwrap().edns();
    let query = query.timeout(A_MOMENT);
    DNS_SERVERS
        .map(|(_, server)| query.ask_from(show.lab.client(), server))
        .into()
}

fn replies(show: &Running, record_type: RecordType) -> Vec<Reply> {
    let replies = ask(show, record_type).into_iter();
    replies.map(Result::unwrap).collect()
}

/// The counter says two packets, and so many queries came to the resolver.
fn assert_counted(show: &Running, counter: &str, received: u64) {
    assert_eq!(show.filter.counter(counter).unwrap(), 2, "{counter}");
    assert_eq!(show.responder.received().udp, received);
}

#[test]
fn drop_answers_nothing_and_hands_nothing_on() {
    let show = filter("drop");
    for reply in ask(&show, RecordType::A) {
        assert!(matches!(reply, Err(QueryError::TimedOut(_))), "{reply:?}");
    }
    assert_counted(&show, "drop_blocked", 0);
}

#[test]
fn observe_lets_the_resolver_answer_and_counts() {
    let show = filter("observe");
    let name = Name::from_ascii(BLOCKED).unwrap();
    for reply in replies(&show, RecordType::A) {
        assert_eq!(reply.rcode(), ResponseCode::NoError);
        let [record] = reply.answers() else {
            panic!("{reply:?}")
        };
        assert_eq!(record.data, RData::A(ipv4_of(&name).into()));
        assert_eq!(reply.extended_error(), None);
    }
    assert_counted(&show, "pass_observed", 2);
}

#[test]
fn null_answers_the_unspecified_addresses_and_no_data_for_other_types() {
    let show = filter("null");
    for (record_type, address) in [(RecordType::A, "0.0.0.0"), (RecordType::AAAA, "::")] {
        for reply in replies(&show, record_type) {
            assert_eq!(reply.rcode(), ResponseCode::NoError);
            let [record] = reply.answers() else {
                panic!("{reply:?}")
            };
            assert_eq!(record.data.to_string(), address);
            assert_eq!(record.name.to_ascii(), format!("{BLOCKED}."));
        }
    }
    for reply in replies(&show, RecordType::TXT) {
        assert_no_data(&reply);
    }
    assert_eq!(show.filter.counter("answer_address").unwrap(), 4);
    assert_counted(&show, "answer_nodata", 0);
}

#[test]
fn nodata_answers_without_a_record_but_a_soa() {
    let show = filter("nodata");
    replies(&show, RecordType::A)
        .iter()
        .for_each(assert_no_data);
    assert_counted(&show, "answer_nodata", 0);
}

fn assert_no_data(reply: &Reply) {
    assert_eq!(reply.rcode(), ResponseCode::NoError);
    assert!(
        reply.answers().is_empty() && reply.soa().is_some(),
        "{reply:?}"
    );
    assert_eq!(reply.extended_error().unwrap().code, 15);
}

#[test]
fn refused_answers_refused() {
    let show = filter("refused");
    for reply in replies(&show, RecordType::A) {
        assert_eq!(reply.rcode(), ResponseCode::Refused);
        assert!(reply.answers().is_empty() && reply.soa().is_none());
        assert_eq!(reply.extended_error().unwrap().code, 15);
    }
    assert_counted(&show, "answer_refused", 0);
}

#[test]
fn truncate_sends_the_client_to_tcp() {
    let show = filter("truncate");
    for reply in replies(&show, RecordType::A) {
        assert!(reply.message.metadata.truncation, "{reply:?}");
        assert!(reply.answers().is_empty(), "{reply:?}");
    }
    assert_counted(&show, "answer_truncated", 0);
}
