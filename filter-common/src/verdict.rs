//! From a query to the rule that decides it.
//!
//! The walk goes from the last label to the first, hashes one name after the
//! other and stops as soon as the table holds nothing at or below the name in
//! hand; a name that no list knows is mostly decided by one bucket. Where there are
//! custom categories, their small generation is walked after that of the lists, and the
//! better of both rules decides.

use crate::{
    descent, dns,
    layout::{
        CONTROL_BY_ANY, CONTROL_ODD_PASSES, CONTROL_OVERRIDES, DECISION_ALLOW, DECISION_BLOCK,
        DECISION_NAME_ONLY, DECISION_PAUSE, Decision, HEADER_SINGLE_LABEL_RULES, Header,
        POLICY_OBSERVE, POLICY_UNFILTERED, PolicyRecord, QTYPES_PER_RULE, RULE_HAS_DESCENDANTS,
        RULE_IS_NODE, RULE_RESET, RuleRecord, Settings,
    },
    odd,
    reason::Reason,
    rule::{AnswerKind, Best, Priority, QtypeSet, Scope},
    scratch::Scratch,
    steps::{Asked, Steps},
    suffix::Suffix,
    table::{self, Records},
};

/// Query type DS (RFC 4034 §5).
const DS: u32 = 43;

/// Rules of one name that are looked at; the compiler keeps chains shorter.
pub const CHAIN_MAX: usize = 16;

/// Decides the query in `scratch`: why it passes, or the rule and the answer it asks for.
///
/// Looks at what the flags in `scratch` say, not the control record, which may have changed since.
/// Leaves the rule, its generation and its owner name in `scratch`.
#[inline(always)]
pub fn decide<S: Steps + ?Sized>(steps: &S, scratch: &mut Scratch) -> Result<AnswerKind, Reason> {
    scratch.rule = 0;
    scratch.policy = 0;
    scratch.decision = Decision::default();
    scratch.varies_below = 0;
    let record = steps.record(0).ok_or(Reason::NoGeneration)?;
    // Both in one word: a packet never sees the lists of one reload with the own names of another.
    let [active, custom] = record.generations();
    if active == 0 {
        return Err(Reason::NoGeneration);
    }
    scratch.generation = active;
    scratch.custom = custom;
    let policy = policy_of(steps, scratch)?;
    let is_policy_paused = policy.paused_until_ns != 0 && steps.now_ns() < policy.paused_until_ns;
    // A pause suspends overrides, too.
    if !is_policy_paused && scratch.flags & CONTROL_OVERRIDES != 0 {
        steps.find_override(scratch);
        scratch.varies_below = scratch.leads_on;
    }
    let is_paused = is_policy_paused || scratch.decision.action == DECISION_PAUSE;
    if is_paused {
        // What must be blocked is blocked during a pause as well.
        scratch.categories = policy.kept_categories;
        if scratch.categories == 0 {
            return Err(Reason::Paused);
        }
    }
    if scratch.odd & odd::UNREADABLE != 0 {
        return Err(if is_paused {
            odd::passing(scratch.odd)
        } else {
            unreadable(steps, scratch, policy)
        });
    }
    let decided = match scratch.decision.action {
        DECISION_ALLOW => Err(Reason::Overridden),
        DECISION_BLOCK => overridden(steps, scratch, policy.answer),
        _ => decide_in(steps, scratch, active, policy.answer),
    };
    match decided {
        Err(Reason::NoRule) if is_paused => Err(Reason::Paused),
        Ok(_) if is_delegation(scratch) => Err(Reason::Delegation),
        Ok(_) if policy.flags & POLICY_OBSERVE != 0 => Err(Reason::Observed),
        decided => decided,
    }
}

/// The answer to a query that an override blocks.
#[inline(always)]
fn overridden<S: Steps + ?Sized>(
    steps: &S,
    scratch: &Scratch,
    policy_answer: u8,
) -> Result<AnswerKind, Reason> {
    let default = default_answer(steps, scratch, policy_answer);
    let decision = &scratch.decision;
    let is_of_all = decision.flags & DECISION_NAME_ONLY == 0 && scratch.varies_below == 0;
    narrowed(decision.answer, default, is_of_all)
}

/// What becomes of a query that has no question to judge, where `policy` holds.
#[inline(always)]
fn unreadable<S: Steps + ?Sized>(steps: &S, scratch: &Scratch, policy: &PolicyRecord) -> Reason {
    let passes = scratch.flags & CONTROL_ODD_PASSES != 0
        || policy.flags & POLICY_OBSERVE != 0
        || policy.categories == 0
        || narrowed(0, default_answer(steps, scratch, policy.answer), true).is_err();
    if passes {
        odd::passing(scratch.odd)
    } else {
        Reason::Unreadable
    }
}

/// Whether the query is for the DS records of the very name that the rule is for.
///
/// RFC 4035 §3.1.4.1: they are in the zone above, so that whoever is blocked hears nothing
/// of it. A validator that is told of no DS takes the answers below it for forged, also
/// where nothing is signed.
#[inline(always)]
fn is_delegation(scratch: &Scratch) -> bool {
    scratch.qtype == DS && scratch.owner_at == dns::HEADER_BYTES as u32
}

/// The policy of the query in `scratch`, if it blocks anything now.
#[inline(always)]
fn policy_of<'a, S: Steps + ?Sized>(
    steps: &'a S,
    scratch: &mut Scratch,
) -> Result<&'a PolicyRecord, Reason> {
    if scratch.flags & CONTROL_BY_ANY != 0 {
        scratch.policy = steps.select_policy(scratch, scratch.flags);
    }
    let policy = steps.policy(scratch.policy).ok_or(Reason::Inconsistent)?;
    if policy.flags & POLICY_UNFILTERED != 0 {
        return Err(Reason::Unfiltered);
    }
    scratch.categories = policy.categories;
    scratch.ede_code = u32::from(policy.ede_code);
    Ok(policy)
}

/// Decides the query in `scratch` by the generation whose header is record `active`, and by
/// that of custom categories which `scratch` knows.
///
/// The records of an image, which have no control record, are a generation at 0.
/// `policy_answer` is the answer of the policy as a number, or 0.
#[inline(always)]
pub fn decide_in<S: Steps + ?Sized>(
    steps: &S,
    scratch: &mut Scratch,
    active: u32,
    policy_answer: u8,
) -> Result<AnswerKind, Reason> {
    scratch.generation = active;
    // In the scratch, where a verifier does not follow it through the walk.
    scratch.default_answer = default_answer(steps, scratch, policy_answer).into();
    scratch.observes = u64::from(scratch.default_answer == AnswerKind::Observe as u64);
    scratch.rule = steps.walk(scratch);
    if scratch.custom != 0 {
        steps.consult_custom(scratch);
    }
    if scratch.rule == 0 {
        return Err(Reason::NoRule);
    }
    let rule = RuleRecord::of(steps.record(scratch.rule).ok_or(Reason::Inconsistent)?);
    if is_allow(rule.priority) {
        return Err(Reason::Allowed);
    }
    steps.count_list(rule.list);
    let is_of_all = rule.scope & Scope::BELOW_BIT != 0
        && rule.qtype_mode == QtypeSet::EVERY
        && scratch.varies_below == 0;
    narrowed(rule.answer, scratch.default_answer as u8, is_of_all)
}

/// The answer of rules that ask for none: that of the policy, or that of the generation, or 0.
#[inline(always)]
fn default_answer<S: Steps + ?Sized>(steps: &S, scratch: &Scratch, policy: u8) -> u8 {
    if policy != 0 {
        return policy;
    }
    let settings = steps.record(scratch.generation.wrapping_add(1));
    settings.map_or(0, |settings| Settings::of(settings).answer)
}

/// The answer that was decided, or else the default one, which denies no more than is blocked.
///
/// Who caches NXDOMAIN may deny every type of the name and every name below it (RFC 8020 §2). Where
/// the block is not one of all these (`is_of_all`), NODATA says that this type is not there
/// (RFC 2308 §2.2), and no more. What a rule itself asks for stays.
#[inline(always)]
fn narrowed(decided: u8, default: u8, is_of_all: bool) -> Result<AnswerKind, Reason> {
    let answer = if decided != 0 { decided } else { default };
    match AnswerKind::from_number(answer) {
        Some(AnswerKind::Observe) => Err(Reason::Observed),
        Some(AnswerKind::NxDomain) if decided == 0 && !is_of_all => Ok(AnswerKind::NoData),
        Some(kind) => Ok(kind),
        None => Err(Reason::Inconsistent),
    }
}

#[inline(always)]
const fn is_allow(priority: u8) -> bool {
    priority == Priority::Allow as u8 || priority == Priority::ImportantAllow as u8
}

/// Walks the names of the generation in `scratch` from the top down: the record of the best rule of all
/// of them, or 0.
#[inline(always)]
pub fn walk<S: Steps + ?Sized>(steps: &S, scratch: &mut Scratch) -> u32 {
    let Some(record) = steps.record(scratch.generation) else {
        return 0;
    };
    let header = Header::of(record);
    // The best rule so far travels down the walk, from `com` to `ads.example.com`.
    scratch.best = Best::default();
    descent::walk(scratch, header.key.root, |scratch, depth, parent| {
        steps.visit(scratch, header, depth, parent)
    });
    scratch.varies_below |= scratch.leads_on;
    if scratch.best.rule() == 0 {
        return 0;
    }
    let class_base = scratch.generation.wrapping_add(header.class_base);
    class_base.wrapping_add(scratch.best.class())
}

/// Lets the generation of custom categories have its say after that of the lists.
///
/// A higher priority wins, within one priority the more specific name, and then the lists:
/// as one generation of all names would decide that has the lists first. `scratch` is left
/// with the generation, the rule and the owner of the winner.
#[inline(always)]
pub fn consult_custom<S: Steps + ?Sized>(steps: &S, scratch: &mut Scratch) {
    // Kept aside: the walk of the own names uses the same fields.
    let (generation, rule) = (scratch.generation, scratch.rule);
    let (best, owner_at) = (scratch.best, scratch.owner_at);
    scratch.generation = scratch.custom;
    let own = steps.walk(scratch);
    let priority = scratch.best.priority();
    // Names that start earlier are longer.
    let wins =
        priority > best.priority() || (priority == best.priority() && scratch.owner_at < owner_at);
    if own != 0 && wins {
        scratch.rule = own;
    } else {
        scratch.generation = generation;
        scratch.rule = rule;
        scratch.owner_at = owner_at;
    }
}

/// Looks up the name of the last `depth` labels, the hash of whose parent is `parent`, and
/// weighs its rules; its hash.
///
/// Leaves in `scratch` the best rule so far and where its owner is.
#[inline(always)]
pub fn visit<S: Steps + ?Sized>(
    steps: &S,
    scratch: &mut Scratch,
    header: &Header,
    depth: u32,
    parent: u64,
) -> u64 {
    let Suffix { start, hash, .. } = descent::suffix(scratch, &header.key, depth, parent);
    if depth == 1 && header.flags & HEADER_SINGLE_LABEL_RULES == 0 {
        return hash;
    }
    let bucket_base = scratch.generation.wrapping_add(header.bucket_base);
    let class = table::find(steps, bucket_base, header.bucket_count, hash);
    if class == 0 {
        scratch.leads_on = 0;
        return hash;
    }
    if u32::from(class) == header.node_class {
        return hash;
    }
    let asked = Asked {
        categories: scratch.categories,
        qtype: scratch.qtype as u16,
        observes: scratch.observes as u32,
        is_qname: depth == scratch.label_count,
    };
    let class_base = scratch.generation.wrapping_add(header.class_base);
    let weighed = steps.weigh(class_base, class, asked, scratch.best);
    if weighed.rule() != scratch.best.0 {
        scratch.owner_at = start as u32;
    }
    scratch.best = Best(weighed.rule());
    scratch.leads_on = weighed.0 & Best::DESCENDANTS;
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
        } else {
            let priority = priority_of(rule, asked);
            if priority > here.priority() && applies(rule, asked) {
                here = Best(u64::from(priority) << Best::PRIORITY_SHIFT | u64::from(next));
            }
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

/// The priority of a rule for this client: what only observes changes no verdict.
///
/// A shift in the place of a branch, of which a verifier follows both ways for every rule.
#[inline(always)]
fn priority_of(rule: &RuleRecord, asked: Asked) -> u8 {
    let both = u32::from(rule.priority_observing) << 8 | u32::from(rule.priority);
    (both >> ((asked.observes & 1) * 8)) as u8
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

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;
    use crate::{
        layout::{Control, LAYOUT_VERSION, Record},
        world::World,
    };

    /// A world with a generation in which no name is, and this policy for everybody.
    fn world(policy: PolicyRecord) -> World {
        let control = Control {
            active: 1,
            ..Control::default()
        };
        let header = Header {
            layout: LAYOUT_VERSION,
            bucket_count: 1,
            bucket_base: 1,
            ..Header::zeroed()
        };
        let mut records = vec![Record::zeroed(); 4];
        records[0] = Record(bytemuck::cast(control));
        records[1] = Record(bytemuck::cast(header));
        World {
            records,
            policies: [(0, policy)].into(),
            ..World::default()
        }
    }

    #[test]
    fn during_a_pause_a_name_that_must_be_blocked_is_looked_for_and_no_other_one() {
        for (kept_categories, now, reason) in [
            (0, 5, Reason::Paused),
            (1, 5, Reason::Paused),
            (0, 10, Reason::NoRule),
            (1, 10, Reason::NoRule),
        ] {
            let world = world(PolicyRecord {
                categories: 1,
                paused_until_ns: 10,
                kept_categories,
                ..PolicyRecord::zeroed()
            });
            world.now_ns.set(now);
            let mut scratch = Scratch::zeroed();
            scratch.label_count = 1;
            assert_eq!(decide(&world, &mut scratch), Err(reason), "{now}");
            assert_eq!(scratch.categories != 0, now == 10 || kept_categories != 0);
        }
    }
}
