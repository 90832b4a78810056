//! The kernel side of a running filter: program, table, counters, pins, attachments.
//!
//! The only crate that knows aya, and [`table`] is its only file with unsafe code. It does not know
//! lists, names or configuration: it takes the records of an image and the name of an interface.
//! [`features`] reads what an interface and this kernel can do, and stands by itself.

mod assignments;
mod attachments;
mod error;
mod events;
pub mod features;
mod filter;
mod folder;
mod load;
mod log;
mod maps;
pub mod object;
mod on_link;
mod overrides;
mod pinned;
mod pins;
mod prefix;
mod selected;
mod set;
mod table;
mod tallies;

pub use self::{
    assignments::Assignments,
    attachments::{Attachments, Hold, hold_pinned},
    error::Error,
    events::EventRing,
    filter::{
        Filter, Mode, TestRunOutcome, has_map, interface_index, is_loaded, program_name,
        unattached_programs,
    },
    folder::Owner,
    load::{Load, Loaded, loaded},
    maps::{Counters, GenerationChange, Generations, Judge, Logged, Maps},
    pinned::{Pinned, ProgramFacts, look},
    pins::{Lock, PINS_DEFAULT, Pins, Removed},
    prefix::{Prefix, address_of},
    selected::Selected,
    table::CUSTOM_RECORDS,
    tallies::{InUse, Tallies},
};
