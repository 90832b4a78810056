//! The words of a rule: scope, priority, answer, query types; and the best rule of several.

use bytemuck::{Pod, Zeroable};

use crate::{layout::QTYPES_PER_RULE, listed};

listed! {
    /// Which names a rule with the name `d` matches.
    pub enum Scope: u8 {
        /// `d` only.
        Exact = 1, "exact";
        /// Names below `d`, not `d` itself.
        Subs = 2, "subs";
        /// `d` and every name below it.
        Suffix = 3, "suffix";
    }
}

impl Scope {
    /// Bit of a scope number that covers the name itself.
    pub const SELF_BIT: u8 = 1;
    /// Bit of a scope number that covers the names below.
    pub const BELOW_BIT: u8 = 2;
}

listed! {
    /// Rank of a rule: a higher one wins however specific the lower one is.
    pub enum Priority: u8 {
        /// A block that only counts. It ranks below all others, so that it changes no verdict.
        Observe = 1, "observe";
        /// A plain block.
        Block = 2, "block";
        /// An exception to plain blocks.
        Allow = 3, "allow";
        /// A block that exceptions do not lift (`$important`).
        ImportantBlock = 4, "important-block";
        /// An exception to every block of a list.
        ImportantAllow = 5, "important-allow";
        /// An answer of its own (`$dnsrewrite`), above everything else in lists.
        Rewrite = 6, "rewrite";
        /// A response code of its own: of several rewrites such a one wins.
        RewriteCode = 7, "rewrite-code";
    }
}

impl Priority {
    /// Whether the rule is a rewrite, which an exception to rewrites lifts.
    pub const fn is_rewrite(self) -> bool {
        matches!(self, Self::Rewrite | Self::RewriteCode)
    }

    /// Whether the rule lets a name through.
    pub const fn is_allow(self) -> bool {
        matches!(self, Self::Allow | Self::ImportantAllow)
    }
}

listed! {
    /// What a client gets for a blocked name.
    pub enum AnswerKind: u8 {
        /// NXDOMAIN with a SOA (RFC 2308 §2.1).
        NxDomain = 1, "nxdomain";
        /// No error, no data, with a SOA (RFC 2308 §2.2).
        NoData = 2, "nodata";
        /// REFUSED.
        Refused = 3, "refused";
        /// 0.0.0.0 and ::, no data for other types.
        Null = 4, "null";
        /// The addresses of the rule, no data for other types.
        Address = 5, "address";
        /// TC=1: ask again over TCP.
        Truncate = 6, "truncate";
        /// No answer.
        Drop = 7, "drop";
        /// The query passes and is counted.
        Observe = 8, "observe";
        /// SERVFAIL: most clients ask another nameserver.
        ServFail = 9, "servfail";
    }
}

impl AnswerKind {
    /// Whether it says nothing without an address, which only a rule has.
    pub const fn needs_address(self) -> bool {
        matches!(self, Self::Address)
    }
}

/// The query types that a rule is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QtypeSet {
    mode: u8,
    count: u8,
    qtypes: [u16; QTYPES_PER_RULE],
}

impl QtypeSet {
    /// Every type.
    pub const ALL: Self = Self {
        mode: Self::EVERY,
        count: 0,
        qtypes: [0; QTYPES_PER_RULE],
    };
    /// [`QtypeSet::mode`] of a set of every type.
    pub const EVERY: u8 = 0;
    /// [`QtypeSet::mode`] of a set that names its members.
    pub const ONLY: u8 = 1;
    /// [`QtypeSet::mode`] of a set that names what is not in it.
    pub const EXCEPT: u8 = 2;

    /// The set of just these types; `None` if they are more than a rule can hold.
    pub fn only(qtypes: &[u16]) -> Option<Self> {
        Self::named(Self::ONLY, qtypes)
    }

    /// The set of all types but these; `None` if they are more than a rule can hold.
    pub fn except(qtypes: &[u16]) -> Option<Self> {
        Self::named(Self::EXCEPT, qtypes)
    }

    fn named(mode: u8, named: &[u16]) -> Option<Self> {
        let mut qtypes = [0; QTYPES_PER_RULE];
        qtypes.get_mut(..named.len())?.copy_from_slice(named);
        // One set has one form, so that equal sets compare equal.
        qtypes[..named.len()].sort_unstable();
        Some(Self {
            mode,
            count: u8::try_from(named.len()).ok()?,
            qtypes,
        })
    }

    /// How `qtypes` is meant: [`Self::EVERY`], [`Self::ONLY`] or [`Self::EXCEPT`].
    pub const fn mode(&self) -> u8 {
        self.mode
    }

    /// The types named by the set.
    pub fn named_qtypes(&self) -> &[u16] {
        &self.qtypes[..usize::from(self.count).min(QTYPES_PER_RULE)]
    }

    /// The fields as a rule record stores them: mode, count, types.
    pub const fn parts(&self) -> (u8, u8, [u16; QTYPES_PER_RULE]) {
        (self.mode, self.count, self.qtypes)
    }

    /// Whether `qtype` is in the set.
    pub fn contains(&self, qtype: u16) -> bool {
        let named = self.named_qtypes().contains(&qtype);
        match self.mode {
            Self::ONLY => named,
            Self::EXCEPT => !named,
            _ => true,
        }
    }
}

/// The best rule so far, in one word: class number, priority, and whether
/// names below the last one have rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Best(pub u64);

impl Best {
    pub(crate) const PRIORITY_SHIFT: u32 = 32;
    pub(crate) const DESCENDANTS: u64 = 1 << 63;

    #[inline(always)]
    pub(crate) const fn class(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    pub(crate) const fn priority(self) -> u8 {
        (self.0 >> Self::PRIORITY_SHIFT) as u8
    }

    #[inline(always)]
    pub(crate) const fn rule(self) -> u64 {
        self.0 & !Self::DESCENDANTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_types_holds_what_it_names_or_what_it_does_not() {
        let only = QtypeSet::only(&[28, 1]).unwrap();
        let except = QtypeSet::except(&[28, 1]).unwrap();
        for (qtype, named) in [(1, true), (28, true), (0, false), (65, false)] {
            assert_eq!(only.contains(qtype), named, "{qtype}");
            assert_eq!(except.contains(qtype), !named, "{qtype}");
            assert!(QtypeSet::ALL.contains(qtype), "{qtype}");
        }
        assert_eq!(only.parts(), (QtypeSet::ONLY, 2, [1, 28, 0, 0]));
        assert_eq!(except.parts(), (QtypeSet::EXCEPT, 2, [1, 28, 0, 0]));
        assert_eq!(only, QtypeSet::only(&[1, 28]).unwrap(), "one form");
        assert_eq!(QtypeSet::only(&[1; QTYPES_PER_RULE + 1]), None);
        assert_eq!(QtypeSet::except(&[1; QTYPES_PER_RULE + 1]), None);
    }

    #[test]
    fn a_word_holds_the_best_rule_and_whether_it_leads_on_apart() {
        let rule = 5 << Best::PRIORITY_SHIFT | 0xffff;
        let best = Best(rule | Best::DESCENDANTS);
        assert_eq!((best.class(), best.priority()), (0xffff, 5));
        assert_eq!(best.rule(), rule);
    }
    #[test]
    fn of_all_answers_one_needs_an_address() {
        let needy = |kind: &AnswerKind| kind.needs_address();
        let needy: Vec<_> = AnswerKind::ALL.into_iter().filter(needy).collect();
        assert_eq!(needy, [AnswerKind::Address]);
    }

    #[test]
    fn of_all_priorities_two_allow_and_two_rewrite() {
        let of = |is: fn(Priority) -> bool| {
            let all = Priority::ALL.into_iter();
            all.filter(|priority| is(*priority)).collect::<Vec<_>>()
        };
        assert_eq!(
            of(Priority::is_allow),
            [Priority::Allow, Priority::ImportantAllow]
        );
        assert_eq!(
            of(Priority::is_rewrite),
            [Priority::Rewrite, Priority::RewriteCode]
        );
    }
}
