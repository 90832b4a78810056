//! What was counted by number, recorded by name before numbers mean something else.

use filter_kernel::InUse;
use filter_lists::image::Image;

use super::Service;
use crate::enforcement::Names;

impl Service {
    /// Counts what came since the last time for the policies and lists that are in force.
    pub(super) fn record_counts(&mut self) -> Result<(), filter_kernel::Error> {
        let policies = self.enforcement.policies().iter();
        let policies = policies.map(|policy| (policy.number as usize, policy.name.clone()));
        let lists_of = |image: &Image| {
            let lists = image.lists().iter();
            let names = lists.map(|list| (list.name.clone(), list.category.clone()));
            names.collect::<Vec<_>>()
        };
        let custom = self.compiled.custom.as_ref();
        let names = Names {
            policies: policies.collect(),
            lists: lists_of(&self.compiled.image),
            custom_lists: custom.map_or_else(Vec::new, |custom| lists_of(&custom.image)),
        };
        let highest = names.policies.keys().max().copied().unwrap_or(0);
        let maps = self.kernel.maps();
        let tallies = maps.tallies(InUse {
            policies: highest + 1,
            lists: names.lists.len(),
            custom_lists: names.custom_lists.len(),
        })?;
        self.named_counters
            .record(&tallies, &maps.counters()?, &names);
        Ok(())
    }
}
