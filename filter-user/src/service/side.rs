//! The kernel side of a service: loaded by this process, or by `nxdp load` before it.

use filter_common::layout::Record;

use super::capacity;
use crate::kernel::{self, Filter, Maps, Pinned};

/// Whose the program is.
pub(super) enum Side {
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
    Kernel(#[from] kernel::Error),
    /// The pinned table is too small, and only `nxdp load` can make another one.
    #[error(
        "activate {names} names: the loaded table has no room for them beside the active ones, which stay in force; run `nxdp load --names {sized_for}` as root"
    )]
    TableFull {
        /// Names of the new generation.
        names: u32,
        /// What `--names` must say.
        sized_for: u64,
    },
}

impl Side {
    /// The maps.
    pub(super) fn maps(&self) -> &Maps {
        match self {
            Self::Own(filter) => &filter.maps,
            Self::Pinned(pinned) => &pinned.maps,
        }
    }

    /// Changes the maps while no `nxdp load` does.
    pub(super) fn change<T>(
        &mut self,
        work: impl FnOnce(&mut Maps) -> Result<T, kernel::Error>,
    ) -> Result<T, kernel::Error> {
        match self {
            Self::Own(filter) => work(&mut filter.maps),
            Self::Pinned(pinned) => pinned.change(work),
        }
    }

    /// Activates the records of an image if `judge` says yes to what is read back; a table of
    /// this process grows for them.
    pub(super) fn activate(
        &mut self,
        records: &[Record],
        judge: impl Fn(&[Record]) -> bool,
    ) -> Result<u32, Error> {
        match (self.change(|maps| maps.activate(records, &judge)), self) {
            (Err(kernel::Error::TableFull { .. }), Self::Own(filter)) => {
                Ok(grow(filter, records, judge)?)
            }
            (Err(kernel::Error::TableFull { .. }), Self::Pinned(_)) => Err(Error::TableFull {
                names: filter_common::layout::Header::of(&records[0]).name_count,
                sized_for: capacity::names_for(records.len()),
            }),
            (other, _) => Ok(other?),
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

/// Loads the program anew with a larger table and lets it take over the links.
fn grow(
    filter: &mut Filter,
    records: &[Record],
    judge: impl Fn(&[Record]) -> bool,
) -> Result<u32, kernel::Error> {
    let mut larger = Filter::load(capacity::for_records(records.len()))?;
    larger.maps.continue_from(&filter.maps)?;
    let generation = larger.maps.activate(records, judge)?;
    larger.take_over(filter)?;
    *filter = larger;
    Ok(generation)
}
