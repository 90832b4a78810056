//! Which overrides there are, and which takes the place of which.
//!
//! For one name, scope and clients there is at most one override without an
//! end and one with: a new one takes the place of those that it would hide for
//! ever. One with an end lies over the one without, which holds again afterwards.
//!
//! One whose end the clock has passed is past: it is not in force and takes no place, and is
//! kept nevertheless until it is certain that the clock is right. A machine that starts with a
//! clock far ahead would otherwise lose it for good.

use std::collections::{BTreeMap, BTreeSet};

use filter_common::layout::OVERRIDE_MAX;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Override, OverrideAction, OverrideClients, OverrideName, OverrideScope, OverrideSpec};

/// What a step adds and what it takes away.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct OverrideChange {
    /// Overrides that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<u32>,
    /// Overrides that came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<Override>,
}

/// Why overrides cannot be added or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There are too many.
    #[error("{0} overrides, at most {OVERRIDE_MAX} fit: remove some, or block the names by a list")]
    Full(usize),
    /// No override has this number.
    #[error("no override has the number {0}; `nxdp overrides` lists them")]
    Unknown(u32),
    /// The numbers are used up.
    #[error(
        "override numbers are used up: import what `nxdp overrides --json` tells into a new journal"
    )]
    NoNumbers,
}

/// What two overrides share when one takes the place of the other.
type Slot = (OverrideName, OverrideScope, OverrideClients, bool);

/// All overrides.
#[derive(Clone, Debug, Default)]
pub struct OverrideSet {
    entries: BTreeMap<u32, Override>,
    slots: BTreeMap<Slot, u32>,
    ends: BTreeSet<(Timestamp, u32)>,
    pauses: BTreeSet<u32>,
    past: BTreeMap<u32, Override>,
    last_id: u32,
}

impl OverrideSet {
    /// The overrides that hold, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Override> {
        self.entries.values()
    }

    /// Those whose end the clock has passed, in the order of their numbers.
    pub fn past(&self) -> impl Iterator<Item = &Override> {
        self.past.values()
    }

    /// Number of overrides.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The override with this number.
    pub fn entry(&self, id: u32) -> Option<&Override> {
        self.entries.get(&id)
    }

    /// The highest number that was given so far.
    pub fn last_id(&self) -> u32 {
        self.last_id
    }

    /// Goes on counting from here, if it is higher.
    pub fn count_from(&mut self, id: u32) {
        self.last_id = self.last_id.max(id);
    }

    /// What putting overrides in force would change.
    ///
    /// Of two overrides for the same slot the later one counts.
    pub fn plan(
        &self,
        specs: Vec<OverrideSpec>,
        now: Timestamp,
    ) -> Result<OverrideChange, Refused> {
        let count = u32::try_from(specs.len()).map_err(|_| Refused::Full(specs.len()))?;
        self.last_id.checked_add(count).ok_or(Refused::NoNumbers)?;
        let past = self.past_slots();
        let mut removed = BTreeSet::new();
        let mut added: BTreeMap<Slot, Override> = BTreeMap::new();
        for (id, spec) in (self.last_id + 1..).zip(specs) {
            for slot in slots_taken_by(&spec) {
                removed.extend(self.slots.get(&slot));
                // If the clock was ahead, one that is past would come back in its place.
                removed.extend(past.get(&slot).into_iter().flatten());
                added.remove(&slot);
            }
            let entry = Override {
                id,
                spec,
                created: now,
            };
            added.insert(slot_of(&entry.spec), entry);
        }
        let gone = removed
            .iter()
            .filter(|id| self.entries.contains_key(id))
            .count();
        let left = self.len() - gone + added.len();
        if left > OVERRIDE_MAX as usize {
            return Err(Refused::Full(left));
        }
        let mut added: Vec<Override> = added.into_values().collect();
        added.sort_unstable_by_key(|entry| entry.id);
        Ok(OverrideChange {
            removed: removed.into_iter().collect(),
            added,
        })
    }

    fn past_slots(&self) -> BTreeMap<Slot, Vec<u32>> {
        let mut slots: BTreeMap<Slot, Vec<u32>> = BTreeMap::new();
        for entry in self.past() {
            slots
                .entry(slot_of(&entry.spec))
                .or_default()
                .push(entry.id);
        }
        slots
    }

    /// What removing these overrides would change.
    pub fn plan_removal(&self, ids: &[u32]) -> Result<OverrideChange, Refused> {
        match ids.iter().find(|id| !self.entries.contains_key(id)) {
            Some(id) => Err(Refused::Unknown(*id)),
            None => Ok(OverrideChange {
                removed: ids
                    .iter()
                    .copied()
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect(),
                added: Vec::new(),
            }),
        }
    }

    /// Puts aside what has ended at `now`; hands it back.
    pub fn end(&mut self, now: Timestamp) -> Vec<Override> {
        let ended = self.ends.iter().take_while(|(end, _)| *end <= now);
        let ids: Vec<u32> = ended.map(|(_, id)| *id).collect();
        let ended: Vec<Override> = ids.iter().filter_map(|id| self.remove(*id)).collect();
        let past = ended.iter().map(|entry| (entry.id, entry.clone()));
        self.past.extend(past);
        ended
    }

    /// Brings back what has not ended at `now` after all: the clock was ahead.
    pub fn revive(&mut self, now: Timestamp) {
        let holds = |entry: &Override| entry.spec.expires.is_none_or(|end| end > now);
        let revived: Vec<Override> = self.past().filter(|entry| holds(entry)).cloned().collect();
        for entry in revived {
            self.past.remove(&entry.id);
            self.insert(entry);
        }
    }

    /// When the next override ends.
    pub fn next_end(&self) -> Option<Timestamp> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// The pauses among them.
    pub fn pauses(&self) -> impl Iterator<Item = &Override> {
        self.pauses.iter().filter_map(|id| self.entry(*id))
    }

    /// Carries a change out; what goes comes back.
    ///
    /// Numbers that are unknown are passed over: a change may be read a second time.
    pub fn apply(&mut self, change: &OverrideChange) -> Vec<Override> {
        for id in &change.removed {
            self.past.remove(id);
        }
        let removed = change
            .removed
            .iter()
            .filter_map(|id| self.remove(*id))
            .collect();
        for entry in &change.added {
            self.last_id = self.last_id.max(entry.id);
            self.insert(entry.clone());
        }
        removed
    }

    fn insert(&mut self, entry: Override) {
        if let Some(end) = entry.spec.expires {
            self.ends.insert((end, entry.id));
        }
        if entry.spec.action == OverrideAction::Pause {
            self.pauses.insert(entry.id);
        }
        self.slots.insert(slot_of(&entry.spec), entry.id);
        self.entries.insert(entry.id, entry);
    }

    fn remove(&mut self, id: u32) -> Option<Override> {
        let entry = self.entries.remove(&id)?;
        if let Some(end) = entry.spec.expires {
            self.ends.remove(&(end, id));
        }
        self.pauses.remove(&id);
        let slot = slot_of(&entry.spec);
        if self.slots.get(&slot) == Some(&id) {
            self.slots.remove(&slot);
        }
        Some(entry)
    }
}

fn slot_of(spec: &OverrideSpec) -> Slot {
    (
        spec.name.clone(),
        spec.scope,
        spec.clients.clone(),
        spec.expires.is_some(),
    )
}

/// The slots whose overrides would never hold again.
fn slots_taken_by(spec: &OverrideSpec) -> impl Iterator<Item = Slot> {
    let own = slot_of(spec);
    let under = match spec.expires {
        Some(_) => None,
        None => Some((own.0.clone(), own.1, own.2.clone(), true)),
    };
    [Some(own), under].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use filter_common::name::Name;

    use super::*;

    fn spec(name: &str, action: OverrideAction, expires: Option<i64>) -> OverrideSpec {
        OverrideSpec {
            action,
            name: (&Name::from_text(name.as_bytes()).unwrap()).into(),
            scope: OverrideScope::Suffix,
            clients: OverrideClients::Everybody,
            expires: expires.map(|second| Timestamp::from_second(second).unwrap()),
            reason: "why".to_owned(),
            by: None,
            ticket: None,
            against_guard: false,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn add(set: &mut OverrideSet, specs: Vec<OverrideSpec>) -> OverrideChange {
        let change = set.plan(specs, at(0)).unwrap();
        set.apply(&change);
        change
    }

    fn ids(set: &OverrideSet) -> Vec<u32> {
        set.iter().map(|entry| entry.id).collect()
    }

    #[test]
    fn one_with_an_end_lies_over_one_without_and_replaces_its_like() {
        let mut set = OverrideSet::default();
        add(
            &mut set,
            vec![spec("a.example", OverrideAction::Block, None)],
        );
        add(
            &mut set,
            vec![spec("a.example", OverrideAction::Allow, Some(100))],
        );
        assert_eq!(ids(&set), [1, 2]);
        let change = add(
            &mut set,
            vec![spec("a.example", OverrideAction::Allow, Some(200))],
        );
        assert_eq!((change.removed, ids(&set)), (vec![2], vec![1, 3]));
        let change = add(
            &mut set,
            vec![spec("a.example", OverrideAction::Allow, None)],
        );
        assert_eq!((change.removed, ids(&set)), (vec![1, 3], vec![4]));
        add(
            &mut set,
            vec![spec("b.example", OverrideAction::Allow, None)],
        );
        assert_eq!(ids(&set), [4, 5]);
    }

    #[test]
    fn of_two_orders_for_one_name_in_one_step_the_later_one_counts() {
        let mut set = OverrideSet::default();
        let both = vec![
            spec("a.example", OverrideAction::Block, None),
            spec("b.example", OverrideAction::Block, None),
            spec("a.example", OverrideAction::Allow, None),
        ];
        let change = add(&mut set, both);
        assert!(change.removed.is_empty());
        assert_eq!(ids(&set), [2, 3]);
    }

    #[test]
    fn what_ends_goes_and_its_number_is_not_used_again() {
        let mut set = OverrideSet::default();
        add(
            &mut set,
            vec![
                spec("a.example", OverrideAction::Allow, Some(100)),
                spec("b.example", OverrideAction::Allow, Some(50)),
            ],
        );
        assert_eq!(set.next_end(), Some(at(50)));
        assert!(set.end(at(49)).is_empty());
        let ended = set.end(at(100)).into_iter().map(|entry| entry.id);
        assert_eq!(ended.collect::<Vec<_>>(), [2, 1]);
        assert!(set.is_empty() && set.next_end().is_none());
        add(
            &mut set,
            vec![spec("c.example", OverrideAction::Allow, None)],
        );
        assert_eq!(ids(&set), [3]);
    }

    #[test]
    fn what_a_clock_far_ahead_ended_comes_back_unless_something_took_its_place() {
        let mut set = OverrideSet::default();
        let names = ["a.example", "b.example", "c.example"];
        let specs = names.map(|name| spec(name, OverrideAction::Allow, Some(100)));
        add(&mut set, specs.to_vec());
        assert_eq!(set.end(at(5_000)).len(), 3);
        let change = add(
            &mut set,
            vec![spec("b.example", OverrideAction::Block, None)],
        );
        assert_eq!((change.removed, ids(&set)), (vec![2], vec![4]));
        let past: Vec<u32> = set.past().map(|entry| entry.id).collect();
        assert_eq!(past, [1, 3]);
        set.revive(at(50));
        assert_eq!(ids(&set), [1, 3, 4]);
        assert_eq!((set.past().count(), set.next_end()), (0, Some(at(100))));
        set.end(at(5_000));
        set.revive(at(5_000));
        assert_eq!(ids(&set), [4]);
    }

    #[test]
    fn one_more_than_fits_is_refused_unless_it_takes_a_place() {
        let names =
            (0..OVERRIDE_MAX).map(|i| spec(&format!("n{i}.example"), OverrideAction::Block, None));
        let mut set = OverrideSet::default();
        add(&mut set, names.collect());
        let more = vec![spec("more.example", OverrideAction::Block, None)];
        assert_eq!(set.plan(more, at(0)), Err(Refused::Full(65_537)));
        let same = vec![spec("n7.example", OverrideAction::Allow, None)];
        assert!(set.plan(same, at(0)).is_ok());
        assert_eq!(set.plan_removal(&[70_000]), Err(Refused::Unknown(70_000)));
    }
}
