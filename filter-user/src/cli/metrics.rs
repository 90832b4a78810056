//! `nxdp metrics`.

use std::io::{self, Write as _};

use clap::Args;
use filter_user::control::{self, Response, Verb};

use super::{Failure, SocketArgument, offline::without_daemon};

/// Flags of `nxdp metrics`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    socket: SocketArgument,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Response::Metrics(text) =
            control::ask(&self.socket.path(), Verb::Metrics).map_err(without_daemon)?
        else {
            return Err(control::Error::OtherAnswer.into());
        };
        io::stdout().lock().write_all(text.as_bytes())?;
        Ok(())
    }
}
