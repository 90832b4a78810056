//! The lab itself and its demonstration. They need root; the demonstration needs the binary that
//! `NXDP_BIN` names, as `cargo xtask test` does.
#![allow(clippy::unwrap_used)]

mod demo;
mod namespaces;
mod veth;
