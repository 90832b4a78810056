//! Lists and configurations that change, vanish or are wrong while the filter runs.
#![allow(clippy::unwrap_used)]

mod adguard;
mod reconfigure;
mod reload;
mod surroundings;
