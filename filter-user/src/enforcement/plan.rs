//! What is to be in force, before it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use filter_common::layout::{
    CLIENT_PREFIX_MAX, INTERFACE_GENERIC, INTERFACE_UNTAGGED, InterfaceRecord,
};
use filter_kernel::{Assignments, Prefix};

use super::{Error, resolvers};
use crate::{
    config::{self, Config},
    overrides::GuardedNames,
    pipeline::guarded_names,
    policy::{Categories, Numbers, Policies, compose},
};

/// What a configuration amounts to besides its lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub(super) policies: Policies,
    pub(super) resolvers: Vec<Prefix>,
    pub(super) guarded: GuardedNames,
}

/// A plan that everything is ready for but its image.
#[derive(Debug)]
pub struct Staged {
    pub(super) plan: Plan,
    pub(super) links: Links,
    pub(super) assignments: Arc<Assignments>,
}

impl Staged {
    /// The policies that are to come.
    pub fn policies(&self) -> &Policies {
        self.plan.policies()
    }
}

/// What depends on the machine's interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Listed prefixes that may be answered, besides those of policies.
    pub answered: BTreeSet<Prefix>,
    /// By the index of an interface that frames come by, the name that policies have for it.
    pub names: BTreeMap<u32, String>,
    /// Interfaces on which answers would leave without their VLAN tag.
    pub untagged: BTreeSet<u32>,
    /// Interfaces on which the program runs in generic mode.
    pub generic: BTreeSet<u32>,
}

impl Plan {
    /// Resolves what a configuration says, for lists whose categories have these bits.
    ///
    /// # Errors
    ///
    /// As [`Policies::resolve`], and when a file of guarded names cannot be read.
    pub fn of(
        config: &Config,
        categories: &Categories,
        numbers: &Numbers,
    ) -> Result<Self, config::Error> {
        Ok(Self {
            policies: Policies::resolve(config, categories, numbers)?,
            resolvers: resolvers::prefixes(config),
            guarded: guarded_names(config)?,
        })
    }

    /// Who is who.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }
}

/// What the maps of clients are to hold.
pub(super) fn assignments(plan: &Plan, links: &Links) -> Result<Arc<Assignments>, Error> {
    let clients = plan.policies.clients();
    let answered: Vec<Prefix> = links.answered.iter().copied().collect();
    let prefixes = compose(&answered, &clients.prefixes);
    let max = CLIENT_PREFIX_MAX as usize;
    if prefixes.len() > max {
        let count = prefixes.len();
        return Err(Error::PrefixesFull { count, max });
    }
    let mut interfaces: BTreeMap<u32, InterfaceRecord> = BTreeMap::new();
    let (untagged, generic) = (&links.untagged, &links.generic);
    for (indexes, bit) in [(untagged, INTERFACE_UNTAGGED), (generic, INTERFACE_GENERIC)] {
        for index in indexes {
            interfaces.entry(*index).or_default().0 |= bit;
        }
    }
    for (index, name) in &links.names {
        if let Some(policy) = clients.interfaces.get(name) {
            interfaces.entry(*index).or_default().0 |= policy;
        }
    }
    Ok(Arc::new(Assignments {
        selected: clients.selected.clone(),
        prefixes,
        interfaces,
        resolvers: plan.resolvers.clone(),
    }))
}
