//! The table map seen from userspace: where generations lie and how they change.
//!
//! The map is one array of records. Record 0 says where the active generation
//! starts; another one is written beside it through a memory mapping, checked,
//! and made active by one atomic store. After that store the kernel is asked
//! to let every program run that may still use the old one end, and its place
//! is free.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
    sync::atomic::{AtomicU32, Ordering, fence},
};

use filter_common::layout::{Control, Header, RECORD_BYTES, Record};
use memmap2::{MmapOptions, MmapRaw};

use super::Error;

/// The records of a loaded program's table map, mapped into this process while it lives.
pub(super) struct TableMap {
    memory: MmapRaw,
    capacity: u32,
}

impl TableMap {
    /// Maps the `capacity` records of the map behind `fd`.
    pub(super) fn map(fd: impl AsFd, capacity: u32) -> Result<Self, Error> {
        let bytes = capacity as usize * RECORD_BYTES;
        let memory = MmapOptions::new()
            .len(bytes)
            .map_raw(fd.as_fd().as_raw_fd())
            .map_err(Error::MapTable)?;
        Ok(Self { memory, capacity })
    }

    /// Writes a generation beside the active one and makes it active.
    ///
    /// `records` start with their header, as an image holds them. Fails
    /// without any change if there is no room or the copy reads back wrong.
    pub(super) fn activate(&mut self, records: &[Record], generation: u32) -> Result<(), Error> {
        let count = u32::try_from(records.len()).map_err(|_| self.no_room(u32::MAX))?;
        let start = self.free_run(count).ok_or_else(|| self.no_room(count))?;
        let place = &mut self.records_mut()[start as usize..][..records.len()];
        place.copy_from_slice(records);
        let mut header = *Header::of(&records[0]);
        header.generation = generation;
        place[0] = Record(bytemuck::cast(header));
        if place[1..] != records[1..] || *Header::of(&place[0]) != header {
            return Err(Error::CopyDiffers);
        }
        self.switch_to(start)
    }

    /// The control record.
    pub(super) fn control(&self) -> Control {
        *Control::of(&self.records()[0])
    }

    /// Changes the control record, but for the active generation, which [`Self::activate`] changes.
    pub(super) fn update_control(&mut self, change: impl FnOnce(&mut Control)) {
        let before = self.control();
        let mut control = before;
        change(&mut control);
        control.active = before.active;
        self.records_mut()[0] = Record(bytemuck::cast(control));
    }

    /// Record index and header of the active generation.
    pub(super) fn active(&self) -> Option<(u32, Header)> {
        let records = self.records();
        let start = Control::of(&records[0]).active;
        if start == 0 {
            return None;
        }
        Some((start, *Header::of(records.get(start as usize)?)))
    }

    /// All records, for looking a name up as the kernel does.
    pub(super) fn records(&self) -> &[Record] {
        // SAFETY: the mapping is `capacity` records long, page-aligned, and lives
        // as long as `self`; only this process writes it, through `&mut self`.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().cast(), self.capacity as usize) }
    }

    fn records_mut(&mut self) -> &mut [Record] {
        // SAFETY: as in `records`; the kernel program only reads,
        // and only the generation that record 0 names, which callers leave alone.
        unsafe {
            std::slice::from_raw_parts_mut(self.memory.as_mut_ptr().cast(), self.capacity as usize)
        }
    }

    /// First record of a run of `count` that touches neither record 0 nor the active generation.
    fn free_run(&self, count: u32) -> Option<u32> {
        let (start, end) = match self.active() {
            Some((start, header)) => (start, start.checked_add(header.record_count)?),
            None => (self.capacity, self.capacity),
        };
        if count < start {
            Some(1)
        } else if count <= self.capacity.checked_sub(end)? {
            Some(end)
        } else {
            None
        }
    }

    fn switch_to(&mut self, start: u32) -> Result<(), Error> {
        // Every record is written before the index that leads to it.
        fence(Ordering::Release);
        // SAFETY: record 0 starts with `Control::active`, aligned and alive.
        let active = unsafe { AtomicU32::from_ptr(self.memory.as_mut_ptr().cast()) };
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
