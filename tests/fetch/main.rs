//! Lists from the network: what is taken, what is refused, what stays in force meanwhile.
#![allow(clippy::unwrap_used)]

mod fetch;
mod fetch_hostile;
mod fetch_proxy;
mod fetched_lists;
mod list_desk;
