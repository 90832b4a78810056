//! The library behind the binary `nxdp`.

pub mod list;
pub mod rule;
