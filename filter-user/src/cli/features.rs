//! `nxdp features`.

use std::io::Write as _;

use clap::Args;
use filter_kernel::features;

use super::{Failure, out};

/// Flags of `nxdp features`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Interface to look at; `ip link` lists them
    #[arg(value_name = "IF")]
    interface: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let features = features::inspect(&self.interface, filter_kernel::program_name)?;
        let mut out = out::stdout();
        if self.json {
            serde_json::to_writer(&mut out, &features)?;
            writeln!(out)?;
        } else {
            write!(out, "{features}")?;
        }
        Ok(())
    }
}
