//! The library behind the binary `nxdp`.
//!
//! `filter-lists` reads and compiles lists, `filter-kernel` makes an image the active generation of a
//! loaded program. [`fetch`] brings lists from the network.
//! [`pipeline`] and [`service`] drive them as a [`config`] says, and [`control`]
//! is how others ask; [`metrics`], [`querylog`] and [`top`] show what happens.

pub mod config;
pub mod control;
pub mod enforcement;
pub mod fetch;
mod identity;
mod memory;
pub mod metrics;
pub mod overrides;
pub mod pipeline;
pub mod policy;
pub mod printable;
pub mod querylog;
pub mod schedule;
pub mod service;
pub mod top;
