//! Tests that measure, or need the machine for themselves: one runs at a time.
#![allow(clippy::unwrap_used)]

mod million;
mod no_gap;
mod no_gap_fetch;
mod odd_queries;
