//! What would be in force for a query at some time, without a kernel.

use filter_common::{
    hash::HashKey,
    layout::{DECISION_PAUSE, POLICY_OBSERVE},
    name::Name,
};
use jiff::Timestamp;

use super::{Clock, Plan, enforce::entry_of, pause_of};
use crate::{
    overrides::{Override, OverrideSet, Records, Tree},
    policy::{Chosen, ClientFacts, Policies},
};

/// Any moment will do: ends are as far from it as from the time that is asked for.
const BOOT_NS: u64 = 1 << 62;
/// The kernel's own key is secret, and any other one finds the same.
const KEY: HashKey = HashKey::from_words([1, 2, 3]);

/// Policies and overrides at one time.
#[derive(Debug)]
pub struct Preview {
    plan: Plan,
    set: OverrideSet,
    records: Records,
    at: Timestamp,
}

/// What would become of a query, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Judgement<'a> {
    /// The policy that applies.
    pub chosen: Chosen<'a>,
    /// Categories that the policy blocks then, those alone that a pause does not lift if there is one.
    pub categories: u64,
    /// Names below the one that is asked for have overrides.
    pub varies_below: bool,
    /// The policy blocks something else then than it usually does.
    pub is_scheduled: bool,
    /// What decides.
    pub by: Decider<'a>,
    /// What would be blocked passes and is counted.
    pub observes: bool,
    /// There is more than one policy.
    pub is_chosen: bool,
}

/// What decides a query.
#[derive(Debug, PartialEq, Eq)]
pub enum Decider<'a> {
    /// Nothing: no list is looked at.
    Unfiltered,
    /// Until then nothing but what must be blocked.
    Paused(Timestamp),
    /// The operator.
    Override(&'a Override),
    /// The lists.
    Lists,
}

impl Preview {
    /// What these would amount to at a time.
    pub fn new(plan: Plan, mut set: OverrideSet, at: Timestamp) -> Self {
        set.end(at);
        let clock = Clock {
            now: at,
            boot_ns: BOOT_NS,
        };
        let entries = set
            .iter()
            .filter(|entry| entry.created <= at)
            .filter_map(|entry| entry_of(entry, plan.policies(), &KEY, clock));
        let entries: Vec<_> = entries.collect();
        let mut tree = Tree::new(KEY);
        tree.change(&[], &entries);
        let mut records = Records::of(&tree);
        records.set_now(BOOT_NS);
        Self {
            plan,
            set,
            records,
            at,
        }
    }

    /// The policies.
    pub fn policies(&self) -> &Policies {
        self.plan.policies()
    }

    /// What decides a query.
    pub fn judge(&self, name: &Name, facts: &ClientFacts) -> Judgement<'_> {
        let chosen = self.policies().chosen(facts);
        let by = self.decider(name, facts, &chosen);
        let usual = chosen.policy.categories_at(self.at);
        Judgement {
            categories: match by {
                Decider::Paused(_) => chosen.policy.kept_at(self.at),
                _ => usual,
            },
            by,
            varies_below: self.varies_below(name, facts, &chosen),
            is_scheduled: usual != chosen.policy.categories,
            is_chosen: self.policies().iter().nth(1).is_some(),
            observes: chosen.policy.flags & POLICY_OBSERVE != 0,
            chosen,
        }
    }

    fn varies_below(&self, name: &Name, facts: &ClientFacts, chosen: &Chosen<'_>) -> bool {
        let client = facts.client(self.policies());
        let number = chosen.policy.number;
        self.records.varies_below(name, &client, number)
    }

    fn decider(&self, name: &Name, facts: &ClientFacts, chosen: &Chosen<'_>) -> Decider<'_> {
        if chosen.policy.is_unfiltered() {
            return Decider::Unfiltered;
        }
        if let Some(until) = pause_of(&self.set, chosen.policy) {
            return Decider::Paused(until);
        }
        let client = facts.client(self.policies());
        let decision = self.records.decide(name, &client, chosen.policy.number);
        let decided = self.set.entry(decision.id).filter(|_| decision.action != 0);
        match decided {
            Some(pause) if decision.action == DECISION_PAUSE => {
                Decider::Paused(pause.spec.expires.unwrap_or(Timestamp::MAX))
            }
            Some(entry) => Decider::Override(entry),
            None => Decider::Lists,
        }
    }
}
