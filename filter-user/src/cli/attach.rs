//! `nxdp attach`.

use clap::Args;
use filter_user::service;

use super::{Failure, PinsArgument, load::InterfaceArguments};

/// Flags of `nxdp attach`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    interfaces: InterfaceArguments,
    #[command(flatten)]
    pins: PinsArgument,
    /// Stay, and attach to interfaces when they appear
    #[arg(long)]
    watch: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.interfaces.config()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(runtime.block_on(service::attach(&config, self.pins.pins, self.watch))?)
    }
}
