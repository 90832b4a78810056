//! The library behind the binary `nxdp`.

pub mod kernel;
pub mod rule;
