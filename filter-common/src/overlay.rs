//! What the operator said of single names: overrides, which outrank every list.
//!
//! A map holds a record for each name with an override and one for each parent
//! of it, so that the walk from the last label to the first ends where no
//! override is at or below. Records for everybody are found by the hash of the
//! name; those of a policy or of a client by that hash and the subject.
//!
//! The longest name wins; within one name the client on the link, the client's
//! address, the policy, everybody.

use crate::{
    hash::{self, HashKey},
    layout::{
        Control, DECISION_ALLOW, DECISION_BLOCK, Decision, OVERRIDE_BY_CLIENT, OVERRIDE_BY_POLICY,
        OVERRIDE_LEADS_ON, OverrideRecord,
    },
    maps::{Address, Mac, Maps},
    scratch::Scratch,
    verdict::Steps,
};

/// Whom an override is for, as a word of its key; 0 is everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject(pub u64);

impl Subject {
    /// Everybody.
    pub const EVERYBODY: Self = Self(0);

    /// The clients of a policy; 0 is the default one.
    #[inline(always)]
    pub const fn policy(number: u32) -> Self {
        Self(1 << 56 | number as u64)
    }

    /// One client on the link.
    #[inline(always)]
    pub const fn mac([a, b, c, d, e, f]: Mac) -> Self {
        Self(2 << 56 | u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// One address.
    #[inline(always)]
    pub fn address(address: &Address, key: &HashKey) -> Self {
        Self(3 << 56 | hash::address_hash(address, 128, key) >> 8)
    }
}

/// The key of the record of a name, by the name's hash.
#[inline(always)]
pub fn key(name: u64, subject: Subject, key: &HashKey) -> u64 {
    if subject.0 == 0 {
        name
    } else {
        hash::mix(name, subject.0, key)
    }
}

/// Looks for the override of the query in `scratch`; leaves its decision there.
#[inline(always)]
pub fn walk<S: Steps + ?Sized>(steps: &S, scratch: &mut Scratch) {
    let Some(control) = steps.record(0).map(Control::of) else {
        return;
    };
    let mut hash = control.key.root;
    let mut left = scratch.label_count & 127;
    while left > 0 {
        left -= 1;
        let start = scratch.label_at(left);
        let len = usize::from(scratch.message()[start]) & 63;
        hash = steps.label_hash(scratch.message(), start + 1, len, &control.key, hash);
        if !steps.overlay_step(scratch, hash, start as u32, left == 0) {
            return;
        }
    }
}

/// Looks one name up; whether names below it have overrides.
#[inline(always)]
pub fn step<S: Steps + ?Sized>(
    maps: &S,
    scratch: &mut Scratch,
    name: u64,
    at: u32,
    is_qname: bool,
) -> bool {
    let Some(control) = maps.record(0).map(Control::of) else {
        return false;
    };
    let Some(record) = maps.override_record(name) else {
        return false;
    };
    let side = if is_qname { 0 } else { 1 };
    let mut decision = in_force(maps, control, record, side);
    if record.flags & OVERRIDE_BY_POLICY != 0 {
        let subject = Subject::policy(scratch.policy);
        decision = narrower(maps, control, name, subject, side, decision);
    }
    if record.flags & OVERRIDE_BY_CLIENT != 0 {
        let subject = Subject::address(&scratch.asker.source, &control.key);
        decision = narrower(maps, control, name, subject, side, decision);
        let subject = Subject::mac(scratch.asker.mac);
        decision = narrower(maps, control, name, subject, side, decision);
    }
    if decision.action != 0 {
        scratch.decision = decision;
        scratch.owner_at = at;
    }
    record.flags & OVERRIDE_LEADS_ON != 0
}

/// The decision for `subject`, or the wider one.
#[inline(always)]
fn narrower<M: Maps + ?Sized>(
    maps: &M,
    control: &Control,
    name: u64,
    subject: Subject,
    side: usize,
    wider: Decision,
) -> Decision {
    let Some(record) = maps.override_record(key(name, subject, &control.key)) else {
        return wider;
    };
    let own = in_force(maps, control, record, side);
    if own.action == 0 { wider } else { own }
}

/// What a record says now; nothing if that has expired.
#[inline(always)]
fn in_force<M: Maps + ?Sized>(
    maps: &M,
    control: &Control,
    record: &OverrideRecord,
    side: usize,
) -> Decision {
    // Batches are counted around: a difference below half the range is the past.
    let is_after = control.batch.wrapping_sub(record.batch) >> 31 == 0;
    let decision = match (is_after, side) {
        (true, 0) => record.after[0],
        (true, _) => record.after[1],
        (false, 0) => record.before[0],
        (false, _) => record.before[1],
    };
    let is_known = decision.action == DECISION_ALLOW || decision.action == DECISION_BLOCK;
    if !is_known || decision.expires_ns != 0 && maps.now_ns() >= decision.expires_ns {
        return Decision::default();
    }
    decision
}
