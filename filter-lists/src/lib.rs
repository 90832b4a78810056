//! Lists into images: what a filter's table holds, and where each of its rules came from.
//!
//! [`list`] turns lines into [`rule`]s, [`compile`] merges the rules of all lists into an [`image`]
//! with its [`provenance`], [`guard`] says which images must not go live. [`input`] opens what others
//! wrote. Owns no configuration and no network, and knows nothing of maps and programs: an image is
//! bytes that `filter-common` reads, on the host and in the kernel alike.
//!
//! Modules use those above them here, never those below:
//!
//! ```text
//! rule, input
//! list          rule
//! provenance    rule
//! image         provenance, rule, input
//! compile       image, provenance, rule
//! guard         compile, image, list, rule
//! ```

#![forbid(unsafe_code)]

pub mod compile;
pub mod guard;
pub mod image;
pub mod input;
pub mod list;
pub mod provenance;
pub mod rule;
mod words;
