//! From a query to the rule that decides it.
//!
//! The walk goes from the last label to the first, hashes one name after the
//! other and stops as soon as the table holds nothing at or below the name in
//! hand; a name that no list knows is mostly decided by one bucket.

use bytemuck::{Pod, Zeroable};

use crate::{
    dns::HEADER_BYTES,
    hash,
    layout::{
        Control, HEADER_SINGLE_LABEL_RULES, Header, QTYPES_PER_RULE, RULE_HAS_DESCENDANTS,
        RULE_IS_NODE, RULE_RESET, RuleRecord, Settings,
    },
    reason::Reason,
    rule::{AnswerKind, Priority, QtypeSet, Scope},
    scratch::Scratch,
    suffix::LABELS_MAX,
    table::{self, Records},
};

/// Rules of one name that are looked at; the compiler keeps chains shorter.
pub const CHAIN_MAX: usize = 16;

/// The steps that the kernel program keeps as functions of their own, so that
/// the verifier sees each of them once. The host takes them as they are.
pub trait Steps: Records {
    /// [`visit`].
    #[inline(always)]
    fn visit(&self, scratch: &mut Scratch, header: &Header, depth: u32, parent: u64) -> u64 {
        visit(self, scratch, header, depth, parent)
    }

    /// [`weigh`].
    #[inline(always)]
    fn weigh(&self, class_base: u32, class: u16, asked: Asked, best: Best) -> Best {
        weigh(self, class_base, class, asked, best)
    }
}

impl Steps for [crate::layout::Record] {}

/// What a rule is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Categories that the policy blocks.
    pub categories: u64,
    /// Query type.
    pub qtype: u16,
    /// The name in hand is the qname, not a parent of it.
    pub is_qname: bool,
}

/// The best rule so far, in one word: class number, priority, and whether
/// names below the last one may have rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Best(pub u64);

impl Best {
    const PRIORITY_SHIFT: u32 = 32;
    const DESCENDANTS: u64 = 1 << 63;

    #[inline(always)]
    const fn class(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    const fn priority(self) -> u8 {
        (self.0 >> Self::PRIORITY_SHIFT) as u8
    }

    #[inline(always)]
    const fn rule(self) -> u64 {
        self.0 & !Self::DESCENDANTS
    }

    #[inline(always)]
    const fn has_descendants(self) -> bool {
        self.0 & Self::DESCENDANTS != 0
    }
}

/// Decides the query in `scratch`: why it passes, or the rule and the answer it asks for.
///
/// Leaves the rule, its generation and its owner name in `scratch`.
#[inline(always)]
pub fn decide<S: Steps + ?Sized>(steps: &S, scratch: &mut Scratch) -> Result<AnswerKind, Reason> {
    scratch.rule = 0;
    let active = Control::of(steps.record(0).ok_or(Reason::NoGeneration)?).active;
    if active == 0 {
        return Err(Reason::NoGeneration);
    }
    decide_in(steps, scratch, active)
}

/// Decides the query in `scratch` by the generation whose header is record `active`.
///
/// The records of an image, which have no control record, are a generation at 0. No rule
/// has won in `scratch` yet.
#[inline(always)]
pub fn decide_in<S: Steps + ?Sized>(
    steps: &S,
    scratch: &mut Scratch,
    active: u32,
) -> Result<AnswerKind, Reason> {
    scratch.generation = active;
    let header = Header::of(steps.record(active).ok_or(Reason::Inconsistent)?);
    let class_base = active.wrapping_add(header.class_base);
    let best = walk(steps, scratch, header);
    if best.rule() == 0 {
        return Err(Reason::NoRule);
    }
    scratch.rule = class_base.wrapping_add(best.class());
    let rule = RuleRecord::of(steps.record(scratch.rule).ok_or(Reason::Inconsistent)?);
    if is_allow(rule.priority) {
        return Err(Reason::Allowed);
    }
    let settings = Settings::of(steps.record(active + 1).ok_or(Reason::Inconsistent)?);
    let answer = if rule.answer == 0 {
        settings.answer
    } else {
        rule.answer
    };
    match AnswerKind::from_number(answer) {
        Some(AnswerKind::Observe) => Err(Reason::Observed),
        Some(kind) => Ok(kind),
        None => Err(Reason::Inconsistent),
    }
}

#[inline(always)]
const fn is_allow(priority: u8) -> bool {
    priority == Priority::Allow as u8 || priority == Priority::ImportantAllow as u8
}

/// Walks the names from the top down; the best rule of all of them.
///
/// Counts up to a constant and keeps all but the hash in `scratch`, so that every verifier
/// sees the end and follows each count once. That of Linux 6.1 does not see it in a count
/// down: it does not know that a number other than 0 is at least 1.
#[inline(always)]
fn walk<S: Steps + ?Sized>(steps: &S, scratch: &mut Scratch, header: &Header) -> Best {
    scratch.best = Best(Best::DESCENDANTS);
    let mut hash = header.key.root;
    let mut depth = 0;
    while depth < LABELS_MAX as u32
        && depth != scratch.label_count
        && scratch.best.has_descendants()
    {
        depth += 1;
        hash = steps.visit(scratch, header, depth, hash);
    }
    scratch.best
}

/// Looks up the name of the last `depth` labels and weighs its rules; its hash.
///
/// `parent` is the hash of the name above it. Leaves in `scratch` the best rule so far, and
/// whose it is.
#[inline(always)]
pub fn visit<S: Steps + ?Sized>(
    steps: &S,
    scratch: &mut Scratch,
    header: &Header,
    depth: u32,
    parent: u64,
) -> u64 {
    let label = scratch.label_count.wrapping_sub(depth);
    let start = usize::from(scratch.label_starts[(label & 127) as usize]) + HEADER_BYTES;
    let len = usize::from(scratch.message()[start]) & 63;
    let hash = hash::label_hash(scratch.message(), start + 1, len, &header.key, parent);
    if depth == 1 && header.flags & HEADER_SINGLE_LABEL_RULES == 0 {
        return hash;
    }
    let above = Best(scratch.best.rule());
    let bucket_base = scratch.generation.wrapping_add(header.bucket_base);
    let class = table::find(steps, bucket_base, header.bucket_count, hash);
    if class == 0 {
        scratch.best = above;
        return hash;
    }
    if u32::from(class) == header.node_class {
        return hash;
    }
    let asked = Asked {
        categories: scratch.categories,
        qtype: scratch.qtype as u16,
        is_qname: label == 0,
    };
    let class_base = scratch.generation.wrapping_add(header.class_base);
    let best = steps.weigh(class_base, class, asked, above);
    if best.rule() != above.rule() {
        scratch.owner_at = start as u32;
    }
    scratch.best = best;
    hash
}

/// Weighs the rules of one name against the best of its parents.
///
/// A higher priority wins; within one priority the later, that is the more
/// specific name; within one name the earlier rule of the chain.
#[inline(always)]
pub fn weigh<R: Records + ?Sized>(
    records: &R,
    class_base: u32,
    class: u16,
    asked: Asked,
    best: Best,
) -> Best {
    let mut above = best;
    let mut here = Best::default();
    let mut descendants = 0;
    let mut next = u32::from(class);
    let mut i = 0;
    while i < CHAIN_MAX {
        let Some(record) = records.record(class_base.wrapping_add(next)) else {
            break;
        };
        let rule = RuleRecord::of(record);
        if i == 0 && rule.flags & RULE_HAS_DESCENDANTS != 0 {
            descendants = Best::DESCENDANTS;
        }
        if rule.flags & RULE_RESET != 0 {
            if applies(rule, asked) {
                above = Best::default();
            }
        } else if rule.priority > here.priority() && applies(rule, asked) {
            here = Best(u64::from(rule.priority) << Best::PRIORITY_SHIFT | u64::from(next));
        }
        next = rule.next;
        if next == 0 {
            break;
        }
        i += 1;
    }
    let best = if here.priority() != 0 && here.priority() >= above.priority() {
        here
    } else {
        above
    };
    Best(best.rule() | descendants)
}

#[inline(always)]
fn applies(rule: &RuleRecord, asked: Asked) -> bool {
    let covered = if asked.is_qname {
        Scope::SELF_BIT
    } else {
        Scope::BELOW_BIT
    };
    rule.flags & RULE_IS_NODE == 0
        && rule.scope & covered != 0
        && rule.categories & asked.categories != 0
        && (rule.qtype_mode == QtypeSet::EVERY || has_qtype(rule, asked.qtype))
}

#[inline(always)]
fn has_qtype(rule: &RuleRecord, qtype: u16) -> bool {
    let mut named = false;
    let mut i = 0;
    while i < QTYPES_PER_RULE {
        named |= i < usize::from(rule.qtype_count) && rule.qtypes[i] == qtype;
        i += 1;
    }
    named == (rule.qtype_mode == QtypeSet::ONLY)
}
