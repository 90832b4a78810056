//! Who asks decides: policies, resolved from the configuration's words.
//!
//! Owns the bits of categories, the numbers of policies and which clients have
//! which policy, in the form of the kernel's maps. It knows neither the maps
//! themselves nor what the operator overrode.

mod category;
mod client_facts;
mod clients;
mod compose;
mod set;
mod warnings;

pub use self::{
    category::Categories,
    client_facts::{Because, Chosen, ClientFacts},
    clients::Clients,
    compose::compose,
    set::{Numbers, Policies, Policy, name_hash},
};
