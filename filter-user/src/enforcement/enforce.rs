//! How a enforcement gets into the kernel's maps, and back out when something fails.

use std::{collections::BTreeMap, time::Instant};

use filter_common::{
    hash::HashKey,
    layout::{
        CONTROL_OVERRIDES, CONTROL_PAUSES, DECISION_ALLOW, DECISION_BLOCK, DECISION_NAME_ONLY,
        DECISION_PAUSE, Decision, OVERRIDE_RECORDS_MAX, OverrideRecord, PolicyRecord,
    },
    overrides::ClientKey,
};
use filter_kernel::address_of;

use super::{Clock, Enforcement, Error, Tables, pause_of};
use crate::{
    overrides::{
        Difference, Entry, Override, OverrideAction, OverrideChange, OverrideClients,
        OverrideScope, Transition, Tree,
    },
    policy::{Policies, Policy},
};

/// As long after the last change the next one is not expected.
const QUIET_NS: u64 = 2_000_000_000;

impl Enforcement {
    /// Makes a change that survives a crash once this returns, or none at all.
    ///
    /// Nothing that waits for the disk comes before its effect. Tells what it took away, and
    /// when it was in force.
    pub(super) fn carry_out(
        &mut self,
        change: &OverrideChange,
        tables: &mut Tables,
    ) -> Result<(Vec<Override>, Instant), Error> {
        // What is in force is not known then, and would be lost.
        self.journal.check_seal()?;
        // Appending takes microseconds. A journal that is missing or far too long is written after
        // the effect.
        let is_appended = self.journal.is_ready();
        if is_appended {
            self.journal.append(change)?;
        }
        let removed = self.set.apply(change);
        if let Err(error) = self.enforce(&removed, &change.added, tables) {
            self.set.apply(&inverse(change, &removed));
            if is_appended {
                self.journal.take_back()?;
            }
            return Err(error);
        }
        // The next packet sees it from here; the caller waits for the disk.
        let in_force = Instant::now();
        let kept = if is_appended {
            self.journal.sync()
        } else {
            self.journal.write_anew(&self.set)
        };
        if let Err(error) = kept {
            self.set.apply(&inverse(change, &removed));
            self.enforce(&change.added, &removed, tables)?;
            return Err(error.into());
        }
        Ok((removed, in_force))
    }

    /// Makes the journal short when nobody waits for it, and lets it say what has ended: after a boot
    /// the clock may not know the time, and nothing must come back then.
    ///
    /// # Errors
    ///
    /// When it cannot be written; what it said stays.
    pub fn tidy_journal(&mut self) -> Result<(), Error> {
        let ended = self.certainly_ended();
        if !ended.removed.is_empty() && self.journal.is_ready() {
            self.journal.append(&ended)?;
            self.journal.sync()?;
            self.set.apply(&ended);
        }
        let since_change = Clock::now().boot_ns.saturating_sub(self.clock.boot_ns);
        if self.journal.is_long() && since_change > QUIET_NS {
            self.journal.write_anew(&self.set)?;
        }
        Ok(())
    }

    /// What is past by a clock that can be believed.
    ///
    /// A clock that is far ahead when this process starts ends everything. It is mostly set back
    /// within minutes, by NTP; until then nothing may be written down that cannot be undone.
    fn certainly_ended(&self) -> OverrideChange {
        if self.set.past().next().is_none() {
            return OverrideChange::default();
        }
        let is_trusted = self.undisturbed.is_trusted(self.clock);
        // Its whole life was measured by this clock, whatever date that shows.
        let was_seen = |entry: &Override| entry.created >= self.undisturbed.now;
        let past = self.set.past();
        let ended = past.filter(|entry| is_trusted || was_seen(entry));
        OverrideChange {
            removed: ended.map(|entry| entry.id).collect(),
            added: Vec::new(),
        }
    }

    /// Puts a change of the set in force, or nothing of it.
    pub(super) fn enforce(
        &mut self,
        removed: &[Override],
        added: &[Override],
        tables: &mut Tables,
    ) -> Result<(), Error> {
        let (out, into) = (self.entries(removed), self.entries(added));
        let differences = self.tree.change(&out, &into);
        if let Err(error) = self.put_overrides(&differences, tables) {
            self.tree.change(&into, &out);
            return Err(error);
        }
        let mut changed = removed.iter().chain(added);
        if changed.any(|entry| entry.spec.action == OverrideAction::Pause) {
            self.put_policies(tables)?;
        }
        Ok(())
    }

    /// Makes the records of all overrides anew, where the maps hold those that were found.
    pub(super) fn rebuild(
        &mut self,
        found: Vec<(u64, OverrideRecord)>,
        tables: &mut Tables,
    ) -> Result<(), Error> {
        // What has ended is never put in force, and comes back if the clock was set back before its end.
        self.set.end(self.clock.now);
        self.set.revive(self.clock.now);
        let overrides: Vec<Override> = self.set.iter().cloned().collect();
        let mut tree = Tree::new(*self.tree.key());
        tree.change(&[], &self.entries(&overrides));
        // What the maps hold and nobody wants goes; what is wanted and missing comes; all in one
        // batch.
        let mut differences: BTreeMap<u64, Difference> = BTreeMap::new();
        for (key, record) in found {
            let old = Some(in_force(record, tables.batch()));
            differences.insert(
                key,
                Difference {
                    key,
                    old,
                    new: None,
                },
            );
        }
        for (key, record) in tree.records() {
            let none = Difference {
                key,
                old: None,
                new: None,
            };
            differences.entry(key).or_insert(none).new = Some(record);
        }
        let differences: Vec<Difference> = differences
            .into_values()
            .filter(|difference| difference.old != difference.new)
            .collect();
        self.tree = tree;
        self.put_overrides(&differences, tables)
    }

    /// Changes records of overrides as one step for every packet.
    fn put_overrides(&self, differences: &[Difference], tables: &mut Tables) -> Result<(), Error> {
        let needed = self.tree.record_count();
        if needed > OVERRIDE_RECORDS_MAX as usize {
            return Err(Error::RecordsFull {
                needed,
                max: OVERRIDE_RECORDS_MAX as usize,
            });
        }
        if differences.is_empty() {
            return Ok(());
        }
        // Records carry the number of the next batch, which counts only when it is stored below.
        let batch = tables.batch().wrapping_add(1);
        let transition = Transition::new(differences, batch, self.clock.boot_ns);
        if let Err(error) = put_all(&transition.first, tables) {
            // None of them is in force: as they were, or gone.
            for difference in differences {
                let old = difference.old.map(|old| OverrideRecord {
                    batch: tables.batch(),
                    ..old
                });
                tables.put_override(difference.key, old.as_ref())?;
            }
            return Err(error.into());
        }
        let flags = self.override_flags();
        // Looked for before they count, and no longer looked for after they are gone.
        tables.put_flags(flags, flags);
        // The one store that puts all records in force for every packet.
        tables.put_batch(batch);
        tables.put_flags(CONTROL_OVERRIDES | CONTROL_PAUSES, flags);
        for (key, record) in &transition.last {
            tables.put_override(*key, record.as_ref())?;
        }
        Ok(())
    }

    fn override_flags(&self) -> u32 {
        let overrides = if self.tree.is_empty() {
            0
        } else {
            CONTROL_OVERRIDES
        };
        let of_clients = |pause: &Override| {
            matches!(
                pause.spec.clients,
                OverrideClients::Mac(_) | OverrideClients::Address(_)
            )
        };
        let pauses = if self.set.pauses().any(of_clients) {
            CONTROL_PAUSES
        } else {
            0
        };
        overrides | pauses
    }

    /// Writes what policies do now, where it is not what the maps hold.
    pub(super) fn put_policies(&mut self, tables: &mut Tables) -> Result<(), Error> {
        let policies: Vec<(u32, PolicyRecord)> = self
            .plan
            .policies
            .iter()
            .map(|policy| (policy.number, self.record_of(policy)))
            .collect();
        for (number, mut record) in policies {
            let written = self.written.get(&number).copied().unwrap_or_default();
            if self.is_guest {
                let paused_until_ns = record.paused_until_ns;
                record = PolicyRecord {
                    paused_until_ns,
                    ..written
                };
            }
            if self.seal().is_some() {
                record.paused_until_ns = written.paused_until_ns;
            }
            record.categories |= self.wide.get(&number).unwrap_or(&0);
            self.put_policy(number, record, tables)?;
        }
        if self.is_guest {
            return Ok(());
        }
        self.look_ahead();
        Ok(tables.watch_bypasses(self.plan.policies.refuse_bypass())?)
    }

    /// Notes when a schedule switches next.
    pub(super) fn look_ahead(&mut self) {
        let next = self.plan.policies.next_switch(self.clock.now);
        self.next_switch = next.map(|(when, _)| when);
    }

    pub(super) fn put_policy(
        &mut self,
        number: u32,
        record: PolicyRecord,
        tables: &mut Tables,
    ) -> Result<(), Error> {
        if self.written.get(&number) != Some(&record) {
            tables.put_policy(number, &record)?;
            self.written.insert(number, record);
        }
        Ok(())
    }

    /// What a policy does now, pauses included.
    pub(super) fn record_of(&self, policy: &Policy) -> PolicyRecord {
        let paused_until = pause_of(&self.set, policy);
        PolicyRecord {
            paused_until_ns: paused_until.map_or(0, |until| self.clock.boot_ns_of(until)),
            ..policy.record(self.clock.now)
        }
    }

    fn entries(&self, overrides: &[Override]) -> Vec<Entry> {
        let (policies, key) = (&self.plan.policies, self.tree.key());
        let entries = overrides.iter();
        entries
            .filter_map(|entry| entry_of(entry, policies, key, self.clock))
            .collect()
    }
}

/// What the kernel is told of an override; nothing if it is for no policy that there is, or is a
/// pause that records of policies tell.
pub(super) fn entry_of(
    entry: &Override,
    policies: &Policies,
    key: &HashKey,
    clock: Clock,
) -> Option<Entry> {
    let spec = &entry.spec;
    let is_pause = spec.action == OverrideAction::Pause;
    let client_key = match &spec.clients {
        OverrideClients::Everybody | OverrideClients::Policy(_) if is_pause => return None,
        OverrideClients::Everybody => ClientKey::EVERYBODY,
        OverrideClients::Policy(name) => ClientKey::policy(policies.named(name)?.number),
        OverrideClients::Mac(mac) => ClientKey::mac(*mac),
        OverrideClients::Address(address) => ClientKey::address(&address_of(*address), key),
    };
    Some(Entry {
        name: spec.name.clone(),
        scope: spec.scope,
        client_key,
        decision: Decision {
            expires_ns: spec.expires.map_or(0, |end| clock.boot_ns_of(end)),
            id: entry.id,
            action: match spec.action {
                OverrideAction::Allow => DECISION_ALLOW,
                OverrideAction::Block => DECISION_BLOCK,
                OverrideAction::Pause => DECISION_PAUSE,
            },
            flags: match spec.scope {
                OverrideScope::Exact => DECISION_NAME_ONLY,
                OverrideScope::Suffix => 0,
            },
            ..Decision::default()
        },
    })
}

/// What undoes a change that took these away.
fn inverse(change: &OverrideChange, removed: &[Override]) -> OverrideChange {
    OverrideChange {
        removed: change.added.iter().map(|entry| entry.id).collect(),
        added: removed.to_vec(),
    }
}

/// A record as it would be if nothing but what holds now had been written.
fn in_force(record: OverrideRecord, batch: u32) -> OverrideRecord {
    let is_after = batch.wrapping_sub(record.batch) >> 31 == 0;
    if is_after {
        return OverrideRecord { batch: 0, ..record };
    }
    OverrideRecord {
        batch: 0,
        before: [Decision::default(); 2],
        after: record.before,
        ..record
    }
}

fn put_all(
    writes: &[(u64, OverrideRecord)],
    tables: &mut Tables,
) -> Result<(), filter_kernel::Error> {
    for (key, record) in writes {
        tables.put_override(*key, Some(record))?;
    }
    Ok(())
}
