//! Interfaces that take VLAN tags off frames before a native program sees them.
//!
//! Such a frame looks like one that never had a tag, and its answer would leave
//! without one: in another VLAN, or nowhere. The program cannot know; but where
//! no VLAN is behind an interface, nobody reads tagged frames there.

use std::collections::BTreeSet;

use super::{
    Error,
    obstacle::{Machine, has_vlans, receivers},
    stack,
};

/// Those of `indexes` that take tags off and have VLANs behind them; of a bond also its ports, by which
/// its frames come.
///
/// # Errors
/// Fails when netlink does not work.
pub fn untagged(indexes: &BTreeSet<u32>) -> Result<BTreeSet<u32>, Error> {
    let mut machine = Machine::look()?;
    let mut untagged = BTreeSet::new();
    for index in indexes {
        let Some(link) = stack::by_index(*index, &machine.links).cloned() else {
            continue;
        };
        // Without VLANs there is nothing to ask.
        if !has_vlans(&link, &machine.links) {
            continue;
        }
        let receivers = receivers(&link, &machine.links);
        if machine.taken_off(&receivers)?.is_some() {
            untagged.insert(*index);
            untagged.extend(receivers);
        }
    }
    Ok(untagged)
}
