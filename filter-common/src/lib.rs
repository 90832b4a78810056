//! Everything that the kernel program and userspace must agree on.
//!
//! Owns the layout of the shared maps, the reading of a packet, the keyed hash
//! of a name, the table look-up, the verdict and the answer. It does no I/O,
//! allocates nothing and contains no unsafe code: the kernel program, the host
//! tests and the fuzzers run these very functions.
//!
//! It does not own where bytes come from: a [`frame::Frame`] and
//! [`table::Records`] are handed in.
//!
//! A packet's way: [`filter`] calls [`net`], [`dns`], [`verdict`] (which uses
//! [`descent`], [`hash`] and [`table`]), [`answer`] and [`emit`].

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod address;
pub mod answer;
pub mod bypass;
pub mod checksum;
pub mod client;
pub mod descent;
pub mod direct;
pub mod dns;
pub mod emit;
pub mod event;
pub mod filter;
pub mod frame;
pub mod hash;
pub mod layout;
pub mod limit;
pub mod listed;
pub mod maps;
pub mod merged;
pub mod name;
pub mod net;
pub mod odd;
pub mod overrides;
pub mod parts;
pub mod policy;
pub mod reason;
#[cfg(test)]
mod recorded;
pub mod rule;
pub mod scratch;
pub mod selector;
pub mod stages;
pub mod steps;
pub mod stream;
pub mod suffix;
pub mod table;
pub mod tcp;
pub mod verdict;
#[cfg(test)]
mod world;
