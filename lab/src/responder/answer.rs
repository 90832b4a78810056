//! What the responder says to one message.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::{
    op::{Edns, Message, OpCode, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT},
    },
};

use super::{Counters, Received};
use crate::query::Transport;

/// TXT of this name tells what the responder received.
pub const COUNT_NAME: &str = "count.responder.test.";

/// Every record's time to live.
const TTL_S: u32 = 60;

/// EDNS payload size the responder announces: the value of the DNS flag day 2020.
const EDNS_PAYLOAD_BYTES: u16 = 1232;

/// The address that the responder gives a name, of 192.0.2.0/24 (RFC 5737).
pub fn ipv4_of(name: &Name) -> Ipv4Addr {
    let host = name_hash(name) % 254 + 1;
    Ipv4Addr::new(192, 0, 2, u8::try_from(host).expect("at most 254"))
}

/// The address that the responder gives a name, of 2001:db8::/32 (RFC 3849).
pub fn ipv6_of(name: &Name) -> Ipv6Addr {
    let mut segments = Ipv6Addr::from(u128::from(name_hash(name))).segments();
    segments[..2].copy_from_slice(&[0x2001, 0x0db8]);
    Ipv6Addr::from(segments)
}

/// Answers one message and counts it; `None` when it is too short or itself a response.
pub(super) fn answer(bytes: &[u8], transport: Transport, counters: &Counters) -> Option<Vec<u8>> {
    // RFC 1035 §4.1.1: an answer to an answer would loop.
    if bytes.len() < 12 || bytes[2] & 0x80 != 0 {
        counters.count_malformed();
        return None;
    }
    let Ok(query) = Message::from_vec(bytes) else {
        counters.count_malformed();
        let id = u16::from_be_bytes([bytes[0], bytes[1]]);
        return Message::error_msg(id, OpCode::Query, ResponseCode::FormErr)
            .to_vec()
            .ok();
    };
    let mut reply = reply_to(&query);
    match query.queries.as_slice() {
        [question] if is_count_question(question) => {
            reply.answers.push(count_record(question, counters.read()));
        }
        [question] => {
            counters.count(transport);
            if reply.metadata.response_code == ResponseCode::NoError {
                add_records(&mut reply, question);
            }
        }
        _ => {
            counters.count_malformed();
            reply.metadata.response_code = ResponseCode::FormErr;
        }
    }
    bytes_that_fit(&query, &reply, transport)
}

/// An empty answer with the question, OPT if there was one, and the code that says whether to go on.
fn reply_to(query: &Message) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.queries.clone_from(&query.queries);
    if query.metadata.op_code != OpCode::Query {
        reply.metadata.response_code = ResponseCode::NotImp;
    }
    if let Some(asked) = &query.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(EDNS_PAYLOAD_BYTES).set_version(0);
        edns.set_dnssec_ok(asked.flags().dnssec_ok);
        reply.set_edns(edns);
        // RFC 6891 §6.1.3: a version higher than ours is BADVERS.
        if asked.version() > 0 {
            reply.metadata.response_code = ResponseCode::BADVERS;
        }
    }
    reply
}

fn add_records(reply: &mut Message, question: &Query) {
    let name = question.name();
    match data_for(name, question.query_type()) {
        Some(data) => reply.answers.push(record(name.clone(), data)),
        None => reply.authorities.push(record(zone(), RData::SOA(soa()))),
    }
}

/// The one record of a type; `None` for types that no name here has, such as HTTPS.
fn data_for(name: &Name, record_type: RecordType) -> Option<RData> {
    Some(match record_type {
        // RFC 8482 §4.1: one record is answer enough to ANY.
        RecordType::A | RecordType::ANY => RData::A(A(ipv4_of(name))),
        RecordType::AAAA => RData::AAAA(AAAA(ipv6_of(name))),
        RecordType::TXT => RData::TXT(TXT::from_bytes(vec![b"from the responder"])),
        RecordType::MX => RData::MX(MX::new(10, host("mail"))),
        RecordType::NS => RData::NS(NS(host("ns"))),
        RecordType::PTR => RData::PTR(PTR(host("host"))),
        RecordType::CNAME => RData::CNAME(CNAME(host("alias"))),
        RecordType::SRV => RData::SRV(SRV::new(10, 10, 443, host("srv"))),
        RecordType::SOA => RData::SOA(soa()),
        _ => return None,
    })
}

/// RFC 6891 §6.2.5: without OPT a UDP answer has at most 512 bytes.
fn bytes_that_fit(query: &Message, reply: &Message, transport: Transport) -> Option<Vec<u8>> {
    let bytes = reply.to_vec().ok()?;
    let most = match transport {
        Transport::Udp => query.max_payload().max(512),
        Transport::Tcp => u16::MAX,
    };
    if bytes.len() <= usize::from(most) {
        Some(bytes)
    } else {
        reply.truncate().to_vec().ok()
    }
}

fn is_count_question(question: &Query) -> bool {
    question.query_type() == RecordType::TXT
        && question.name().to_lowercase().to_ascii() == COUNT_NAME
}

fn count_record(question: &Query, received: Received) -> Record {
    let text = vec![
        format!("udp={}", received.udp),
        format!("tcp={}", received.tcp),
        format!("malformed={}", received.malformed),
    ];
    record(question.name().clone(), RData::TXT(TXT::new(text)))
}

fn record(name: Name, data: RData) -> Record {
    Record::from_rdata(name, TTL_S, data)
}

fn zone() -> Name {
    Name::from_ascii("responder.test.").expect("a constant name")
}

fn host(label: &str) -> Name {
    zone().prepend_label(label).expect("a constant name")
}

fn soa() -> SOA {
    SOA::new(host("ns"), host("hostmaster"), 1, 3600, 600, 86_400, 60)
}

/// FNV-1a of the name in lower case: the same on every machine, in every run.
fn name_hash(name: &Name) -> u64 {
    let bytes = name
        .iter()
        .flat_map(|label| label.iter().copied().chain([b'.']));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
