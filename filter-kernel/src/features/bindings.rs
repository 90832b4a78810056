//! Which interface a configured name means, also when its name changes.
//!
//! A name is bound to the index of the interface that has it, or has it as one of its other names. It
//! stays bound while that interface is there and no other one takes the name.

use std::collections::{BTreeMap, BTreeSet};

use super::{Error, Hook, failed, link, stack};

/// Names and the indexes that they mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings(BTreeMap<String, u32>);

impl Bindings {
    /// The index that a name means among `hooks`, if it means any.
    pub fn resolve(&mut self, name: &str, hooks: &[Hook]) -> Option<u32> {
        let by_name = hooks.iter().find(|hook| hook.name == name);
        let named = by_name.or_else(|| hooks.iter().find(|hook| hook.is_called(name)));
        let bound = || {
            let index = *self.0.get(name)?;
            hooks.iter().find(|hook| hook.index == index)
        };
        let index = named.or_else(bound)?.index;
        self.0.insert(name.to_owned(), index);
        Some(index)
    }

    /// Resolves several names; those that mean nothing are left out.
    pub fn resolve_all<'a>(
        &mut self,
        names: impl Iterator<Item = &'a String>,
        hooks: &[Hook],
    ) -> BTreeMap<String, u32> {
        let resolved = names.filter_map(|name| Some((name.clone(), self.resolve(name, hooks)?)));
        resolved.collect()
    }
}

/// Which of `named` interfaces each interface is that frames come by: its own name, or that of the
/// nearest bridge, bond or team that it is a port of.
///
/// In native mode on a bond frames come by the ports of it.
///
/// # Errors
/// Fails when netlink does not work.
pub fn policy_names(
    named: &BTreeMap<String, u32>,
    attached: &BTreeSet<u32>,
) -> Result<BTreeMap<u32, String>, Error> {
    if named.is_empty() {
        return Ok(BTreeMap::new());
    }
    let links = link::all().map_err(failed("the interfaces"))?;
    Ok(names_of(named, &arriving(attached, &links), &links))
}

/// The interfaces whose index a frame can have.
fn arriving(attached: &BTreeSet<u32>, links: &[link::Link]) -> BTreeSet<u32> {
    let mut arriving = attached.clone();
    for index in attached {
        let is_bond = |link: &link::Link| link.is_of(&["bond", "team"]);
        if stack::by_index(*index, links).is_some_and(is_bond) {
            arriving.extend(stack::below(*index, links));
        }
    }
    arriving
}

fn names_of(
    named: &BTreeMap<String, u32>,
    arriving: &BTreeSet<u32>,
    links: &[link::Link],
) -> BTreeMap<u32, String> {
    let name_of = |index: u32| named.iter().find(|(_, named)| **named == index);
    let nearest = |index: &u32| {
        let masters = stack::masters(*index, links);
        let (name, _) = std::iter::once(*index).chain(masters).find_map(name_of)?;
        Some((*index, name.clone()))
    };
    arriving.iter().filter_map(nearest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::stack::tests::{link, port};

    fn hook(index: u32, name: &str, altnames: &[&str]) -> Hook {
        Hook {
            index,
            name: name.to_owned(),
            altnames: altnames.iter().map(|&name| name.to_owned()).collect(),
            attached: Vec::new(),
        }
    }

    #[test]
    fn a_name_stays_with_its_interface_until_another_one_takes_it() {
        let mut bindings = Bindings::default();
        assert_eq!(bindings.resolve("lan0", &[hook(4, "wan0", &[])]), None);
        assert_eq!(bindings.resolve("lan0", &[hook(3, "lan0", &[])]), Some(3));
        assert_eq!(bindings.resolve("lan0", &[hook(3, "garden", &[])]), Some(3));
        let both = [hook(3, "garden", &[]), hook(9, "lan0", &[])];
        assert_eq!(bindings.resolve("lan0", &both), Some(9));
        assert_eq!(bindings.resolve("lan0", &both[..1]), None, "it is gone");
    }

    #[test]
    fn another_name_of_an_interface_means_it_unless_one_is_called_so() {
        let mut bindings = Bindings::default();
        let enp = hook(3, "enp1s0", &["eth1", "lan0"]);
        assert_eq!(
            bindings.resolve("lan0", std::slice::from_ref(&enp)),
            Some(3)
        );
        let hooks = [enp, hook(5, "eth1", &[])];
        assert_eq!(bindings.resolve("eth1", &hooks), Some(5));
    }

    #[test]
    fn a_frame_belongs_to_the_nearest_named_master_of_its_port() {
        let links = [
            port(1, "", 3),
            port(2, "", 3),
            port(3, "bond", 4),
            link(4, "bridge"),
        ];
        let named = |names: &[(&str, u32)]| -> BTreeMap<String, u32> {
            names
                .iter()
                .map(|(name, index)| ((*name).to_owned(), *index))
                .collect()
        };
        let of = |names: &[(&str, u32)], attached: &[u32]| {
            let attached = attached.iter().copied().collect();
            let names = names_of(&named(names), &arriving(&attached, &links), &links);
            names
                .into_iter()
                .map(|(index, name)| format!("{index}={name}"))
                .collect::<Vec<_>>()
        };
        // On a bond frames come by its ports.
        assert_eq!(of(&[("bond0", 3)], &[3]), ["1=bond0", "2=bond0", "3=bond0"]);
        assert_eq!(of(&[("br0", 4), ("lan1", 2)], &[1, 2]), ["1=br0", "2=lan1"]);
        assert_eq!(of(&[("br0", 4), ("bond0", 3)], &[1]), ["1=bond0"]);
        assert!(of(&[("wan0", 9)], &[1, 2]).is_empty());
    }
}
