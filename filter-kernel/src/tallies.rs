//! Queries counted by what decided them: policy and list.

use aya::{
    Pod,
    maps::{MapData, PerCpuArray},
};
use filter_common::layout::{CUSTOM_LIST_FIRST, LIST_TALLY_MAX, POLICY_MAX};

use crate::{Error, Maps};

/// Queries by policy and list, summed over the CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    /// Queries that were judged, and those of them that were blocked, by number of the policy.
    ///
    /// The default one is counted only while there are others.
    pub policies: Vec<[u64; 2]>,
    /// Queries that a rule blocks, by number of its list.
    pub lists: Vec<u64>,
    /// The same of lists of custom categories, which count from [`CUSTOM_LIST_FIRST`].
    pub custom_lists: Vec<u64>,
}

/// How many numbers are looked at; the rest is unused.
#[derive(Clone, Copy, Debug)]
pub struct InUse {
    /// Policies, the default one included.
    pub policies: usize,
    /// Lists.
    pub lists: usize,
    /// Lists of custom categories.
    pub custom_lists: usize,
}

impl InUse {
    /// All there can be.
    pub(crate) const ALL: Self = Self {
        policies: POLICY_MAX as usize + 1,
        lists: CUSTOM_LIST_FIRST as usize,
        custom_lists: (LIST_TALLY_MAX - CUSTOM_LIST_FIRST) as usize,
    };
}

impl Tallies {
    pub(crate) fn read(maps: &Maps, in_use: InUse) -> Result<Self, Error> {
        let add_pair = |a: [u64; 2], b: [u64; 2]| [a[0] + b[0], a[1] + b[1]];
        Ok(Self {
            policies: sums(maps, "POLICY_TALLIES", 0, in_use.policies, add_pair)?,
            lists: of_lists(maps, 0, in_use.lists)?,
            custom_lists: of_lists(maps, CUSTOM_LIST_FIRST, in_use.custom_lists)?,
        })
    }

    /// Adds what was counted before.
    pub(crate) fn add(&mut self, before: &Self) {
        for (tally, before) in self.policies.iter_mut().zip(&before.policies) {
            tally[0] += before[0];
            tally[1] += before[1];
        }
        let custom = self.custom_lists.iter_mut().zip(&before.custom_lists);
        for (tally, before) in self.lists.iter_mut().zip(&before.lists).chain(custom) {
            *tally += before;
        }
    }
}

fn of_lists(maps: &Maps, first: u32, count: usize) -> Result<Vec<u64>, Error> {
    sums(maps, "LIST_TALLIES", first, count, |a, b| a + b)
}

/// `count` values of a map, each summed over the CPUs.
fn sums<V: Pod + Default>(
    maps: &Maps,
    name: &'static str,
    first: u32,
    count: usize,
    add: impl Fn(V, V) -> V,
) -> Result<Vec<V>, Error> {
    let map: PerCpuArray<&MapData, V> = maps.map(name)?.try_into().map_err(Error::Counters)?;
    let end = map.len().min(first.saturating_add(count as u32));
    let sum = |index| {
        let cpus = map.get(&index, 0).map_err(Error::Counters)?;
        Ok(cpus.iter().copied().fold(V::default(), &add))
    };
    (first..end).map(sum).collect()
}
