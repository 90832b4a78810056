//! What is in force, for people.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Enforcement, pause_of};
use crate::policy::{Categories, Policy};

/// What is in force besides lists.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct EnforcementStatus {
    /// The policies, the default one first.
    pub policies: Vec<PolicyStatus>,
    /// The overrides.
    pub overrides: OverridesStatus,
}

/// One policy.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct PolicyStatus {
    /// Its name.
    pub name: String,
    /// Categories that it blocks now; `null` stands for every one, also lists without a category.
    pub blocks: Option<Vec<String>>,
    /// No list is looked at.
    pub unfiltered: bool,
    /// Until when it is paused.
    pub paused_until: Option<Timestamp>,
    /// When its schedule switches next.
    pub next_switch: Option<Timestamp>,
}

/// The overrides.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct OverridesStatus {
    /// How many there are, pauses included.
    pub count: usize,
    /// Records that the kernel holds for them.
    pub records: usize,
    /// When the next one ends.
    pub next_end: Option<Timestamp>,
}

impl Enforcement {
    /// What is in force at an instant, for lists whose categories have these bits.
    pub fn status(&self, categories: &Categories, now: Timestamp) -> EnforcementStatus {
        let policies = self.plan.policies.iter();
        EnforcementStatus {
            policies: policies
                .map(|policy| self.policy_status(policy, categories, now))
                .collect(),
            overrides: OverridesStatus {
                count: self.set.len(),
                records: self.tree.record_count(),
                next_end: self.set.next_end(),
            },
        }
    }

    fn policy_status(
        &self,
        policy: &Policy,
        categories: &Categories,
        now: Timestamp,
    ) -> PolicyStatus {
        let mask = policy.categories_at(now);
        let names = || {
            categories
                .names_of(mask)
                .into_iter()
                .map(str::to_owned)
                .collect()
        };
        let blocks_every = mask & categories.every() == categories.every();
        PolicyStatus {
            name: policy.name.clone(),
            blocks: (!blocks_every).then(names),
            unfiltered: policy.is_unfiltered(),
            paused_until: pause_of(&self.set, policy).filter(|until| *until > now),
            next_switch: policy.schedule.next_switch(now),
        }
    }
}
