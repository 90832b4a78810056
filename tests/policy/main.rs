//! Who asks decides: policies, overrides, pauses, the operator's own categories.
#![allow(clippy::unwrap_used)]

mod custom;
mod override_writes;
mod overrides;
mod policies;
mod policy_cases;
mod policy_changes;
mod policy_limits;
mod show;
