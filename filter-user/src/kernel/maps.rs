//! The maps of a filter, whoever made them: this process, or `nxdp load` before it.
//!
//! Owns what is written to them and read from them. Reading and writing needs
//! no privilege, only the maps' descriptors.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::AsFd as _,
};

use aya::{
    Ebpf,
    maps::{Array, Map, MapData, MapError, PerCpuArray, RingBuf},
};
use bytemuck::Zeroable as _;
use filter_common::{
    hash::HashKey,
    layout::{CONTROL_LOG_ALL, CONTROL_LOG_BLOCKED, Header, PolicyRecord, Record},
    reason::{COUNTER_COUNT, EVENTS_LOST, Reason},
};

use super::{ClientPrefix, Error, EventRing, InUse, Tallies, clients, table::TableMap};
use crate::config::{LogConfig, LogQueries};

/// The maps of a filter.
pub struct Maps {
    named: BTreeMap<String, Map>,
    table: TableMap,
    generation: u32,
    clients: BTreeSet<ClientPrefix>,
    before: Counters,
    tallies_before: Tallies,
}

impl Maps {
    /// Takes the maps of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let names: Vec<String> = ebpf.maps().map(|(name, _)| name.to_owned()).collect();
        let take = |name: String| ebpf.take_map(&name).map(|map| (name, map));
        let mut maps = Self::of(names.into_iter().filter_map(take).collect())?;
        if maps.table.control().key == HashKey::zeroed() {
            maps.start()?;
        }
        Ok(maps)
    }

    /// Draws the key of everything that is found by a hash besides the names of a generation, and
    /// lets everybody be filtered.
    fn start(&mut self) -> Result<(), Error> {
        let mut words = [0; 3];
        for word in &mut words {
            *word = getrandom::u64().map_err(Error::Random)?;
        }
        let key = HashKey::from_words(words);
        self.table.update_control(|control| control.key = key);
        self.set_default_policy(PolicyRecord {
            categories: u64::MAX,
            ..PolicyRecord::default()
        })
    }

    /// The maps by name; what they hold goes on.
    pub(super) fn of(named: BTreeMap<String, Map>) -> Result<Self, Error> {
        let table = named.get("TABLE").and_then(data);
        let table = table.ok_or(Error::Object("TABLE"))?;
        let capacity = table.info().map_err(Error::Info)?.max_entries();
        let table = TableMap::of(table.fd(), capacity)?;
        let generation = table.active()?.map_or(0, |(_, header)| header.generation);
        let clients = clients::all(named.get("CLIENTS").ok_or(Error::Object("CLIENTS"))?)?;
        Ok(Self {
            named,
            table,
            generation,
            clients,
            before: Counters([0; COUNTER_COUNT]),
            tallies_before: Tallies::default(),
        })
    }

    /// The maps with their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Map)> {
        self.named.iter().map(|(name, map)| (name.as_str(), map))
    }

    /// A map by its name in the object.
    pub(super) fn map(&self, name: &'static str) -> Result<&Map, Error> {
        self.named.get(name).ok_or(Error::Object(name))
    }

    /// A map by its name in the object, to be changed.
    pub(super) fn map_mut(&mut self, name: &'static str) -> Result<&mut Map, Error> {
        map_mut(&mut self.named, name)
    }

    /// Writes the records of an image beside the active generation and switches to it.
    ///
    /// Returns the number of the new generation. No packet sees parts of both.
    /// `judge` sees the records as they read back. Fails without any change if
    /// it says no, and with [`Error::TableFull`] if the table must grow first.
    pub fn activate(
        &mut self,
        records: &[Record],
        judge: impl FnOnce(&[Record]) -> bool,
    ) -> Result<u32, Error> {
        let generation = self.generation.wrapping_add(1).max(1);
        self.table.activate(records, generation, judge)?;
        self.generation = generation;
        Ok(generation)
    }

    /// Header of the active generation.
    pub fn active(&self) -> Option<Header> {
        // A table that cannot be mapped any more shows no generation.
        self.table.active().ok()?.map(|(_, header)| header)
    }

    /// Records that the table holds.
    pub fn capacity(&self) -> u32 {
        self.table.capacity()
    }

    /// Sets what holds for clients that no other policy is for.
    pub fn set_default_policy(&mut self, policy: PolicyRecord) -> Result<(), Error> {
        let map = self.map_mut("POLICIES")?;
        let mut map: Array<&mut MapData, [u64; 8]> = map.try_into().map_err(Error::Policies)?;
        let record: [u64; 8] = bytemuck::cast(policy);
        map.set(0, record, 0).map_err(Error::Policies)
    }

    /// Limits the answers that one client prefix may cause; see [`filter_common::limit`].
    pub fn set_limit(&mut self, answers_per_s: u32, burst: u32) {
        self.table.update_control(|control| {
            control.answers_per_s = answers_per_s;
            control.answers_burst = burst;
        });
    }

    /// The prefixes that are answered.
    pub fn clients(&self) -> &BTreeSet<ClientPrefix> {
        &self.clients
    }

    /// Answers these prefixes and private addresses from now on, and nobody else.
    pub fn set_clients(&mut self, wanted: BTreeSet<ClientPrefix>) -> Result<(), Error> {
        if wanted == self.clients {
            return Ok(());
        }
        clients::change(map_mut(&mut self.named, "CLIENTS")?, &self.clients, &wanted)?;
        self.clients = wanted;
        Ok(())
    }

    /// Goes on where `other` is: clients, and the counts of generations and packets.
    pub fn continue_from(&mut self, other: &Self) -> Result<(), Error> {
        self.set_clients(other.clients.clone())?;
        self.copy_control(other);
        self.generation = other.generation;
        self.recount(other)
    }

    /// Starts to count at the counts of `other`, which no packet changes any more.
    pub(super) fn recount(&mut self, other: &Self) -> Result<(), Error> {
        self.before = other.counters()?;
        self.tallies_before = other.tallies(InUse::ALL)?;
        Ok(())
    }

    /// Goes on with the active generation of another table, whose number it keeps.
    pub(super) fn copy_table(&mut self, other: &Self) -> Result<(), Error> {
        self.copy_control(other);
        if let Some(records) = other.table.active_records()? {
            self.table.activate(&records, other.generation, |_| true)?;
        }
        self.generation = other.generation;
        Ok(())
    }

    fn copy_control(&mut self, other: &Self) {
        let control = other.table.control();
        self.table.update_control(|own| *own = control);
    }

    /// Starts to count where `counters` are, if they are of the same kind; nothing counts yet.
    pub(super) fn start_counting_at(&mut self, counters: &Map) -> Result<(), Error> {
        let Ok(old) = PerCpuArray::<&MapData, Slots>::try_from(counters) else {
            return Ok(());
        };
        let values = old.get(&0, 0).map_err(Error::Counters)?;
        let mut map: PerCpuArray<&mut MapData, Slots> = self
            .map_mut("COUNTERS")?
            .try_into()
            .map_err(Error::Counters)?;
        map.set(0, values, 0).map_err(Error::Counters)
    }

    /// Packets by reason since the first program was loaded, summed over the CPUs.
    pub fn counters(&self) -> Result<Counters, Error> {
        let map = self.map("COUNTERS")?;
        let map: PerCpuArray<&MapData, Slots> = map.try_into().map_err(Error::Counters)?;
        let cpus = map.get(&0, 0).map_err(Error::Counters)?;
        let mut sums = self.before.0;
        for cpu in cpus.iter() {
            for (sum, count) in sums.iter_mut().zip(cpu) {
                *sum += count;
            }
        }
        Ok(Counters(sums))
    }

    /// Queries by policy and list since the first program was loaded.
    pub fn tallies(&self, in_use: InUse) -> Result<Tallies, Error> {
        let mut tallies = Tallies::read(self, in_use)?;
        tallies.add(&self.tallies_before);
        Ok(tallies)
    }

    /// Tells of these queries from now on, through [`Self::events`].
    pub fn set_log(&mut self, log: &LogConfig) {
        let flag = match log.queries {
            LogQueries::Off => 0,
            LogQueries::Blocked => CONTROL_LOG_BLOCKED,
            LogQueries::All => CONTROL_LOG_ALL,
        };
        self.table.update_control(|control| {
            control.flags &= !(CONTROL_LOG_BLOCKED | CONTROL_LOG_ALL);
            control.flags |= flag;
            control.log_every = log.sample;
        });
    }

    /// What tells the ring of events from those of other maps.
    pub fn events_id(&self) -> Result<u32, Error> {
        let info = self.events_data()?.info().map_err(Error::Info)?;
        Ok(info.id())
    }

    /// Opens the ring of events. It must have one reader at a time: what was read is gone.
    pub fn events(&self) -> Result<EventRing, Error> {
        let fd = self.events_data()?.fd().as_fd().try_clone_to_owned();
        let fd = fd.map_err(|error| Error::Events(MapError::IoError(error)))?;
        let ring = MapData::from_fd(fd).and_then(|data| RingBuf::try_from(Map::RingBuf(data)));
        Ok(EventRing::new(ring.map_err(Error::Events)?))
    }

    fn events_data(&self) -> Result<&MapData, Error> {
        const NAME: &str = "EVENTS";
        data(self.map(NAME)?).ok_or(Error::Object(NAME))
    }
}

/// What is known of a map of a kind that the program has.
pub(super) fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LpmTrie(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}

fn map_mut<'a>(
    named: &'a mut BTreeMap<String, Map>,
    name: &'static str,
) -> Result<&'a mut Map, Error> {
    named.get_mut(name).ok_or(Error::Object(name))
}

/// What is counted on one CPU.
type Slots = [u64; COUNTER_COUNT];

/// Packets by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters(Slots);

impl Counters {
    /// Packets that left by `reason`.
    pub fn of(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// Every reason with its packets.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.iter().map(|&reason| (reason, self.of(reason)))
    }

    /// Events for which the ring had no room.
    pub fn events_lost(&self) -> u64 {
        self.0[EVENTS_LOST]
    }

    /// What came since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self(std::array::from_fn(|i| {
            self.0[i].wrapping_sub(earlier.0[i])
        }))
    }
}
