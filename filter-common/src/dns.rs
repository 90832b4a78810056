//! Reads a query: header, one question, an OPT record.
//!
//! The message is read as RFC 1035 §4.1 and RFC 6891 §6.1 define it. What breaks them without
//! hiding the question is [`odd`], and the question decides. Where there is no single question to
//! read, the reason says why.

use crate::{
    name::{LABEL_MAX_BYTES, NAME_MAX_BYTES},
    odd,
    reason::Reason,
    scratch::{
        COOKIE_BUFFER_LEN, EDNS_DO, EDNS_PRESENT, MESSAGE_MAX_BYTES, Message, Scratch, message_of,
    },
    steps::{OptionStep, Steps},
};

/// Bytes of a DNS header (RFC 1035 §4.1.1).
pub const HEADER_BYTES: usize = 12;
/// The smallest query: header, root name, type and class.
pub const QUERY_MIN_BYTES: usize = HEADER_BYTES + 5;
/// Most labels of a name: 127 of one byte each, and the root.
const LABELS_MAX: usize = NAME_MAX_BYTES / 2;
/// The class of the Internet (RFC 1035 §3.2.4).
pub(crate) const CLASS_IN: u16 = 1;
const TYPE_OPT: u16 = 41;
/// Root name, type, class, TTL, RDLENGTH (RFC 6891 §6.1.2).
const OPT_BYTES: usize = 11;

/// Reads header and question of the query in `scratch`, of which `message_len` bytes are there.
#[inline(always)]
pub fn parse_question(scratch: &mut Scratch) -> Result<(), Reason> {
    let len = scratch.message_len as usize;
    if !(QUERY_MIN_BYTES..=MESSAGE_MAX_BYTES).contains(&len) {
        return Err(Reason::ShortMessage);
    }
    scratch.odd |= header(scratch.message())?;
    let name_end = labels(scratch, len)?;
    scratch.qtype = u32::from(u16_at(scratch.message(), name_end));
    let message = message_of(&scratch.bytes);
    if u16_at(message, name_end + 2) != CLASS_IN {
        scratch.odd |= odd::CLASS;
    }
    let end = name_end + 4;
    scratch.question_end = end as u32;
    scratch.message_end = end as u32;
    // The record count until `parse_additional` looks closer.
    scratch.edns = u32::from(u16_at(message, 10));
    scratch.cookie_len = 0;
    Ok(())
}

/// Checks the header; what is odd about it.
#[inline(always)]
fn header(message: &Message) -> Result<u32, Reason> {
    // RFC 1035 §4.1.1: QR is the top bit, then four bits of opcode.
    if message[2] & 0x80 != 0 {
        return Err(Reason::Response);
    }
    // Knot Resolver answers a question whatever the opcode is.
    let opcode = if message[2] & 0x78 != 0 {
        odd::OPCODE
    } else {
        0
    };
    if u16_at(message, 4) != 1 {
        return Err(if opcode != 0 {
            Reason::Opcode
        } else {
            Reason::QuestionCount
        });
    }
    let records = if u16_at(message, 6) | u16_at(message, 8) != 0 {
        odd::RECORDS
    } else {
        0
    };
    Ok(opcode | records)
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
        // RFC 1035 §4.1.4: 0xc0 and above are pointers, which a question has no use for.
        if label_len > LABEL_MAX_BYTES {
            return Err(Reason::LabelType);
        }
        // The walk goes from the last label to the first, and cannot read a name backwards.
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

/// Reads the additional section of the query in `scratch`, whose question was read: an OPT record,
/// or what is odd.
///
/// What lies behind one record is not looked at.
#[inline(always)]
pub fn parse_additional<S: Steps + ?Sized>(steps: &S, scratch: &mut Scratch) {
    // Records in front of it hide where it is.
    let is_next = scratch.edns == 1 && scratch.odd & odd::RECORDS == 0;
    let found = if is_next {
        opt(steps, scratch)
    } else {
        odd::ADDITIONAL
    };
    if found & !odd::VERSION != 0 {
        // The error for it has no OPT record (RFC 6891 §7).
        scratch.edns = 0;
        scratch.message_end = scratch.query_len;
    }
    scratch.odd |= found;
}

/// Reads an OPT record; what is odd about it.
#[inline(always)]
fn opt<S: Steps + ?Sized>(steps: &S, scratch: &mut Scratch) -> u32 {
    let message = message_of(&scratch.bytes);
    let at = scratch.question_end as usize;
    if at + OPT_BYTES > scratch.message_len as usize {
        return odd::EDNS;
    }
    // RFC 6891 §6.1.2: the owner is the root.
    if byte_at(message, at) != 0 || u16_at(message, at + 1) != TYPE_OPT {
        return odd::ADDITIONAL;
    }
    // RFC 6891 §6.1.3: extended RCODE, version, DO and 15 reserved bits.
    let version = if byte_at(message, at + 6) == 0 {
        0
    } else {
        odd::VERSION
    };
    let is_do = byte_at(message, at + 7) & 0x80 != 0;
    let start = at + OPT_BYTES;
    // Options may reach beyond what was copied; they end inside the datagram, or the record is
    // broken.
    let end = start + usize::from(u16_at(message, at + 9));
    if end > scratch.query_len as usize {
        return odd::EDNS | version;
    }
    scratch.message_end = end as u32;
    scratch.edns = EDNS_PRESENT | if is_do { EDNS_DO } else { 0 };
    // What another version has in its options is not known.
    if start == end || version != 0 {
        return version;
    }
    scratch.option_at = start as u32;
    scratch.option_end = end as u32;
    scratch.cookie_at = 0;
    let mut count = 0;
    while count < OPTIONS_MAX {
        match steps.option(scratch) {
            OptionStep::Next => count += 1,
            OptionStep::End => break,
            OptionStep::Bad => return odd::EDNS,
        }
    }
    if scratch.cookie_at != 0 {
        keep_cookie(scratch);
    }
    0
}

/// Steps over one option (RFC 6891 §6.1.2), and notes where the first COOKIE is.
#[inline(always)]
pub fn option(scratch: &mut Scratch) -> OptionStep {
    let (at, end) = (scratch.option_at as usize, scratch.option_end as usize);
    if at == end {
        return OptionStep::End;
    }
    let loaded = scratch.message_len as usize;
    if at + OPTION_HEADER_BYTES > loaded {
        return if end > loaded {
            OptionStep::End
        } else {
            OptionStep::Bad
        };
    }
    let message = message_of(&scratch.bytes);
    let next = at + OPTION_HEADER_BYTES + usize::from(u16_at(message, at + 2));
    if next > end {
        return OptionStep::Bad;
    }
    // RFC 7873 §5.2: of several COOKIE options all but the first are ignored.
    if scratch.cookie_at == 0 && u16_at(message, at) == OPTION_COOKIE {
        scratch.cookie_at = at as u32;
    }
    scratch.option_at = next as u32;
    OptionStep::Next
}

const OPTION_HEADER_BYTES: usize = 4;
/// As many empty options as fit what is loaded.
const OPTIONS_MAX: usize = (MESSAGE_MAX_BYTES - QUERY_MIN_BYTES - OPT_BYTES) / OPTION_HEADER_BYTES;
/// RFC 7873 §4.
const OPTION_COOKIE: u16 = 10;
/// Eight bytes of the client, and eight to 32 of the server (RFC 7873 §4).
const COOKIE_MIN_BYTES: usize = 8 + 8;
const COOKIE_MAX_BYTES: usize = 8 + 32;

/// Keeps a COOKIE that carries a server's part: a client drops answers without it (RFC 7873 §5.3).
#[inline(always)]
fn keep_cookie(scratch: &mut Scratch) {
    let at = scratch.cookie_at as usize;
    let size = usize::from(u16_at(scratch.message(), at + 2));
    let used = OPTION_HEADER_BYTES + size;
    // RFC 7873 §5.2.2: another length is a format error, which is the resolver's to tell; nothing of
    // it is echoed.
    if !(COOKIE_MIN_BYTES..=COOKIE_MAX_BYTES).contains(&size)
        || at + used > scratch.message_len as usize
    {
        return;
    }
    let mut i = 0;
    while i < COOKIE_BUFFER_LEN {
        let byte = byte_at(message_of(&scratch.bytes), at + i);
        scratch.cookie[i] = if i < used { byte } else { 0 };
        i += 1;
    }
    scratch.cookie_len = used as u32;
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

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;

    /// A message with these options from byte 40 on, as much of it loaded.
    fn scratch(options: &[u8], loaded: usize) -> Scratch {
        let mut scratch = Scratch::zeroed();
        scratch.message_mut()[40..40 + options.len()].copy_from_slice(options);
        scratch.option_at = 40;
        scratch.option_end = 40 + options.len() as u32;
        scratch.message_len = loaded as u32;
        scratch
    }

    #[test]
    fn records_in_any_section_are_odd() {
        let mut scratch = Scratch::zeroed();
        let message = scratch.message_mut();
        message[5] = 1;
        assert_eq!(header(message), Ok(0));
        // The same number in both, too.
        for (answers, authorities) in [(1, 0), (0, 1), (1, 1), (1, 2)] {
            (message[7], message[9]) = (answers, authorities);
            assert_eq!(header(message), Ok(odd::RECORDS));
        }
    }

    #[test]
    fn an_option_ends_where_its_length_says_or_is_bad() {
        let one = [0, 3, 0, 2, 1, 2];
        for (options, loaded, step) in [
            (&one[..], 46, OptionStep::Next),
            (&one[..0], 46, OptionStep::End),
            // Less than an option, all of it there.
            (&one[..3], 43, OptionStep::Bad),
            // Less than it says.
            (&one[..5], 46, OptionStep::Bad),
            // The rest was not loaded.
            (&one[..], 43, OptionStep::End),
            (&one[..], 44, OptionStep::Next),
        ] {
            let mut scratch = scratch(options, loaded);
            assert_eq!(option(&mut scratch), step, "{options:?} of {loaded}");
        }
    }

    #[test]
    fn of_several_cookies_the_first_counts() {
        let mut scratch = scratch(&[0, 3, 0, 0, 0, 10, 0, 0, 0, 10, 0, 0], 60);
        let seen = [0; 3].map(|_: u32| {
            assert_eq!(option(&mut scratch), OptionStep::Next);
            scratch.cookie_at
        });
        assert_eq!(seen, [0, 44, 44]);
        assert_eq!(option(&mut scratch), OptionStep::End);
    }

    #[test]
    fn as_many_options_are_read_as_fit_what_is_loaded() {
        let room = MESSAGE_MAX_BYTES - QUERY_MIN_BYTES - OPT_BYTES;
        let used = OPTIONS_MAX * OPTION_HEADER_BYTES;
        assert!((room - OPTION_HEADER_BYTES..=room).contains(&used));
    }

    #[test]
    fn a_cookie_is_kept_if_it_has_a_servers_part_and_is_whole() {
        // RFC 7873 §4: 16 to 40 bytes, behind a header of four.
        for (size, loaded, kept) in [
            (8, 512, 0),
            (15, 512, 0),
            (16, 512, 20),
            (40, 512, 44),
            (41, 512, 0),
            (16, 60, 20),
            (16, 59, 0),
        ] {
            let mut cookie = vec![0xcc; 60];
            cookie[..4].copy_from_slice(&[0, 10, 0, size]);
            let mut scratch = scratch(&cookie, loaded);
            scratch.cookie_at = 40;
            keep_cookie(&mut scratch);
            assert_eq!(scratch.cookie_len, kept, "{size} of {loaded}");
            let (own, rest) = scratch.cookie.split_at(kept as usize);
            assert_eq!(own, &cookie[..kept as usize]);
            assert!(rest.iter().all(|byte| *byte == 0), "{size}");
        }
    }
}
