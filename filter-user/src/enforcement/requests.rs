//! What an operator asks for, and what came of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Enforcement, Error};
use crate::overrides::{
    Override, OverrideAction, OverrideChange, OverrideClients, OverrideSet, OverrideSpec,
};
use jiff::Timestamp;

/// What an operator asks for.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// To put these in force, all or none.
    Add(Vec<OverrideSpec>),
    /// To remove those with these numbers, all or none.
    Remove(Vec<u32>),
    /// To end the pause of somebody.
    Resume(OverrideClients),
    /// To tell which there are.
    List,
}

/// What came of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct Outcome {
    /// Version of this object.
    pub version: u32,
    /// What is in force now, or all there is when it was asked to tell.
    pub overrides: Vec<Override>,
    /// What is not in force any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<Override>,
    /// How long it took, if anything was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<Took>,
}

/// How long a change took, in microseconds since the request was accepted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct Took {
    /// Until there was time for it.
    pub begun_us: u64,
    /// Until the next packet saw it.
    pub in_force_us: u64,
    /// Until it was on disk.
    pub on_disk_us: u64,
}

impl Took {
    /// The same where the request had waited before.
    pub fn after(self, waited: Duration) -> Self {
        let waited_us = us(waited);
        Self {
            begun_us: self.begun_us + waited_us,
            in_force_us: self.in_force_us + waited_us,
            on_disk_us: self.on_disk_us + waited_us,
        }
    }
}

/// Whole microseconds; no wait is longer than they can count.
pub(super) fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Enforcement {
    /// What carrying a request out would change.
    pub(super) fn plan(&self, request: Request, now: Timestamp) -> Result<OverrideChange, Error> {
        match request {
            Request::List => Ok(OverrideChange::default()),
            Request::Remove(ids) => Ok(self.set.plan_removal(&ids)?),
            Request::Resume(clients) => resumed(&self.set, &clients),
            Request::Add(specs) => {
                for spec in &specs {
                    self.check(spec, now)?;
                }
                Ok(self.set.plan(specs, now)?)
            }
        }
    }

    fn check(&self, spec: &OverrideSpec, now: Timestamp) -> Result<(), Error> {
        if let OverrideClients::Policy(name) = &spec.clients {
            self.check_policy(name)?;
        }
        match spec.expires {
            Some(end) if end <= now => return Err(Error::Past(end)),
            None if spec.action == OverrideAction::Pause => return Err(Error::EndlessPause),
            _ => {}
        }
        if let Some(source) = self
            .plan
            .guarded
            .contradicts(spec)
            .filter(|_| !spec.against_guard)
        {
            return Err(Error::AgainstGuard {
                action: spec.action.as_str(),
                name: spec.name.to_string(),
                must: match spec.action {
                    OverrideAction::Allow => "must be blocked",
                    OverrideAction::Block | OverrideAction::Pause => "must not be blocked",
                },
                source_file: source.to_owned(),
            });
        }
        if spec.action != OverrideAction::Pause && spec.reason.trim().is_empty() {
            return Err(Error::NoReason(spec.action.as_str()));
        }
        Ok(())
    }

    fn check_policy(&self, name: &str) -> Result<(), Error> {
        match self.plan.policies.named(name) {
            Some(policy) if policy.is_unfiltered() => Err(Error::Unfiltered(name.to_owned())),
            Some(_) => Ok(()),
            None => Err(Error::NoPolicy {
                name: name.to_owned(),
                known: self
                    .plan
                    .policies
                    .iter()
                    .map(|policy| policy.name.clone())
                    .collect(),
            }),
        }
    }
}

fn resumed(set: &OverrideSet, clients: &OverrideClients) -> Result<OverrideChange, Error> {
    let paused = set.pauses().filter(|pause| pause.spec.clients == *clients);
    let removed: Vec<u32> = paused.map(|pause| pause.id).collect();
    if removed.is_empty() {
        return Err(Error::NotPaused(clients.to_string()));
    }
    Ok(OverrideChange {
        removed,
        added: Vec::new(),
    })
}
