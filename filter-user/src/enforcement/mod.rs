//! What is in force besides lists: policies, their schedules, overrides and pauses.
//!
//! [`Enforcement`] owns the order of things. A change of overrides is written to the
//! journal, put in force in the kernel's maps, and reported when it is on disk;
//! what fails is taken back. New policies are put in force around the switch to
//! the image of their lists, so that a packet sees what was or what is to be.
//! It does not know who holds the maps, nor who asks for a change.

mod clock;
mod enforce;
mod error;
mod named_counters;
mod plan;
mod preview;
mod requests;
mod resolvers;
mod status;
mod synchronised;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use filter_common::layout::{OverrideRecord, POLICY_MAX, PolicyRecord};
use filter_kernel::{Assignments, Maps as Tables};
use jiff::Timestamp;

pub use self::{
    clock::Clock,
    error::Error,
    named_counters::{NamedCounters, Names},
    plan::{Links, Plan, Staged},
    preview::{Decider, Judgement, Preview},
    requests::{Outcome, Request, Took},
    status::{EnforcementStatus, OverridesStatus, PolicyStatus},
};
use self::{plan::assignments, requests::us};
use crate::{
    config::Config,
    overrides::{Journal, Override, OverrideClients, OverrideSet, Tree},
    policy::{Numbers, Policies, Policy, name_hash},
};

/// Version of [`Outcome`].
const OUTCOME_VERSION: u32 = 1;

/// Policies, overrides and pauses, as the kernel's maps hold them.
#[derive(Debug)]
pub struct Enforcement {
    plan: Plan,
    links: Links,
    /// What the maps of clients hold; nothing is known of them after a change that failed.
    assignments: Option<Arc<Assignments>>,
    set: OverrideSet,
    journal: Journal,
    tree: Tree,
    /// The records of policies in the map, by number.
    written: BTreeMap<u32, PolicyRecord>,
    /// Categories that policies block besides, by their numbers, until [`Self::narrow`].
    wide: BTreeMap<u32, u64>,
    next_switch: Option<Timestamp>,
    clock: Clock,
    /// Both clocks when this process first saw them, or when the one on the wall was set last.
    undisturbed: Clock,
    /// Policies are another's: only pauses change.
    is_guest: bool,
}

/// Numbers that the maps hold for the policies of a configuration.
pub fn numbers_in(tables: &Tables, config: &Config) -> Result<Numbers, filter_kernel::Error> {
    let mut names: BTreeMap<u64, &String> = BTreeMap::new();
    names.extend(config.policies.keys().map(|name| (name_hash(name), name)));
    let mut numbers = Numbers::new();
    if names.is_empty() {
        return Ok(numbers);
    }
    for number in 1..=POLICY_MAX {
        let name = names.get(&tables.policy(number)?.name_hash);
        numbers.extend(name.map(|name| ((*name).clone(), number)));
    }
    Ok(numbers)
}

impl Enforcement {
    /// Puts everything in force that a plan and a journal say, whatever the maps hold.
    ///
    /// A policy that the maps hold already goes on as it is, with the categories of the plan
    /// besides, until [`Self::narrow`] is called when the image of the plan is in force.
    ///
    /// # Errors
    ///
    /// When there is more than fits the maps, or they cannot be changed.
    pub fn start(
        plan: Plan,
        links: Links,
        (journal, set): (Journal, OverrideSet),
        tables: &mut Tables,
    ) -> Result<Self, Error> {
        let mut enforcement = Self::of(plan, links, (journal, set), tables);
        enforcement.assignments = Some(assignments(&enforcement.plan, &enforcement.links)?);
        enforcement.install(tables)?;
        Ok(enforcement)
    }

    fn of(
        plan: Plan,
        links: Links,
        (journal, set): (Journal, OverrideSet),
        tables: &Tables,
    ) -> Self {
        Self {
            assignments: None,
            plan,
            links,
            set,
            journal,
            tree: Tree::new(tables.key()),
            written: BTreeMap::new(),
            wide: BTreeMap::new(),
            next_switch: None,
            clock: Clock::now(),
            undisturbed: Clock::now(),
            is_guest: false,
        }
    }

    /// Takes up what is in force to change overrides and pauses, and nothing else.
    ///
    /// Of policies the plan need not say more than the names.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub fn visit(
        plan: Plan,
        journal: (Journal, OverrideSet),
        tables: &mut Tables,
    ) -> Result<Self, Error> {
        let mut enforcement = Self::of(plan, Links::default(), journal, tables);
        enforcement.is_guest = true;
        for policy in enforcement.plan.policies.iter() {
            let found = tables.policy(policy.number)?;
            enforcement.written.insert(policy.number, found);
        }
        let found = tables.override_records()?;
        enforcement.rebuild(found, tables)?;
        Ok(enforcement)
    }

    /// Why overrides could not be read, if so: what was in force of them stays until they can.
    pub fn seal(&self) -> Option<&str> {
        self.journal.seal()
    }

    /// Looks whether overrides that could not be read can be now, and puts them in force then;
    /// says whether it did.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub fn unseal(&mut self, tables: &mut Tables) -> Result<bool, Error> {
        if self.seal().is_none() {
            return Ok(false);
        }
        match Journal::open(self.journal.path()) {
            Ok((journal, set)) => (self.journal, self.set) = (journal, set),
            Err(_) => return Ok(false),
        }
        let found = tables.override_records()?;
        self.rebuild(found, tables)?;
        self.put_policies(tables)?;
        Ok(true)
    }

    /// Puts everything in force in other maps, whatever they hold.
    pub fn install(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.look_at_clock();
        self.written.clear();
        self.wide.clear();
        for policy in self.plan.policies.iter() {
            // A policy that a packet may have at this moment keeps what it blocks until the image
            // of the plan is active.
            let found = tables.policy(policy.number)?;
            let mut record = self.record_of(policy);
            if found.name_hash == record.name_hash {
                self.wide.insert(policy.number, found.categories);
                record = PolicyRecord {
                    categories: found.categories | record.categories,
                    paused_until_ns: record.paused_until_ns,
                    ..found
                };
            }
            tables.put_policy(policy.number, &record)?;
            self.written.insert(policy.number, record);
        }
        self.look_ahead();
        tables.watch_bypasses(self.plan.policies.refuse_bypass())?;
        let assignments = self.assignments.take();
        let assignments = assignments.map_or_else(|| assignments_of(self), Ok)?;
        self.assign(assignments, tables)?;
        self.tree = Tree::new(tables.key());
        if self.seal().is_some() {
            return Ok(());
        }
        let found = tables.override_records()?;
        self.rebuild(found, tables)
    }

    /// The policies in force.
    pub fn policies(&self) -> &Policies {
        &self.plan.policies
    }

    /// The numbers of policies, which those of another plan keep.
    pub fn numbers(&self) -> Numbers {
        self.plan.policies.numbers()
    }

    /// Lets policies select the categories of both images, before one takes the place of the other.
    ///
    /// A new policy is complete before anybody has it.
    ///
    /// # Errors
    ///
    /// When the plan does not fit the maps, which is found before anything changes.
    pub fn stage(
        &mut self,
        plan: Plan,
        links: Links,
        tables: &mut Tables,
    ) -> Result<Staged, Error> {
        self.follow(tables)?;
        self.tick(tables)?;
        // A million prefixes are composed again only where something changed.
        let is_same = (&plan, &links) == (&self.plan, &self.links);
        let assignments = match self.assignments.as_ref().filter(|_| is_same) {
            Some(known) => Arc::clone(known),
            None => assignments(&plan, &links)?,
        };
        if let Some(old) = &self.assignments {
            // New clients come before old ones go, so both must fit for a moment.
            assignments.fit_beside(old)?;
        }
        let staged = Staged {
            plan,
            links,
            assignments,
        };
        self.stage_in(&staged, tables)?;
        Ok(staged)
    }

    /// Does the same in other maps, which are to take the place of those.
    pub fn stage_in(&mut self, staged: &Staged, tables: &mut Tables) -> Result<(), Error> {
        for policy in staged.plan.policies.iter() {
            let new = policy.record(self.clock.now);
            let record = match self.plan.policies.numbered(policy.number) {
                Some(old) if old.name == policy.name => {
                    let old = self.record_of(old);
                    PolicyRecord {
                        categories: old.categories | new.categories,
                        kept_categories: old.kept_categories | new.kept_categories,
                        ..old
                    }
                }
                _ => new,
            };
            self.put_policy(policy.number, record, tables)?;
        }
        Ok(())
    }

    /// Puts what was staged in force, after its image was.
    pub fn commit(&mut self, staged: Staged, tables: &mut Tables) -> Result<(), Error> {
        self.follow(tables)?;
        let is_other = staged.plan.policies != self.plan.policies;
        self.plan = staged.plan;
        self.narrow(tables)?;
        self.links = staged.links;
        let known = self.assignments.as_ref();
        if !known.is_some_and(|known| Arc::ptr_eq(known, &staged.assignments)) {
            self.assign(staged.assignments, tables)?;
        }
        if is_other {
            // Overrides may be for policies that are new or gone.
            self.rebuild(self.in_force(tables), tables)?;
        }
        Ok(())
    }

    /// Lets policies do what they are to do now: the image that is in force is that of the plan.
    pub fn narrow(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.wide.clear();
        self.put_policies(tables)
    }

    /// Whether policies wait for [`Self::narrow`].
    pub fn is_narrow(&self) -> bool {
        self.wide.is_empty()
    }

    /// Goes back to what was in force before [`Self::stage`]: the image did not come.
    pub fn unstage(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.put_policies(tables)
    }

    /// Whether [`Self::keep`] has anything to do.
    pub fn is_due(&self, links: &Links) -> bool {
        let clock = Clock::now();
        let is_past = |when: Timestamp| when <= clock.now;
        *links != self.links
            || self.assignments.is_none()
            || clock.was_set_since(&self.clock)
            || self.set.next_end().is_some_and(is_past)
            || self.next_switch.is_some_and(is_past)
    }

    /// Follows the machine's interfaces and the time.
    pub fn keep(&mut self, links: Links, tables: &mut Tables) -> Result<(), Error> {
        self.follow(tables)?;
        self.relink(links, tables)?;
        self.tick(tables)
    }

    fn relink(&mut self, links: Links, tables: &mut Tables) -> Result<(), Error> {
        if links == self.links && self.assignments.is_some() {
            return Ok(());
        }
        self.links = links;
        self.assignments = None;
        self.assign(assignments_of(self)?, tables)
    }

    /// Tells the maps who has which policy.
    fn assign(&mut self, wanted: Arc<Assignments>, tables: &mut Tables) -> Result<(), Error> {
        self.assignments = None;
        tables.assign(Arc::clone(&wanted))?;
        self.assignments = Some(wanted);
        Ok(())
    }

    /// Does what is due: schedules that switch, overrides that end, a clock that was set.
    fn tick(&mut self, tables: &mut Tables) -> Result<(), Error> {
        let was_set = self.look_at_clock();
        let now = self.clock.now;
        let ended = self.set.end(now);
        if !ended.is_empty() {
            // They are over in the kernel already.
            self.enforce(&ended, &[], tables)?;
        }
        if was_set {
            self.rebuild(self.in_force(tables), tables)?;
        }
        let switches = self.next_switch.is_some_and(|next| next <= now);
        if was_set || switches || !ended.is_empty() {
            self.put_policies(tables)?;
        }
        Ok(())
    }

    /// Looks at both clocks; whether the one on the wall was set since the last look.
    fn look_at_clock(&mut self) -> bool {
        let clock = Clock::now();
        let was_set = clock.was_set_since(&self.clock);
        self.clock = clock;
        if was_set {
            self.undisturbed = clock;
        }
        was_set
    }

    /// Does what an operator asks for; it is on disk when this returns.
    ///
    /// # Errors
    ///
    /// When it makes no sense or cannot be kept; what was in force stays.
    pub fn apply(&mut self, request: Request, tables: &mut Tables) -> Result<Outcome, Error> {
        self.follow(tables)?;
        self.tick(tables)?;
        if request == Request::List {
            return Ok(Outcome {
                version: OUTCOME_VERSION,
                overrides: self.set.iter().cloned().collect(),
                ..Outcome::default()
            });
        }
        let begun = Instant::now();
        let change = self.plan(request, self.clock.now)?;
        let (removed, in_force) = self.carry_out(&change, tables)?;
        Ok(Outcome {
            version: OUTCOME_VERSION,
            overrides: change.added,
            removed,
            took: Some(Took {
                begun_us: 0,
                in_force_us: us(in_force - begun),
                on_disk_us: us(begun.elapsed()),
            }),
        })
    }

    /// The overrides.
    pub fn overrides(&self) -> impl Iterator<Item = &Override> {
        self.set.iter()
    }

    /// Puts everything in force in the maps that took the place of those that were known.
    fn follow(&mut self, tables: &mut Tables) -> Result<(), Error> {
        if *self.tree.key() == tables.key() {
            return Ok(());
        }
        self.install(tables)
    }

    /// The records of overrides as the maps hold them.
    fn in_force(&self, tables: &Tables) -> Vec<(u64, OverrideRecord)> {
        let batch = tables.batch();
        let records = self.tree.records();
        records
            .map(|(key, record)| (key, OverrideRecord { batch, ..record }))
            .collect()
    }
}

fn assignments_of(enforcement: &Enforcement) -> Result<Arc<Assignments>, Error> {
    assignments(&enforcement.plan, &enforcement.links)
}

/// Until when a policy is paused.
fn pause_of(set: &OverrideSet, policy: &Policy) -> Option<Timestamp> {
    let pauses = set.pauses().filter(|pause| match &pause.spec.clients {
        OverrideClients::Everybody => true,
        OverrideClients::Policy(name) => *name == policy.name,
        OverrideClients::Mac(_) | OverrideClients::Address(_) => false,
    });
    pauses.filter_map(|pause| pause.spec.expires).max()
}
