//! `nxdp top`.

use std::time::Duration;

use clap::Args;
use filter_user::top;

use super::{Failure, SocketArgument};

/// Flags of `nxdp top`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    socket: SocketArgument,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let interval = Duration::from_secs(self.interval);
        let result = runtime.block_on(top::run(self.socket.path(), interval));
        // Threads that wait for a key or a line are not waited for.
        runtime.shutdown_background();
        Ok(result?)
    }
}
