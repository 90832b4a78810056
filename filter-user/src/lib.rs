//! The library behind the binary `nxdp`.

pub mod compile;
pub mod guard;
pub mod image;
pub mod provenance;
pub mod rule;
