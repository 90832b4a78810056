//! The lab: network namespaces, a responder, a client and frames made by hand.
//!
//! Everything that runs in the lab is the real thing: kernel namespaces, veth
//! pairs, sockets, an independent DNS library ([`hickory_proto`]) and an
//! independent packet parser ([`etherparse`]). Nothing here knows how the
//! filter works; it sees its packets and its command line only.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod check;
pub mod demo;
pub mod frame;
pub mod lab;
pub mod namespace;
pub mod process;
pub mod query;
pub mod raw_socket;
pub mod responder;
mod sys;
pub mod xdp_stub;
