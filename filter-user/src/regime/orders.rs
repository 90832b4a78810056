//! What an operator asks for, and what came of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Error, Regime};
use crate::overrides::{Action, Audience, Book, Change, Order, Override};
use jiff::Timestamp;

/// What an operator asks for.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// To put these in force, all or none.
    Add(Vec<Order>),
    /// To remove those with these numbers, all or none.
    Remove(Vec<u32>),
    /// To end the pause of somebody.
    Resume(Audience),
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

impl Regime {
    /// What carrying a request out would change.
    pub(super) fn plan(&self, request: Request, now: Timestamp) -> Result<Change, Error> {
        match request {
            Request::List => Ok(Change::default()),
            Request::Remove(ids) => Ok(self.book.plan_removal(&ids)?),
            Request::Resume(audience) => resumed(&self.book, &audience),
            Request::Add(orders) => {
                for order in &orders {
                    self.check(order, now)?;
                }
                Ok(self.book.plan(orders, now)?)
            }
        }
    }

    fn check(&self, order: &Order, now: Timestamp) -> Result<(), Error> {
        if let Audience::Policy(name) = &order.audience {
            self.check_policy(name)?;
        }
        match order.expires {
            Some(end) if end <= now => return Err(Error::Past(end)),
            None if order.action == Action::Pause => return Err(Error::EndlessPause),
            _ => {}
        }
        if let Some(source) = self
            .plan
            .guarded
            .contradicts(order)
            .filter(|_| !order.against_guard)
        {
            return Err(Error::AgainstGuard {
                action: order.action.as_str(),
                name: order.name.to_string(),
                must: match order.action {
                    Action::Allow => "must be blocked",
                    Action::Block | Action::Pause => "must not be blocked",
                },
                source_file: source.to_owned(),
            });
        }
        if order.action != Action::Pause && order.reason.trim().is_empty() {
            return Err(Error::NoReason(order.action.as_str()));
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

fn resumed(book: &Book, audience: &Audience) -> Result<Change, Error> {
    let paused = book
        .pauses()
        .filter(|pause| pause.order.audience == *audience);
    let removed: Vec<u32> = paused.map(|pause| pause.id).collect();
    if removed.is_empty() {
        return Err(Error::NotPaused(audience.to_string()));
    }
    Ok(Change {
        removed,
        added: Vec::new(),
    })
}
