//! Lists and images by the public functions of the crate; no root, no kernel.
#![expect(clippy::unwrap_used, reason = "a failed test panics")]

mod formats;
mod guard;
mod image;
mod lists;
mod programs;
mod real_images;
mod real_lists;
mod room;
mod semantics;
