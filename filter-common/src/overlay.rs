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
    descent,
    hash::{self, HashKey},
    layout::{
        Control, DECISION_ALLOW, DECISION_BLOCK, Decision, OVERRIDE_BY_CLIENT, OVERRIDE_BY_POLICY,
        OVERRIDE_LEADS_ON, OverrideRecord,
    },
    maps::{Address, Mac, Maps},
    scratch::Scratch,
    suffix::Suffix,
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
        Self(3 << 56 | hash::address_hash(address, key) >> 8)
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
    descent::walk(scratch, control.key.root, |scratch, depth, parent| {
        steps.overlay_visit(scratch, control, depth, parent)
    });
}

/// Looks up the name of the last `depth` labels, the hash of whose parent is `parent`; its hash.
#[inline(always)]
pub fn visit<M: Maps + ?Sized>(
    maps: &M,
    scratch: &mut Scratch,
    control: &Control,
    depth: u32,
    parent: u64,
) -> u64 {
    let Suffix { start, hash, .. } = descent::suffix(scratch, &control.key, depth, parent);
    let Some(record) = maps.override_record(hash) else {
        scratch.leads_on = 0;
        return hash;
    };
    let side = if depth == scratch.label_count { 0 } else { 1 };
    let mut decision = in_force(maps, control, record, side);
    if record.flags & OVERRIDE_BY_POLICY != 0 {
        let subject = Subject::policy(scratch.policy);
        decision = narrower(maps, control, hash, subject, side, decision);
    }
    if record.flags & OVERRIDE_BY_CLIENT != 0 {
        let subject = Subject::address(&scratch.asker.source, &control.key);
        decision = narrower(maps, control, hash, subject, side, decision);
        let subject = Subject::mac(scratch.asker.mac);
        decision = narrower(maps, control, hash, subject, side, decision);
    }
    if decision.action != 0 {
        scratch.decision = decision;
        scratch.owner_at = start as u32;
    }
    scratch.leads_on = u64::from(record.flags & OVERRIDE_LEADS_ON);
    hash
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
