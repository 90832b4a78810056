//! The library behind the binary `nxdp`.

pub mod features;
pub mod rule;
