//! The answer to a blocked query, made in the place of the query.
//!
//! The question stays, byte for byte; a SOA or an address and an OPT record
//! with an extended error follow. The longest answer has 271 bytes of header
//! and question, 48 of SOA and 121 of OPT.

use crate::{
    checksum::{folded, halves},
    dns::HEADER_BYTES,
    layout::{QTYPES_PER_RULE, RuleRecord, Settings, TEXT_MAX_BYTES, TextRecord},
    odd,
    reason::Reason,
    rule::AnswerKind,
    scratch::{COOKIE_BUFFER_LEN, EDNS_DO, EDNS_PRESENT, MESSAGE_MAX_BYTES, Message, Scratch},
    table::Records,
};

/// UDP payload size that an answer's OPT record announces, in bytes (DNS flag day 2020).
pub const UDP_PAYLOAD_BYTES: u16 = 1232;
/// RDATA of a SOA: MNAME as a pointer, RNAME, five numbers.
const SOA_RDATA_BYTES: u8 = 2 + 14 + 20;
const TYPE_A: u16 = 1;
const TYPE_SOA: u8 = 6;
const TYPE_AAAA: u16 = 28;
const TYPE_OPT: u8 = 41;
const CLASS_IN: u8 = 1;
const RCODE_SERVFAIL: u8 = 2;
const RCODE_FORMERR: u8 = 1;
const RCODE_NXDOMAIN: u8 = 3;
const RCODE_REFUSED: u8 = 5;
/// RFC 8914 §5.2.
const OPTION_EDE: u8 = 15;
/// RFC 8914 §4.5.
const EDE_FORGED: u8 = 4;
/// RFC 8914 §4.16.
const EDE_BLOCKED: u8 = 15;

/// Turns the query in `scratch` into the answer of `kind`; `message_len` and
/// `message_sum`, which [`sum_question`] started, become those of the answer.
#[inline(always)]
pub fn compose<R: Records + ?Sized>(
    records: &R,
    scratch: &mut Scratch,
    kind: AnswerKind,
) -> Result<Reason, Reason> {
    let rule = match scratch.rule {
        0 => &NO_RULE,
        rule => RuleRecord::of(records.record(rule).ok_or(Reason::Inconsistent)?),
    };
    let generation = scratch.generation;
    let settings = records.record(generation.wrapping_add(1));
    let settings = Settings::of(settings.ok_or(Reason::Inconsistent)?);
    let ttl_s = if rule.ttl_s == 0 {
        settings.ttl_s
    } else {
        rule.ttl_s
    };
    let (reason, address_len) = match scratch.odd {
        0 => outcome(kind, rule, scratch.qtype as u16),
        odd => (odd::error(odd), 0),
    };
    let has_soa = matches!(reason, Reason::NxDomain | Reason::NoData);
    let has_opt = scratch.edns & EDNS_PRESENT != 0;
    let dnssec_ok = if scratch.edns & EDNS_DO != 0 {
        DNSSEC_OK
    } else {
        0
    };
    let owner = pointer(scratch.owner_at as u16);
    let cookie_len = (scratch.cookie_len & 63) as u8;
    let decided = match scratch.decision.ede_code {
        0 => scratch.ede_code as u8,
        code => code,
    };
    let end = scratch.question_end as usize;
    let head_sum = header(
        scratch.message_mut(),
        reason,
        address_len != 0,
        has_soa,
        has_opt,
    );
    let mut tail = Tail {
        message: scratch.message_mut(),
        at: end,
        sum: 0,
    };
    if has_soa {
        soa(&mut tail, owner, ttl_s);
    } else if address_len != 0 {
        address(&mut tail, kind, rule, address_len, ttl_s);
    }
    if has_opt {
        let code = ede_code(rule, settings, reason, decided);
        let text = text(records, generation, rule.text);
        let extended = if matches!(reason, Reason::BadVersion) {
            BADVERS
        } else {
            0
        };
        opt(&mut tail, extended | dnssec_ok, code, text, cookie_len);
    }
    let (at, tail_sum) = (tail.at, tail.sum);
    scratch.message_len = (at & (MESSAGE_MAX_BYTES - 1)) as u32;
    scratch.message_sum += head_sum + placed(tail_sum, end);
    if cookie_len != 0 && has_opt {
        echo_cookie(scratch);
    }
    Ok(reason)
}

/// Puts the client's COOKIE option behind the others; its length is counted already.
#[inline(always)]
fn echo_cookie(scratch: &mut Scratch) {
    let start = scratch.message_len as usize & (MESSAGE_MAX_BYTES - 1);
    let words: [[u8; 8]; COOKIE_BUFFER_LEN / 8] = bytemuck::cast(scratch.cookie);
    let mut tail = Tail {
        message: scratch.message_mut(),
        at: start,
        sum: 0,
    };
    tail.add(words);
    let sum = tail.sum;
    scratch.message_len += scratch.cookie_len & 63;
    scratch.message_sum += placed(sum, start);
}

/// What is said, and the length of the address in the answer section, if any.
#[inline(always)]
fn outcome(kind: AnswerKind, rule: &RuleRecord, qtype: u16) -> (Reason, u8) {
    match kind {
        AnswerKind::NxDomain => (Reason::NxDomain, 0),
        AnswerKind::Refused => (Reason::Refused, 0),
        AnswerKind::ServFail => (Reason::ServFail, 0),
        AnswerKind::Truncate => (Reason::Truncated, 0),
        AnswerKind::Null if qtype == TYPE_A => (Reason::Address, 4),
        AnswerKind::Null if qtype == TYPE_AAAA => (Reason::Address, 16),
        AnswerKind::Address if qtype == TYPE_A && rule.ipv4 != [0; 4] => (Reason::Address, 4),
        AnswerKind::Address if qtype == TYPE_AAAA && rule.ipv6 != [0; 16] => (Reason::Address, 16),
        _ => (Reason::NoData, 0),
    }
}

/// The id, RD and CD.
const KEPT_OF_QUERY: u64 = u64::from_ne_bytes([0xff, 0xff, 0x01, 0x10, 0, 0, 0, 0]);

/// RFC 1035 §4.1.1: QR and RA set, RD and CD as asked, AA, AD and Z clear. The header's sum.
#[inline(always)]
fn header(
    message: &mut Message,
    reason: Reason,
    has_answer: bool,
    has_soa: bool,
    has_opt: bool,
) -> u64 {
    let truncated = if matches!(reason, Reason::Truncated) {
        2
    } else {
        0
    };
    let rcode = match reason {
        Reason::NxDomain => RCODE_NXDOMAIN,
        Reason::Refused => RCODE_REFUSED,
        Reason::ServFail => RCODE_SERVFAIL,
        Reason::FormErr => RCODE_FORMERR,
        _ => 0,
    };
    let set = [
        0,
        0,
        0x80 | truncated,
        0x80 | rcode,
        0,
        1,
        0,
        u8::from(has_answer),
    ];
    let first = word_at(message, 0) & KEPT_OF_QUERY | u64::from_ne_bytes(set);
    let second = u32::from_ne_bytes([0, u8::from(has_soa), 0, u8::from(has_opt)]);
    put(message, 0, first.to_ne_bytes());
    put(message, 8, second.to_ne_bytes());
    halves(first) + u64::from(second)
}

/// Starts `message_sum` with the sum of the question.
#[inline(always)]
pub fn sum_question(scratch: &mut Scratch) {
    let end = scratch.question_end as usize;
    let message = scratch.message();
    let mut sum = 0;
    let mut at = HEADER_BYTES;
    while at + 8 <= end && at < MESSAGE_MAX_BYTES {
        sum += halves(word_at(message, at));
        at += 8;
    }
    // The question seldom ends with a word: what lies behind it is masked off.
    let left = end.wrapping_sub(at) & 7;
    let last = word_at(message, at).to_le() & ((1 << (left * 8)) - 1);
    scratch.message_sum = sum + halves(u64::from_le(last));
}

#[inline(always)]
fn word_at(message: &Message, at: usize) -> u64 {
    let at = at & (MESSAGE_MAX_BYTES - 1);
    let mut word = [0; 8];
    word.copy_from_slice(&message[at..at + 8]);
    u64::from_ne_bytes(word)
}

/// A sum of 16-bit words as it counts at position `at` of the message: behind an
/// odd number of bytes, every word lies across two (RFC 1071 §2 B).
#[inline(always)]
const fn placed(sum: u64, at: usize) -> u64 {
    if at & 1 == 0 {
        sum
    } else {
        folded(sum).swap_bytes() as u64
    }
}

/// What follows the question. It is written in words, and summed as it is
/// written: reading it back would wait for the stores.
struct Tail<'a> {
    message: &'a mut Message,
    at: usize,
    sum: u64,
}

impl Tail<'_> {
    /// Adds words.
    #[inline(always)]
    fn add<const N: usize>(&mut self, words: [[u8; 8]; N]) {
        let mut i = 0;
        while i < N {
            self.sum += halves(u64::from_ne_bytes(words[i]));
            i += 1;
        }
        self.add_summed(&words);
    }

    /// Adds words that are in the sum already, or are no part of the answer.
    #[inline(always)]
    fn add_summed<const N: usize>(&mut self, words: &[[u8; 8]; N]) {
        let at = self.at & (MESSAGE_MAX_BYTES - 1);
        self.message[at..at + 8 * N].copy_from_slice(words.as_flattened());
        self.at += 8 * N;
    }
}

/// A SOA as RFC 6303 §3 gives empty zones: MNAME is the zone itself. TTL and
/// MINIMUM bound negative caching (RFC 2308 §3).
#[inline(always)]
fn soa(tail: &mut Tail<'_>, [o0, o1]: [u8; 2], ttl_s: u32) {
    let [t0, t1, t2, t3] = ttl_s.to_be_bytes();
    tail.add([
        [o0, o1, 0, TYPE_SOA, 0, CLASS_IN, t0, t1],
        [t2, t3, 0, SOA_RDATA_BYTES, o0, o1, 4, b'n'],
        *b"xdp\x07inva",
        *b"lid\0\0\0\0\x01",
        // Refresh after an hour, retry after ten minutes, expire after a day: nobody transfers it.
        [0, 0, 0x0e, 0x10, 0, 0, 0x02, 0x58],
        [0, 0x01, 0x51, 0x80, t0, t1, t2, t3],
    ]);
}

/// One A or AAAA record for the qname.
#[inline(always)]
fn address(tail: &mut Tail<'_>, kind: AnswerKind, rule: &RuleRecord, len: u8, ttl_s: u32) {
    let [o0, o1] = pointer(HEADER_BYTES as u16);
    let [t0, t1, t2, t3] = ttl_s.to_be_bytes();
    let is_null = matches!(kind, AnswerKind::Null);
    let is_ipv4 = len == 4;
    let qtype = if is_ipv4 { TYPE_A } else { TYPE_AAAA } as u8;
    let [a, b, c, d]: [u32; 4] = match (is_null, is_ipv4) {
        (true, _) => [0; 4],
        (false, true) => [u32::from_ne_bytes(rule.ipv4), 0, 0, 0],
        (false, false) => bytemuck::cast(rule.ipv6),
    };
    let before = u32::from_ne_bytes([t2, t3, 0, len]);
    tail.add([
        [o0, o1, 0, qtype, 0, CLASS_IN, t0, t1],
        bytemuck::cast([before, a]),
    ]);
    if !is_ipv4 {
        // What follows overwrites the last half word.
        tail.add([bytemuck::cast([b, c]), bytemuck::cast([d, 0])]);
        tail.at -= 4;
    }
}

/// RFC 6891 §6.1.2 with one option, RFC 8914 §2.
#[inline(always)]
fn opt(tail: &mut Tail<'_>, ttl: u32, code: u8, text: &TextRecord, cookie_len: u8) {
    let [s0, s1] = UDP_PAYLOAD_BYTES.to_be_bytes();
    let [extended, version, flags, _] = ttl.to_be_bytes();
    let len = if text.len as usize > TEXT_MAX_BYTES {
        0
    } else {
        text.len
    };
    tail.add([
        [0, 0, TYPE_OPT, s0, s1, extended, version, flags],
        [0, 0, len + 6 + cookie_len, 0, OPTION_EDE, 0, len + 2, 0],
    ]);
    // The text's length is in its record where the INFO-CODE is in the option.
    // Bytes behind the text are no part of the message.
    let start = tail.at;
    let [first, rest @ ..]: &[[u8; 8]; 8] = bytemuck::cast_ref(text);
    let code = u64::from_ne_bytes([code, 0, 0, 0, 0, 0, 0, 0]);
    let first = u64::from_ne_bytes(*first) & !FIRST_BYTE | code;
    tail.sum += code + u64::from(text.sum);
    tail.add_summed(&[first.to_ne_bytes()]);
    tail.add_summed::<7>(rest);
    tail.at = start + 1 + usize::from(len);
}

/// DO in the TTL of an OPT record (RFC 6891 §6.1.3).
const DNSSEC_OK: u32 = 0x8000;
/// The upper bits of RCODE 16 there, above version 0 (RFC 6891 §9).
const BADVERS: u32 = 1 << 24;
const FIRST_BYTE: u64 = u64::from_ne_bytes([0xff, 0, 0, 0, 0, 0, 0, 0]);

#[inline(always)]
const fn ede_code(rule: &RuleRecord, settings: &Settings, reason: Reason, decided: u8) -> u8 {
    if rule.ede_code != 0 {
        rule.ede_code
    } else if decided != 0 {
        decided
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

/// What the operator blocks has no rule.
static NO_RULE: RuleRecord = RuleRecord {
    categories: 0,
    flags: 0,
    next: 0,
    list: 0,
    ttl_s: 0,
    text: 0,
    ipv4: [0; 4],
    ipv6: [0; 16],
    priority: 0,
    scope: 0,
    answer: 0,
    ede_code: 0,
    qtype_mode: 0,
    qtype_count: 0,
    qtypes: [0; QTYPES_PER_RULE],
    priority_observing: 0,
    reserved: 0,
};

static NO_TEXT: TextRecord = TextRecord::EMPTY;

/// A compression pointer (RFC 1035 §4.1.4).
#[inline(always)]
const fn pointer(at: u16) -> [u8; 2] {
    (0xc000 | at & 0x3fff).to_be_bytes()
}

/// Writes `bytes` at `at`; the position wraps so that the verifier sees the bound.
#[inline(always)]
fn put<const N: usize>(message: &mut Message, at: usize, bytes: [u8; N]) {
    let at = at & (MESSAGE_MAX_BYTES - 1);
    // As one piece: byte by byte, what was put together in a register is taken apart again, and
    // whoever then reads it as a whole waits for the pieces.
    message[at..at + N].copy_from_slice(&bytes);
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;

    #[test]
    fn a_text_of_any_length_that_a_record_holds_is_in_the_answer_whole() {
        for len in [0, 1, TEXT_MAX_BYTES] {
            let text = TextRecord::new(&"x".repeat(len)).unwrap();
            let mut scratch = Scratch::zeroed();
            let mut tail = Tail {
                message: scratch.message_mut(),
                at: 40,
                sum: 0,
            };
            opt(&mut tail, 0, EDE_BLOCKED, &text, 0);
            // OPT, the header of its option, the INFO-CODE, the text (RFC 8914 §2).
            assert_eq!(tail.at, 40 + 11 + 4 + 2 + len);
            let said = &tail.message[57..tail.at];
            assert!(said.len() == len && said.iter().all(|byte| *byte == b'x'));
        }
    }
}
