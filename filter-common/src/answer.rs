//! The answer to a blocked query, made in the place of the query.
//!
//! The header and the question stay, byte for byte; a SOA or an address and an
//! OPT record with an extended error follow. The longest answer has 271 bytes
//! of header and question, 54 of SOA and 75 of OPT.

use crate::{
    dns::HEADER_BYTES,
    layout::{RuleRecord, Settings, TEXT_MAX_BYTES, TextRecord},
    reason::Reason,
    rule::AnswerKind,
    scratch::{EDNS_DO, EDNS_PRESENT, MESSAGE_MAX_BYTES, Message, Scratch},
    table::Records,
};

/// UDP payload size that an answer's OPT record announces, in bytes (DNS flag day 2020).
pub const UDP_PAYLOAD_BYTES: u16 = 1232;
/// Name of the primary server in a SOA: no server has it.
const MNAME: [u8; 14] = *b"\x04nxdp\x07invalid\0";
/// Refresh, retry and expire of a SOA in seconds; nobody transfers the zone.
const SOA_TIMERS: [u8; 12] = [0, 0, 0x0e, 0x10, 0, 0, 0x02, 0x58, 0, 0x01, 0x51, 0x80];
const TYPE_A: u16 = 1;
const TYPE_SOA: u16 = 6;
const TYPE_AAAA: u16 = 28;
const TYPE_OPT: u8 = 41;
const CLASS_IN: u8 = 1;
const RCODE_NXDOMAIN: u8 = 3;
const RCODE_REFUSED: u8 = 5;
/// RFC 8914 §5.2.
const OPTION_EDE: u8 = 15;
/// RFC 8914 §4.5.
const EDE_FORGED: u8 = 4;
/// RFC 8914 §4.16.
const EDE_BLOCKED: u8 = 15;

/// Turns the query in `scratch` into the answer of `kind`; `message_len` becomes its length.
#[inline(always)]
pub fn compose<R: Records + ?Sized>(
    records: &R,
    scratch: &mut Scratch,
    kind: AnswerKind,
) -> Result<Reason, Reason> {
    let rule = RuleRecord::of(records.record(scratch.rule).ok_or(Reason::Inconsistent)?);
    let settings = Settings::of(
        records
            .record(scratch.generation.wrapping_add(1))
            .ok_or(Reason::Inconsistent)?,
    );
    let ttl_s = if rule.ttl_s == 0 {
        settings.ttl_s
    } else {
        rule.ttl_s
    };
    let (reason, address_len) = outcome(kind, rule, scratch.qtype as u16);
    let has_soa = matches!(reason, Reason::NxDomain | Reason::NoData);
    let has_opt = scratch.edns & EDNS_PRESENT != 0;
    let is_do = scratch.edns & EDNS_DO != 0;
    let (generation, owner_at) = (scratch.generation, scratch.owner_at as u16);
    let mut at = scratch.question_end as usize;
    let message = scratch.message_mut();
    header(message, reason, address_len != 0, has_soa, has_opt);
    if has_soa {
        at = soa(message, at, owner_at, ttl_s);
    } else if address_len != 0 {
        at = address(message, at, kind, rule, address_len, ttl_s);
    }
    if has_opt {
        let code = ede_code(rule, settings, reason);
        at = opt(
            message,
            at,
            is_do,
            code,
            text(records, generation, rule.text),
        );
    }
    scratch.message_len = (at & (MESSAGE_MAX_BYTES - 1)) as u32;
    Ok(reason)
}

/// What is said, and the length of the address in the answer section, if any.
#[inline(always)]
fn outcome(kind: AnswerKind, rule: &RuleRecord, qtype: u16) -> (Reason, u8) {
    match kind {
        AnswerKind::NxDomain => (Reason::NxDomain, 0),
        AnswerKind::Refused => (Reason::Refused, 0),
        AnswerKind::Truncate => (Reason::Truncated, 0),
        AnswerKind::Null if qtype == TYPE_A => (Reason::Address, 4),
        AnswerKind::Null if qtype == TYPE_AAAA => (Reason::Address, 16),
        AnswerKind::Address if qtype == TYPE_A && rule.ipv4 != [0; 4] => (Reason::Address, 4),
        AnswerKind::Address if qtype == TYPE_AAAA && rule.ipv6 != [0; 16] => (Reason::Address, 16),
        _ => (Reason::NoData, 0),
    }
}

/// RFC 1035 §4.1.1: QR and RA set, RD and CD as asked, AA, AD and Z clear.
#[inline(always)]
fn header(message: &mut Message, reason: Reason, has_answer: bool, has_soa: bool, has_opt: bool) {
    let truncated = if matches!(reason, Reason::Truncated) {
        2
    } else {
        0
    };
    let rcode = match reason {
        Reason::NxDomain => RCODE_NXDOMAIN,
        Reason::Refused => RCODE_REFUSED,
        _ => 0,
    };
    message[2] = 0x80 | truncated | message[2] & 0x01;
    message[3] = 0x80 | message[3] & 0x10 | rcode;
    put(
        message,
        4,
        [
            0,
            1,
            0,
            u8::from(has_answer),
            0,
            u8::from(has_soa),
            0,
            u8::from(has_opt),
        ],
    );
}

/// RFC 2308 §3: the TTL of the SOA and its MINIMUM bound negative caching.
#[inline(always)]
fn soa(message: &mut Message, at: usize, owner_at: u16, ttl_s: u32) -> usize {
    let owner = pointer(owner_at);
    let ttl = ttl_s.to_be_bytes();
    let fixed = [
        owner[0],
        owner[1],
        0,
        TYPE_SOA as u8,
        0,
        CLASS_IN,
        ttl[0],
        ttl[1],
        ttl[2],
        ttl[3],
        0,
        SOA_RDATA_BYTES,
    ];
    put(message, at, fixed);
    let mname_at = at + fixed.len();
    put(message, mname_at, MNAME);
    let rname_at = mname_at + MNAME.len();
    // "nobody" in the domain of MNAME, whose last label starts behind "nxdp".
    let domain = pointer((mname_at + 5) as u16);
    put(
        message,
        rname_at,
        [6, b'n', b'o', b'b', b'o', b'd', b'y', domain[0], domain[1]],
    );
    let serial_at = rname_at + 9;
    put(message, serial_at, [0, 0, 0, 1]);
    put(message, serial_at + 4, SOA_TIMERS);
    put(message, serial_at + 16, ttl);
    serial_at + 20
}

const SOA_RDATA_BYTES: u8 = MNAME.len() as u8 + 9 + 20;

/// One A or AAAA record for the qname.
#[inline(always)]
fn address(
    message: &mut Message,
    at: usize,
    kind: AnswerKind,
    rule: &RuleRecord,
    len: u8,
    ttl_s: u32,
) -> usize {
    let owner = pointer(HEADER_BYTES as u16);
    let ttl = ttl_s.to_be_bytes();
    let qtype = if len == 4 { TYPE_A } else { TYPE_AAAA } as u8;
    put(
        message,
        at,
        [
            owner[0], owner[1], 0, qtype, 0, CLASS_IN, ttl[0], ttl[1], ttl[2], ttl[3], 0, len,
        ],
    );
    let at = at + 12;
    let is_null = matches!(kind, AnswerKind::Null);
    if len == 4 {
        put(message, at, if is_null { [0; 4] } else { rule.ipv4 });
        at + 4
    } else {
        put(message, at, if is_null { [0; 16] } else { rule.ipv6 });
        at + 16
    }
}

/// RFC 6891 §6.1.2 with one option, RFC 8914 §2.
#[inline(always)]
fn opt(message: &mut Message, at: usize, is_do: bool, code: u8, text: &TextRecord) -> usize {
    let size = UDP_PAYLOAD_BYTES.to_be_bytes();
    let dnssec = if is_do { 0x80 } else { 0 };
    let len = if text.len as usize > TEXT_MAX_BYTES {
        0
    } else {
        text.len
    };
    put(
        message,
        at,
        [
            0,
            0,
            TYPE_OPT,
            size[0],
            size[1],
            0,
            0,
            dnssec,
            0,
            0,
            len + 6,
        ],
    );
    put(message, at + 11, [0, OPTION_EDE, 0, len + 2, 0, code]);
    put(message, at + 17, text.bytes);
    at + 17 + usize::from(len)
}

#[inline(always)]
const fn ede_code(rule: &RuleRecord, settings: &Settings, reason: Reason) -> u8 {
    if rule.ede_code != 0 {
        rule.ede_code
    } else if matches!(reason, Reason::Address) {
        EDE_FORGED
    } else if settings.ede_code != 0 {
        settings.ede_code
    } else {
        EDE_BLOCKED
    }
}

/// The text with this number; text 0 and a missing one are empty.
#[inline(always)]
fn text<R: Records + ?Sized>(records: &R, generation: u32, number: u32) -> &TextRecord {
    if number == 0 {
        return &NO_TEXT;
    }
    let header = match records.record(generation) {
        Some(record) => crate::layout::Header::of(record),
        None => return &NO_TEXT,
    };
    let index = generation
        .wrapping_add(header.text_base)
        .wrapping_add(number);
    records.record(index).map_or(&NO_TEXT, TextRecord::of)
}

static NO_TEXT: TextRecord = TextRecord {
    len: 0,
    bytes: [0; TEXT_MAX_BYTES],
    reserved: [0; 3],
};

/// A compression pointer (RFC 1035 §4.1.4).
#[inline(always)]
const fn pointer(at: u16) -> [u8; 2] {
    (0xc000 | at & 0x3fff).to_be_bytes()
}

/// Writes `bytes` at `at`; the position wraps so that the verifier sees the bound.
#[inline(always)]
fn put<const N: usize>(message: &mut Message, at: usize, bytes: [u8; N]) {
    let at = at & (MESSAGE_MAX_BYTES - 1);
    let mut i = 0;
    while i < N {
        message[at + i] = bytes[i];
        i += 1;
    }
}
