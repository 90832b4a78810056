//! The policies of a configuration, as the kernel wants them.

use std::collections::{BTreeMap, BTreeSet};

use filter_common::{
    layout::{POLICY_MAX, POLICY_OBSERVE, POLICY_REFUSE_BYPASS, POLICY_UNFILTERED, PolicyRecord},
    rule::AnswerKind,
};
use jiff::{Timestamp, tz::TimeZone};
use xxhash_rust::xxh3::xxh3_64;

use super::{Categories, Clients};
use crate::{
    config::{BYPASS_CATEGORY, Config, DEFAULT_POLICY, Error, PolicyConfig, ScheduleConfig},
    schedule::{CategoryChange, Schedule, Span},
};

/// Numbers of policies by name; 0 is the default one.
pub type Numbers = BTreeMap<String, u32>;

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: u32,
    /// Categories that it blocks, times apart.
    pub categories: u64,
    /// Those of them that names must be blocked by, which a pause does not lift.
    pub kept: u64,
    /// [`POLICY_UNFILTERED`] and others.
    pub flags: u32,
    /// [`AnswerKind`] as a number; 0 leaves it to the lists and the configuration.
    pub answer: u8,
    /// EDE INFO-CODE; 0 leaves it to them too.
    pub ede_code: u8,
    /// When it blocks something else.
    pub schedule: Schedule,
}

impl Policy {
    /// What the kernel is told at an instant.
    pub fn record(&self, now: Timestamp) -> PolicyRecord {
        PolicyRecord {
            categories: self.categories_at(now),
            flags: self.flags,
            answer: self.answer,
            ede_code: self.ede_code,
            name_hash: name_hash(&self.name),
            kept_categories: self.kept_at(now),
            ..PolicyRecord::default()
        }
    }

    /// Categories that it blocks at an instant.
    pub fn categories_at(&self, now: Timestamp) -> u64 {
        self.schedule.at(now).applied_to(self.categories)
    }

    /// Categories that it blocks at an instant though it is paused.
    pub fn kept_at(&self, now: Timestamp) -> u64 {
        self.categories_at(now) & self.kept
    }

    /// Whether what would be blocked passes and is counted.
    pub const fn observes(&self) -> bool {
        self.flags & POLICY_OBSERVE != 0
    }

    /// Whether no list is looked at for it.
    pub const fn is_unfiltered(&self) -> bool {
        self.flags & POLICY_UNFILTERED != 0
    }
}

/// What tells the kernel's record of a policy from that of another one.
pub fn name_hash(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

/// All policies, and who has which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    /// The default one first.
    pub(super) policies: Vec<Policy>,
    pub(super) clients: Clients,
}

impl Policies {
    /// Resolves the policies of a configuration; one whose name is in `numbers` keeps its number.
    ///
    /// # Errors
    ///
    /// When there are too many of something, two policies claim the same client, or a file
    /// of clients cannot be read.
    pub fn resolve(
        config: &Config,
        categories: &Categories,
        numbers: &Numbers,
    ) -> Result<Self, Error> {
        let numbers = numbers_after(config, numbers)?;
        let usual = PolicyConfig::default();
        let default = config.policies.get(DEFAULT_POLICY).unwrap_or(&usual);
        let others = config.policies.iter();
        let others = others.filter(|(name, _)| *name != DEFAULT_POLICY);
        let mut policies = vec![policy(DEFAULT_POLICY, 0, default, categories)?];
        for (name, config) in others {
            policies.push(policy(name, numbers[name], config, categories)?);
        }
        let kept = mask_of_names(&config.guard.must_block_categories(), categories);
        for policy in &mut policies {
            policy.kept = kept;
        }
        Ok(Self {
            policies,
            clients: Clients::resolve(config, &numbers)?,
        })
    }

    /// The policies, the default one first.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.policies.iter()
    }

    /// The policy with this name.
    pub fn named(&self, name: &str) -> Option<&Policy> {
        self.iter().find(|policy| policy.name == name)
    }

    /// The policy with this number.
    pub fn numbered(&self, number: u32) -> Option<&Policy> {
        self.iter().find(|policy| policy.number == number)
    }

    /// The numbers of all policies.
    pub fn numbers(&self) -> Numbers {
        let pairs = self
            .iter()
            .map(|policy| (policy.name.clone(), policy.number));
        pairs.collect()
    }

    /// Who has which policy.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Whether some policy refuses encrypted transports.
    pub fn refuse_bypass(&self) -> bool {
        self.iter()
            .any(|policy| policy.flags & POLICY_REFUSE_BYPASS != 0)
    }

    /// The next instant at which a schedule switches, and the policy.
    pub fn next_switch(&self, after: Timestamp) -> Option<(Timestamp, &Policy)> {
        let next = self.iter().filter_map(|policy| {
            let when = policy.schedule.next_switch(after)?;
            Some((when, policy))
        });
        next.min_by_key(|(when, _)| *when)
    }
}

/// The categories that a policy blocks, times apart.
pub(super) fn mask_of(policy: &PolicyConfig, categories: &Categories) -> u64 {
    let named = match &policy.block {
        Some(names) => mask_of_names(names, categories),
        None => categories.every(),
    };
    let bypass = policy.block_bypass.then_some(BYPASS_CATEGORY);
    named | bypass.and_then(|name| categories.mask(name)).unwrap_or(0)
}

/// What a schedule changes at some time of the week.
pub(super) fn changes_of(
    schedule: &ScheduleConfig,
    categories: &Categories,
) -> Vec<CategoryChange> {
    // Which spans overlap is the same in every zone, but for the hours in which its clocks jump.
    let schedule = Schedule {
        zone: TimeZone::UTC,
        spans: spans(schedule, categories),
    };
    schedule.changes_of_a_week()
}

fn spans(schedule: &ScheduleConfig, categories: &Categories) -> Vec<Span> {
    let spans = schedule.spans.iter().map(|span| Span {
        days: span.days.0,
        from: span.from.0,
        to: span.to.0,
        change: CategoryChange {
            block: mask_of_names(&span.block, categories),
            allow: mask_of_names(&span.allow, categories),
        },
    });
    spans.collect()
}

/// Names without a bit were refused when the configuration was checked.
fn mask_of_names(names: &[String], categories: &Categories) -> u64 {
    let bits = names.iter().filter_map(|name| categories.mask(name));
    bits.fold(0, |mask, bit| mask | bit)
}

fn policy(
    name: &str,
    number: u32,
    config: &PolicyConfig,
    categories: &Categories,
) -> Result<Policy, Error> {
    let flags = [
        (config.unfiltered, POLICY_UNFILTERED),
        (config.observe, POLICY_OBSERVE),
        (config.block_bypass, POLICY_REFUSE_BYPASS),
    ];
    let flags = flags.iter().filter(|(set, _)| *set);
    Ok(Policy {
        name: name.to_owned(),
        number,
        categories: if config.unfiltered {
            0
        } else {
            mask_of(config, categories)
        },
        kept: 0,
        flags: flags.fold(0, |all, (_, flag)| all | flag),
        answer: config
            .answer
            .map_or(0, |answer| AnswerKind::from(answer) as u8),
        ede_code: config.ede.map_or(0, |code| code.0),
        schedule: match &config.schedule {
            Some(schedule) => resolved(name, schedule, categories)?,
            None => Schedule::empty(),
        },
    })
}

fn resolved(
    policy: &str,
    config: &ScheduleConfig,
    categories: &Categories,
) -> Result<Schedule, Error> {
    let zone = match &config.time_zone {
        Some(zone) => zone.0.clone(),
        None => TimeZone::try_system().map_err(|_| Error::NoTimeZone(policy.to_owned()))?,
    };
    Ok(Schedule {
        zone,
        spans: spans(config, categories),
    })
}

/// A number for each policy: the one it has, or one that nobody has or had.
fn numbers_after(config: &Config, former: &Numbers) -> Result<Numbers, Error> {
    let names = || {
        config
            .policies
            .keys()
            .filter(|name| *name != DEFAULT_POLICY)
    };
    let mut numbers: Numbers = former.clone();
    numbers.retain(|name, _| config.policies.contains_key(name));
    numbers.insert(DEFAULT_POLICY.to_owned(), 0);
    let taken: BTreeSet<u32> = former.values().copied().collect();
    let mut free = (1..).filter(|number| !taken.contains(number));
    for name in names() {
        if !numbers.contains_key(name) {
            numbers.extend(free.next().map(|number| (name.clone(), number)));
        }
    }
    if numbers.values().any(|number| *number > POLICY_MAX) {
        // Numbers of policies that are gone are used again only when there is no other way.
        return if former.is_empty() {
            Err(Error::TooMany {
                what: "policies",
                count: names().count(),
                max: POLICY_MAX as usize,
            })
        } else {
            numbers_after(config, &Numbers::new())
        };
    }
    Ok(numbers)
}
