//! `nxdp status`, `nxdp stats` and `nxdp reload`.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
};

use anyhow::bail;
use clap::{Args, ValueEnum};
use filter_common::reason::Reason;
use filter_user::{
    config::LogQueries,
    control::{
        self, AttachmentState, ClientsStatus, CustomStatus, PolicyStats, Response, Stats, Status,
        Verb,
    },
    querylog::LogStats,
    regime::PolicyStanding,
};
use serde_json::json;

use super::{Failure, SocketArgument, when};

/// Flags of `nxdp stats`.
#[derive(Debug, Args)]
pub(super) struct StatsArguments {
    #[command(flatten)]
    arguments: Arguments,
    /// Count by something else than the reason
    #[arg(long, value_name = "WHAT")]
    by: Option<By>,
}

/// What queries are counted by.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    /// The client's policy: queries that were judged, and those that were blocked
    Policy,
    /// The category of the list that blocked
    Category,
    /// The list that blocked
    List,
}

/// Flags of `nxdp status`, `nxdp reload`, and those of all three.
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
}

impl StatsArguments {
    pub(super) fn stats(self) -> Result<(), Failure> {
        let Arguments { socket, json } = self.arguments;
        let Response::Stats(stats) = control::ask(&socket.socket, Verb::Stats)? else {
            return Err(other_answer().into());
        };
        match (json, self.by) {
            (true, None) => print_json(&stats)?,
            (true, Some(by)) => print_json(&part(&stats, by))?,
            (false, None) => print_stats(&stats)?,
            (false, Some(By::Policy)) => print_policies(&stats.policies)?,
            (false, Some(By::Category)) => print_blocked("category", &stats.categories)?,
            (false, Some(By::List)) => print_blocked("list", &stats.lists)?,
        }
        Ok(())
    }
}

/// The counters by something else than the reason, as they are called among all of them.
fn part(stats: &Stats, by: By) -> serde_json::Value {
    let (version, generation) = (stats.version, stats.generation);
    match by {
        By::Policy => {
            json!({ "version": version, "generation": generation, "policies": stats.policies })
        }
        By::Category => {
            json!({ "version": version, "generation": generation, "categories": stats.categories })
        }
        By::List => json!({ "version": version, "generation": generation, "lists": stats.lists }),
    }
}

fn print_policies(policies: &BTreeMap<String, PolicyStats>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{:<24} {:>14} {:>14}", "policy", "queries", "blocked")?;
    for (name, PolicyStats { queries, blocked }) in policies {
        writeln!(out, "{name:<24} {queries:>14} {blocked:>14}")?;
    }
    Ok(())
}

fn print_blocked(what: &str, counts: &BTreeMap<String, u64>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{what:<24} {:>14}", "blocked")?;
    for (name, blocked) in counts {
        writeln!(out, "{name:<24} {blocked:>14}")?;
    }
    Ok(())
}

pub(super) fn other_answer() -> anyhow::Error {
    anyhow::anyhow!("understand the answer: it is to another question")
}

fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)?;
    Ok(())
}

fn print_custom(out: &mut impl io::Write, custom: &CustomStatus) -> io::Result<()> {
    let took = match custom.done_at_s {
        0 => String::new(),
        _ => format!(", in force after {:.1} ms", custom.took_ms),
    };
    writeln!(
        out,
        "custom       generation {}: {} names, {} bytes of kernel memory{took}",
        custom.generation, custom.names, custom.generation_bytes,
    )?;
    for list in &custom.lists {
        let path = list.path.display();
        writeln!(
            out,
            "custom list  {}: {} rules from {path}",
            list.name, list.rules
        )?;
    }
    if let Some(error) = &custom.last_error {
        writeln!(out, "custom       not changed: {error}")?;
    }
    Ok(())
}

/// Who counts as a client, and whether others ask.
fn print_clients(out: &mut impl io::Write, clients: &ClientsStatus) -> io::Result<()> {
    writeln!(out, "clients      private addresses")?;
    for (prefix, interface) in &clients.on_link {
        writeln!(out, "clients      {prefix} on {interface}")?;
    }
    for prefix in &clients.listed {
        writeln!(out, "clients      {prefix} (listed)")?;
    }
    if clients.strangers_last_minute > 0 {
        let count = clients.strangers_last_minute;
        writeln!(
            out,
            "strangers    {count} blocked queries of other addresses in the last minute; if they are clients, list \
             their prefixes with `clients`"
        )?;
    }
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
            AttachmentState::Unseen => "NOT FILTERED: its frames do not reach the program",
        };
        let configured = attachment.configured_as.as_ref();
        let configured = configured.map(|name| format!(", {name} in the configuration"));
        let configured = configured.unwrap_or_default();
        writeln!(
            out,
            "interface    {} ({state}{configured})",
            attachment.interface
        )?;
        for obstacle in &attachment.obstacles {
            writeln!(out, "obstacle     {obstacle}")?;
        }
    }
    print_clients(&mut out, &status.clients)?;
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
    if let Some(custom) = &status.custom {
        print_custom(&mut out, custom)?;
    }
    for policy in &status.standing.policies {
        writeln!(out, "policy       {}", policy_line(policy))?;
    }
    let overrides = &status.standing.overrides;
    if overrides.count > 0 {
        let next = overrides
            .next_end
            .map(|end| format!(", the next ends {}", when::local(end)));
        writeln!(
            out,
            "overrides    {}{}",
            overrides.count,
            next.unwrap_or_default()
        )?;
    }
    if let Some(error) = &status.last_error {
        writeln!(out, "last reload  failed: {error}")?;
    }
    Ok(())
}

fn policy_line(policy: &PolicyStanding) -> String {
    let blocks = match &policy.blocks {
        _ if policy.unfiltered => "unfiltered".to_owned(),
        None => "blocks every category".to_owned(),
        Some(categories) if categories.is_empty() => "blocks nothing".to_owned(),
        Some(categories) => format!("blocks {}", categories.join(", ")),
    };
    let paused = policy
        .paused_until
        .map(|until| format!("; paused until {}", when::local(until)));
    let switch = policy
        .next_switch
        .map(|next| format!("; switches {}", when::local(next)));
    let name = &policy.name;
    format!(
        "{name}: {blocks}{}{}",
        paused.unwrap_or_default(),
        switch.unwrap_or_default()
    )
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
                reason.meaning()
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
