//! `nxdp daemon`.

use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use filter_user::service::{self, DaemonOptions};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities, set_no_new_privs,
};

use super::{Failure, PinsArgument, StateArgument, run};

/// Flags of `nxdp daemon`.
#[derive(Debug, Args)]
pub(super) struct DaemonArguments {
    #[command(flatten)]
    service: run::Arguments,
    #[command(flatten)]
    pins: PinsArgument,
    #[command(flatten)]
    state: StateArgument,
}

impl DaemonArguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        drop_privileges().context("drop privileges")?;
        let options = DaemonOptions {
            pins: self.pins.pins,
            state: self.state.state,
            config: self.service.config_file(),
        };
        let config = self.service.config().map_err(Failure::usage)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // What the flags say stays, whatever becomes of the file.
        let reread = Arc::new(move || self.service.config());
        Ok(runtime.block_on(service::daemon(config, reread, options))?)
    }
}

/// Gives up every capability, for good: nothing that the daemon does needs one.
fn drop_privileges() -> rustix::io::Result<()> {
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )?;
    set_no_new_privs(true)
}
