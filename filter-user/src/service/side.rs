//! The kernel side of a service: loaded by this process, or by `nxdp load` before it.

use filter_common::layout::Header;

use super::capacity;
use crate::{
    kernel::{self, Change, Filter, Generations, Maps, Pinned},
    regime,
};

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
    /// Policies or overrides cannot be put in force in a larger table's maps.
    #[error(transparent)]
    Regime(#[from] regime::Error),
    /// The pinned table is too small, and only `nxdp load` can make another one.
    #[error(
        "activate {names} names: the loaded table has no room for them beside the active ones, which stay in force; run `nxdp load --names {sized_for}` as root"
    )]
    TableFull {
        /// Names of the new generations.
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
    pub(super) fn change<T, E: From<kernel::Error>>(
        &mut self,
        work: impl FnOnce(&mut Maps) -> Result<T, E>,
    ) -> Result<T, E> {
        match self {
            Self::Own(filter) => work(&mut filter.maps),
            Self::Pinned(pinned) => pinned.change(work),
        }
    }

    /// Changes the active generations if the judges say yes to what is read back; a table of
    /// this process grows for them, and `furnish` fills the other maps beside it.
    pub(super) fn activate(
        &mut self,
        lists: Change<'_>,
        custom: Change<'_>,
        furnish: impl FnOnce(&mut Maps) -> Result<(), regime::Error>,
    ) -> Result<Generations, Error> {
        let changed = self.change(|maps| maps.change_generations(lists, custom));
        match (changed, self) {
            (Err(kernel::Error::TableFull { .. }), Self::Own(filter)) => {
                grow(filter, lists, custom, furnish)
            }
            (Err(kernel::Error::TableFull { .. }), Self::Pinned(_)) => Err(Error::TableFull {
                names: lists.names() + custom.names(),
                sized_for: capacity::names_for(lists.len() + custom.len()),
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
    lists: Change<'_>,
    custom: Change<'_>,
    furnish: impl FnOnce(&mut Maps) -> Result<(), regime::Error>,
) -> Result<Generations, Error> {
    let records = |change: Change<'_>, active: Option<Header>| match (change, active) {
        (Change::Keep, Some(header)) => header.record_count as usize,
        (change, _) => change.len(),
    };
    let maps = &filter.maps;
    let capacity = capacity::for_generations(
        records(lists, maps.active()),
        records(custom, maps.active_custom()),
    );
    let mut larger = Filter::load(capacity)?;
    larger.maps.continue_from(&filter.maps)?;
    furnish(&mut larger.maps)?;
    let generations = (larger.maps).change_generations_of(&filter.maps, lists, custom)?;
    larger.take_over(filter)?;
    *filter = larger;
    Ok(generations)
}
