//! The words of a rule: scope, priority, answer, query types; and the best rule of several.

use bytemuck::{Pod, Zeroable};

use crate::layout::QTYPES_PER_RULE;

/// Which names a rule with the name `d` matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Scope {
    /// `d` only.
    Exact = 1,
    /// Names below `d`, not `d` itself.
    Subs = 2,
    /// `d` and every name below it.
    Suffix = 3,
}

impl Scope {
    /// Bit of a scope number that covers the name itself.
    pub const SELF_BIT: u8 = 1;
    /// Bit of a scope number that covers the names below.
    pub const BELOW_BIT: u8 = 2;

    /// The scope with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Exact),
            2 => Some(Self::Subs),
            3 => Some(Self::Suffix),
            _ => None,
        }
    }

    /// The word for it: `exact`, `subs` or `suffix`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Subs => "subs",
            Self::Suffix => "suffix",
        }
    }
}

/// Rank of a rule: a higher one wins however specific the lower one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Priority {
    /// A plain block.
    Block = 1,
    /// An exception to plain blocks.
    Allow = 2,
    /// A block that exceptions do not lift (`$important`).
    ImportantBlock = 3,
    /// An exception to every block of a list.
    ImportantAllow = 4,
    /// An answer of its own (`$dnsrewrite`), above everything else in lists.
    Rewrite = 5,
}

impl Priority {
    /// The priority with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Block),
            2 => Some(Self::Allow),
            3 => Some(Self::ImportantBlock),
            4 => Some(Self::ImportantAllow),
            5 => Some(Self::Rewrite),
            _ => None,
        }
    }

    /// Whether the rule lets a name through.
    pub const fn is_allow(self) -> bool {
        matches!(self, Self::Allow | Self::ImportantAllow)
    }
}

/// What a client gets for a blocked name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum AnswerKind {
    /// RCODE 3 with a SOA (RFC 2308 §2.1).
    NxDomain = 1,
    /// RCODE 0 without an answer record, with a SOA (RFC 2308 §2.2).
    NoData = 2,
    /// RCODE 5.
    Refused = 3,
    /// `0.0.0.0` and `::`; NODATA for other types.
    Null = 4,
    /// The addresses of the rule; NODATA for other types.
    Address = 5,
    /// TC=1, so that the client asks again over TCP.
    Truncate = 6,
    /// No answer at all.
    Drop = 7,
    /// The query passes; only the counter tells.
    Observe = 8,
}

impl AnswerKind {
    /// The kind with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::NxDomain),
            2 => Some(Self::NoData),
            3 => Some(Self::Refused),
            4 => Some(Self::Null),
            5 => Some(Self::Address),
            6 => Some(Self::Truncate),
            7 => Some(Self::Drop),
            8 => Some(Self::Observe),
            _ => None,
        }
    }

    /// The word for it, as configurations and reports write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NxDomain => "nxdomain",
            Self::NoData => "nodata",
            Self::Refused => "refused",
            Self::Null => "null",
            Self::Address => "address",
            Self::Truncate => "truncate",
            Self::Drop => "drop",
            Self::Observe => "observe",
        }
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
