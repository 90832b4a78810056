//! Names that must be blocked, or must not be, against which an override needs to be meant.
//!
//! What lists do to them is the business of the guards, before lists go live. An override
//! outranks every list and asks no guard; a slip of one line must not undo a legal order.

use std::{collections::BTreeMap, sync::Arc};

use super::{OverrideAction, OverrideName, OverrideScope, OverrideSpec};
use filter_common::name::Name;

/// What is to become of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It must be blocked.
    Blocked,
    /// It must not be blocked.
    Passed,
}

/// The names and the files that say so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardedNames {
    blocked: Names,
    passed: Names,
}

/// Names by their labels from the last to the first, so that those below a name follow it.
type Names = BTreeMap<Box<[u8]>, Arc<str>>;

impl GuardedNames {
    /// Adds a name that the file `source` wants blocked or passed.
    pub fn add(&mut self, wanted: Wanted, name: &Name, source: &Arc<str>) {
        let names = match wanted {
            Wanted::Blocked => &mut self.blocked,
            Wanted::Passed => &mut self.passed,
        };
        names.insert(from_last_label(name.as_wire()).into(), Arc::clone(source));
    }

    /// The file that wants the contrary of an override, if there is one.
    ///
    /// What must be blocked is mostly a whole subtree, so that letting a name below it through is
    /// against it, too.
    pub fn contradicts(&self, spec: &OverrideSpec) -> Option<&str> {
        match spec.action {
            OverrideAction::Allow => {
                at_or_above(&self.blocked, &spec.name).or_else(|| met(&self.blocked, spec))
            }
            OverrideAction::Block => met(&self.passed, spec),
            OverrideAction::Pause => None,
        }
    }
}

/// The name that an override is for, or one below it if those are meant.
fn met<'a>(names: &'a Names, spec: &OverrideSpec) -> Option<&'a str> {
    let wanted = from_last_label(spec.name.as_wire());
    let (found, source) = names.range(wanted.clone().into_boxed_slice()..).next()?;
    let is_met = match spec.scope {
        OverrideScope::Exact => **found == *wanted,
        OverrideScope::Suffix => found.starts_with(&wanted),
    };
    is_met.then_some(&**source)
}

/// The name itself or a parent of it.
fn at_or_above<'a>(names: &'a Names, name: &OverrideName) -> Option<&'a str> {
    let key = from_last_label(name.as_wire());
    let mut end = 0;
    while end < key.len() {
        end += 1 + usize::from(key[end]);
        if let Some(source) = names.get(key.get(..end)?) {
            return Some(source);
        }
    }
    None
}

/// The labels of a name in wire form, each behind its length, from the last to the first, without the root.
fn from_last_label(wire: &[u8]) -> Vec<u8> {
    let mut labels = Vec::new();
    let mut rest = wire;
    while let Some((&len, behind)) = rest.split_first()
        && len > 0
        && behind.len() >= usize::from(len)
    {
        labels.push(&rest[..=usize::from(len)]);
        rest = &behind[usize::from(len)..];
    }
    labels.into_iter().rev().flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overrides::OverrideClients;

    fn spec(action: OverrideAction, name: &str, scope: OverrideScope) -> OverrideSpec {
        OverrideSpec {
            action,
            name: (&Name::from_text(name.as_bytes()).unwrap()).into(),
            scope,
            clients: OverrideClients::Everybody,
            expires: None,
            reason: "why".to_owned(),
            by: None,
            ticket: None,
            against_guard: false,
        }
    }

    #[test]
    fn an_order_contradicts_a_guard_by_its_name_and_by_those_it_covers() {
        use OverrideAction::{Allow, Block, Pause};
        use OverrideScope::{Exact, Suffix};
        let mut guarded = GuardedNames::default();
        let source: Arc<str> = "orders.txt".into();
        for name in ["casino.example", "x.bets.example"] {
            guarded.add(
                Wanted::Blocked,
                &Name::from_text(name.as_bytes()).unwrap(),
                &source,
            );
        }
        let own: Arc<str> = "own.txt".into();
        guarded.add(
            Wanted::Passed,
            &Name::from_text(b"mail.own.example").unwrap(),
            &own,
        );
        for (action, name, scope, expected) in [
            (Allow, "casino.example", Exact, Some("orders.txt")),
            (Allow, "CASINO.example", Suffix, Some("orders.txt")),
            (Allow, "www.casino.example", Exact, Some("orders.txt")),
            (Allow, "bets.example", Suffix, Some("orders.txt")),
            (Allow, "bets.example", Exact, None),
            (Allow, "acasino.example", Suffix, None),
            (Allow, "example", Exact, None),
            (Allow, "mail.own.example", Suffix, None),
            (Block, "casino.example", Suffix, None),
            (Block, "mail.own.example", Exact, Some("own.txt")),
            (Block, "own.example", Suffix, Some("own.txt")),
            (Block, "own.example", Exact, None),
            (Block, "x.mail.own.example", Suffix, None),
            (Pause, "own.example", Suffix, None),
        ] {
            let found = guarded.contradicts(&spec(action, name, scope));
            assert_eq!(found, expected, "{action:?} {name} {scope:?}");
        }
    }
}
