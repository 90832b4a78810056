//! The kernel side of a service: loaded by this process, or by `nxdp load` before it.

use std::time::{SystemTime, UNIX_EPOCH};

use filter_common::layout::Header;
use filter_kernel::{Filter, GenerationChange, Generations, Maps, Pinned, ProgramFacts};

use super::{capacity, room::Room};
use crate::{control::ProgramStatus, enforcement};

/// Whose the program is.
pub(super) enum KernelHandle {
    /// This process loaded it, and it ends with this process.
    Own(Box<Filter>),
    /// It is pinned, and this process may use its maps.
    Pinned(Box<Pinned>),
}

/// Why the maps could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel side failed.
    #[error(transparent)]
    Kernel(#[from] filter_kernel::Error),
    /// Policies or overrides cannot be put in force in a larger table's maps.
    #[error(transparent)]
    Enforcement(#[from] enforcement::Error),
    /// The pinned table is too small, and only `nxdp load` can make another one.
    #[error(
        "activate {names} names: the loaded table has no room for them beside the active ones, which stay in force"
    )]
    TableFull {
        /// Names of the new generations.
        names: u32,
        /// What `--names` of `nxdp load` must say.
        sized_for: u64,
        /// How large the table is to be.
        room: Room,
    },
}

impl KernelHandle {
    /// The maps.
    pub(super) fn maps(&self) -> &Maps {
        match self {
            Self::Own(filter) => &filter.maps,
            Self::Pinned(pinned) => &pinned.maps,
        }
    }

    /// What is told of the program, if it is pinned.
    pub(super) fn program(&self) -> Option<ProgramStatus> {
        match self {
            Self::Own(_) => None,
            Self::Pinned(pinned) => Some(program_status(pinned.program())),
        }
    }

    /// Changes the maps while no `nxdp load` does.
    pub(super) fn change<T, E: From<filter_kernel::Error>>(
        &mut self,
        work: impl FnOnce(&mut Maps) -> Result<T, E>,
    ) -> Result<T, E> {
        match self {
            Self::Own(filter) => work(&mut filter.maps),
            Self::Pinned(pinned) => pinned.change(work),
        }
    }

    /// Changes the active generations if the judges say yes to what is read back; a table of
    /// this process grows for them, and `fill` fills the other maps beside it.
    pub(super) fn activate(
        &mut self,
        lists: GenerationChange<'_>,
        custom: GenerationChange<'_>,
        fill: impl FnOnce(&mut Maps) -> Result<(), enforcement::Error>,
    ) -> Result<Generations, Error> {
        // First in the table that there is: almost every reload fits.
        let changed = self.change(|maps| maps.change_generations(lists, custom));
        let Err(filter_kernel::Error::TableFull { .. }) = changed else {
            return Ok(changed?);
        };
        let maps = self.maps();
        let active = [maps.active(), maps.active_custom()];
        let needed = [needed(lists, active[0]), needed(custom, active[1])];
        match self {
            Self::Own(filter) => grow(filter, needed, lists, custom, fill),
            Self::Pinned(_) => {
                let names = lists.names().saturating_add(custom.names());
                let active = active.map(|header| header.map_or(0, |h| h.record_count as usize));
                Err(Error::TableFull {
                    names,
                    sized_for: capacity::names_for(needed.iter().sum()).max(names.into()),
                    room: Room {
                        wanted: capacity::for_generations(needed[0], needed[1]),
                        least: capacity::least_beside(active, needed),
                    },
                })
            }
        }
    }

    /// Whether the maps are others than those that this process has open.
    pub(super) fn is_replaced(&self) -> bool {
        match self {
            Self::Own(_) => false,
            Self::Pinned(pinned) => pinned.is_replaced(),
        }
    }

    /// Writes the lines that a program built for debugging left.
    pub(super) fn flush_log(&mut self) {
        if let Self::Own(filter) = self {
            filter.flush_log();
        }
    }
}

/// What is told of a pinned program.
pub(super) fn program_status(facts: ProgramFacts) -> ProgramStatus {
    let since = |time: SystemTime| Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs());
    ProgramStatus {
        id: facts.id,
        tag: format!("{:016x}", facts.tag),
        loaded_at_s: facts.loaded.and_then(since).unwrap_or(0),
    }
}

/// Records that a generation takes after a change, also one that stays.
fn needed(change: GenerationChange<'_>, active: Option<Header>) -> usize {
    match (change, active) {
        (GenerationChange::Keep, Some(header)) => header.record_count as usize,
        (change, _) => change.len(),
    }
}

/// Loads the program anew with a table for so many records and lets it take over the links.
fn grow(
    filter: &mut Filter,
    [lists_needed, custom_needed]: [usize; 2],
    lists: GenerationChange<'_>,
    custom: GenerationChange<'_>,
    fill: impl FnOnce(&mut Maps) -> Result<(), enforcement::Error>,
) -> Result<Generations, Error> {
    let capacity = capacity::for_generations(lists_needed, custom_needed);
    // Another map needs another program: it is loaded beside the one that runs.
    let mut larger = Filter::load(capacity)?;
    // Counters go on, and so do numbers of generations.
    larger.maps.continue_from(&filter.maps)?;
    fill(&mut larger.maps)?;
    let generations = (larger.maps).change_generations_of(&filter.maps, lists, custom)?;
    // Each link changes its program in one step; until then the old one judges every packet.
    larger.take_over(filter)?;
    *filter = larger;
    Ok(generations)
}
