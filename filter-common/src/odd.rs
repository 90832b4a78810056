//! What is odd about a query, and what becomes of it if its name is blocked.
//!
//! Resolvers answer queries that break the rules, so that passing one is a verdict. What is odd is
//! noted as a bit beside the question, and the question decides as that of any other query does.
//! [`refuse`] is the one place that says what becomes of a blocked one. A query whose question
//! cannot be read, though a resolver would answer it, is refused whatever its name is.

use crate::{layout::CONTROL_ODD_PASSES, reason::Reason};

/// Lengths, tags or headers in front of the message that nobody sends but to hide it.
pub const HEADERS: u32 = 1;
/// Another class than IN.
pub const CLASS: u32 = 2;
/// Records in the answer or authority section.
pub const RECORDS: u32 = 4;
/// Something else than one OPT record in the additional section, such as a signature.
pub const ADDITIONAL: u32 = 8;
/// The OPT record is cut short, or its options do not add up.
pub const EDNS: u32 = 16;
/// Another EDNS version than 0.
pub const VERSION: u32 = 32;
/// A first fragment: what is missing of it is in others.
pub const FRAGMENT: u32 = 64;
/// The question cannot be read. The reason to pass it is in the last byte.
pub const UNREADABLE: u32 = 128;

/// Another opcode than QUERY.
pub const OPCODE: u32 = 256;

const REASON_SHIFT: u32 = 24;
/// What a client learns from an error to ask again without it.
const ANSWERED: u32 = RECORDS | ADDITIONAL | EDNS | VERSION;

/// The set of a query that cannot be read, for `reason`.
#[inline(always)]
pub const fn unreadable(reason: Reason) -> u32 {
    UNREADABLE | (reason as u32) << REASON_SHIFT
}

/// Whether a resolver answers queries that would pass for this reason: what hides the question from
/// a filter hides it from no network stack, and BIND follows compression pointers anywhere.
#[inline(always)]
pub const fn hides_question(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::LabelType
            | Reason::HeaderChain
            | Reason::FirstFragment
            | Reason::TcpSegment
            | Reason::Crowded
    )
}

/// What becomes of a blocked query: an error that says what is odd, or nothing.
///
/// # Errors
///
/// Why it passes, if the operator says so, or is dropped.
#[inline(always)]
pub const fn refuse(odd: u32, flags: u32, is_answerable: bool) -> Result<(), Reason> {
    if flags & CONTROL_ODD_PASSES != 0 {
        Err(passing(odd))
    } else if is_answerable && odd & !ANSWERED == 0 {
        Ok(())
    } else {
        Err(Reason::OddDropped)
    }
}

/// Under which name an odd query passes.
#[inline(always)]
pub const fn passing(odd: u32) -> Reason {
    if odd & UNREADABLE != 0 {
        match Reason::from_number((odd >> REASON_SHIFT) as u8) {
            Some(reason) => reason,
            None => Reason::Inconsistent,
        }
    } else if odd & HEADERS != 0 {
        Reason::OddHeaders
    } else if odd & OPCODE != 0 {
        Reason::Opcode
    } else if odd & CLASS != 0 {
        Reason::Qclass
    } else if odd & RECORDS != 0 {
        Reason::RecordCount
    } else if odd & ADDITIONAL != 0 {
        Reason::Additional
    } else if odd & EDNS != 0 {
        Reason::BadEdns
    } else {
        Reason::EdnsVersion
    }
}

/// The error for a blocked query that is odd (RFC 6891 §6.1.3 and §7, RFC 1035 §4.1.1).
#[inline(always)]
pub const fn error(odd: u32) -> Reason {
    if odd == VERSION {
        Reason::BadVersion
    } else {
        Reason::FormErr
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_query_is_told_what_is_odd_only_where_its_sender_can_do_better() {
        assert_eq!(refuse(EDNS, 0, true), Ok(()));
        assert_eq!(refuse(VERSION | RECORDS, 0, true), Ok(()));
        for (odd, is_answerable) in [
            (EDNS, false),
            (CLASS, true),
            (EDNS | CLASS, true),
            (HEADERS, true),
            (OPCODE, true),
            (OPCODE | RECORDS, true),
        ] {
            assert_eq!(refuse(odd, 0, is_answerable), Err(Reason::OddDropped));
        }
        assert_eq!(error(VERSION), Reason::BadVersion);
        assert_eq!(error(VERSION | EDNS), Reason::FormErr);
    }

    #[test]
    fn what_the_operator_lets_by_passes_under_a_name_of_its_own() {
        for (odd, reason) in [
            (HEADERS | CLASS, Reason::OddHeaders),
            (CLASS | EDNS, Reason::Qclass),
            (OPCODE | CLASS | RECORDS, Reason::Opcode),
            (RECORDS, Reason::RecordCount),
            (ADDITIONAL, Reason::Additional),
            (EDNS, Reason::BadEdns),
            (VERSION, Reason::EdnsVersion),
            (unreadable(Reason::LabelType), Reason::LabelType),
        ] {
            assert_eq!(refuse(odd, CONTROL_ODD_PASSES, true), Err(reason));
        }
    }
}
