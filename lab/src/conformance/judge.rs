//! Holds an answer against the query, with two independent DNS libraries.

use domain::base::{Message as DomainMessage, iana::Rtype, opt::AllOptData};
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{RData, RecordType, rdata::opt::EdnsOption};

use super::COOKIE;

/// More than an answer may have beyond its question: a SOA, and an OPT with an extended error.
const GROWTH_MAX_BYTES: usize = 48 + 77 + 44;
/// OPTION-CODE of extended errors (RFC 8914 §2).
const EXTENDED_ERROR: u16 = 15;

/// What both libraries read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The response code in words, e.g. `NXDOMAIN`.
    pub rcode: String,
    /// The COOKIE option of the query came back.
    pub has_cookie: bool,
}

/// Judges a negative answer to `query`, whose question starts behind the header.
///
/// # Errors
/// Says what is wrong first.
pub fn judge(query: &[u8], answer: &[u8]) -> Result<Judged, String> {
    let end = question_end(query);
    if answer.len() > end + GROWTH_MAX_BYTES {
        return Err(format!("{} bytes for {}", answer.len(), query.len()));
    }
    if answer[..2] != query[..2] || answer[12..end] != query[12..end] {
        return Err("id or question are not echoed byte for byte".into());
    }
    // RFC 1035 §4.1.1: QR, opcode and RD; RFC 4035 §3.2: AD clear, CD copied; Z clear.
    let flags = [0x80 | query[2] & 1, 0x80 | query[3] & 0x10];
    if answer[2] != flags[0] || answer[3] & 0xf0 != flags[1] {
        return Err(format!("flags {:02x?}, not {flags:02x?}", &answer[2..4]));
    }
    let by_hickory = hickory(query, answer)?;
    let by_domain = domain(query, answer)?;
    if by_hickory == by_domain {
        Ok(by_hickory)
    } else {
        Err(format!("read as {by_hickory:?} and as {by_domain:?}"))
    }
}

/// Position behind a question without compression.
fn question_end(query: &[u8]) -> usize {
    let mut at = 12;
    while query[at] != 0 {
        at += 1 + usize::from(query[at]);
    }
    at + 5
}

/// The payload of the query's OPT record, its TTL and its cookie, for queries that pass as
/// questions: at most one additional record, right behind the question.
fn asked_edns(query: &[u8]) -> Option<(u32, Option<Vec<u8>>)> {
    if query[11] == 0 {
        return None;
    }
    let opt = &query[question_end(query)..];
    let ttl = u32::from_be_bytes([opt[5], opt[6], opt[7], opt[8]]);
    let mut options = &opt[11..];
    while let [c0, c1, l0, l1, data @ ..] = options {
        let len = usize::from(u16::from_be_bytes([*l0, *l1]));
        if u16::from_be_bytes([*c0, *c1]) == COOKIE {
            return Some((ttl, Some(data[..len].to_vec())));
        }
        options = &data[len..];
    }
    Some((ttl, None))
}

fn hickory(query: &[u8], answer: &[u8]) -> Result<Judged, String> {
    let message = Message::from_vec(answer).map_err(|error| format!("hickory-proto: {error}"))?;
    let head = &message.metadata;
    if head.message_type != MessageType::Response || head.op_code != OpCode::Query {
        return Err(format!("hickory-proto: {head:?}"));
    }
    let is_soa = |record: &hickory_proto::rr::Record| record.record_type() == RecordType::SOA;
    let sections = (
        message.queries.len(),
        message.answers.len(),
        message.authorities.len(),
        message.additionals.len(),
    );
    if sections != (1, 0, 1, 0) || !message.authorities.iter().all(is_soa) {
        return Err(format!("hickory-proto: sections {sections:?}"));
    }
    if let RData::SOA(soa) = &message.authorities[0].data
        && soa.minimum != message.authorities[0].ttl
    {
        return Err("hickory-proto: SOA MINIMUM and TTL differ (RFC 2308 §5)".into());
    }
    let mut cookie = None;
    match (&message.edns, asked_edns(query)) {
        (None, None) => {}
        (Some(edns), Some((ttl, asked_cookie))) => {
            let is_do = ttl & 0x8000 != 0;
            let flags = edns.flags();
            if edns.version() != 0 || flags.dnssec_ok != is_do || flags.z != 0 {
                return Err(format!("hickory-proto: EDNS {edns:?}"));
            }
            if edns.max_payload() != 1232 {
                return Err(format!("hickory-proto: buffer {}", edns.max_payload()));
            }
            for (code, option) in &edns.options().options {
                match (u16::from(*code), option) {
                    (EXTENDED_ERROR, _) => {}
                    (COOKIE, EdnsOption::Unknown(_, data)) => cookie = Some(data.clone()),
                    (other, _) => return Err(format!("hickory-proto: option {other}")),
                }
            }
            if cookie.is_some() && cookie != asked_cookie {
                return Err("hickory-proto: another cookie".into());
            }
        }
        _ => return Err("hickory-proto: OPT in one of query and answer".into()),
    }
    Ok(Judged {
        rcode: rcode(head.response_code).into(),
        has_cookie: cookie.is_some(),
    })
}

fn rcode(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::Refused => "REFUSED",
        _ => "another",
    }
}

fn domain(query: &[u8], answer: &[u8]) -> Result<Judged, String> {
    let wrong = |what: &dyn std::fmt::Display| format!("domain: {what}");
    let message = DomainMessage::from_octets(answer).map_err(|error| wrong(&error))?;
    let counts = message.header_counts();
    let has_opt = asked_edns(query).is_some();
    let found = (
        counts.qdcount(),
        counts.ancount(),
        counts.nscount(),
        counts.arcount(),
    );
    if found != (1, 0, 1, u16::from(has_opt)) {
        return Err(wrong(&format!("counts {found:?}")));
    }
    for record in &message {
        let (record, _) = record.map_err(|error| wrong(&error))?;
        if !matches!(record.rtype(), Rtype::SOA | Rtype::OPT) {
            return Err(wrong(&record.rtype()));
        }
    }
    let mut has_cookie = false;
    if has_opt {
        let opt = message.opt().ok_or_else(|| wrong(&"no OPT"))?;
        for option in opt.opt().iter::<AllOptData<_, _>>() {
            match option.map_err(|error| wrong(&error))? {
                AllOptData::ExtendedError(_) => {}
                AllOptData::Cookie(_) => has_cookie = true,
                _ => return Err(wrong(&"an option that is neither EDE nor COOKIE")),
            }
        }
    }
    let rcode = message.header().rcode().to_string();
    Ok(Judged { rcode, has_cookie })
}
