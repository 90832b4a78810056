//! Real clients behind the built filter: what each says, and what it sends to hear it.
//!
//! [`bench`] is the lab with a filter that answers each name in another way, [`program`]
//! starts one client for one look-up, [`wire`] counts what the client sent meanwhile,
//! [`page`] holds the tables of `docs/clients.md`. [`forwarder`] is a validating resolver
//! between client and filter, [`signed`] the zones it validates.

pub mod bench;
pub mod forwarder;
pub mod page;
pub mod program;
pub mod signed;
pub mod wire;
