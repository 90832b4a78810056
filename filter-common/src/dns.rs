//! Reads a query: header, one question, an OPT record.
//!
//! The message is judged as RFC 1035 §4.1 and RFC 6891 §6.1 define it. Whatever
//! is not a plain question passes under a name of its own: the resolver is the
//! judge of odd messages.

use crate::{
    name::{LABEL_MAX_BYTES, NAME_MAX_BYTES},
    reason::Reason,
    scratch::{EDNS_DO, EDNS_PRESENT, MESSAGE_MAX_BYTES, Message, Scratch, message_of},
};

/// Bytes of a DNS header (RFC 1035 §4.1.1).
pub const HEADER_BYTES: usize = 12;
/// The smallest query: header, root name, type and class.
pub const QUERY_MIN_BYTES: usize = HEADER_BYTES + 5;
/// Most labels of a name: 127 of one byte each, and the root.
const LABELS_MAX: usize = NAME_MAX_BYTES / 2;
const CLASS_IN: u16 = 1;
const TYPE_OPT: u16 = 41;
/// Root name, type, class, TTL, RDLENGTH (RFC 6891 §6.1.2).
const OPT_BYTES: usize = 11;

/// Reads the query in `scratch`, of which `message_len` bytes are there.
#[inline(always)]
pub fn parse(scratch: &mut Scratch) -> Result<(), Reason> {
    let len = scratch.message_len as usize;
    if !(QUERY_MIN_BYTES..=MESSAGE_MAX_BYTES).contains(&len) {
        return Err(Reason::ShortMessage);
    }
    let additional = header(scratch.message())?;
    let name_end = labels(scratch, len)?;
    scratch.qtype = u32::from(u16_at(scratch.message(), name_end));
    let message = message_of(&scratch.bytes);
    if u16_at(message, name_end + 2) != CLASS_IN {
        return Err(Reason::Qclass);
    }
    let end = name_end + 4;
    scratch.question_end = end as u32;
    scratch.edns = match additional {
        0 => 0,
        1 => opt(message, end, len)?,
        _ => return Err(Reason::Additional),
    };
    Ok(())
}

/// Checks the header; the number of additional records.
#[inline(always)]
fn header(message: &Message) -> Result<u16, Reason> {
    // RFC 1035 §4.1.1: QR is the top bit, then four bits of opcode.
    if message[2] & 0x80 != 0 {
        return Err(Reason::Response);
    }
    if message[2] & 0x78 != 0 {
        return Err(Reason::Opcode);
    }
    if u16_at(message, 4) != 1 {
        return Err(Reason::QuestionCount);
    }
    if u16_at(message, 6) | u16_at(message, 8) != 0 {
        return Err(Reason::RecordCount);
    }
    Ok(u16_at(message, 10))
}

/// Notes where each label starts; the position behind the root label.
#[inline(always)]
fn labels(scratch: &mut Scratch, len: usize) -> Result<usize, Reason> {
    let mut at = HEADER_BYTES;
    let mut count = 0;
    while count <= LABELS_MAX {
        let label_len = usize::from(byte_at(scratch.message(), at));
        if label_len == 0 {
            scratch.label_count = count as u32;
            return if at + 5 > len {
                Err(Reason::ShortQuestion)
            } else {
                Ok(at + 1)
            };
        }
        if label_len > LABEL_MAX_BYTES {
            return Err(Reason::LabelType);
        }
        scratch.label_starts[count & 127] = (at - HEADER_BYTES) as u8;
        at += 1 + label_len;
        // The root label at least must follow within 255 bytes (RFC 1035 §3.1).
        if at - HEADER_BYTES >= NAME_MAX_BYTES {
            return Err(Reason::LongName);
        }
        if at >= len {
            return Err(Reason::ShortQuestion);
        }
        count += 1;
    }
    Err(Reason::LongName)
}

/// Reads the one additional record; what lies behind it is not looked at.
#[inline(always)]
fn opt(message: &Message, at: usize, len: usize) -> Result<u32, Reason> {
    if at + OPT_BYTES > len {
        return Err(Reason::BadEdns);
    }
    // RFC 6891 §6.1.2: the owner is the root.
    if byte_at(message, at) != 0 || u16_at(message, at + 1) != TYPE_OPT {
        return Err(Reason::Additional);
    }
    // RFC 6891 §6.1.3: extended RCODE, version, DO and 15 reserved bits.
    if byte_at(message, at + 6) != 0 {
        return Err(Reason::EdnsVersion);
    }
    let is_do = byte_at(message, at + 7) & 0x80 != 0;
    Ok(EDNS_PRESENT | if is_do { EDNS_DO } else { 0 })
}

/// The byte at `at`, which wraps at 512: the verifier wants to see the bound.
#[inline(always)]
fn byte_at(message: &Message, at: usize) -> u8 {
    message[at & (MESSAGE_MAX_BYTES - 1)]
}

#[inline(always)]
fn u16_at(message: &Message, at: usize) -> u16 {
    u16::from_be_bytes([byte_at(message, at), byte_at(message, at + 1)])
}
