//! The table map seen from userspace: where generations lie and how they change.
//!
//! The map is one array of records. Record 0 says where the active generation
//! starts; another one is written beside it through a memory mapping, read back
//! through a second one, and made active by one atomic store. After that store
//! the kernel is asked to let every program run that may still use the old one
//! end, and its place is free.
//!
//! Only record 0 stays mapped: the kernel counts mapped pages as memory of the process.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    sync::atomic::{AtomicU32, Ordering, fence},
};

use filter_common::layout::{Control, Header, RECORD_BYTES, Record};
use memmap2::{MmapOptions, MmapRaw};

use super::Error;

/// The records of a table map.
pub(super) struct TableMap {
    map: OwnedFd,
    capacity: u32,
    first: Window,
}

impl TableMap {
    /// The table of `capacity` records behind `map`.
    pub(super) fn of(map: impl AsFd, capacity: u32) -> Result<Self, Error> {
        let map = map.as_fd().try_clone_to_owned().map_err(Error::MapTable)?;
        let first = Window::open(&map, 0, 1)?;
        Ok(Self {
            map,
            capacity,
            first,
        })
    }

    /// Writes a generation beside the active one, has it judged and makes it active.
    ///
    /// `records` start with their header, as an image holds them. `judge` sees
    /// the records as they read back. Fails without any change if there is no
    /// room, the copy reads back wrong, or `judge` says no.
    pub(super) fn activate(
        &mut self,
        records: &[Record],
        generation: u32,
        judge: impl FnOnce(&[Record]) -> bool,
    ) -> Result<(), Error> {
        let count = u32::try_from(records.len()).map_err(|_| self.no_room(u32::MAX))?;
        let start = self.free_run(count)?.ok_or_else(|| self.no_room(count))?;
        let mut header = *Header::of(&records[0]);
        header.generation = generation;
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
        if !judge(copy) {
            return Err(Error::SelfTest);
        }
        self.switch_to(start)
    }

    /// The control record.
    pub(super) fn control(&self) -> Control {
        *Control::of(&self.first.records()[0])
    }

    /// Changes the control record, but for the active generation, which [`Self::activate`] changes.
    pub(super) fn update_control(&mut self, change: impl FnOnce(&mut Control)) {
        let before = self.control();
        let mut control = before;
        change(&mut control);
        control.active = before.active;
        self.first.records_mut()[0] = Record(bytemuck::cast(control));
    }

    /// Record index and header of the active generation.
    pub(super) fn active(&self) -> Result<Option<(u32, Header)>, Error> {
        let start = Control::of(&self.first.records()[0]).active;
        if start == 0 || start >= self.capacity {
            return Ok(None);
        }
        let window = Window::open(&self.map, start, 1)?;
        Ok(Some((start, *Header::of(&window.records()[0]))))
    }

    /// A copy of the active generation.
    pub(super) fn active_records(&self) -> Result<Option<Vec<Record>>, Error> {
        let Some((start, header)) = self.active()? else {
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
    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// First record of a run of `count` that touches neither record 0 nor the active generation.
    fn free_run(&self, count: u32) -> Result<Option<u32>, Error> {
        let (start, end) = match self.active()? {
            Some((start, header)) => (start, start.saturating_add(header.record_count)),
            None => (self.capacity, self.capacity),
        };
        Ok(if count < start {
            Some(1)
        } else if count <= self.capacity.saturating_sub(end) {
            // As far from the start as it goes: the generation after it, if it is a little larger
            // than the one before, has all the room in front of it.
            Some(self.capacity - count)
        } else {
            None
        })
    }

    fn switch_to(&mut self, start: u32) -> Result<(), Error> {
        // Every record is written before the index that leads to it.
        fence(Ordering::Release);
        // SAFETY: the window lives as long as `self` and is at record 0, which starts with
        // `Control::active`, aligned.
        let active = unsafe { AtomicU32::from_ptr(self.first.memory.as_mut_ptr().cast()) };
        active.store(start, Ordering::Release);
        wait_for_running_programs().map_err(Error::Membarrier)
    }

    fn no_room(&self, needed: u32) -> Error {
        Error::TableFull {
            needed,
            capacity: self.capacity,
        }
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

/// Returns when every program run that started before the call has ended.
pub(super) fn wait_for_running_programs() -> io::Result<()> {
    /// From linux/membarrier.h: waits for a grace period of RCU, under which programs run.
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: the command takes no pointers.
    let status = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
