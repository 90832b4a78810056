//! Whose names an image has.

use filter_common::layout::{CUSTOM_LIST_FIRST, HEADER_CUSTOM, LIST_TALLY_MAX};

/// Whose names an image has. Both kinds can be active at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Those of the lists.
    #[default]
    Lists,
    /// Those of custom categories.
    Custom,
}

impl Kind {
    /// The kind of an image whose header has these flags.
    pub const fn of(header_flags: u32) -> Self {
        match header_flags & HEADER_CUSTOM {
            0 => Self::Lists,
            _ => Self::Custom,
        }
    }

    /// By which number rules, counters and events know the first list.
    pub const fn first_list(self) -> u32 {
        match self {
            Self::Lists => 0,
            Self::Custom => CUSTOM_LIST_FIRST,
        }
    }

    /// Lists that there can be.
    pub(crate) const fn list_max(self) -> usize {
        match self {
            Self::Lists => CUSTOM_LIST_FIRST as usize,
            Self::Custom => (LIST_TALLY_MAX - CUSTOM_LIST_FIRST) as usize,
        }
    }

    pub(crate) const fn flags(self) -> u32 {
        match self {
            Self::Lists => 0,
            Self::Custom => HEADER_CUSTOM,
        }
    }
}
