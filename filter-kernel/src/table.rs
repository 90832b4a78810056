//! The table map seen from userspace: where generations lie and how they change.
//!
//! The map is one array of records. Record 0 says where the active generations
//! start: that of the lists and that of custom categories. Another one is written
//! beside them through a memory mapping, read back through a second one, and made
//! active by one atomic store. After that store the kernel is asked to let every
//! program run that may still use the old one end, and its place is free.
//!
//! Generations of lists are placed at the start and far behind it, those of custom categories
//! at the end: the small ones cut no room for a large one in two.
//!
//! Only record 0 stays mapped: the kernel counts mapped pages as memory of the process.

#![allow(unsafe_code, reason = "maps kernel memory and proves each use")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    sync::atomic::{AtomicU64, Ordering, fence},
};

use filter_common::layout::{Control, Header, RECORD_BYTES, Record};
use memmap2::{MmapOptions, MmapRaw};

use crate::Error;

/// Room for custom categories that every table has, in records: 512 KiB, two generations of
/// some 20,000 names.
pub const CUSTOM_RECORDS: u32 = 8 * 1024;

/// The records of a table map.
pub(crate) struct TableMap {
    map: OwnedFd,
    capacity: u32,
    first: Window,
}

impl TableMap {
    /// The table of `capacity` records behind `map`.
    pub(crate) fn of(map: impl AsFd, capacity: u32) -> Result<Self, Error> {
        let map = map.as_fd().try_clone_to_owned().map_err(Error::MapTable)?;
        let first = Window::open(&map, 0, 1)?;
        Ok(Self {
            map,
            capacity,
            first,
        })
    }

    /// Writes generations beside the active ones, has them judged and makes them active in one step.
    ///
    /// Fails without any change if there is no room, a copy reads back wrong, or a judge says no.
    pub(crate) fn activate(&mut self, lists: &Next<'_>, custom: &Next<'_>) -> Result<(), Error> {
        let mut taken = self.taken()?;
        let starts = [
            self.place(Kind::Lists, lists, &mut taken)?,
            self.place(Kind::Custom, custom, &mut taken)?,
        ];
        self.switch_to(starts)
    }

    /// Where the generation of a kind will start, after it is written and judged.
    fn place(&self, kind: Kind, next: &Next<'_>, taken: &mut Taken) -> Result<u32, Error> {
        match next {
            Next::Same => Ok(self.start(kind)),
            Next::None => Ok(0),
            Next::New(new) => {
                let count = u32::try_from(new.records.len()).unwrap_or(u32::MAX);
                let start = match kind {
                    Kind::Lists => taken.room_for_lists(count, self.capacity),
                    Kind::Custom => taken.last_gap(count, self.capacity),
                };
                let start = start.ok_or_else(|| self.no_room(count))?;
                taken.add(start, count);
                self.write(start, count, new)?;
                Ok(start)
            }
        }
    }

    fn write(&self, start: u32, count: u32, new: &New<'_>) -> Result<(), Error> {
        let records = new.records;
        let mut header = *Header::of(&records[0]);
        header.generation = new.generation;
        let mut window = Window::open(&self.map, start, count)?;
        let place = window.records_mut();
        place.copy_from_slice(records);
        place[0] = Record(bytemuck::cast(header));
        drop(window);
        let window = Window::open(&self.map, start, count)?;
        let copy = window.records();
        if copy[1..] != records[1..] || *Header::of(&copy[0]) != header {
            return Err(Error::CopyDiffers);
        }
        if (new.judge)(copy) {
            Ok(())
        } else {
            Err(Error::SelfTest)
        }
    }

    /// The control record.
    pub(crate) fn control(&self) -> Control {
        *Control::of(&self.first.records()[0])
    }

    /// Changes the control record, but for the active generations, which [`Self::activate`] changes.
    pub(crate) fn update_control(&mut self, change: impl FnOnce(&mut Control)) {
        let before = self.control();
        let mut control = before;
        change(&mut control);
        (control.active, control.custom) = (before.active, before.custom);
        self.first.records_mut()[0] = Record(bytemuck::cast(control));
    }

    /// Record index of the active generation of a kind; 0 if there is none.
    fn start(&self, kind: Kind) -> u32 {
        let control = Control::of(&self.first.records()[0]);
        match kind {
            Kind::Lists => control.active,
            Kind::Custom => control.custom,
        }
    }

    /// Record index and header of the active generation of a kind.
    pub(crate) fn active(&self, kind: Kind) -> Result<Option<(u32, Header)>, Error> {
        let start = self.start(kind);
        if start == 0 || start >= self.capacity {
            return Ok(None);
        }
        let window = Window::open(&self.map, start, 1)?;
        Ok(Some((start, *Header::of(&window.records()[0]))))
    }

    /// A copy of the active generation of a kind.
    pub(crate) fn active_records(&self, kind: Kind) -> Result<Option<Vec<Record>>, Error> {
        let Some((start, header)) = self.active(kind)? else {
            return Ok(None);
        };
        let whole = header.record_count > 0
            && start
                .checked_add(header.record_count)
                .is_some_and(|end| end <= self.capacity);
        if !whole {
            return Ok(None);
        }
        let window = Window::open(&self.map, start, header.record_count)?;
        Ok(Some(window.records().to_vec()))
    }

    /// Records that the table holds.
    pub(crate) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// What must not be written to.
    fn taken(&self) -> Result<Taken, Error> {
        let mut taken = Taken(vec![(0, 1)]);
        for kind in [Kind::Lists, Kind::Custom] {
            if let Some((start, header)) = self.active(kind)? {
                taken.add(start, header.record_count);
            }
        }
        Ok(taken)
    }

    fn switch_to(&mut self, [active, custom]: [u32; 2]) -> Result<(), Error> {
        let control = self.control();
        if [control.active, control.custom] == [active, custom] {
            return Ok(());
        }
        // A switch that was made must not fail.
        can_wait_for_running_programs().map_err(Error::Membarrier)?;
        // Every record is written before the index that leads to it.
        fence(Ordering::Release);
        // SAFETY: the window lives as long as `self` and is at record 0, which starts with
        // `Control::active` and `Control::custom`, aligned to eight bytes.
        let generations = unsafe { AtomicU64::from_ptr(self.first.memory.as_mut_ptr().cast()) };
        generations.store(bytemuck::cast([active, custom]), Ordering::Release);
        wait_for_running_programs().map_err(Error::Membarrier)
    }

    fn no_room(&self, needed: u32) -> Error {
        Error::TableFull {
            needed,
            capacity: self.capacity,
        }
    }
}

/// Which of the active generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// That of the lists.
    Lists,
    /// That of custom categories.
    Custom,
}

/// What becomes of the active generation of a kind.
pub enum Next<'a> {
    /// It stays.
    Same,
    /// There is none any more.
    None,
    /// This one takes its place.
    New(New<'a>),
}

/// A generation that is to be active.
pub struct New<'a> {
    /// Its records, the header first, as an image holds them.
    pub records: &'a [Record],
    /// Its number.
    pub generation: u32,
    /// Sees the records as they read back, and says whether they decide as they should.
    pub judge: &'a dyn Fn(&[Record]) -> bool,
}

/// Runs of records that are in use, each with its start and its end, in order.
#[derive(Debug)]
struct Taken(Vec<(u32, u32)>);

impl Taken {
    fn add(&mut self, start: u32, count: u32) {
        self.0.push((start, start.saturating_add(count)));
        self.0.sort_unstable();
    }

    /// The gaps of at least `count` records below `capacity`: start and end.
    fn gaps(&self, count: u32, capacity: u32) -> impl DoubleEndedIterator<Item = (u32, u32)> {
        let starts = self.0.iter().map(|(_, end)| *end);
        let ends = self.0.iter().skip(1).map(|(start, _)| *start);
        let gaps: Vec<_> = starts.zip(ends.chain([capacity])).collect();
        gaps.into_iter()
            .filter(move |(start, end)| end.saturating_sub(*start) >= count)
    }

    /// At the start of the table, or else as far behind what is there as leaves custom
    /// categories their room: the generation after this one, if it is a little larger than the
    /// one before, has all the room in front of it. In a small table a quarter more for that
    /// one comes first.
    fn room_for_lists(&self, count: u32, capacity: u32) -> Option<u32> {
        let (start, end) = self.gaps(count, capacity).next()?;
        Some(match start {
            1 => start,
            _ => {
                let last = end - count;
                last - CUSTOM_RECORDS.min((last - start).saturating_sub(count / 4))
            }
        })
    }

    fn last_gap(&self, count: u32, capacity: u32) -> Option<u32> {
        let last = self.gaps(count, capacity).next_back();
        last.map(|(_, end)| end - count)
    }
}

/// A run of records, mapped into this process while the value lives.
struct Window {
    memory: MmapRaw,
    count: usize,
}

impl Window {
    fn open(map: &OwnedFd, first: u32, count: u32) -> Result<Self, Error> {
        // The offset need not lie at the start of a page: the crate maps from there on.
        let memory = MmapOptions::new()
            .offset(u64::from(first) * RECORD_BYTES as u64)
            .len(count as usize * RECORD_BYTES)
            .map_raw(map.as_raw_fd())
            .map_err(Error::MapTable)?;
        Ok(Self {
            memory,
            count: count as usize,
        })
    }

    fn records(&self) -> &[Record] {
        // SAFETY: the mapping is `count` records long, starts at a multiple of their size in a
        // page, and lives as long as `self`. Whoever writes the table holds the lock of its pins
        // or is the only process that has it, and the kernel program only reads.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().cast(), self.count) }
    }

    fn records_mut(&mut self) -> &mut [Record] {
        // SAFETY: as in `records`; no other window of this process is open at these records.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_mut_ptr().cast(), self.count) }
    }
}

/// From linux/membarrier.h: tells which commands there are, as bits.
const MEMBARRIER_CMD_QUERY: libc::c_int = 0;
/// From linux/membarrier.h: waits for a grace period of RCU, under which programs run. It is not
/// there where some processors have no clock tick (`nohz_full`).
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;

/// Returns when every program run that started before the call has ended.
pub(crate) fn wait_for_running_programs() -> io::Result<()> {
    membarrier(MEMBARRIER_CMD_GLOBAL).map(drop)
}

/// Whether [`wait_for_running_programs`] works here.
pub(crate) fn can_wait_for_running_programs() -> io::Result<()> {
    let commands = membarrier(MEMBARRIER_CMD_QUERY)?;
    match commands & libc::c_long::from(MEMBARRIER_CMD_GLOBAL) {
        0 => Err(io::ErrorKind::Unsupported.into()),
        _ => Ok(()),
    }
}

fn membarrier(command: libc::c_int) -> io::Result<libc::c_long> {
    // SAFETY: the commands take no pointers.
    let answer = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
    match answer {
        0.. => Ok(answer),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_placed_from_the_start_and_custom_names_from_the_end() {
        let mut taken = Taken(vec![(0, 1)]);
        assert_eq!(taken.room_for_lists(40, 100), Some(1));
        taken.add(1, 40);
        assert_eq!(taken.last_gap(5, 100), Some(95));
        taken.add(95, 5);
        assert_eq!(taken.last_gap(5, 100), Some(90));
        assert_eq!(taken.room_for_lists(54, 100), Some(41));
        assert_eq!(taken.room_for_lists(55, 100), None, "both stay");
    }

    #[test]
    fn lists_that_grow_a_little_with_each_swap_find_room() {
        let capacity = 1 + 2 * 1000 + 100 + CUSTOM_RECORDS;
        let mut starts = vec![];
        let mut taken = Taken(vec![(0, 1)]);
        for count in [1000, 1020, 1040, 1060, 1040] {
            let start = taken.room_for_lists(count, capacity).unwrap();
            taken = Taken(vec![(0, 1)]);
            taken.add(start, count);
            starts.push(start);
        }
        assert_eq!(starts, [1, 1256, 1, 1306, 1]);
    }

    #[test]
    fn a_large_generation_finds_room_however_often_small_ones_change() {
        // Two large ones of 40, two small ones of 4.
        let (capacity, large, small) = (1 + 80 + 8, 40, 4);
        let (mut lists, mut custom) = (1, capacity - small);
        for round in 0..20 {
            let mut taken = Taken(vec![(0, 1)]);
            taken.add(lists, large);
            taken.add(custom, small);
            if round % 3 == 0 {
                lists = taken.room_for_lists(large, capacity).unwrap();
                taken.add(lists, large);
            }
            custom = taken.last_gap(small, capacity).unwrap();
        }
    }
}
