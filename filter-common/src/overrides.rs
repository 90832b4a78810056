//! What the operator said of single names: overrides, which outrank every list.
//!
//! A map holds a record for each name with an override and one for each parent
//! of it, so that the walk from the last label to the first ends where no
//! override is at or below. Records for everybody are found by the hash of the
//! name; those of a policy or of a client by that hash and the client_key. The root
//! has a record while clients are paused.
//!
//! The longest name wins; within one name the client on the link, the client's
//! address, the policy, everybody.

use crate::{
    address::{Address, Mac},
    descent,
    hash::{self, HashKey},
    layout::{
        CONTROL_PAUSES, Control, DECISION_ALLOW, DECISION_BLOCK, DECISION_PAUSE, Decision,
        OVERRIDE_BY_CLIENT, OVERRIDE_BY_POLICY, OVERRIDE_LEADS_ON, OverrideRecord,
    },
    maps::Maps,
    scratch::Scratch,
    steps::Steps,
    suffix::Suffix,
};

/// Whom an override is for, as a word of its key; 0 is everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientKey(pub u64);

impl ClientKey {
    /// Everybody.
    pub const EVERYBODY: Self = Self(0);

    /// The clients of a policy; 0 is the default one.
    #[inline(always)]
    pub const fn policy(number: u32) -> Self {
        Self(1 << 56 | number as u64)
    }

    /// Whether it is the clients of a policy.
    pub const fn is_policy(self) -> bool {
        self.0 >> 56 == 1
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
pub fn key(name: u64, client_key: ClientKey, key: &HashKey) -> u64 {
    if client_key.0 == 0 {
        name
    } else {
        hash::mix(name, client_key.0, key)
    }
}

/// Looks for the override of the query in `scratch`; leaves its decision there.
#[inline(always)]
pub fn walk<S: Steps + ?Sized>(steps: &S, scratch: &mut Scratch) {
    let Some(control) = steps.record(0).map(Control::of) else {
        return;
    };
    if is_client_paused(steps, scratch, control) {
        return;
    }
    descent::walk(scratch, control.key.root, |scratch, depth, parent| {
        steps.override_visit(scratch, control, depth, parent)
    });
}

/// Whether nothing is blocked for the client in `scratch`, where that decision is left.
///
/// It comes before every [`visit`]: all of them see the batch that is in force now. It is no part of
/// its caller, whose stack stays small: that of `visit` lies on top of it, and Linux 6.1 allows nested
/// calls 512 bytes together.
#[inline(never)]
pub fn is_client_paused<M: Maps + ?Sized>(
    maps: &M,
    scratch: &mut Scratch,
    control: &Control,
) -> bool {
    scratch.batch = control.batch;
    scratch.decision = Decision::default();
    if scratch.flags & CONTROL_PAUSES == 0 {
        return false;
    }
    scratch.decision = look_up(maps, scratch, control, control.key.root, false);
    scratch.decision.action == DECISION_PAUSE
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
    let is_qname = depth == scratch.label_count;
    let decision = look_up(maps, scratch, control, hash, is_qname);
    if decision.action != 0 {
        scratch.decision = decision;
        scratch.owner_at = start as u32;
    }
    hash
}

/// What is decided for a name and the client in `scratch`, where is left whether it leads on.
#[inline(always)]
fn look_up<M: Maps + ?Sized>(
    maps: &M,
    scratch: &mut Scratch,
    control: &Control,
    name: u64,
    is_qname: bool,
) -> Decision {
    let Some(record) = maps.override_record(name) else {
        scratch.leads_on = 0;
        return Decision::default();
    };
    scratch.leads_on = u64::from(record.flags & OVERRIDE_LEADS_ON);
    let asked = Asked {
        name,
        is_qname,
        batch: scratch.batch,
    };
    let mut decision = in_force(maps, record, asked);
    if record.flags & OVERRIDE_BY_POLICY != 0 {
        let client_key = ClientKey::policy(scratch.policy);
        decision = narrower(maps, &control.key, asked, client_key, decision);
    }
    if record.flags & OVERRIDE_BY_CLIENT != 0 {
        let client_key = ClientKey::address(&scratch.client.source, &control.key);
        decision = narrower(maps, &control.key, asked, client_key, decision);
        let client_key = ClientKey::mac(scratch.client.mac);
        decision = narrower(maps, &control.key, asked, client_key, decision);
    }
    decision
}

/// What a record is looked at for.
#[derive(Clone, Copy)]
struct Asked {
    /// The hash of the name in hand.
    name: u64,
    /// It is the qname, not a parent of it.
    is_qname: bool,
    /// The batch in force.
    batch: u32,
}

/// The decision for `client_key`, or the wider one.
#[inline(always)]
fn narrower<M: Maps + ?Sized>(
    maps: &M,
    hash_key: &HashKey,
    asked: Asked,
    client_key: ClientKey,
    wider: Decision,
) -> Decision {
    let Some(record) = maps.override_record(key(asked.name, client_key, hash_key)) else {
        return wider;
    };
    let own = in_force(maps, record, asked);
    if own.action == 0 { wider } else { own }
}

/// What a record says now; nothing if that has ended.
#[inline(always)]
fn in_force<M: Maps + ?Sized>(maps: &M, record: &OverrideRecord, asked: Asked) -> Decision {
    let of = |[name, below]: [Decision; 2]| if asked.is_qname { name } else { below };
    // Batches are counted around: a difference below half the range is the past.
    let is_after = asked.batch.wrapping_sub(record.batch) >> 31 == 0;
    if !is_after {
        return unless_ended(maps, of(record.before));
    }
    let after = of(record.after);
    if after.action != 0 && has_ended(maps, after) {
        return unless_ended(maps, of(record.before));
    }
    unless_ended(maps, after)
}

#[inline(always)]
fn unless_ended<M: Maps + ?Sized>(maps: &M, decision: Decision) -> Decision {
    let is_known = matches!(
        decision.action,
        DECISION_ALLOW | DECISION_BLOCK | DECISION_PAUSE
    );
    if is_known && !has_ended(maps, decision) {
        decision
    } else {
        Decision::default()
    }
}

#[inline(always)]
fn has_ended<M: Maps + ?Sized>(maps: &M, decision: Decision) -> bool {
    decision.expires_ns != 0 && maps.now_ns() >= decision.expires_ns
}
