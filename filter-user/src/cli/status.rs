//! `nxdp status`, `nxdp stats` and `nxdp reload`.

use std::io::{self, Write as _};

use anyhow::bail;
use clap::Args;
use filter_common::reason::Reason;
use filter_user::{
    config::LogQueries,
    control::{self, AttachmentState, Response, Stats, Status, Verb},
    querylog::LogStats,
};

use super::{Failure, SocketArgument};

/// Flags of `nxdp status`, `nxdp stats` and `nxdp reload`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    socket: SocketArgument,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn status(self) -> Result<(), Failure> {
        let Response::Status(status) = control::ask(&self.socket.socket, Verb::Status)? else {
            return Err(control::Error::OtherAnswer.into());
        };
        if self.json {
            print_json(&status)?;
        } else {
            print_status(&status)?;
        }
        Ok(())
    }

    pub(super) fn reload(self) -> Result<(), Failure> {
        let Response::Status(status) = control::ask(&self.socket.socket, Verb::Reload)? else {
            return Err(control::Error::OtherAnswer.into());
        };
        if self.json {
            print_json(&status)?;
        } else {
            eprintln!("reloading; `nxdp status` tells what becomes of it");
        }
        Ok(())
    }

    pub(super) fn stats(self) -> Result<(), Failure> {
        let Response::Stats(stats) = control::ask(&self.socket.socket, Verb::Stats)? else {
            return Err(control::Error::OtherAnswer.into());
        };
        if self.json {
            print_json(&stats)?;
        } else {
            print_stats(&stats)?;
        }
        Ok(())
    }
}

fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)?;
    Ok(())
}

fn print_status(status: &Status) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "process      {} (up {} s)",
        status.pid, status.uptime_s
    )?;
    for attachment in &status.interfaces {
        let state = match attachment.state {
            AttachmentState::Attached => attachment.mode.as_str(),
            AttachmentState::Absent => "not there",
            AttachmentState::Unfiltered => "NOT FILTERED; `nxdp attach`",
        };
        writeln!(out, "interface    {} ({state})", attachment.interface)?;
    }
    writeln!(
        out,
        "generation   {}: {} names, {} bytes of kernel memory ({:.1} a name), {} with room for the next",
        status.generation,
        status.names,
        status.generation_bytes,
        status.bytes_per_name,
        status.table_bytes,
    )?;
    for list in &status.lists {
        writeln!(
            out,
            "list         {}: {} rules from {}",
            list.name,
            list.rules,
            list.path.display()
        )?;
    }
    if let Some(error) = &status.last_error {
        writeln!(out, "last reload  failed: {error}")?;
    }
    Ok(())
}

fn print_stats(stats: &Stats) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if stats.packets.is_empty() {
        bail!("the running nxdp sent no counters");
    }
    for reason in Reason::ALL {
        if let Some(packets) = stats.packets.get(reason.name()) {
            writeln!(
                out,
                "{:<24} {packets:>14}  {}",
                reason.name(),
                reason.meaning().trim()
            )?;
        }
    }
    for (list, blocked) in stats.lists.iter().filter(|(_, blocked)| **blocked > 0) {
        writeln!(out, "{list:<24} {blocked:>14}  Blocked by this list.")?;
    }
    let log = &stats.log;
    if log.queries != LogQueries::Off {
        let LogStats { told, lost, .. } = log;
        writeln!(
            out,
            "{:<24} {told:>14}  Told of, {lost} more lost.",
            "query log"
        )?;
    }
    Ok(())
}
