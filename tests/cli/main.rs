//! The command line: what each verb prints, and how it ends.
#![allow(clippy::unwrap_used)]

mod command_line;
mod features;
mod folder;
mod list_commands;
mod policy_commands;
mod usual_config;
