//! Configurations and policies by the public functions of the crate; no root, no kernel.
#![expect(clippy::unwrap_used, reason = "a failed test panics")]

mod bad_lists;
mod config;
mod policies;
