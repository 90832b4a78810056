//! What a client is sent for a query that a rule decides.

use std::{fmt, net::IpAddr};

use filter_common::{layout::RuleRecord, rule::AnswerKind};

use super::Verdict;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;

/// What a client is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// This address.
    Address(IpAddr),
    /// No address, for one or more reasons that this says: a response code, a flag, or silence.
    Without(AnswerKind),
}

impl Answered {
    /// What an answer with the addresses of a rule's record amounts to for a query type.
    fn of(kind: AnswerKind, record: &RuleRecord, qtype: u16) -> Self {
        let address = match (kind, qtype) {
            (AnswerKind::Null, TYPE_A) => Some(IpAddr::from([0; 4])),
            (AnswerKind::Null, TYPE_AAAA) => Some(IpAddr::from([0; 16])),
            (AnswerKind::Address, TYPE_A) if record.ipv4 != [0; 4] => Some(record.ipv4.into()),
            (AnswerKind::Address, TYPE_AAAA) if record.ipv6 != [0; 16] => Some(record.ipv6.into()),
            _ => None,
        };
        match (address, kind) {
            (Some(address), _) => Self::Address(address),
            (None, AnswerKind::Null | AnswerKind::Address) => Self::Without(AnswerKind::NoData),
            (None, kind) => Self::Without(kind),
        }
    }
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Without(kind) => f.write_str(kind.word()),
        }
    }
}

impl Verdict<'_> {
    /// What a client is sent for the query, which is of this type, if it is blocked.
    pub fn answered(&self, qtype: u16) -> Option<Answered> {
        let record = self.record.as_ref()?;
        self.answer
            .map(|answer| Answered::of(answer, record, qtype))
    }
}
