//! The values of `$dnsrewrite`: a keyword, an address, or `RCODE;TYPE;DATA`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use filter_common::rule::AnswerKind;

use super::{
    modifiers::qtype,
    name,
    report::{Kind, Reason},
};
use crate::rule::Answer;

const UNSUPPORTED: (Kind, Reason) = (Kind::Unsupported, Reason::AnswerKind);
const INVALID: (Kind, Reason) = (Kind::Invalid, Reason::ModifierValue);

/// The answer that a value asks for.
pub(super) fn parse(value: &[u8]) -> Result<Answer, (Kind, Reason)> {
    let value = str::from_utf8(value).map_err(|_| INVALID)?;
    let parts: Vec<_> = value.splitn(3, ';').collect();
    match parts[..] {
        [value] => short(value),
        [rcode, rrtype, data] => full(rcode, rrtype, data),
        _ => Err(INVALID),
    }
}

fn short(value: &str) -> Result<Answer, (Kind, Reason)> {
    if value.is_empty() {
        return Ok(Answer::of(AnswerKind::NoData));
    }
    if value.bytes().all(|byte| byte.is_ascii_uppercase()) {
        // Other response codes have no short form.
        return match value {
            "NOERROR" | "NXDOMAIN" | "REFUSED" | "SERVFAIL" => rcode(value),
            _ => Err(INVALID),
        };
    }
    if let Ok(address) = value.parse::<IpAddr>() {
        return Ok(address_answer(address));
    }
    // A name is the target of a CNAME.
    match name::parse(value.as_bytes()) {
        Ok(_) => Err(UNSUPPORTED),
        Err(_) => Err(INVALID),
    }
}

fn full(code: &str, rrtype: &str, data: &str) -> Result<Answer, (Kind, Reason)> {
    let answer = rcode(&code.to_ascii_uppercase());
    if !code.eq_ignore_ascii_case("NOERROR") || rrtype.is_empty() && data.is_empty() {
        return answer;
    }
    match qtype(rrtype.as_bytes()).ok_or(INVALID)? {
        1 => Ok(address_answer(
            data.parse::<Ipv4Addr>().map_err(|_| INVALID)?.into(),
        )),
        28 => Ok(address_answer(
            data.parse::<Ipv6Addr>().map_err(|_| INVALID)?.into(),
        )),
        _ => Err(UNSUPPORTED),
    }
}

fn rcode(word: &str) -> Result<Answer, (Kind, Reason)> {
    match word {
        "NOERROR" => Ok(Answer::of(AnswerKind::NoData)),
        "NXDOMAIN" => Ok(Answer::of(AnswerKind::NxDomain)),
        "REFUSED" => Ok(Answer::of(AnswerKind::Refused)),
        "SERVFAIL" => Ok(Answer::of(AnswerKind::ServFail)),
        "FORMERR" | "NOTIMP" | "YXDOMAIN" | "YXRRSET" | "NXRRSET" | "NOTAUTH" | "NOTZONE"
        | "BADSIG" | "BADVERS" | "BADKEY" | "BADTIME" | "BADMODE" | "BADNAME" | "BADALG"
        | "BADTRUNC" | "BADCOOKIE" => Err(UNSUPPORTED),
        _ => Err(INVALID),
    }
}

fn address_answer(address: IpAddr) -> Answer {
    if address.is_unspecified() {
        return Answer::of(AnswerKind::Null);
    }
    let mut answer = Answer::of(AnswerKind::Address);
    answer.add(address);
    answer
}
