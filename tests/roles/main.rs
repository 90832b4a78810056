//! Two roles: what root pins, and the daemon without privileges that fills it.
#![allow(clippy::unwrap_used)]

mod clocks;
mod interfaces;
mod near;
mod obstacles;
mod role_overrides;
mod roles;
