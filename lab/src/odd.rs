//! Mutated queries for blocked names, asked of real nameservers with and without the filter.
//!
//! A [`Query`] is made by a seed and a number, which give it again. A [`Trial`] sends each one to every
//! server of [`servers`] and looks whether data of a blocked name comes back. What is answered without
//! the filter shows what the filter is up against; what is answered behind it is a [`Leak`].
//!
//! Frames leave by a packet socket: no network stack has to agree to send them. Their senders have
//! addresses that nobody else has, so that no stack answers what comes back.

mod draw;
mod fragments;
mod judge;
mod messages;
mod names;
mod packets;
mod query;
mod records;
mod servers;
mod sockets;
mod streams;
mod talk;
mod tally;
mod trial;

pub use query::{KIND_COUNT, Query};
pub use servers::NAMES as SERVERS;
pub use tally::{Leak, Tally};
pub use trial::Trial;
