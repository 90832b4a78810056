//! The library behind the binary `nxdp`.
//!
//! Lists become rules ([`list`], [`rule`]), rules become an image ([`compile`],
//! [`image`], [`provenance`]), an image becomes the active generation of a
//! loaded program ([`kernel`]); [`fetch`] brings lists from the network.
//! [`pipeline`] and [`service`] drive them as a [`config`] says, and [`control`]
//! is how others ask; [`metrics`], [`querylog`] and [`top`] show what happens.

pub mod compile;
pub mod config;
pub mod control;
pub mod features;
pub mod fetch;
pub mod guard;
pub mod image;
mod input;
pub mod kernel;
pub mod list;
mod memory;
pub mod metrics;
pub mod overrides;
pub mod pipeline;
pub mod policy;
pub mod provenance;
pub mod querylog;
pub mod regime;
pub mod rule;
pub mod schedule;
pub mod service;
pub mod top;
