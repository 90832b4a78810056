//! From one set of records to another, as one step for every packet.
//!
//! A record tells what held before its batch and what holds from it on. So all
//! records are written first, which changes nothing; one store of the batch's
//! number puts them in force; then records are tidied up, which changes nothing
//! again.

use filter_common::layout::{Decision, OverrideRecord};

/// A record that is to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its key.
    pub key: u64,
    /// What it is, if there is one.
    pub old: Option<OverrideRecord>,
    /// What it is to be, if it is to stay.
    pub new: Option<OverrideRecord>,
}

/// The writes that make a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transition {
    /// Written before the number of the batch is.
    pub first: Vec<(u64, OverrideRecord)>,
    /// Written, or removed, afterwards.
    pub last: Vec<(u64, Option<OverrideRecord>)>,
}

impl Transition {
    /// Makes a change as the batch with this number, which is one more than that in force.
    pub fn new(differences: &[Difference], batch: u32, now_ns: u64) -> Self {
        let mut transition = Self::default();
        for difference in differences {
            transition.add(difference, batch, now_ns);
        }
        transition
    }

    fn add(&mut self, difference: &Difference, batch: u32, now_ns: u64) {
        let Difference { key, old, new } = *difference;
        let (from, to) = (old.unwrap_or_default(), new.unwrap_or_default());
        let flags = from.flags | to.flags;
        let decides_the_same = (from.before, from.after) == (to.before, to.after);
        let written = if decides_the_same {
            OverrideRecord {
                batch: batch.wrapping_sub(1),
                flags,
                ..to
            }
        } else {
            OverrideRecord {
                batch,
                flags,
                before: held(&from, now_ns),
                after: to.after,
            }
        };
        if !(decides_the_same && old.is_some() && flags == from.flags) {
            self.first.push((key, written));
        }
        let wanted = new.map(|new| OverrideRecord {
            batch: written.batch,
            ..new
        });
        if wanted != Some(written) {
            self.last.push((key, wanted));
        }
    }
}

/// What a record that is in force says now.
fn held(record: &OverrideRecord, now_ns: u64) -> [Decision; 2] {
    let mut held = record.after;
    for (held, then) in held.iter_mut().zip(record.before) {
        if held.expires_ns != 0 && now_ns >= held.expires_ns {
            *held = then;
        }
    }
    held
}
