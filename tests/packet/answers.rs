//! `nxdp run --answer KIND` does to a blocked query what its name says.

use std::{fs, time::Duration};

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, RecordType},
};
use nxdp_lab::{
    filter::Filter,
    lab::{DNS_SERVERS, Lab},
    query::{Query, QueryError, Reply},
    responder::{Responder, ipv4_of},
};
use tempfile::TempDir;

const BLOCKED: &str = "www.blocked.nxdp-show.example";
const A_MOMENT: Duration = Duration::from_millis(300);

struct Show {
    filter: Filter,
    lab: Lab,
    responder: Responder,
    _folder: TempDir,
}

impl Show {
    fn start(answer: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("ours.txt");
        fs::write(&list, "||blocked.nxdp-show.example^\n").unwrap();
        let lab = Lab::new().unwrap();
        let responder = lab.start_responder().unwrap();
        let arguments = ["--answer", answer, "--list", list.to_str().unwrap()];
        let filter = Filter::start(&lab, folder.path(), &arguments).unwrap();
        Self {
            filter,
            lab,
            responder,
            _folder: folder,
        }
    }

    /// Asks for the blocked name over IPv4 and IPv6.
    fn ask(&self, record_type: RecordType) -> Vec<Result<Reply, QueryError>> {
        let query = Query::new(BLOCKED, record_type).unwrap().edns();
        let query = query.timeout(A_MOMENT);
        DNS_SERVERS
            .map(|(_, server)| query.ask_from(self.lab.client(), server))
            .into()
    }

    fn replies(&self, record_type: RecordType) -> Vec<Reply> {
        let replies = self.ask(record_type).into_iter();
        replies.map(Result::unwrap).collect()
    }

    /// The counter says two packets, and so many queries came to the resolver.
    fn assert_counted(&self, counter: &str, received: u64) {
        assert_eq!(self.filter.counter(counter).unwrap(), 2, "{counter}");
        assert_eq!(self.responder.received().udp, received);
    }
}

#[test]
fn drop_answers_nothing_and_hands_nothing_on() {
    let show = Show::start("drop");
    for reply in show.ask(RecordType::A) {
        assert!(matches!(reply, Err(QueryError::TimedOut(_))), "{reply:?}");
    }
    show.assert_counted("drop_blocked", 0);
}

#[test]
fn observe_lets_the_resolver_answer_and_counts() {
    let show = Show::start("observe");
    let name = Name::from_ascii(BLOCKED).unwrap();
    for reply in show.replies(RecordType::A) {
        assert_eq!(reply.rcode(), ResponseCode::NoError);
        let [record] = reply.answers() else {
            panic!("{reply:?}")
        };
        assert_eq!(record.data, RData::A(ipv4_of(&name).into()));
        assert_eq!(reply.extended_error(), None);
    }
    show.assert_counted("pass_observed", 2);
}

#[test]
fn null_answers_the_unspecified_addresses_and_no_data_for_other_types() {
    let show = Show::start("null");
    for (record_type, address) in [(RecordType::A, "0.0.0.0"), (RecordType::AAAA, "::")] {
        for reply in show.replies(record_type) {
            assert_eq!(reply.rcode(), ResponseCode::NoError);
            let [record] = reply.answers() else {
                panic!("{reply:?}")
            };
            assert_eq!(record.data.to_string(), address);
            assert_eq!(record.name.to_ascii(), format!("{BLOCKED}."));
        }
    }
    for reply in show.replies(RecordType::TXT) {
        assert_no_data(&reply);
    }
    assert_eq!(show.filter.counter("answer_address").unwrap(), 4);
    show.assert_counted("answer_nodata", 0);
}

#[test]
fn nodata_answers_without_a_record_but_a_soa() {
    let show = Show::start("nodata");
    show.replies(RecordType::A).iter().for_each(assert_no_data);
    show.assert_counted("answer_nodata", 0);
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
    let show = Show::start("refused");
    for reply in show.replies(RecordType::A) {
        assert_eq!(reply.rcode(), ResponseCode::Refused);
        assert!(reply.answers().is_empty() && reply.soa().is_none());
        assert_eq!(reply.extended_error().unwrap().code, 15);
    }
    show.assert_counted("answer_refused", 0);
}

#[test]
fn truncate_sends_the_client_to_tcp() {
    let show = Show::start("truncate");
    for reply in show.replies(RecordType::A) {
        assert!(reply.message.metadata.truncation, "{reply:?}");
        assert!(reply.answers().is_empty(), "{reply:?}");
    }
    show.assert_counted("answer_truncated", 0);
}
