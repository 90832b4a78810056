//! The maps of overrides and policies, and the words of the control record that belong to them.

use aya::maps::{Array, HashMap, MapData};
use filter_common::{
    hash::HashKey,
    layout::{Control, OverrideRecord, PolicyRecord},
};

use crate::{Error, Maps, assignments::gone};

const OVERRIDES: &str = "OVERRIDES";
const POLICIES: &str = "POLICIES";
const SWITCHES: &str = "SWITCHES";

/// An [`OverrideRecord`] as the map has it.
type OverrideWords = [u64; size_of::<OverrideRecord>() / 8];
/// A [`PolicyRecord`] as the map has it.
type PolicyWords = [u64; size_of::<PolicyRecord>() / 8];

impl Maps {
    /// The control record.
    pub fn control(&self) -> Control {
        self.table.control()
    }

    /// The key of overrides.
    pub fn key(&self) -> HashKey {
        self.control().key
    }

    /// Number of the batch of overrides in force.
    pub fn batch(&self) -> u32 {
        self.control().batch
    }

    /// Puts a batch of overrides in force.
    pub fn put_batch(&mut self, batch: u32) {
        self.table.update_control(|control| control.batch = batch);
    }

    /// Sets the flags in `mask` as in `flags`, and leaves the others.
    pub fn put_flags(&mut self, mask: u32, flags: u32) {
        self.table.update_control(|control| {
            control.flags = control.flags & !mask | flags & mask;
        });
    }

    /// Lets the program look at ports and resolvers by which names go past the filter, or not.
    pub fn watch_bypasses(&mut self, is_watched: bool) -> Result<(), Error> {
        let mut map: Array<&mut MapData, u64> = self
            .map_mut(SWITCHES)?
            .try_into()
            .map_err(Error::Policies)?;
        map.set(0, u64::from(is_watched), 0)
            .map_err(Error::Policies)
    }

    /// What a policy does.
    pub fn policy(&self, number: u32) -> Result<PolicyRecord, Error> {
        let map: Array<&MapData, PolicyWords> =
            self.map(POLICIES)?.try_into().map_err(Error::Policies)?;
        let words = map.get(&number, 0).map_err(Error::Policies)?;
        Ok(bytemuck::cast(words))
    }

    /// Changes what a policy does.
    pub fn put_policy(&mut self, number: u32, record: &PolicyRecord) -> Result<(), Error> {
        let mut map: Array<&mut MapData, PolicyWords> = self
            .map_mut(POLICIES)?
            .try_into()
            .map_err(Error::Policies)?;
        let words: PolicyWords = bytemuck::cast(*record);
        map.set(number, words, 0).map_err(Error::Policies)
    }

    /// Every record of the map of overrides, with its key.
    pub fn override_records(&self) -> Result<Vec<(u64, OverrideRecord)>, Error> {
        let map: HashMap<&MapData, u64, OverrideWords> =
            self.map(OVERRIDES)?.try_into().map_err(Error::Overrides)?;
        let records = map.iter().map(|entry| {
            let (key, words) = entry.map_err(Error::Overrides)?;
            Ok((key, bytemuck::cast(words)))
        });
        records.collect()
    }

    /// Writes a record of an override, or removes it.
    pub fn put_override(&mut self, key: u64, record: Option<&OverrideRecord>) -> Result<(), Error> {
        let mut map: HashMap<&mut MapData, u64, OverrideWords> = self
            .map_mut(OVERRIDES)?
            .try_into()
            .map_err(Error::Overrides)?;
        match record {
            Some(record) => {
                let words: OverrideWords = bytemuck::cast(*record);
                map.insert(key, words, 0).map_err(Error::Overrides)
            }
            None => gone(map.remove(&key)),
        }
    }
}
