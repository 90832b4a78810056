//! The library behind the binary `nxdp`.

pub mod rule;
