//! `nxdp run`.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use filter_user::{
    config::{self, AnswerChoice},
    service,
};

use super::{Failure, GivenLists, ModeFlag, answer_parser, log::LogFlag};

/// Flags of `nxdp run`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Interface that faces the clients; may be repeated
    #[arg(long = "interface", short = 'i', value_name = "IF")]
    interfaces: Vec<String>,
    /// Prefix of clients with public addresses, such as 203.0.113.0/24; may be repeated.
    /// Private addresses and the networks behind the interfaces are always answered
    #[arg(long = "client", value_name = "PREFIX", value_parser = config::prefix)]
    clients: Vec<ipnet::IpNet>,
    #[command(flatten)]
    lists: GivenLists,
    /// Where the program runs; there is no silent fall-back [default: native]
    #[arg(long, value_name = "MODE")]
    mode: Option<ModeFlag>,
    /// Attach in spite of what is known to keep an interface from being filtered
    #[arg(long)]
    force: bool,
    /// What a client gets for a blocked name [default: nxdomain]
    #[arg(long, value_name = "ANSWER", value_parser = answer_parser())]
    answer: Option<AnswerChoice>,
    /// Answers a second that one client prefix (/24, /56) may cause, so that forged sources
    /// cannot flood it; 0 for no limit [default: 1000, and 5000 at once]
    #[arg(long, value_name = "N")]
    answers_per_s: Option<u32>,
    /// Seconds for which an answer may be cached [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=i64::from(config::TTL_MAX_S)))]
    ttl: Option<u32>,
    /// Which queries are told of to `nxdp log`, `nxdp top` and dnstap [default: off]
    #[arg(long, value_name = "QUERIES")]
    log: Option<LogFlag>,
    /// Control socket for `nxdp status` and `nxdp stats` [default: /run/nxdp/control.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.config().map_err(Failure::usage)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // What the flags say stays, whatever becomes of the file.
        let reread = Arc::new(move || self.config());
        Ok(runtime.block_on(service::run(config, reread))?)
    }

    /// The configuration file, if there is one.
    pub(super) fn config_file(&self) -> Option<PathBuf> {
        self.lists.file()
    }

    /// The configuration that file and flags make together.
    pub(super) fn config(&self) -> Result<config::Config, config::Error> {
        let mut config = self.lists.config()?;
        if !self.interfaces.is_empty() {
            config.interfaces.clone_from(&self.interfaces);
        }
        config.clients.extend(&self.clients);
        if let Some(mode) = self.mode {
            config.mode = mode.into();
        }
        config.force |= self.force;
        config.answer = self.answer.unwrap_or(config.answer);
        config.limit.answers_per_s = self.answers_per_s.unwrap_or(config.limit.answers_per_s);
        if let Some(queries) = self.log {
            config.log.queries = queries.into();
        }
        config.ttl_s = self.ttl.or(config.ttl_s);
        config.socket = self.socket.clone().or(config.socket);
        if config.interfaces.is_empty() {
            return Err(config::Error::NoInterface);
        }
        Ok(config)
    }
}
