//! Two roles: what root pins, and the daemon without privileges that fills it.
#![allow(clippy::unwrap_used)]

mod clocks;
mod fixture;
mod installed;
mod interfaces;
mod names;
mod near;
mod obstacles;
mod ownership;
mod role_overrides;
mod roles;
