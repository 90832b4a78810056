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

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;
    use crate::world::World;

    const NAME: u64 = 0x0123_4567_89ab_cdef;

    fn decision(id: u32, action: u8, expires_ns: u64) -> Decision {
        Decision {
            id,
            action,
            expires_ns,
            ..Decision::default()
        }
    }

    /// A record of one decision since batch 1, for the name and all below.
    fn record(flags: u32, after: Decision) -> OverrideRecord {
        OverrideRecord {
            batch: 1,
            flags,
            before: [Decision::default(); 2],
            after: [after; 2],
        }
    }

    /// A world in which the name has a record for everybody, for policy 2 and for two clients.
    fn world(flags: u32) -> (World, Scratch, Control) {
        let (mut world, mut scratch) = (World::default(), Scratch::zeroed());
        let control = Control::default();
        scratch.batch = 1;
        (scratch.policy, scratch.client.mac, scratch.client.source) = (2, [3; 6], [4; 16]);
        for (id, flags, client_key) in [
            (1, flags, ClientKey::EVERYBODY),
            (2, 0, ClientKey::policy(2)),
            (3, 0, ClientKey::address(&[4; 16], &control.key)),
        ] {
            let at = key(NAME, client_key, &control.key);
            let record = record(flags, decision(id, DECISION_BLOCK, 0));
            world.overrides.insert(at, record);
        }
        (world, scratch, control)
    }

    #[test]
    fn what_is_narrower_is_looked_up_only_where_the_record_says_that_there_is_some() {
        for (flags, id, leads_on) in [
            (0, 1, 0),
            (OVERRIDE_LEADS_ON, 1, 1),
            (OVERRIDE_BY_POLICY, 2, 0),
            (OVERRIDE_BY_CLIENT, 3, 0),
            (OVERRIDE_BY_CLIENT | OVERRIDE_BY_POLICY, 3, 0),
        ] {
            let (world, mut scratch, control) = world(flags);
            let found = look_up(&world, &mut scratch, &control, NAME, true);
            assert_eq!((found.id, scratch.leads_on), (id, leads_on), "{flags}");
        }
    }

    #[test]
    fn a_name_without_a_record_leads_nowhere() {
        let (world, mut scratch, control) = world(0);
        scratch.leads_on = 1;
        let found = look_up(&world, &mut scratch, &control, NAME + 1, true);
        assert_eq!((found, scratch.leads_on), (Decision::default(), 0));
    }

    #[test]
    fn a_mac_address_goes_before_an_address() {
        let (mut world, mut scratch, control) = world(OVERRIDE_BY_CLIENT);
        let at = key(NAME, ClientKey::mac([3; 6]), &control.key);
        let own = record(0, decision(9, DECISION_ALLOW, 0));
        world.overrides.insert(at, own);
        let found = look_up(&world, &mut scratch, &control, NAME, true);
        assert_eq!(found.id, 9);
    }

    #[test]
    fn keys_of_clients_of_different_kinds_differ() {
        let hash_key = HashKey::from_words([1, 2, 3]);
        let kinds = [
            ClientKey::EVERYBODY,
            ClientKey::policy(0),
            ClientKey::mac([0; 6]),
            ClientKey::address(&[0; 16], &hash_key),
        ];
        assert_eq!(kinds.map(|kind| kind.0 >> 56), [0, 1, 2, 3]);
        assert_eq!(kinds.map(ClientKey::is_policy), [false, true, false, false]);
        assert_eq!(ClientKey::policy(7).0 & 0xffff, 7);
        assert_eq!(ClientKey::mac([1, 2, 3, 4, 5, 6]).0, 0x0200_0102_0304_0506);
    }

    #[test]
    fn a_batch_holds_from_its_number_on_and_numbers_go_around() {
        let world = World::default();
        let (before, after) = (
            decision(1, DECISION_BLOCK, 0),
            decision(2, DECISION_ALLOW, 0),
        );
        for (of_record, in_force_now, id) in [
            (5, 4, 1),
            (5, 5, 2),
            (5, 6, 2),
            (u32::MAX, 0, 2),
            (0, u32::MAX, 1),
        ] {
            let record = OverrideRecord {
                batch: of_record,
                flags: 0,
                before: [before; 2],
                after: [after; 2],
            };
            let asked = Asked {
                name: NAME,
                is_qname: true,
                batch: in_force_now,
            };
            assert_eq!(in_force(&world, &record, asked).id, id, "{of_record}");
        }
    }

    #[test]
    fn what_has_ended_gives_way_to_what_was_before() {
        let world = World::default();
        let record = OverrideRecord {
            batch: 1,
            flags: 0,
            before: [decision(1, DECISION_BLOCK, 20), Decision::default()],
            after: [decision(2, DECISION_ALLOW, 10), decision(3, 77, 0)],
        };
        let mut asked = Asked {
            name: NAME,
            is_qname: true,
            batch: 1,
        };
        for (now, id) in [(9, 2), (10, 1), (19, 1), (20, 0)] {
            world.now_ns.set(now);
            assert_eq!(in_force(&world, &record, asked).id, id, "{now}");
        }
        // What this build does not know decides nothing.
        asked.is_qname = false;
        assert_eq!(in_force(&world, &record, asked), Decision::default());
    }
}
