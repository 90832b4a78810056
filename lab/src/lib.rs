//! The lab: network namespaces, a responder, a client and frames made by hand.
//!
//! Everything that runs in the lab is the real thing: kernel namespaces, veth
//! pairs, sockets, an independent DNS library ([`hickory_proto`]) and an
//! independent packet parser ([`etherparse`]). The lab does not know how the
//! filter works; it sees its packets and its command line only. [`engines`]
//! and [`cases`] do: they hold the two bodies of the core against each other.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod cases;
pub mod check;
pub mod clients;
pub mod conformance;
pub mod demo;
pub mod devices;
pub mod dig;
pub mod engines;
pub mod filter;
pub mod frame;
pub mod frame_watch;
pub mod guest;
pub mod host_tables;
pub mod invariants;
pub mod kill_at_syscall;
pub mod kill_at_thread_syscall;
pub mod lab;
pub mod length;
pub mod list_server;
pub mod mutate;
pub mod namespace;
pub mod odd;
pub mod policy_cases;
pub mod process;
pub mod query;
pub mod raw_socket;
mod recorder;
pub mod reference;
pub mod responder;
pub mod roles;
pub mod running;
pub mod segment;
pub mod show;
pub mod station;
pub mod steady;
mod sys;
pub mod terminal;
pub mod vlan_stub;
pub mod xdp_stub;
