//! `nxdp check`.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use clap::Args;
use filter_kernel::features::{self, Bindings, Obstacle, OnLink, Purpose};
use filter_lists::list::Kind;
use filter_user::{
    config::{ClientMatch, Config, ListConfig},
    pipeline::{Compiled, Guarding, ListOutcome, Request, Sources},
    service::{idle_policy, progress_bar},
};
use serde::Serialize;
use serde_json::json;

use super::{Failure, GivenLists, out, policies::PolicyTable, print_findings};

/// Flags of `nxdp check`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    lists: GivenLists,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.lists.config().map_err(Failure::usage)?;
        let request = Request {
            guarding: Guarding::Tell,
            ..Request::default()
        };
        let compiled = Sources::default()
            .compile(&config, &request, &progress_bar())
            .map_err(Failure::usage)?;
        let policies = PolicyTable::new(&config, &compiled.categories)?;
        let mut out = out::stdout();
        if self.json {
            let mut account = account(&config, &compiled)?;
            account["policies"] = policies.json();
            account["interfaces"] = serde_json::to_value(interfaces(&config)?)?;
            account["warnings"] = json!(policies.warnings());
            writeln!(out, "{account}")?;
        } else {
            print(&config, &compiled, &mut out)?;
            if !config.policies.is_empty() {
                policies.print(&mut out)?;
            }
            let here = interfaces(&config)?;
            print_interfaces(&here, &mut out)?;
            let is_here = |name: &&String| here.iter().any(|here| here.name == **name);
            for name in config.interfaces.iter().filter(|name| !is_here(name)) {
                writeln!(out, "interface {name}: is not on this machine now")?;
            }
            for name in idle_policies(&config)? {
                writeln!(out, "policy: {}", idle_policy(&name))?;
            }
            for warning in policies.warnings() {
                writeln!(out, "warning: {warning}")?;
            }
        }
        compiled.admit().map_err(Failure::usage)
    }
}

/// An interface of the configuration that is on this machine.
#[derive(Serialize)]
struct Here {
    name: String,
    /// Networks whose addresses count as clients, each with the interface that it is on.
    clients: OnLink,
    obstacles: Vec<Obstacle>,
}

/// The interfaces of the configuration, as far as they are on this machine.
fn interfaces(config: &Config) -> Result<Vec<Here>, features::Error> {
    if config.interfaces.is_empty() {
        return Ok(Vec::new());
    }
    let purpose = Purpose {
        mode: config.mode.into(),
        has_vlan_policies: config.has_vlan_policies(),
    };
    let mut bindings = Bindings::default();
    let bound = bindings.resolve_all(config.interfaces.iter(), &features::hooks()?);
    let here = bound.into_iter().map(|(name, index)| {
        let index = BTreeSet::from([index]);
        Ok(Here {
            name,
            clients: features::on_link(&index)?,
            obstacles: features::obstacles(&index, purpose)?,
        })
    });
    here.collect()
}

/// Interfaces of policies that nothing comes by, where an interface of the configuration is here at all.
fn idle_policies(config: &Config) -> Result<Vec<String>, features::Error> {
    let (mut bindings, hooks) = (Bindings::default(), features::hooks()?);
    let bound = bindings.resolve_all(config.interfaces.iter(), &hooks);
    let clients = config.policies.values().flat_map(|policy| &policy.clients);
    let names = clients.filter_map(|client| match client {
        ClientMatch::Interface(name) => Some(name),
        _ => None,
    });
    let names: BTreeSet<&String> = names.collect();
    if bound.is_empty() || names.is_empty() {
        return Ok(Vec::new());
    }
    let named = bindings.resolve_all(names.iter().copied(), &hooks);
    let used = features::policy_names(&named, &bound.into_values().collect())?;
    let is_used = |name: &&String| used.values().any(|used| used == *name);
    Ok(names
        .into_iter()
        .filter(|name| !is_used(name))
        .cloned()
        .collect())
}

fn print_interfaces(interfaces: &[Here], out: &mut dyn Write) -> io::Result<()> {
    for interface in interfaces {
        let name = &interface.name;
        writeln!(out, "interface {name}: clients are private addresses")?;
        for (prefix, on) in &interface.clients {
            writeln!(out, "interface {name}: clients are {prefix} on {on}")?;
        }
        for obstacle in &interface.obstacles {
            writeln!(out, "interface {obstacle}")?;
        }
    }
    Ok(())
}

/// A list as it takes effect.
struct Effective<'a> {
    config: &'a ListConfig,
    outcome: &'a ListOutcome,
}

impl Effective<'_> {
    fn answer(&self, all: &Config) -> String {
        match self.config.answer {
            Some(answer) => answer.to_string(),
            None => format!("{}*", all.answer),
        }
    }
}

fn lists<'a>(
    configs: &'a [ListConfig],
    compiled: &'a Compiled,
) -> impl Iterator<Item = Effective<'a>> {
    let pairs = configs.iter().zip(compiled.all_lists());
    pairs.map(|(config, outcome)| Effective { config, outcome })
}

/// The lists, and the files of custom categories behind them.
fn all_lists(config: &Config) -> Vec<ListConfig> {
    [config.lists.clone(), config.custom_lists()].concat()
}

fn print(config: &Config, compiled: &Compiled, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "{:<20} {:<9} {:<10} {:<12} {:<10} {:>9} {:>9} {:>9} {:>8} {:>7}  file",
        "list",
        "format",
        "scope",
        "category",
        "answer",
        "lines",
        "rules",
        "redundant",
        "unsupp.",
        "invalid"
    )?;
    let configs = all_lists(config);
    for list in lists(&configs, compiled) {
        let report = &list.outcome.report;
        writeln!(
            out,
            "{:<20} {:<9} {:<10} {:<12} {:<10} {:>9} {:>9} {:>9} {:>8} {:>7}  {}",
            list.outcome.name,
            report.format,
            list.config.scope.unwrap_or_default(),
            list.config.category.as_deref().unwrap_or("every"),
            list.answer(config),
            report.lines,
            report.rules,
            report.by_kind.of(Kind::Redundant),
            report.by_kind.of(Kind::Unsupported),
            report.by_kind.of(Kind::Invalid),
            list.outcome.path.display(),
        )?;
    }
    if configs.iter().any(|list| list.answer.is_none()) {
        writeln!(out, "* for lines that name no answer of their own")?;
    }
    let findings: Vec<_> = compiled.all_findings().cloned().collect();
    print_findings(out, &findings)?;
    writeln!(out, "{} names", compiled.image.report().names)?;
    if let Some(custom) = &compiled.custom {
        let names = custom.image.report().names;
        writeln!(out, "{names} names of custom categories")?;
    }
    Ok(())
}

fn account(config: &Config, compiled: &Compiled) -> anyhow::Result<serde_json::Value> {
    let configs = all_lists(config);
    let entries: Vec<_> = lists(&configs, compiled)
        .map(|list| {
            json!({
                "name": list.outcome.name,
                "path": list.outcome.path,
                "format": list.outcome.report.format,
                "scope": list.config.scope.unwrap_or_default(),
                "category": list.config.category,
                "answer": list.config.answer,
                "lines": list.outcome.report.lines,
                "rules": list.outcome.report.rules,
                "by_kind": list.outcome.report.by_kind,
            })
        })
        .collect();
    Ok(json!({
        "version": 1,
        "names": compiled.image.report().names,
        "custom_names": compiled.custom.as_ref().map(|custom| custom.image.report().names),
        "lists": entries,
        "findings": serde_json::to_value(compiled.all_findings().collect::<Vec<_>>())?,
    }))
}
