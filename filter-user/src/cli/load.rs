//! `nxdp load` and `nxdp unload`.

use std::path::PathBuf;

use clap::Args;
use filter_user::{
    config::{self, Config},
    service::{self, LoadError, LoadOptions, Room, Unloaded},
};

use super::{Failure, ModeFlag, PinsArgument, StateArgument, usual_config};

/// Where the program is to be attached.
#[derive(Debug, Args)]
pub(super) struct InterfaceArguments {
    /// Interface that faces the clients, in place of those of the configuration; may be repeated
    #[arg(long = "interface", short = 'i', value_name = "IF")]
    interfaces: Vec<String>,
    /// Configuration file (TOML) [default: /etc/nxdp/nxdp.toml]
    #[arg(long, short = 'c', value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the program runs; there is no silent fall-back [default: native]
    #[arg(long, value_name = "MODE")]
    mode: Option<ModeFlag>,
    /// Attach in spite of what is known to keep an interface from being filtered
    #[arg(long)]
    force: bool,
}

impl InterfaceArguments {
    /// The configuration file, if there is one.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.config.clone().or_else(usual_config)
    }

    /// The configuration that file and flags make together.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        let mut config = match self.file() {
            Some(path) => Config::read(&path).map_err(Failure::usage)?,
            None => Config::default(),
        };
        if !self.interfaces.is_empty() {
            config.interfaces.clone_from(&self.interfaces);
        }
        if let Some(mode) = self.mode {
            config.mode = mode.into();
        }
        config.force |= self.force;
        if config.interfaces.is_empty() {
            return Err(Failure::usage(config::Error::NoInterface));
        }
        Ok(config)
    }
}

/// Flags of `nxdp load`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    interfaces: InterfaceArguments,
    /// User that `nxdp daemon` runs as: maps and state are handed to it
    #[arg(long, value_name = "USER", default_value = "nxdp")]
    user: String,
    /// Make room for so many names, twice: for the active ones and the next.
    /// Without it there is room for two and a half times the names that are loaded
    #[arg(long, value_name = "N", conflicts_with = "table_bytes")]
    names: Option<u64>,
    /// The same in bytes of kernel memory
    #[arg(long, value_name = "BYTES")]
    table_bytes: Option<u64>,
    /// Image to start with, as `nxdp compile` writes it. Without one: the lists that are active;
    /// else those that were active last; else those of the configuration, compiled now
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Do not fail if an interface is not there yet: `nxdp attach` attaches it later
    #[arg(long)]
    absent_ok: bool,
    /// Only make the room in the table that a running daemon asks for, up to a quarter of the memory
    #[arg(long, conflicts_with_all = ["names", "table_bytes", "image"])]
    as_asked: bool,
    #[command(flatten)]
    pins: PinsArgument,
    #[command(flatten)]
    state: StateArgument,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.interfaces.config()?;
        let options = LoadOptions {
            pins: self.pins.pins,
            state: self.state.state,
            user: self.user,
            room: self
                .names
                .map(Room::Names)
                .or(self.table_bytes.map(Room::Bytes)),
            image: self.image,
            config: self
                .interfaces
                .file()
                .filter(|_| !config.is_without_lists()),
            absent_ok: self.absent_ok,
            as_asked: self.as_asked,
        };
        match service::load(&config, &options) {
            Err(error @ LoadError::NotAttached(_)) => Err(Failure::partly(error)),
            other => Ok(other?),
        }
    }
}

/// Flags of `nxdp unload`.
#[derive(Debug, Args)]
pub(super) struct UnloadArguments {
    #[command(flatten)]
    pins: PinsArgument,
}

impl UnloadArguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let unloaded = service::unload(&self.pins.pins)?;
        for id in filter_kernel::unattached_programs() {
            eprintln!(
                "program {id} is called nxdp, too, and no attachment runs it: if no other nxdp is starting, a driver \
                 did not let go of it and it may go on to answer; set the interface that it was on down and up"
            );
        }
        match unloaded {
            Unloaded::Everything => eprintln!("unloaded: nothing is left"),
            Unloaded::ButForDaemon => eprintln!(
                "unloaded: nothing is filtered, nothing is left but the maps that the running daemon has open; end it too"
            ),
        }
        Ok(())
    }
}
