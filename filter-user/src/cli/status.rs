//! `nxdp status`, `nxdp stats` and `nxdp reload`.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
};

use anyhow::bail;
use clap::{Args, ValueEnum};
use filter_common::reason::{Action, Reason};
use filter_user::{
    config::LogQueries,
    control::{
        self, AttachmentState, ClientsStatus, CustomStatus, PolicyStats, Response, Stats, Status,
        Verb,
    },
    enforcement::PolicyStatus,
    printable,
    querylog::LogStats,
    service::human_bytes,
};
use jiff::Timestamp;
use serde_json::json;

use super::{
    Failure, SocketArgument,
    offline::{self, Answer, OfflineArguments},
    out, when,
};

/// Flags of `nxdp stats`.
#[derive(Debug, Args)]
pub(super) struct StatsArguments {
    #[command(flatten)]
    arguments: Arguments,
    /// Count by something else than the reason
    #[arg(long, value_name = "WHAT")]
    by: Option<By>,
    /// Show counters that are zero, too
    #[arg(long)]
    all: bool,
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

/// Flags of `nxdp status`, and those of `nxdp stats`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    socket: SocketArgument,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    offline: OfflineArguments,
}

/// Flags of `nxdp reload`.
#[derive(Debug, Args)]
pub(super) struct ReloadArguments {
    #[command(flatten)]
    socket: SocketArgument,
    /// Do not wait: `nxdp status` tells what became of it
    #[arg(long)]
    no_wait: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn status(self) -> Result<(), Failure> {
        let status = match offline::ask(&self.socket, &self.offline, Verb::Status)? {
            Answer::Running(Response::Status(status)) => status,
            Answer::Running(_) => return Err(control::Error::OtherAnswer.into()),
            Answer::Offline(filter) => filter.status()?,
        };
        if self.json {
            print_json(&status)?;
        } else {
            print_status(&status)?;
        }
        Ok(())
    }
}

impl ReloadArguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let verb = match self.no_wait {
            true => Verb::Reload,
            false => Verb::ReloadAndWait,
        };
        let Response::Status(status) =
            control::ask(&self.socket.path(), verb).map_err(offline::without_daemon)?
        else {
            return Err(control::Error::OtherAnswer.into());
        };
        if self.json {
            print_json(&status)?;
        } else if self.no_wait {
            eprintln!("reloading; `nxdp status` tells what becomes of it");
        } else {
            eprintln!(
                "generation {} is in force: {} names",
                status.generation, status.names
            );
            for list in status.lists.iter().filter(|list| list.rules == 0) {
                let text = format!("list '{}' has no rule; `nxdp lists` tells why", list.name);
                eprintln!("{}", printable::lines(&text));
            }
        }
        Ok(())
    }
}

impl StatsArguments {
    pub(super) fn stats(self) -> Result<(), Failure> {
        let Arguments {
            socket,
            json,
            offline,
        } = self.arguments;
        let stats = match offline::ask(&socket, &offline, Verb::Stats)? {
            Answer::Running(Response::Stats(stats)) => stats,
            Answer::Running(_) => return Err(control::Error::OtherAnswer.into()),
            Answer::Offline(filter) => filter.stats()?,
        };
        match (json, self.by) {
            (true, None) => print_json(&stats)?,
            (true, Some(by)) => print_json(&part(&stats, by))?,
            (false, None) => print_stats(&stats, self.all)?,
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
    let mut out = out::stdout();
    writeln!(
        out,
        "{:<24} {:>14} {:>14} {:>8}",
        "policy", "queries", "blocked", "share"
    )?;
    for (name, PolicyStats { queries, blocked }) in policies {
        let share = share(*blocked, *queries);
        writeln!(out, "{name:<24} {queries:>14} {blocked:>14} {share:>8}")?;
    }
    Ok(())
}

fn print_blocked(what: &str, counts: &BTreeMap<String, u64>) -> anyhow::Result<()> {
    let mut out = out::stdout();
    writeln!(out, "{what:<24} {:>14} {:>8}", "blocked", "share")?;
    let sum = counts.values().sum();
    for (name, blocked) in counts {
        writeln!(out, "{name:<24} {blocked:>14} {:>8}", share(*blocked, sum))?;
    }
    Ok(())
}

fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut out = out::stdout();
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
        writeln!(out, "custom       not changed: {}", printable::lines(error))?;
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
    let mut out = out::stdout();
    match status.pid {
        0 => writeln!(
            out,
            "process      none: the filter is in force without a daemon, and nothing refreshes its lists"
        )?,
        pid => writeln!(out, "process      {pid} (up {} s)", status.uptime_s)?,
    }
    if let Some(program) = &status.program {
        let loaded = Timestamp::from_second(program.loaded_at_s.cast_signed()).map(when::local);
        let loaded = loaded.unwrap_or_default();
        writeln!(
            out,
            "program      {} (tag {}), loaded {loaded}",
            program.id, program.tag
        )?;
    }
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
    for policy in &status.enforcement.policies {
        writeln!(out, "policy       {}", policy_line(policy))?;
    }
    let overrides = &status.enforcement.overrides;
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
    if let Some(error) = &status.overrides_error {
        writeln!(
            out,
            "overrides    CANNOT BE READ, those in force stay: {}",
            printable::lines(error)
        )?;
    }
    if let Some(bytes) = status.wanted_table_bytes {
        let bytes = human_bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
        writeln!(
            out,
            "room         a table of {bytes} is asked for; `systemctl status nxdp-room` tells what becomes of it"
        )?;
    }
    if let Some(why) = &status.refresh_stopped {
        writeln!(
            out,
            "refresh      STOPPED, no list is fetched: {}",
            printable::lines(why)
        )?;
    }
    if let Some(error) = &status.last_error {
        writeln!(out, "last reload  failed: {}", printable::lines(error))?;
    }
    Ok(())
}

fn policy_line(policy: &PolicyStatus) -> String {
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

/// One count of a sum, in percent: `12.3 %`.
fn share(part: u64, sum: u64) -> String {
    format!("{:.1} %", part as f64 * 100.0 / sum.max(1) as f64)
}

/// The queries among the counters, and those of them that were blocked.
fn queries(stats: &Stats) -> [u64; 2] {
    let counted = |reason: &Reason| stats.packets.get(reason.name()).copied().unwrap_or(0);
    let of_queries = Reason::ALL.iter().filter(|reason| reason.is_of_query());
    of_queries.fold([0, 0], |[all, blocked], reason| match reason.action() {
        Action::Pass => [all + counted(reason), blocked],
        Action::Drop | Action::Transmit => [all + counted(reason), blocked + counted(reason)],
    })
}

fn print_stats(stats: &Stats, with_zeros: bool) -> anyhow::Result<()> {
    let mut out = out::stdout();
    if stats.packets.is_empty() {
        bail!("the running nxdp sent no counters");
    }
    let packets: u64 = stats.packets.values().sum();
    for reason in Reason::ALL {
        let counted = stats.packets.get(reason.name()).copied();
        if let Some(counted) = counted.filter(|counted| with_zeros || *counted > 0) {
            writeln!(
                out,
                "{:<24} {counted:>14} {:>8}  {}",
                reason.name(),
                share(counted, packets),
                reason.meaning()
            )?;
        }
    }
    let [queries, blocked] = queries(stats);
    writeln!(
        out,
        "{:<24} {packets:>14} {:>8}  All packets.",
        "total",
        share(packets, packets)
    )?;
    writeln!(
        out,
        "{:<24} {queries:>14} {:>8}  Queries that were judged by their name.",
        "queries",
        share(queries, packets)
    )?;
    writeln!(
        out,
        "{:<24} {blocked:>14} {:>8}  Queries that were answered or dropped, of all queries.",
        "blocked",
        share(blocked, queries)
    )?;
    for (list, blocked) in stats.lists.iter().filter(|(_, blocked)| **blocked > 0) {
        writeln!(
            out,
            "{list:<24} {blocked:>14} {:>8}  Blocked by this list, of all queries.",
            share(*blocked, queries)
        )?;
    }
    let log = &stats.log;
    if log.queries != LogQueries::Off {
        let LogStats { told, lost, .. } = log;
        writeln!(
            out,
            "{:<24} {told:>14}           Logged, {lost} more lost.",
            "query log"
        )?;
    }
    Ok(())
}
