//! The maps of a filter, whoever made them: this process, or `nxdp load` before it.
//!
//! Owns what is written to them and read from them. Reading and writing needs
//! no privilege, only the maps' descriptors.

use std::{collections::BTreeMap, os::fd::AsFd as _, sync::Arc};

use aya::{
    Ebpf,
    maps::{Map, MapData, MapError, PerCpuArray, PerCpuValues, RingBuf},
};
use bytemuck::Zeroable as _;
use filter_common::{
    hash::HashKey,
    layout::{CONTROL_LOG_ALL, CONTROL_LOG_BLOCKED, Header, PolicyRecord, Record},
    reason::{COUNTER_COUNT, EVENTS_LOST, Reason, SLOT_COUNT, arrival_slot},
};

use crate::{
    Assignments, Error, EventRing, InUse, Tallies,
    table::{Kind, New, Next, TableMap},
};

/// Says whether records decide as they should.
pub type Judge<'a> = dyn Fn(&[Record]) -> bool + 'a;

/// Which queries the program tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logged {
    Nothing,
    /// Those that were answered or dropped, or would have been.
    Blocked,
    /// Those too, and of queries that pass one of so many.
    All {
        every: u32,
    },
}

/// What becomes of an active generation.
#[derive(Clone, Copy)]
pub enum GenerationChange<'a> {
    /// It stays.
    Keep,
    /// There is none any more.
    Remove,
    /// That of these records takes its place, if the judge says yes.
    To(&'a [Record], &'a Judge<'a>),
}

impl GenerationChange<'_> {
    /// Records that come.
    pub const fn len(&self) -> usize {
        match self {
            Self::Keep | Self::Remove => 0,
            Self::To(records, _) => records.len(),
        }
    }

    /// Whether no records come.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names that come.
    pub fn names(&self) -> u32 {
        match self {
            Self::Keep | Self::Remove => 0,
            Self::To(records, _) => Header::of(&records[0]).name_count,
        }
    }
}

/// Numbers of the active generations; 0 if there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generations {
    /// That of the lists.
    pub lists: u32,
    /// That of custom categories.
    pub custom: u32,
}

/// A generation of another table, as it is there.
fn again(records: &Option<Vec<Record>>) -> Next<'_> {
    match records {
        None => Next::None,
        Some(records) => Next::New(New {
            records,
            generation: Header::of(&records[0]).generation,
            judge: &|_| true,
        }),
    }
}

/// The maps of a filter.
pub struct Maps {
    named: BTreeMap<String, Map>,
    pub(crate) table: TableMap,
    generation: u32,
    /// Who has which policy, if this process knows what the maps say.
    pub(crate) assignments: Option<Arc<Assignments>>,
    before: Counters,
    tallies_before: Tallies,
}

impl Maps {
    /// Takes the maps of a loaded object.
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
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
        if self.policy(0)? != PolicyRecord::default() {
            // The table is new, the other maps go on.
            return Ok(());
        }
        let block_all = PolicyRecord {
            categories: u64::MAX,
            ..PolicyRecord::default()
        };
        self.put_policy(0, &block_all)
    }

    /// The maps by name; what they hold goes on.
    pub(crate) fn of(named: BTreeMap<String, Map>) -> Result<Self, Error> {
        let table = named.get("TABLE").and_then(data);
        let table = table.ok_or(Error::Object("TABLE"))?;
        let capacity = table.info().map_err(Error::Info)?.max_entries();
        let table = TableMap::of(table.fd(), capacity)?;
        let mut generation = 0;
        for kind in [Kind::Lists, Kind::Custom] {
            let header = table.active(kind)?;
            generation = generation.max(header.map_or(0, |(_, header)| header.generation));
        }
        Ok(Self {
            named,
            table,
            generation,
            assignments: None,
            before: Counters([0; SLOT_COUNT]),
            tallies_before: Tallies::default(),
        })
    }

    /// The maps with their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Map)> {
        self.named.iter().map(|(name, map)| (name.as_str(), map))
    }

    /// A map by its name in the object.
    pub(crate) fn map(&self, name: &'static str) -> Result<&Map, Error> {
        self.named.get(name).ok_or(Error::Object(name))
    }

    /// A map by its name in the object, to be changed.
    pub(crate) fn map_mut(&mut self, name: &'static str) -> Result<&mut Map, Error> {
        self.named.get_mut(name).ok_or(Error::Object(name))
    }

    /// Writes the records of an image beside the active generations and switches to it; that of
    /// custom categories stays.
    ///
    /// Returns the number of the new generation; see [`Self::change_generations`].
    pub fn activate(
        &mut self,
        records: &[Record],
        judge: impl Fn(&[Record]) -> bool,
    ) -> Result<u32, Error> {
        let judge: &Judge<'_> = &judge;
        let lists = GenerationChange::To(records, judge);
        let numbers = self.change_generations(lists, GenerationChange::Keep)?;
        Ok(numbers.lists)
    }

    /// Writes what is new beside the active generations and switches to it in one step.
    ///
    /// No packet sees parts of an old and a new one. A judge sees the records as they read
    /// back. Fails without any change if one says no, and with [`Error::TableFull`] if the
    /// table must grow first. Generations of both kinds share one row of numbers.
    pub fn change_generations(
        &mut self,
        lists: GenerationChange<'_>,
        custom: GenerationChange<'_>,
    ) -> Result<Generations, Error> {
        self.put(lists, custom, [Next::Same, Next::Same])
    }

    /// Does the same in a table that is to take the place of `other`, whose generations stay
    /// what they are where they are kept.
    pub fn change_generations_of(
        &mut self,
        other: &Self,
        lists: GenerationChange<'_>,
        custom: GenerationChange<'_>,
    ) -> Result<Generations, Error> {
        let of_lists = match lists {
            GenerationChange::Keep => other.table.active_records(Kind::Lists)?,
            _ => None,
        };
        let of_custom = match custom {
            GenerationChange::Keep => other.table.active_records(Kind::Custom)?,
            _ => None,
        };
        self.put(lists, custom, [again(&of_lists), again(&of_custom)])
    }

    fn put<'a>(
        &mut self,
        lists: GenerationChange<'a>,
        custom: GenerationChange<'a>,
        [kept_lists, kept_custom]: [Next<'a>; 2],
    ) -> Result<Generations, Error> {
        let mut last = self.generation;
        let mut next = |change, kept| match change {
            GenerationChange::Keep => kept,
            GenerationChange::Remove => Next::None,
            GenerationChange::To(records, judge) => {
                last = last.wrapping_add(1).max(1);
                Next::New(New {
                    records,
                    generation: last,
                    judge,
                })
            }
        };
        let (lists, custom) = (next(lists, kept_lists), next(custom, kept_custom));
        self.table.activate(&lists, &custom)?;
        self.generation = last;
        let number = |header: Option<Header>| header.map_or(0, |header| header.generation);
        Ok(Generations {
            lists: number(self.active()),
            custom: number(self.active_custom()),
        })
    }

    /// Header of the active generation.
    pub fn active(&self) -> Option<Header> {
        self.header(Kind::Lists)
    }

    /// Header of the active generation of custom categories.
    pub fn active_custom(&self) -> Option<Header> {
        self.header(Kind::Custom)
    }

    fn header(&self, kind: Kind) -> Option<Header> {
        // A table that cannot be mapped any more shows no generation.
        self.table.active(kind).ok()?.map(|(_, header)| header)
    }

    /// Records that the table holds.
    pub fn capacity(&self) -> u32 {
        self.table.capacity()
    }

    /// Limits the answers that one client prefix may cause; see [`filter_common::limit`].
    pub fn set_limit(&mut self, answers_per_s: u32, burst: u32) {
        self.table.update_control(|control| {
            control.answers_per_s = answers_per_s;
            control.answers_burst = burst;
        });
    }

    /// Goes on where `other` is: the control record, the networks, and the counts of generations and packets.
    ///
    /// Policies, clients and overrides are for whoever knows them to put there.
    pub fn continue_from(&mut self, other: &Self) -> Result<(), Error> {
        self.copy_control(other);
        self.put_on_link(&other.on_link()?)?;
        self.generation = other.generation;
        self.recount(other)
    }

    /// Starts to count at the counts of `other`, which no packet changes any more.
    pub(crate) fn recount(&mut self, other: &Self) -> Result<(), Error> {
        self.before = other.counters()?;
        self.tallies_before = other.tallies(InUse::ALL)?;
        Ok(())
    }

    /// Goes on with the active generations of another table, whose numbers they keep.
    pub fn copy_table(&mut self, other: &Self) -> Result<(), Error> {
        self.copy_control(other);
        let lists = other.table.active_records(Kind::Lists)?;
        let custom = other.table.active_records(Kind::Custom)?;
        self.table.activate(&again(&lists), &again(&custom))?;
        self.generation = other.generation;
        Ok(())
    }

    fn copy_control(&mut self, other: &Self) {
        let control = other.table.control();
        self.table.update_control(|own| *own = control);
    }

    /// Starts to count where `counters` are, if they are of the same kind; nothing counts yet.
    pub(crate) fn start_counting_at(&mut self, counters: &Map) -> Result<(), Error> {
        let Some(values) = slots_of(counters)? else {
            return Ok(());
        };
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

    /// Queries by policy and list since the first program was loaded, summed over the CPUs.
    pub fn tallies(&self, in_use: InUse) -> Result<Tallies, Error> {
        let mut tallies = Tallies::read(self, in_use)?;
        tallies.add(&self.tallies_before);
        Ok(tallies)
    }

    /// Tells of these queries from now on, through [`Self::events`].
    pub fn set_log(&mut self, logged: Logged) {
        let (flag, every) = match logged {
            Logged::Nothing => (0, 0),
            Logged::Blocked => (CONTROL_LOG_BLOCKED, 0),
            Logged::All { every } => (CONTROL_LOG_ALL, every),
        };
        self.table.update_control(|control| {
            control.flags &= !(CONTROL_LOG_BLOCKED | CONTROL_LOG_ALL);
            control.flags |= flag;
            control.log_every = every;
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
pub(crate) fn data(map: &Map) -> Option<&MapData> {
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

/// What is counted on one CPU.
type Slots = [u64; SLOT_COUNT];

/// What builds before counted, who did not count by interface.
type ReasonSlots = [u64; COUNTER_COUNT];

/// What a map of counters holds, by CPU; nothing if it is of no kind that a build had.
fn slots_of(counters: &Map) -> Result<Option<PerCpuValues<Slots>>, Error> {
    if let Ok(same) = PerCpuArray::<&MapData, Slots>::try_from(counters) {
        return same.get(&0, 0).map(Some).map_err(Error::Counters);
    }
    let Ok(old) = PerCpuArray::<&MapData, ReasonSlots>::try_from(counters) else {
        return Ok(None);
    };
    let old = old.get(&0, 0).map_err(Error::Counters)?;
    let widened = old.iter().map(|reasons| {
        let mut slots = [0; SLOT_COUNT];
        slots[..COUNTER_COUNT].copy_from_slice(reasons);
        slots
    });
    let widened = PerCpuValues::try_from(widened.collect::<Vec<Slots>>());
    widened
        .map(Some)
        .map_err(|error| Error::Counters(MapError::IoError(error)))
}

/// Packets by reason, and by interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters(Slots);

impl<const N: usize> From<[(Reason, u64); N]> for Counters {
    fn from(counts: [(Reason, u64); N]) -> Self {
        let mut all = [0; SLOT_COUNT];
        for (reason, count) in counts {
            all[reason as usize] = count;
        }
        Self(all)
    }
}

impl Counters {
    /// Packets that left by `reason`.
    pub fn of(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// Every reason with its packets.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.iter().map(|&reason| (reason, self.of(reason)))
    }

    /// Frames that came by the interface with this index, or by one that shares its counter.
    pub const fn arrivals(&self, interface: u32) -> u64 {
        self.0[arrival_slot(interface)]
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
