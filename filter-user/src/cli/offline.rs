//! What commands do where no daemon answers.

use std::path::{Path, PathBuf};

use clap::Args;
use filter_kernel::{PINS_DEFAULT, Pins};
use filter_user::{
    config::Config,
    control::{self, Response, Verb},
    service::{Offline, STATE_DEFAULT},
};

use super::{SocketArgument, usual_config};

/// Where a filter is found whose daemon does not answer.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where no daemon runs")]
pub(super) struct OfflineArguments {
    /// Configuration of the filter [default: /etc/nxdp/nxdp.toml]
    #[arg(long, short = 'c', value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder in which the filter is pinned
    #[arg(long, value_name = "DIR", default_value = PINS_DEFAULT)]
    pins: PathBuf,
    /// Folder of the daemon's state
    #[arg(long, value_name = "DIR", default_value = STATE_DEFAULT)]
    state: PathBuf,
}

/// Who answers.
#[allow(clippy::large_enum_variant, reason = "one lives, until it is printed")]
pub(super) enum Answer {
    /// The running nxdp did.
    Running(Response),
    /// None runs; what is in force can be asked.
    Offline(Box<Offline>),
}

/// Asks the running nxdp; root finds what is in force without one.
pub(super) fn ask(
    socket: &SocketArgument,
    offline: &OfflineArguments,
    verb: Verb,
) -> anyhow::Result<Answer> {
    match control::ask(&socket.path(), verb) {
        Ok(response) => Ok(Answer::Running(response)),
        Err(error @ control::Error::NotRunning { .. }) => match offline.filter() {
            found if !found.is_loaded() => Err(error.into()),
            _ if !rustix::process::geteuid().is_root() => Err(anyhow::anyhow!(
                "no daemon runs; a filter is loaded and in force without one: root may look at it and change overrides, \
                 and start a daemon (`systemctl start nxdp`)"
            )),
            found => Ok(Answer::Offline(Box::new(found))),
        },
        Err(error) => Err(error.into()),
    }
}

/// Why what only a daemon can do is not done: without one the filter may be in force all the same.
pub(super) fn without_daemon(error: control::Error) -> anyhow::Error {
    let is_loaded = Pins::at(PINS_DEFAULT).exist();
    match error {
        control::Error::NotRunning { path, .. } if is_loaded => anyhow::anyhow!(
            "connect to '{}': no daemon runs, and this needs one; a filter is loaded and in force \
             without it: start it (`systemctl start nxdp`), or name its socket with `--socket`",
            path.display()
        ),
        other => other.into(),
    }
}

impl OfflineArguments {
    fn filter(&self) -> Offline {
        let path = self.config.clone().or_else(usual_config);
        Offline {
            pins: self.pins.clone(),
            state: self.state.clone(),
            config: path.as_deref().and_then(read),
        }
    }
}

/// A configuration that is wrong may be why no daemon runs: what is in force is found without it.
fn read(path: &Path) -> Option<Config> {
    match Config::read(path) {
        Ok(config) => Some(config),
        Err(error) => {
            let why = filter_user::service::error_chain(&error);
            eprintln!("nxdp: without the configuration: {why}");
            None
        }
    }
}
